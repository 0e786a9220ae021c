"""Run by Alembic: the migrations, on the connection that it is handed (see admin.store.migrating)."""

from alembic import context

from admin.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by making it anew
    transactional_ddl=True,  # SQLite's as well, since our connections begin their transactions themselves
)
context.run_migrations()

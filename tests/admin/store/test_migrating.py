"""The schema and its migrations agree, on both databases; what cannot be used is refused."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from admin.store import migrating
from admin.store.database import Database
from admin.store.schema import metadata
from tests.services.databases import BACKENDS, Backend, Databases


def test_migrations_make_exactly_the_schema(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert compare_metadata(context, metadata) == []


def test_migrating_twice_changes_nothing(database: Database) -> None:
    migrating.upgrade(database.engine)
    migrating.require_current(database.engine)
    with database.engine.connect() as connection:
        assert migrating.current(connection) == migrating.head()


def test_a_database_that_a_newer_version_has_changed_is_left_alone(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'from_the_future'"))
    for refuses in (migrating.upgrade, migrating.require_current):
        with pytest.raises(migrating.UnknownSchemaError, match="from_the_future"):
            refuses(database.engine)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_database_without_a_schema_is_not_used_unless_it_may_be_migrated(
    backend: Backend, databases: Databases
) -> None:
    with databases.open(backend) as database:
        with database.engine.begin() as connection:
            connection.execute(text("DELETE FROM alembic_version"))
        with pytest.raises(migrating.OutdatedSchemaError, match="tautline db upgrade"):
            migrating.require_current(database.engine)

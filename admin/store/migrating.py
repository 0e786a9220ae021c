"""Bringing a database to the present schema, and refusing one that a newer Tautline has changed."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

FOLDER: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x7461757400  # an advisory lock of PostgreSQL's: any number that nobody else takes


class UnknownSchemaError(Exception):
    """The database is at a revision that this version does not know: a newer one has been here."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        super().__init__(
            f"the database is at revision {revision}, which this version of Tautline does not know; "
            "use the version that made it, or restore a backup"
        )


class OutdatedSchemaError(Exception):
    """The database lacks migrations, and was not to be changed."""

    def __init__(self, revision: str | None) -> None:
        self.revision = revision
        super().__init__(f"the database is at revision {revision or 'none'}; run `tautline db upgrade` first")


def head() -> str:
    """The revision that this version is made for."""
    revision = _scripts().get_current_head()
    assert revision is not None  # noqa: S101 - for the type checker: there is a first migration
    return revision


def current(connection: Connection) -> str | None:
    """The revision that the database is at, None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> None:
    """Bring the database to `head`. Of several that try at once one does it, and the others find it done.

    Raises: UnknownSchemaError.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _require_known(current(connection))
        command.upgrade(_config(connection), "head")


def require_current(engine: Engine) -> None:
    """Raises: UnknownSchemaError, or OutdatedSchemaError when migrations are missing."""
    with engine.connect() as connection:
        revision = current(connection)
    _require_known(revision)
    if revision != head():
        raise OutdatedSchemaError(revision)


def _require_known(revision: str | None) -> None:
    if revision is not None and revision not in {each.revision for each in _scripts().walk_revisions()}:
        raise UnknownSchemaError(revision)


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(FOLDER))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config

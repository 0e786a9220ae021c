"""The admin side's database: which one the settings name, and bringing it to the present schema as the server starts.

Calls are answered whether or not it can be reached: then the settings' own persona answers, and the schema is brought
up to date as soon as the database is there. From then on nothing that is found wrong with it stops the server.
"""

from datetime import UTC, datetime
from typing import Final

import structlog
import trio
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from admin.store import migrating
from admin.store.database import Database
from tautline.settings import Settings

RETRY_EVERY_S: Final = 5.0

_logger = structlog.stdlib.get_logger("tautline.store")


def open_database(settings: Settings) -> Database:
    """The database of the settings; it connects when it is first used."""
    return Database(settings.store_url())


async def prepare(
    database: Database, *, migrates: bool, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Bring it up to date as soon as it is there. Reports after the first try, and ends when it is done.

    Raises: UnknownSchemaError, OutdatedSchemaError, and what else is wrong with a database that can be reached; at the
    first try only. There may be calls once that has been reported, and no later one ends them.
    """
    may_have_calls = False
    while True:
        try:
            await trio.to_thread.run_sync(bring_up_to_date, database.engine, migrates)
        except Exception as error:
            is_unreachable = isinstance(error, OperationalError | PoolTimeoutError)
            if not (is_unreachable or may_have_calls):
                raise
            event = "store.unreachable" if is_unreachable else "store.not_prepared"
            _logger.error(event, consequence="The settings' persona answers.", why=reason_of(error))
            may_have_calls = True
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(RETRY_EVERY_S)
        else:
            _logger.info("store.ready", revision=migrating.head())
            task_status.started()
            return


def bring_up_to_date(engine: Engine, migrates: bool) -> None:
    """Migrate, or make sure that nothing is to be migrated; once. Does I/O.

    Raises: UnknownSchemaError, OutdatedSchemaError; SQLAlchemyError.
    """
    work = migrating.upgrade if migrates else migrating.require_current
    work(engine)


def reason_of(error: Exception) -> str:
    """The first line of the driver's own words, which name host and user, never the password; else of the error's.

    SQLAlchemy's own would go on with the statement and its values.
    """
    return str(getattr(error, "orig", None) or error).partition("\n")[0]


def wall_time() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)

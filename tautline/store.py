"""The admin side's database: which one the settings name, and bringing it to the present schema as the server starts.

Calls are answered whether or not it can be reached: then the settings' own persona answers, and the schema is brought
up to date as soon as the database is there. From then on nothing that is found wrong with it stops the server.
"""

from datetime import UTC, datetime
from typing import Final

import structlog
import trio
from sqlalchemy.exc import DBAPIError, OperationalError
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
    """Migrate, or make sure that nothing is to be migrated. Reports after the first try, and ends when it is done.

    Raises: UnknownSchemaError, OutdatedSchemaError, and what else is wrong with a database that can be reached; at the
    first try only. There may be calls once that has been reported, and no later one ends them.
    """
    work = migrating.upgrade if migrates else migrating.require_current
    may_have_calls = False
    while True:
        try:
            await trio.to_thread.run_sync(work, database.engine)
        except Exception as error:
            is_unreachable = isinstance(error, OperationalError | PoolTimeoutError)
            if not (is_unreachable or may_have_calls):
                raise
            event = "store.unreachable" if is_unreachable else "store.not_prepared"
            _logger.error(event, consequence="The settings' persona answers.", why=_reason(error))
            may_have_calls = True
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(RETRY_EVERY_S)
        else:
            _logger.info("store.ready", revision=migrating.head())
            task_status.started()
            return


def wall_time() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def _reason(error: Exception) -> str:
    # The first line of the driver's own words. They name host and user, never the password.
    return str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]

"""The admin side's database: which one the settings name, and bringing it to the present schema as the server starts.

Calls are answered whether or not it can be reached: then the settings' own persona answers, and the schema is brought
up to date as soon as the database is there.
"""

from datetime import UTC, datetime
from typing import Final

import structlog
import trio
from sqlalchemy.exc import OperationalError

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

    Raises: UnknownSchemaError, OutdatedSchemaError.
    """
    work = migrating.upgrade if migrates else migrating.require_current
    while True:
        try:
            await trio.to_thread.run_sync(work, database.engine)
        except OperationalError as error:
            _logger.error("store.unreachable", consequence="The settings' persona answers.", why=_reason(error))
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


def _reason(error: OperationalError) -> str:
    # The first line of the driver's own words. They name host and user, never the password.
    return str(error.orig).partition("\n")[0]

"""Calls are kept for so many days, and then deleted with all that was written down of them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog
import trio
from sqlalchemy import Connection

from admin.store import calls, processes
from admin.store.database import Database

EVERY_S: Final = 3600.0
FIRST_AFTER_S: Final = 60.0  # not while the server starts
CALLS_AT_ONCE: Final = 50  # with their events a transaction of some tens of ms, between which others write
PAUSE_S: Final = 0.1
SEEN_WITHIN: Final = timedelta(seconds=30)

_logger = structlog.stdlib.get_logger("tautline.records")


class Retention:
    """Deletes what is old. Args: database; now, wall time; days, to keep calls; process_id, of this process."""

    def __init__(self, database: Database, now: Callable[[], datetime], *, days: int, process_id: UUID) -> None:
        self._database, self._now, self._days, self._process_id = database, now, days, process_id

    async def run(self) -> None:
        """Once an hour, until cancelled."""
        await trio.sleep(FIRST_AFTER_S)
        while True:
            try:
                await self.delete_old()
            except Exception as error:  # the database is away, most likely; there is another hour
                _logger.warning("retention.failed", error=type(error).__name__)
            await trio.sleep(EVERY_S)

    async def delete_old(self) -> int:
        """Delete all calls that are too old, if this process is the one to do it. Returns how many.

        Raises: StoreUnavailableError.
        """
        if not await self._database.read(self._is_first):
            return 0
        before, deleted = self._now() - timedelta(days=self._days), 0
        while found := await self._database.write(partial(calls.delete_before, before=before, limit=CALLS_AT_ONCE)):
            deleted += found
            await trio.sleep(PAUSE_S)
        if deleted:
            _logger.info("retention.deleted", calls=deleted, older_than_days=self._days)
        return deleted

    def _is_first(self, connection: Connection) -> bool:
        """Of all processes that live the oldest one does it. Should two think so, they only share the work."""
        seen_since = self._now() - SEEN_WITHIN
        alive = (row["id"] for row in processes.everyone(connection) if row["seen_at"] >= seen_since)
        return next(alive, self._process_id) == self._process_id

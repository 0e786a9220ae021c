"""What Twilio's callbacks tell, on its way into the calls' rows: taken at once, written as soon as the database can be
had.

Twilio sends a callback once. One that is answered with an error is lost, unless no connection came about at all; so
each is taken and answered, and waits here for the database. It waits in memory: what a process that is killed had yet
to write is lost, and the call's own records, which wait on disk, are what remains of it.
"""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog
import trio
from sqlalchemy import Connection

from admin.errors import StoreUnavailableError
from admin.services.call_report import CallReport, changes, newcomer
from admin.services.call_status import TERMINAL
from admin.store import calls, outbound
from admin.store.database import Database

MAX_QUEUED: Final = 10_000  # some 10 MB; at ten calls a second with five callbacks each, three minutes
AT_ONCE: Final = 100  # in one transaction
RETRY_EVERY_S: Final = 1.0
END_WITHIN_S: Final = 3.0  # to write what is left

_logger = structlog.stdlib.get_logger("tautline.callbacks")


class CallReports:
    """Takes reports, and writes them in their order.

    Attributes: waiting, how many are taken and not written; dropped, how many were lost.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: deque[CallReport] = deque()
        self._has_some = trio.Event()
        self._is_away = False
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """How many are taken and not written."""
        return len(self._queue)

    def offer(self, report: CallReport) -> None:
        """Take it, without waiting. When there are too many, the newest is lost: the oldest ones begin calls."""
        if len(self._queue) >= MAX_QUEUED:
            self.dropped += 1
            _logger.error("callback.dropped", call_sid=report.call_sid, dropped=self.dropped)
            return
        self._queue.append(report)
        self._has_some.set()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write inside this context, and for a bounded time what is left when it ends."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_on)
                yield
                nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(END_WITHIN_S, shield=True):
                while self._queue and await self._write_some():
                    pass
            if self._queue:
                _logger.error("callbacks.left_behind", lost=len(self._queue))

    async def _write_on(self) -> None:
        while True:
            await self._has_some.wait()
            self._has_some = trio.Event()
            while self._queue:
                if not await self._write_some():
                    await trio.sleep(RETRY_EVERY_S)

    async def _write_some(self) -> bool:
        """Write the oldest ones; False if the database cannot be had, and then they wait on."""
        batch = [self._queue[number] for number in range(min(AT_ONCE, len(self._queue)))]
        try:
            try:
                await self._write(batch)
            except StoreUnavailableError:
                raise
            except Exception:  # one that the database refuses must not hold up the others
                batch = batch[:1]
                await self._write_or_drop(batch[0])
        except StoreUnavailableError:
            if not self._is_away:
                _logger.error("callbacks.store_away", consequence="What Twilio tells of calls waits in memory.")
            self._is_away = True
            return False
        self._is_away = False
        for _ in batch:
            self._queue.popleft()
        return True

    async def _write(self, batch: Sequence[CallReport]) -> None:
        ended = await self._database.write(partial(write_reports, reports=batch))
        for call_sid, status in ended.items():
            _logger.info("call.over", call_sid=call_sid, status=status)

    async def _write_or_drop(self, report: CallReport) -> None:
        try:
            await self._write([report])
        except StoreUnavailableError:
            raise
        except Exception:
            self.dropped += 1
            _logger.exception("callback.refused", call_sid=report.call_sid)


def write_reports(connection: Connection, reports: Sequence[CallReport]) -> dict[str, str]:
    """Apply these in their order, each call's row locked. Returns: the calls that are over by them, and how."""
    for report in reports:
        if report.call_id is not None:
            outbound.adopt(connection, report.call_id, report.call_sid)
    first = {report.call_sid: report for report in reversed(reports)}
    calls.ensure(connection, [newcomer(report) for report in first.values()])
    rows = {call_sid: dict(row) for call_sid, row in calls.locked(connection, list(first)).items()}
    ended: dict[str, str] = {}
    for report in reports:
        row = rows[report.call_sid]
        changed = changes(row, report)
        calls.change(connection, row["id"], changed)
        if changed.get("status") in TERMINAL and row["status"] not in TERMINAL:
            ended[report.call_sid] = changed["status"]
        row |= changed
    return ended

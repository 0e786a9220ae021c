"""The calls' records on their way into the database: offered without waiting, kept on disk, then written.

Three steps, each of which may lag behind without stopping the one before. A record is offered: it waits in memory. Half
a second later, or as soon as somebody waits for it, it is kept: it stands in the spool, and the death of this process
cannot lose it. Then it is written, in one transaction with whatever else waits, and leaves the spool. While the
database is away the spool grows, and when it is back the spool is written in its order. Writing again what was written
is harmless, so nothing depends on knowing how far a step came when it failed.

Who waits is Twilio: its callbacks are answered once they are kept. That takes no longer than a disk's cache does.

A record that the database refuses for what it says is left out, so that it cannot hold up the others.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import structlog
import trio
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from admin.errors import StoreUnavailableError
from admin.services.calls.call_record import Offered, Record, Rung, is_kept, is_name, line_of, record_of
from admin.services.calls.call_report import CallReport
from admin.services.calls.call_summary import Models
from admin.services.calls.call_writing import write_records
from admin.services.calls.spool import Abandoned, Spool, abandoned, read_segment
from admin.store.database import Database, Work
from relay import LogEvent

KEEP_EVERY_S: Final = 0.5
RETRY_EVERY_S: Final = 1.0  # to reach the database
END_WITHIN_S: Final = 5.0  # to write what is left; what then still is, the next start writes
MAX_QUEUED: Final = 20_000  # records; some minutes of a thousand calls while a disk stands still
RECORDS_AT_ONCE: Final = 500  # a transaction of some 50 ms

_logger = structlog.stdlib.get_logger("tautline.records")


class CallRecords:
    """A relay.CallLog that writes what happens to calls into the database.

    Attributes: written, how many records are in the database; spooled, how many had to wait because it was away;
    dropped, how many are lost; is_away, whether the database could not be had when it was last needed.

    Args: database; now, wall time; process_id, of this process; spool, where they wait; models, that calls use.
    """

    def __init__(
        self, database: Database, now: Callable[[], datetime], *, process_id: UUID, spool: Spool, models: Models
    ) -> None:
        self._database, self._now, self._process_id = database, now, process_id
        self._spool, self._models = spool, models
        self._queue: deque[Offered] = deque()
        self._offered, self._kept = trio.Event(), trio.Event()
        self._hurried, self._round = trio.Event(), trio.Event()  # somebody waits for it; what they wait for
        self._overran = self._overran_told = self._refused = 0
        self.written = self.spooled = 0
        self.is_away = False

    @property
    def dropped(self) -> int:
        """Records that are lost: too many at once, no room in the spool, or refused by the database."""
        return self._overran + self._refused + self._spool.dropped

    def offer(self, call_sid: str, event: LogEvent) -> None:
        """See relay.CallLog."""
        if is_kept(call_sid, event):
            self._put(Offered(self._now(), call_sid, event))

    def rung(self, rung: Rung) -> None:
        """A call came in, or was placed. Does not wait."""
        if is_name(rung.call_sid):
            self._put(Offered(self._now(), rung.call_sid, rung))

    def reported(self, report: CallReport) -> None:
        """A request of Twilio's told of a call. Does not wait."""
        self._put(Offered(self._now(), report.call_sid, report))

    async def until_kept(self) -> None:
        """Wait until all that was offered stands in the spool. Who waits no longer stops nothing."""
        self._offered.set()
        self._hurried.set()
        await self._round.wait()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write inside this context, and for a bounded time what is left when it ends."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_on)
                nursery.start_soon(self._write_on)
                yield
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._finish()

    async def adopt(self) -> None:
        """Write what dead processes have left in the spool, as far as the database can be had."""
        try:
            found = await trio.to_thread.run_sync(abandoned, self._spool.folder)
        except OSError as error:
            _logger.error("spool.unreadable", file=str(self._spool.folder), why=error.strerror)
            return
        with ExitStack() as held:  # what stays locked by us is lost to everybody for as long as we live
            for each in found:
                held.callback(each.close)
            for each in found:
                await self._write_abandoned(each)

    def _put(self, offered: Offered) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self._queue.popleft()
            self._overran += 1
        self._queue.append(offered)
        self._offered.set()

    async def _keep_on(self) -> None:
        while True:
            await self._offered.wait()
            with trio.move_on_after(KEEP_EVERY_S):
                await self._keep_in_a_hurry()
            # A disk takes some milliseconds for it, and is not asked each time that somebody waits.
            await self._keep_some(durable=self.is_away)

    async def _keep_in_a_hurry(self) -> None:
        while True:
            await self._hurried.wait()
            await self._keep_some(durable=False)

    async def _keep_some(self, *, durable: bool) -> None:
        self._offered, self._hurried = trio.Event(), trio.Event()
        ended, self._round = self._round, trio.Event()
        with trio.CancelScope(shield=True):  # what is taken from the queue must arrive; a disk alone can delay it
            await self._guarded(partial(self._keep, durable=durable))
        ended.set()

    async def _guarded(self, step: Callable[[], Awaitable[bool]]) -> bool:
        """Whether the step is done. What is wrong with it must end neither the next one nor the calls beside it."""
        try:
            return await step()
        except Exception:
            _logger.exception("records.step_failed")
            return False

    async def _keep(self, *, durable: bool) -> bool:
        taken, overran = list(self._queue), self._overran
        self._queue.clear()
        if taken or durable:
            lines = await trio.to_thread.run_sync(self._lines, taken)
            await self._spool.keep(lines, durable=durable)
            self.spooled += len(lines) if self.is_away else 0
            self._kept.set()
        if overran > self._overran_told:
            _logger.error("records.overran", records_lost=overran - self._overran_told)
            self._overran_told = overran
        return True

    def _lines(self, taken: list[Offered]) -> list[bytes]:
        lines = []
        for offered in taken:
            try:
                lines.append(line_of(record_of(offered)))
            except Exception as error:  # of one record, whatever is wrong with it: the others must not be lost with it
                self._refused += 1
                _logger.error("records.unusable", call_sid=offered.call_sid, error=type(error).__name__)
        return lines

    async def _write_on(self) -> None:
        while True:
            await self._kept.wait()
            self._kept = trio.Event()
            while not await self._guarded(self._write_spool):  # noqa: ASYNC110 - a database tells nobody that it is back
                await trio.sleep(RETRY_EVERY_S)

    async def _write_spool(self) -> bool:
        """Write all that waits; False if the database cannot be had."""
        while (segment := await self._spool.oldest()) is not None:
            if not await self._write(await self._spool.read(segment), self._process_id):
                return False
            await self._spool.done(segment)
        return True

    async def _write_abandoned(self, left: Abandoned) -> None:
        for segment in left.segments[:]:
            try:
                records = await trio.to_thread.run_sync(read_segment, segment)
            except OSError as error:  # it is for another time, and holds up nothing else
                _logger.error("spool.unreadable", file=str(segment.path), why=error.strerror)
                continue
            if not await self._write(records, left.owner):
                return
            await trio.to_thread.run_sync(left.done, segment)
            _logger.info("spool.adopted", owner=str(left.owner), records=len(records))

    async def _write(self, records: list[Record], process_id: UUID) -> bool:
        for first in range(0, len(records), RECORDS_AT_ONCE):
            if not await self._write_some(records[first : first + RECORDS_AT_ONCE], process_id):
                return False
        return True

    async def _write_some(self, records: list[Record], process_id: UUID) -> bool:
        """False if the database cannot be had. Records that it refuses are found by halving, and left out."""
        work = partial(write_records, records=records, process_id=process_id, models=self._models)
        try:
            over = await self._write_once_or_again(work)
        except Exception as error:
            if _is_away(error):
                self._went_away(error)
                return False
            if len(records) == 1:
                self._refused += 1
                # The error's own words may quote the caller's.
                kind, [refused] = type(error).__name__, records
                _logger.error("records.refused", call_sid=refused.call_sid, name=refused.name, error=kind)
                return True
            half = len(records) // 2
            return await self._write_some(records[:half], process_id) and await self._write_some(
                records[half:], process_id
            )
        self.written += len(records)
        self._came_back()
        for call_sid, status in over.items():
            _logger.info("call.over", call_sid=call_sid, status=status)
        return True

    async def _write_once_or_again(self, work: Work[dict[str, str]]) -> dict[str, str]:
        try:
            return await self._database.write(work)
        except IntegrityError:  # another process made the same call's row at this very moment; now it is there
            return await self._database.write(work)

    def _went_away(self, error: Exception) -> None:
        if not self.is_away:
            self.is_away = True
            self.spooled += self._spool.waiting
            reason = str(error.__cause__ or error).partition("\n")[0]
            _logger.error("records.store_away", why=reason, consequence="Records of calls wait on disk.")

    def _came_back(self) -> None:
        if self.is_away:
            self.is_away = False
            _logger.info("records.store_back", waiting=self._spool.waiting)

    async def _finish(self) -> None:
        """Keep what was offered last, and write as much as can be in time."""
        await self._keep_some(durable=self.is_away)
        with trio.move_on_after(END_WITHIN_S):
            await self._guarded(self._write_spool)
        if self._spool.waiting:
            _logger.warning("records.left_behind", records=self._spool.waiting, consequence="The next start has them.")
        self._spool.close()


def _is_away(error: Exception) -> bool:
    """Whether the database cannot be had as it is now, as opposed to what it was told being wrong."""
    if isinstance(error, StoreUnavailableError):
        return True
    # A table that a migration has yet to make, a server that only reads: it can be had later.
    return isinstance(error, DBAPIError) and not isinstance(error, DataError | IntegrityError)

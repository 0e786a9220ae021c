"""Who carries calls: each process is seen every few seconds, and the calls of one that has died are closed.

A process is dead when it is gone from this machine, or when nobody has seen it for a while. That while is measured by
the clock of who waits: two machines whose clocks differ must not bury each other's calls. A call whose process turns
out to live, because only its machine stood still, is opened again by its next record (call_progress.py).
"""

import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
import structlog
import trio
from sqlalchemy import Connection

from admin.errors import StoreUnavailableError
from admin.services.calls.call_progress import aborted
from admin.services.calls.call_summary import Models
from admin.services.calls.call_writing import summarise
from admin.store import call_events, calls, processes, users
from admin.store.column_types import new_id
from admin.store.database import Database

SEEN_EVERY_S: Final = 5.0
SEEN_AT_LEAST_EVERY_S: Final = 10.0  # whatever keeps us from the rest
DEAD_AFTER_S: Final = 30.0
RINGS_AT_MOST: Final = timedelta(minutes=10)  # Twilio's longest timeout: after that nobody will carry the call
CALLS_AT_ONCE: Final = 100

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE: Final = Path("/proc/self/ns/pid")
_logger = structlog.stdlib.get_logger("tautline.records")


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process that carries calls. host: where its pid means something."""

    id: UUID
    host: str
    pid: int


class Seen(msgspec.Struct, frozen=True):
    """How a process stands in the database. seen_at: only ever compared with itself."""

    process: Process
    seen_at: datetime


def this_process() -> Process:
    """A new identity for this process."""
    return Process(id=new_id(), host=_pid_space(), pid=os.getpid())


class Watch:
    """Tells which processes are dead, from what the database says of them, time and again. Pure.

    Args: own, this process; exists, whether this machine has a process with this pid.
    """

    def __init__(self, own: Process, exists: Callable[[int], bool]) -> None:
        self._own, self._exists = own, exists
        self._unchanged_since: dict[UUID, tuple[datetime | None, float]] = {}

    def dead(self, carriers: Collection[UUID], known: Mapping[UUID, Seen], now: float) -> set[UUID]:
        """Those that are dead. carriers: who has calls, known or not; now: monotonic seconds."""
        others = (set(carriers) | set(known)) - {self._own.id}
        self._unchanged_since = {each: self._since(each, known.get(each), now) for each in others}
        return {each for each in others if self._is_gone(known.get(each)) or self._is_silent(each, now)}

    def interrupted(self) -> None:
        """Nobody could be seen for a while, whoever lived: begin to wait anew."""
        self._unchanged_since.clear()

    def _since(self, process_id: UUID, seen: Seen | None, now: float) -> tuple[datetime | None, float]:
        seen_at = None if seen is None else seen.seen_at
        before = self._unchanged_since.get(process_id)
        return before if before is not None and before[0] == seen_at else (seen_at, now)

    def _is_silent(self, process_id: UUID, now: float) -> bool:
        return now - self._unchanged_since[process_id][1] >= DEAD_AFTER_S

    def _is_gone(self, seen: Seen | None) -> bool:
        if seen is None or seen.process.host != self._own.host:
            return False
        # Our own pid under another id was somebody's before us.
        return seen.process.pid == self._own.pid or not self._exists(seen.process.pid)


class Processes:
    """Keeps this process seen, and closes the calls of those that are dead.

    Args: database; now, wall time; own, this process; models, that calls use; adopt, writes what dead processes have
    left on disk, so that their calls are closed with all that is known of them.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        *,
        own: Process,
        models: Models,
        adopt: Callable[[], Awaitable[None]],
        exists: Callable[[int], bool] | None = None,
    ) -> None:
        self._database, self._now, self._own, self._models, self._adopt = database, now, own, models, adopt
        self._watch = Watch(own, exists or _exists)

    async def run(self) -> None:
        """Attend to it until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stay_seen)
            while True:
                await self.attend()
                await trio.sleep(SEEN_EVERY_S)

    async def attend(self) -> None:
        """Be seen, and close what the dead have left open. What fails is tried again next time."""
        try:
            await self._database.write(self._see)
            await self._adopt()
            carriers, known = await self._database.read(_look)
            dead = self._watch.dead(carriers, known, trio.current_time())
            if dead:
                await self._bury(dead)
        except StoreUnavailableError:
            self._watch.interrupted()  # the writer of records says so
        except Exception as error:  # such as a table that is yet to be made; no call has a part in it
            self._watch.interrupted()
            _logger.warning("processes.not_attended", error=type(error).__name__)

    async def _stay_seen(self) -> None:
        """What a dead process has left may take minutes to write; who takes care of it must not be taken for dead."""
        while True:
            await trio.sleep(SEEN_AT_LEAST_EVERY_S)
            with suppress(Exception):  # `attend` says what is wrong
                await self._database.write(self._see)

    def _see(self, connection: Connection) -> None:
        processes.see(connection, self._own.id, host=self._own.host, pid=self._own.pid, at=self._now())

    async def _bury(self, dead: set[UUID]) -> None:
        while closed := await self._database.write(partial(self._close_some, dead=dead)):
            _logger.warning("calls.aborted", calls=closed, why="the process that carried them has died")
        await self._database.write(partial(processes.forget, process_ids=dead))

    def _close_some(self, connection: Connection, dead: set[UUID]) -> int:
        left = calls.left_by(connection, dead, rung_before=self._now() - RINGS_AT_MOST, limit=CALLS_AT_ONCE)
        for call in left:
            changes = aborted(dict(call), call_events.last_at(connection, call["id"]))
            changes["account_id"] = call["account_id"] or users.first_account(connection)
            calls.change(connection, call["id"], changes | summarise(connection, call["id"], self._models))
        return len(left)


def _look(connection: Connection) -> tuple[list[UUID], dict[UUID, Seen]]:
    known = {
        row["id"]: Seen(Process(id=row["id"], host=row["host"], pid=row["pid"]), row["seen_at"])
        for row in processes.everyone(connection)
    }
    return calls.carriers(connection), known


def _pid_space() -> str:
    """The host's name, and what tells apart two boots and two containers that have the same one."""
    try:
        return f"{socket.gethostname()} {_BOOT_ID.read_text().strip()} {_PID_NAMESPACE.stat().st_ino}"
    except OSError:  # no Linux: such machines run one Tautline
        return socket.gethostname()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""Records on their way to the database, on disk: what waits there outlives this process and a database that is away.

Each process has a folder of its own under DATA_DIR/spool, locked for as long as it lives: the kernel lets go of the
lock when it dies, however it dies, and then another process may take what it left. The folder holds segments, which
are files of lines that are appended to, read as a whole once nothing more is appended, and deleted when the database
has them. A disk that refuses is no reason to lose anything: what it does not take waits in memory.

All is bounded. What does not fit makes room by dropping the oldest, which is counted and said aloud.
"""

import errno
import fcntl
import os
import shutil
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
import trio

from admin.services.calls.call_record import Record, record_in

FOLDER: Final = "spool"  # in DATA_DIR
SEGMENT_BYTES: Final = 1024 * 1024
MAX_BYTES: Final = 256 * 1024 * 1024  # some days of one call, half a day of a hundred
MAX_HELD: Final = 20_000  # records in memory, while the disk refuses

# There are too many files open, or is too little memory: another time the same file can be read.
_PASSING: Final = frozenset({errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_LOCK: Final = "lock"
_SUFFIX: Final = ".jsonl"
_BEING_MADE: Final = "."  # what begins so is nobody's, not yet or not any more

_logger = structlog.stdlib.get_logger("tautline.records")


class Segment:
    """A part of the spool. path: its file, None if `lines` holds it; records: how many; is_synced: it would outlive the
    machine.
    """

    def __init__(self, path: Path | None = None, lines: Sequence[bytes] = ()) -> None:
        self.path, self.lines = path, lines
        self.records, self.size_bytes = len(lines), 0
        self.is_taken = self.is_synced = False


class Spool:
    """This process's part of the spool.

    One task keeps, another takes: they may take turns at every await. Attributes: waiting, records that are not in the
    database yet; dropped, records that had to make room or could not be read.

    Args: folder, DATA_DIR/spool, made if it is missing; owner, this process; segment_bytes, after which another file is
    begun; max_bytes and max_held, the bounds.
    """

    def __init__(
        self,
        folder: Path,
        owner: UUID,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        max_bytes: int = MAX_BYTES,
        max_held: int = MAX_HELD,
    ) -> None:
        self.folder, self._own = folder, folder / str(owner)
        self._segment_bytes, self._max_bytes, self._max_held = segment_bytes, max_bytes, max_held
        self._segments: deque[Segment] = deque()  # the oldest first
        self._open: Segment | None = None  # the last of them, if more may be appended
        self._made = 0
        self._lock: int | None = None
        self._turn = trio.Lock()
        self.waiting = self.dropped = 0

    async def keep(self, lines: list[bytes], *, durable: bool) -> None:
        """Keep these records. durable: they outlive the machine, not only this process, and so does what was kept."""
        async with self._turn:
            if lines:
                await self._add(lines)
            if durable:
                await trio.to_thread.run_sync(self._sync)

    async def oldest(self) -> Segment | None:
        """What is to be written next; nothing more comes to it, and it stays until it is `done`. None: all is done."""
        async with self._turn:
            if not self._segments:
                return None
            segment = self._segments[0]
            if segment is self._open:
                self._open = None
            segment.is_taken = True
            return segment

    async def read(self, segment: Segment) -> list[Record]:
        """Its records. What can never be read is dropped. Raises: OSError for what may be read another time."""
        try:
            records = await trio.to_thread.run_sync(read_segment, segment)
        except OSError as error:
            if error.errno in _PASSING:
                raise
            _logger.error("spool.unreadable", file=str(segment.path), why=error.strerror, records_lost=segment.records)
            self.dropped += segment.records
            return []
        self.dropped += max(0, segment.records - len(records))
        return records

    async def done(self, segment: Segment) -> None:
        """Its records are in the database."""
        async with self._turn:
            await self._remove(segment)

    def close(self) -> None:
        """Let go of the folder. What waits in it is for whoever comes next; without any it is removed. Does I/O."""
        if self._lock is not None:
            _let_go(self._own, self._lock, is_empty=not self._segments)
            self._lock = None

    async def _add(self, lines: list[bytes]) -> None:
        segment = self._open or self._begin()
        try:
            segment.size_bytes += await trio.to_thread.run_sync(self._append, segment, lines)
        except OSError as error:
            _logger.error("spool.refused", why=str(error), consequence="Records wait in memory.")
            self._open = None  # its last line may be half a line
            if not segment.records:
                self._segments.remove(segment)
            self._segments.append(Segment(lines=lines))
        else:
            segment.records += len(lines)
            segment.is_synced = False
            if segment.size_bytes >= self._segment_bytes:
                self._open = None
        self.waiting += len(lines)
        await self._make_room()

    def _begin(self) -> Segment:
        self._made += 1
        segment = self._open = Segment(self._own / f"{self._made:012}{_SUFFIX}")
        self._segments.append(segment)
        return segment

    def _append(self, segment: Segment, lines: list[bytes]) -> int:
        """Returns how many bytes these are. Raises: OSError; then some may be there."""
        if self._lock is None:
            self._lock = _claim(self.folder, self._own)
        assert segment.path is not None  # noqa: S101 - only such are open
        data = b"".join(lines)
        file = os.open(segment.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            if os.write(file, data) != len(data):
                raise OSError("only a part could be written")
        finally:
            os.close(file)
        return len(data)

    def _sync(self) -> None:
        for segment in self._segments:
            if segment.path is None or segment.is_synced:
                continue
            segment.is_synced = True
            try:
                _fsync(segment.path)
            except OSError as error:  # they outlive this process all the same
                _logger.error("spool.not_synced", file=str(segment.path), why=error.strerror)

    async def _make_room(self) -> None:
        while (excess := self._excess()) is not None:
            _logger.error("spool.full", consequence="The oldest records are lost.", records_lost=excess.records)
            self.dropped += excess.records
            await self._remove(excess)

    def _excess(self) -> Segment | None:
        """What has to go: the oldest on disk or in memory, whichever has too much; never what is being used."""
        on_disk = [each for each in self._segments if each.path is not None]
        held = [each for each in self._segments if each.path is None]
        for kept, is_too_much in (
            (on_disk, sum(each.size_bytes for each in on_disk) > self._max_bytes),
            (held, sum(each.records for each in held) > self._max_held),
        ):
            if is_too_much:
                return next((each for each in kept if not each.is_taken and each is not self._open), None)
        return None

    async def _remove(self, segment: Segment) -> None:
        if segment not in self._segments:
            return
        self._segments.remove(segment)
        self.waiting -= segment.records
        if segment.path is not None:
            await trio.to_thread.run_sync(_unlink, segment.path)


class Abandoned:
    """What a process that is dead has left, locked: it is ours now. owner: that process."""

    def __init__(self, folder: Path, owner: UUID, lock: int) -> None:
        self.owner, self._folder, self._lock = owner, folder, lock
        self.segments = [Segment(path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]

    def done(self, segment: Segment) -> None:
        """Its records are in the database. Does I/O."""
        self.segments.remove(segment)
        if segment.path is not None:
            _unlink(segment.path)

    def close(self) -> None:
        """Remove it, or leave the rest for another time. Does I/O."""
        _let_go(self._folder, self._lock, is_empty=not self.segments)


def abandoned(folder: Path) -> list[Abandoned]:
    """All that dead processes have left in this spool. Does I/O. Raises: OSError."""
    if not folder.exists():
        return []
    found = []
    for each in sorted(folder.iterdir()):
        owner = _owner(each)
        lock = None if owner is None else _lock_of(each)
        if owner is not None and lock is not None:
            found.append(Abandoned(each, owner, lock))
    return found


def read_segment(segment: Segment) -> list[Record]:
    """Its records. Raises: OSError. A line that is none is left out: its process died before it was finished."""
    lines = segment.lines if segment.path is None else segment.path.read_bytes().splitlines()
    records = []
    for line in lines:
        try:
            records.append(record_in(line))
        except ValueError:
            _logger.warning("spool.line_unfinished", file=str(segment.path), characters=len(line))
    return records


def _claim(folder: Path, own: Path) -> int:
    """Make this process's folder, which nobody ever sees unlocked. Returns the lock. Raises: OSError."""
    making = folder / f"{_BEING_MADE}{own.name}"
    making.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(making / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        making.rename(own)
    except OSError:
        os.close(lock)
        raise
    return lock


def _lock_of(folder: Path) -> int | None:
    """The lock of a folder whose process is dead; None while it lives, or when another has taken it."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return None  # just taken and removed by another
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _let_go(folder: Path, lock: int, *, is_empty: bool) -> None:
    if is_empty:
        gone = folder.with_name(f"{_BEING_MADE}{folder.name}")
        with suppress(OSError):  # another has removed it, or it will be in nobody's way under that name
            folder.rename(gone)
            shutil.rmtree(gone)
    os.close(lock)


def _owner(folder: Path) -> UUID | None:
    try:
        return UUID(folder.name)
    except ValueError:
        return None


def _fsync(path: Path) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # it will be written again, which is harmless
        _logger.warning("spool.not_removed", file=str(path), why=error.strerror)

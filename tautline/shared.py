"""What the workers of one server know together: tokens used, calls that ring, go on and have ended, what was counted.

It lies in a private folder that their parent (tautline.workers) makes, sweeps and removes. Each fact is one small file
that is created or replaced in one step: nobody reads a half, nobody waits for a lock, and a worker that dies leaves its
facts behind. The folder lies in memory, because facts are written and read in the very step that decides about a call:
some 15 to 50 µs as a call begins and ends, none in between.
"""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from admin.services.telephone.outcomes import Ending, ending_of
from relay import LogEvent, Totals, counted, merged
from relay.log import CallEnded, CallStarted
from relay.stream_token import CLOCK_SKEW_S, LIVES_S
from tautline.logs import FILE_NAME

VARIABLE: Final = "TAUTLINE_WORKER"  # what the parent tells a worker of itself; nobody else sets it
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own within, which nobody else may enter
TOKENS_KEPT_S: Final = LIVES_S + 2 * CLOCK_SKEW_S  # a token is used after it was made, by a clock that may be behind
ENDINGS_KEPT_S: Final = 600.0  # Twilio asks within seconds

RUNG_KEPT_S: Final = 3600.0  # a call may ring, and wait in a queue of Twilio's, before its stream begins

_TOKENS, _ENDINGS, _TOTALS, _BOARDS, _RUNG = "tokens", "endings", "totals", "boards", "rung"
_logger = structlog.stdlib.get_logger("tautline.shared")


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """Who a worker is. number: from 1, inherited by who is started in a dead one's place; folder: the shared one."""

    number: int
    folder: str

    def variable(self) -> dict[str, str]:
        """An environment that `worker_in` reads as this worker."""
        return {VARIABLE: msgspec.json.encode(self).decode()}


def log_file(worker: Worker | None) -> str:
    """The name of this process's own log file."""
    return FILE_NAME if worker is None else f"{Path(FILE_NAME).stem}.{worker.number}{Path(FILE_NAME).suffix}"


def worker_in(environ: Mapping[str, str]) -> Worker | None:
    """Which worker this process was started as; None for a process that serves alone, or is the parent."""
    text = environ.get(VARIABLE)
    return None if text is None else msgspec.json.decode(text, type=Worker)


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for the workers, for the context's time; nobody else's user may look into it."""
    in_memory = os.access(MEMORY, os.W_OK)
    if not in_memory:
        _logger.warning("workers.not_in_memory", consequence=f"{MEMORY} cannot be used: calls may wait for the disk.")
    with tempfile.TemporaryDirectory(
        prefix="tautline-", dir=MEMORY if in_memory else None, ignore_cleanup_errors=True
    ) as name:
        for each in (_TOKENS, _ENDINGS, _TOTALS, _BOARDS, _RUNG):
            (Path(name) / each).mkdir()
        yield Path(name)


def sweep(folder: Path, at: float) -> None:
    """Delete what nobody can ask for any more. at: wall seconds."""
    for name, kept_s in ((_TOKENS, TOKENS_KEPT_S), (_ENDINGS, ENDINGS_KEPT_S), (_RUNG, RUNG_KEPT_S)):
        for file in (folder / name).iterdir():
            try:
                if file.stat().st_mtime < at - kept_s:
                    file.unlink()
            except FileNotFoundError:  # half a file, whole by now and under another name
                continue


def settle(folder: Path, number: int) -> None:
    """A worker is over: what it counted stays, what it had open counts no more. For its parent, in its absence."""
    file = folder / _TOTALS / f"{number}.json"
    try:
        (folder / _BOARDS / f"{number}.json").unlink(missing_ok=True)  # its calls are over with it
        if (totals := _read(file)) is not None:
            _replace(file, _encoded(counted(totals)), number)
    except OSError as error:
        _logger.warning("workers.totals_not_kept", why=error.strerror)


class SharedTokens:
    """The tokens that were used at any worker."""

    def __init__(self, worker: Worker) -> None:
        self._folder = Path(worker.folder) / _TOKENS

    def spend(self, nonce: str) -> bool:
        """Whether this token is used for the first time; False, too, where that cannot be known. See relay.gate."""
        try:
            (self._folder / nonce).touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            return False
        except OSError as error:
            _logger.error("workers.token_not_kept", why=error.strerror, consequence="The call is refused.")
            return False
        return True


class SharedEndings:
    """How the latest calls ended, whichever worker carried them. See admin.services.telephone.outcomes.Endings.

    An ending is there for all as soon as `offer` returns, so before the call's socket begins to close.
    """

    def __init__(self, worker: Worker) -> None:
        self._folder, self._number = Path(worker.folder) / _ENDINGS, worker.number

    def offer(self, call_sid: str, event: LogEvent) -> None:
        """See Endings."""
        ending = ending_of(event)
        if ending is None or not call_sid:
            return
        try:
            _replace(self._file_of(call_sid), msgspec.json.encode(ending), self._number)
        except OSError as error:
            _logger.error("workers.ending_not_kept", call_sid=call_sid, why=error.strerror)

    def find(self, call_sid: str) -> Ending | None:
        """See Endings."""
        try:
            return msgspec.json.decode(self._file_of(call_sid).read_bytes(), type=Ending)
        except FileNotFoundError:
            return None

    def _file_of(self, call_sid: str) -> Path:
        return self._folder / _hashed(call_sid)


class SharedTotals:
    """What this worker has counted, and all of them together.

    `own` goes on where the worker before this one stopped, so that no counter falls when one dies.
    """

    def __init__(self, worker: Worker) -> None:
        self._folder, self._number = Path(worker.folder) / _TOTALS, worker.number
        self._file = self._folder / f"{worker.number}.json"
        self.own = _read(self._file) or Totals()

    def offer(self, call_sid: str, event: LogEvent) -> None:  # noqa: ARG002 - a relay.CallLog
        """Write as a call begins and ends: should this worker die, these are known."""
        if isinstance(event, CallStarted | CallEnded):
            self.write()

    def write(self) -> None:
        """Let the others see what was counted so far."""
        try:
            _replace(self._file, _encoded(self.own), self._number)
        except OSError as error:
            _logger.warning("workers.totals_not_kept", why=error.strerror)

    def merged(self) -> Totals:
        """All workers' together; the others' as they last wrote them. Ours is written, too: what a scrape has shown
        must not be forgotten.
        """
        self.write()
        read = (_read(file) for file in self._folder.glob("*.json"))
        return merged(each for each in read if each is not None)


class SharedBoards:
    """What each worker shows the others of its calls in progress. See admin.services.live.live_exchange.Exchange."""

    def __init__(self, worker: Worker) -> None:
        self._boards, self._rung = Path(worker.folder) / _BOARDS, Path(worker.folder) / _RUNG
        self._number, self._file = worker.number, Path(worker.folder) / _BOARDS / f"{worker.number}.json"
        self._seen: dict[str, tuple[tuple[int, int], bytes]] = {}  # when and where each was written, and what

    def note(self, call_sid: str, rung: bytes) -> None:
        """See Exchange."""
        try:
            _replace(self._rung / _hashed(call_sid), rung, self._number)
        except OSError as error:
            _logger.error("workers.rung_not_kept", call_sid=call_sid, why=error.strerror)

    def noted(self, call_sid: str) -> bytes | None:
        """See Exchange."""
        try:
            return (self._rung / _hashed(call_sid)).read_bytes()
        except OSError:
            return None

    def publish(self, board: bytes) -> None:
        """See Exchange."""
        try:
            _replace(self._file, board, self._number)
        except OSError as error:
            _logger.warning("workers.board_not_kept", why=error.strerror)

    def boards(self) -> dict[str, bytes]:
        """See Exchange."""
        files = [file for file in self._boards.glob("*.json") if file != self._file]
        read = {file.stem: self._read(file) for file in files}
        self._seen = {source: each for source, each in read.items() if each is not None}
        return {source: content for source, (_, content) in self._seen.items()}

    def _read(self, file: Path) -> tuple[tuple[int, int], bytes] | None:
        try:
            stat = file.stat()
            written, known = (stat.st_mtime_ns, stat.st_ino), self._seen.get(file.stem)
            return known if known is not None and known[0] == written else (written, file.read_bytes())
        except OSError:  # its worker has died
            return None


def _read(file: Path) -> Totals | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Totals, dec_hook=_to_counter)
    except FileNotFoundError:
        return None


def _encoded(totals: Totals) -> bytes:
    return msgspec.json.encode(totals)


def _hashed(call_sid: str) -> str:
    """As a file's name; the CallSid itself comes from the other end of a socket."""
    return hashlib.sha256(call_sid.encode()).hexdigest()


def _to_counter(_: type, counts: Any) -> Counter[str]:
    return Counter(counts)


def _replace(file: Path, content: bytes, number: int) -> None:
    """number: of the worker, so that no two write the same half."""
    part = file.with_name(f"{file.name}.{number}.part")
    part.write_bytes(content)
    part.replace(file)

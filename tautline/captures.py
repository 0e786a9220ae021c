"""The folder of captured calls: one file per call, written beside the calls by a thread now and then.

Takes the lines that each call's `Capture` holds ready and appends them. A file that cannot be written, or grows too
long, is cut short and says so in the log; the call goes on. Files are for their owner's eyes only, and nobody deletes
them.
"""

import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path

import structlog
import trio

from relay import Capture

WRITE_EVERY_S = 0.25
MAX_FILE_BYTES = 256 * 1024 * 1024  # some two hours of a call without its audio

_logger = structlog.stdlib.get_logger("tautline.captures")


class CaptureFolder:
    """Captures every call into a folder.

    Args: folder, made when the first call is written, None to capture nothing; version, of the program;
    keeps_private, whether audio, words and pressed keys are kept.
    """

    def __init__(self, folder: Path | None, *, version: str, keeps_private: bool = False) -> None:
        self._folder, self._version, self._keeps_private = folder, version, keeps_private
        self._files: list[_CallFile] = []  # of the calls in progress
        self._opened = trio.Event()
        self.cut = 0  # how many files end before their call

    def open(self) -> Capture | None:
        """What records the next call. No I/O in here."""
        if self._folder is None:
            return None
        capture = Capture(version=self._version, keeps_private=self._keeps_private)
        self._files.append(_CallFile(self._folder, capture))
        self._opened.set()
        return capture

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write inside this context, and what is left when it ends; a call still in progress then breaks off."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_on)
                yield
                nursery.cancel_scope.cancel()
        finally:
            for file in self._files:
                file.close()
            self._write()  # at once: nobody is left who would have to wait

    async def _write_on(self) -> None:
        while True:
            await self._opened.wait()
            await trio.sleep(WRITE_EVERY_S)
            await trio.to_thread.run_sync(self._write)
            if not self._files:
                self._opened = trio.Event()

    def _write(self) -> None:
        for file in self._files[:]:
            if file.write():
                self._files.remove(file)
                self.cut += file.is_cut


class _CallFile:
    """One call's file. It is made when the call's name is known, or the call is over without one."""

    def __init__(self, folder: Path, capture: Capture) -> None:
        self._folder, self._capture = folder, capture
        self._began = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self._lines: list[bytes] = []  # until there is a file
        self._file: FileIO | None = None
        self._size_bytes = 0
        self._is_torn = False  # the file may end within a line: nothing must follow

    @property
    def is_cut(self) -> bool:
        """The file ends before its call."""
        return bool(self._capture.cut)

    def close(self) -> None:
        """The next write is the last."""
        self._capture.close()

    def write(self) -> bool:
        """Write what waits; tell whether that was the last."""
        is_last = self._capture.is_closed  # asked first: what comes while we write is not the last
        try:
            self._lines += self._capture.take()
            if self._lines and (self._capture.call_sid or is_last):
                self._append(b"".join(self._lines))
                self._lines.clear()
        except Exception as error:  # of one file; neither the other files nor any call has a part in it
            self._give_up(error)
        if is_last:
            self._finish()
        return is_last

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._file = self._create()
        if self._size_bytes + len(data) > MAX_FILE_BYTES:
            self._capture.cut_short(f"the file would be longer than {MAX_FILE_BYTES} bytes")
            return
        if self._file.write(data) != len(data):
            raise OSError("only a part could be written")
        self._size_bytes += len(data)

    def _give_up(self, error: Exception) -> None:
        self._lines.clear()
        self._is_torn = True
        self._capture.cut_short("the file could not be written")
        _logger.warning("capture.failed", call_sid=self._capture.call_sid, error=repr(error))

    def _finish(self) -> None:
        capture = self._capture
        try:
            if self._file is not None:
                with self._file:
                    if capture.cut and not self._is_torn:
                        self._file.write(capture.last_line())
        except OSError as error:
            self._give_up(error)
        if capture.cut:
            _logger.warning("capture.cut", call_sid=capture.call_sid, why=capture.cut, steps_lost=capture.steps_lost)

    def _create(self) -> FileIO:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The name comes from the other end of a socket: letters and digits only, and not many.
        name = re.sub(r"[^A-Za-z0-9]", "", self._capture.call_sid)[:40] or "unknown"
        # Exclusive: two calls of one name in one second are told apart by a number.
        for number in range(1, 1000):
            path = self._folder / f"{self._began}-{name}{f'-{number}' if number > 1 else ''}.jsonl"
            try:
                # Unbuffered: each write is a whole batch, and what is written is there after a crash.
                return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb", buffering=0)
            except FileExistsError:
                continue
        raise FileExistsError(f"too many captures are called {name}")

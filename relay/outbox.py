"""What waits to be written to one socket, bounded in bytes. Pure.

Frames leave in order. What has been handed to the kernel in part is never changed again; of the rest, audio can be
dropped: the oldest when the outbox is full (`sheds_audio`), or all of it when it was overtaken by a clear.
"""

from collections import deque

MAX_WRITE_BYTES = 64 * 1024


class OutboxFull(Exception):  # noqa: N818 - named like queue.Full: a state, not a fault
    """A frame does not fit, and nothing may be dropped for it."""


class Outbox:
    """WebSocket frames on their way to the kernel."""

    def __init__(self, limit_bytes: int, *, sheds_audio: bool) -> None:
        self._limit_bytes, self._sheds_audio = limit_bytes, sheds_audio
        self._frames: deque[tuple[bytes, bool]] = deque()  # frame, is it audio
        self._writing = b""  # given out by next_write, not yet written
        self.size_bytes = 0
        self.bytes_written = 0
        self.dropped_audio_frames = 0

    def put(self, frame: bytes, *, is_audio: bool = False) -> None:
        """Queue one frame.

        Raises: OutboxFull when there is no room, even after dropping what may be dropped.
        """
        if self.size_bytes + len(frame) > self._limit_bytes:
            self._make_room(len(frame))
        self._frames.append((frame, is_audio))
        self.size_bytes += len(frame)

    def discard_audio(self) -> None:
        """Drop all audio that has not been given out yet; it has been overtaken."""
        kept = [(frame, is_audio) for frame, is_audio in self._frames if not is_audio]
        self._frames = deque(kept)
        self.size_bytes = len(self._writing) + sum(len(frame) for frame, _ in kept)

    def next_write(self) -> bytes:
        """What to write next, b"" for nothing. The same bytes again until `written` says some are gone."""
        if not self._writing and self._frames:
            self._writing = self._take()
        return self._writing

    def written(self, nbytes: int) -> None:
        """The kernel took the first `nbytes` of the last `next_write`."""
        self.size_bytes -= nbytes
        self.bytes_written += nbytes
        self._writing = self._writing[nbytes:] if nbytes < len(self._writing) else b""

    def _take(self) -> bytes:
        if len(self._frames) == 1:
            return self._frames.popleft()[0]
        taken, size_bytes = [], 0
        while self._frames and size_bytes < MAX_WRITE_BYTES:
            frame, _ = self._frames.popleft()
            taken.append(frame)
            size_bytes += len(frame)
        return b"".join(taken)

    def _make_room(self, nbytes: int) -> None:
        while self._sheds_audio and self.size_bytes + nbytes > self._limit_bytes:
            oldest = next((index for index, (_, is_audio) in enumerate(self._frames) if is_audio), None)
            if oldest is None:
                break
            self.size_bytes -= len(self._frames[oldest][0])
            del self._frames[oldest]
            self.dropped_audio_frames += 1
        if self.size_bytes + nbytes > self._limit_bytes:
            raise OutboxFull

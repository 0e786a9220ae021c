"""The far playback buffer: what Twilio plays to the caller, sample for sample.

Pure: no I/O, no clock; `now` comes in seconds of one monotonic clock. Audio plays in order at 1x from the moment it
arrives in an empty buffer; marks are entries of the same queue; `clear` empties it. Since the speed never changes, it
is known at once when everything queued will have sounded, so nothing is consumed byte by byte: a *run* of uninterrupted
playback is a start and its bytes, and a clear cuts the last run at the sample that is sounding.
"""

from collections import deque
from typing import Final

import msgspec

from proto import mulaw

BYTES_PER_S: Final = mulaw.SAMPLE_RATE_HZ
# Twilio does not say how much it buffers. Ten minutes is far beyond any answer; more means a relay gone wild.
MAX_QUEUED_S: Final = 600.0
MAX_MARKS: Final = 10_000
_SAMPLE_TOLERANCE: Final = 1e-4  # 12 ns: more than floats lose on a monotonic clock, far less than one sample


class PlayoutOverflowError(Exception):
    """More was queued than this buffer takes. Nothing of what did not fit was kept."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """Audio that sounded without a gap."""

    start_s: float
    audio: bytes  # μ-law

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.audio) / BYTES_PER_S


class Echo(msgspec.Struct, frozen=True, gc=False):
    """A mark that is due back: everything before it was played, or thrown away by a clear."""

    name: str
    due_s: float


class Clearing(msgspec.Struct, frozen=True, gc=False):
    """What a clear did. `heard_bytes` counts from when the buffer was last empty."""

    dropped_bytes: int
    heard_bytes: int


class Playout:
    """One stream's buffer and its record of what was heard. Calls must not go back in time (ValueError)."""

    def __init__(self) -> None:
        self._finished: list[Run] = []  # runs that were over when the next one began
        self._finished_bytes = 0
        self._start_s = 0.0  # of the last run
        self._audio = bytearray()  # of the last run: heard, sounding and still to come
        self._marks: deque[Echo] = deque()  # due times never fall along the queue
        self._now = float("-inf")

    def queue(self, audio: bytes, now: float) -> None:
        """Audio arrives. Raises: PlayoutOverflowError beyond `MAX_QUEUED_S` of audio still to be played."""
        self._move_to(now)
        if max(0.0, self._end_s - now) + len(audio) / BYTES_PER_S > MAX_QUEUED_S:
            raise PlayoutOverflowError(f"more than {MAX_QUEUED_S:.0f} s of audio were sent ahead")
        if audio and self._is_idle(now):
            self._begin_run(max(now, self._end_s))
        self._audio += audio

    def mark(self, name: str, now: float) -> None:
        """A mark arrives: due when all audio before it was played, now if that is so already. Raises: as `queue`."""
        self._move_to(now)
        if len(self._marks) >= MAX_MARKS:
            raise PlayoutOverflowError(f"more than {MAX_MARKS} marks were sent ahead")
        self._marks.append(Echo(name, now if self._is_idle(now) else self._end_s))

    def clear(self, now: float) -> Clearing:
        """Fall silent at once. Marks that were waiting become due now, in order."""
        self._move_to(now)
        heard = self._heard_of_last(now)
        clearing = Clearing(dropped_bytes=len(self._audio) - heard, heard_bytes=0 if self._is_idle(now) else heard)
        del self._audio[heard:]
        self._marks = deque(Echo(mark.name, min(mark.due_s, now)) for mark in self._marks)
        return clearing

    def advance(self, now: float) -> list[Echo]:
        """The marks that became due up to now, oldest first, each told once."""
        self._move_to(now)
        due = []
        while self._marks and self._marks[0].due_s <= now:
            due.append(self._marks.popleft())
        return due

    def next_echo_at(self) -> float | None:
        """When the oldest waiting mark is due."""
        return self._marks[0].due_s if self._marks else None

    def heard_bytes(self, now: float) -> int:
        """How many bytes have sounded until now, in all runs."""
        return self._finished_bytes + self._heard_of_last(now)

    def heard(self, now: float) -> list[Run]:
        """What sounded and when, until now; runs follow each other and never overlap."""
        last = bytes(self._audio[: self._heard_of_last(now)])
        return [*self._finished, Run(self._start_s, last)] if last else list(self._finished)

    def is_silent_from(self, at: float) -> bool:
        """Whether nothing sounds after `at`, as long as nothing more arrives."""
        return self._end_s <= at

    def sounding(self, now: float, span_s: float) -> bytes:
        """What sounded in the last `span_s` seconds, without the gaps."""
        since = now - span_s
        if self._end_s <= since:
            return b""
        latest = bytes(self._audio[_bytes_until(since - self._start_s) : self._heard_of_last(now)])
        if since >= self._start_s:
            return latest
        parts = [latest]
        for run in reversed(self._finished):
            if run.end_s <= since:
                break
            parts.insert(0, run.audio[_bytes_until(since - run.start_s) :])
        return b"".join(parts)

    def heard_track(self, duration_s: float, *, zero_s: float = 0.0) -> bytes:
        """What was heard in `duration_s` seconds from `zero_s` on, 0xFF where nothing played. See `track_of`."""
        return track_of(self.heard(zero_s + duration_s), duration_s, zero_s=zero_s)

    @property
    def _end_s(self) -> float:
        return self._start_s + len(self._audio) / BYTES_PER_S

    def _is_idle(self, now: float) -> bool:
        return self._heard_of_last(now) == len(self._audio)

    def _begin_run(self, now: float) -> None:
        if self._audio:
            self._finished.append(Run(self._start_s, bytes(self._audio)))
            self._finished_bytes += len(self._audio)
        self._start_s, self._audio = now, bytearray()

    def _heard_of_last(self, now: float) -> int:
        return min(_bytes_until(now - self._start_s), len(self._audio))

    def _move_to(self, now: float) -> None:
        if now < self._now:
            raise ValueError(f"playback cannot go back from {self._now} s to {now} s")
        self._now = now


def track_of(runs: list[Run], duration_s: float, *, zero_s: float = 0.0) -> bytes:
    """Runs laid out on one clock: byte n is what sounded at `zero_s + n / 8000`, 0xFF where nothing did.

    Args: runs, in order and without overlap, s; duration_s, what is asked for; zero_s, the clock's zero.
    Returns: μ-law, `round(duration_s * 8000)` bytes. A run begins at the sample nearest to its start.
    """
    track = bytearray(mulaw.silence(1)[:1] * round(duration_s * BYTES_PER_S))
    free = 0  # rounding may not let a run begin inside the one before
    for run in runs:
        skipped = max(0, -round((run.start_s - zero_s) * BYTES_PER_S))  # sounded before the clock's zero
        at = max(free, round((run.start_s - zero_s) * BYTES_PER_S))
        audio = run.audio[skipped : skipped + max(0, len(track) - at)]
        track[at : at + len(audio)] = audio
        free = at + len(audio)
    return bytes(track)


def _bytes_until(seconds: float) -> int:
    """Whole samples in this time, at least none."""
    return max(0, int(seconds * BYTES_PER_S + _SAMPLE_TOLERANCE))

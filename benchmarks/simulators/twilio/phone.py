"""The caller's telephone while no stream carries the call: what sounds in it, what is said and pressed, who leaves.

The verbs that play, listen or wait run on it, 20 ms at a time. It knows the clock (it sleeps from frame to frame) but
no socket.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

from benchmarks.simulators.twilio import events
from benchmarks.simulators.twilio.caller import Caller
from benchmarks.simulators.twilio.level import is_speech
from benchmarks.simulators.twilio.line import FRAME_S
from benchmarks.simulators.twilio.playout import Run
from benchmarks.simulators.twilio.report import CallRecord, EndedBy
from proto import mulaw

SILENT_FRAME: Final = mulaw.silence(mulaw.FRAME_MS)


def frames_in(seconds: float) -> int:
    """Whole frames, the last one begun."""
    return round(seconds / FRAME_S + 0.49)


class Phone:
    """One caller's telephone.

    Attributes: left_by, why nothing more can happen on this line, None while it can; keys, pressed and not yet taken.
    """

    def __init__(self, caller: Caller, record: CallRecord, observe: events.Observer, max_seconds: float) -> None:
        self.left_by: EndedBy | None = None
        self.keys = ""
        self._caller, self._record, self._observe = caller, record, observe
        self._max_seconds = max_seconds
        self._began_at = 0.0
        self._ticks = 0
        self._said = bytearray()
        self._heard: list[tuple[float, bytearray]] = []  # stretches without a gap, by their beginning
        self._heard_until = 0  # the tick with which the last stretch ended
        self._heard_earlier_bytes = 0

    @property
    def ends_at(self) -> float:
        """The call's time limit."""
        return self._record.zero_s + self._max_seconds

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Ticks count from here; afterwards what was said and heard is on the record."""
        self._began_at, self._ticks = trio.current_time(), 0
        self._said, self._heard = bytearray(), []
        self._heard_earlier_bytes = self._record.heard_bytes
        try:
            yield
        finally:
            if self._said:
                self._record.sent.append(Run(self._began_at, bytes(self._said)))
            self._record.heard += [Run(began_at, bytes(audio)) for began_at, audio in self._heard]

    async def tick(self, heard: bytes = b"", *, speech: bool = False) -> bytes:
        """Pass 20 ms. Only inside `in_use`, and only while nobody has left.

        Args: heard, what sounds at the caller's ear; speech, whether a voice does that is not in `heard`.
        Returns: what the caller says meanwhile, 160 bytes.
        """
        began_at = self._began_at + self._ticks * FRAME_S
        self._ticks += 1
        tick = min(self._began_at + self._ticks * FRAME_S, self.ends_at)
        await trio.sleep_until(tick)
        if heard:
            self._hear(heard, began_at)
        frame = self._listen(self._record.at_ms(tick), speech or is_speech(heard))
        self._said += frame
        if tick >= self.ends_at and self.left_by is None:
            self.left_by = "time_limit"
        return frame

    async def wait(self, seconds: float, *, speech: bool = False, until_key: bool = False) -> None:
        """Pass this much time, or less: until somebody leaves or, if asked for, a key is pressed."""
        for _ in range(frames_in(seconds)):
            if self.left_by is not None or (until_key and self.keys):
                return
            await self.tick(speech=speech)

    async def play(self, audio: bytes, *, until_key: bool = False) -> None:
        """Let the caller hear this; ends early as `wait` does."""
        for at in range(0, len(audio), mulaw.FRAME_BYTES):
            if self.left_by is not None or (until_key and self.keys):
                return
            await self.tick(audio[at : at + mulaw.FRAME_BYTES].ljust(mulaw.FRAME_BYTES, SILENT_FRAME[:1]))

    def take_keys(self) -> str:
        """The keys pressed since they were last taken."""
        keys, self.keys = self.keys, ""
        return keys

    def _listen(self, until_ms: int, hearing: bool) -> bytes:
        heard_ms = mulaw.duration_ms(self._heard_earlier_bytes + sum(len(audio) for _, audio in self._heard))
        frame = self._caller.frame(until_ms - mulaw.FRAME_MS, hearing=hearing, heard_ms=heard_ms)
        for key in self._caller.keys:
            self._observe(events.KeyPressed(at_ms=until_ms, digit=key))
            self.keys += key
        if self._caller.hung_up and self.left_by is None:
            self.left_by = "caller"
        return frame or SILENT_FRAME

    def _hear(self, audio: bytes, began_at: float) -> None:
        if self._heard and self._heard_until == self._ticks - 1:
            self._heard[-1][1].extend(audio)
        else:
            self._heard.append((began_at, bytearray(audio)))
        self._heard_until = self._ticks

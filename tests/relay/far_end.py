"""Twilio's end of a call as the model of a call has it: it plays what arrives, so that what was really heard is known.

No I/O and no clock. Positions are bytes of μ-law, a byte is a sample; times are s.
"""

from collections import deque
from copy import deepcopy
from dataclasses import dataclass
from math import inf

from benchmarks.simulators.twilio.playout import Playout
from proto import twilio
from relay.playout import Key


@dataclass(eq=False)
class Part:
    """One content part, from its first audio that was let through until it is settled."""

    key: Key
    opened: int = 0  # the how-manieth part to be begun, or begun again after its end
    received: int = 0
    sent: int = 0
    heard: int = 0  # really, at the far end
    end: int = 0  # stream position after its last byte that was sent
    is_open: bool = True


@dataclass
class Stretch:
    """Bytes that follow each other in the stream; part: whose, None for padding."""

    part: Part | None
    nbytes: int


def take(stretches: deque[Stretch], nbytes: int) -> list[Stretch]:
    """Cut this much off the front."""
    taken = []
    while nbytes:
        first = stretches[0]
        cut = Stretch(first.part, min(first.nbytes, nbytes))
        first.nbytes -= cut.nbytes
        nbytes -= cut.nbytes
        taken.append(cut)
        if not first.nbytes:
            stretches.popleft()
    return taken


class FarEnd:
    """Twilio's end: a message arrives `sending_s` after it was sent, an echo `echoing_s` after its mark was played."""

    def __init__(self, sending_s: float) -> None:
        self.sending_s = sending_s
        self.echoing_s = 0.0
        self.echoes_to_lose = 0
        self._buffer = Playout()
        self._under_way: deque[tuple[float, twilio.Outbound, list[Stretch]]] = deque()
        self._queued: deque[Stretch] = deque()  # in the buffer, and not yet counted as heard
        self._heard = 0
        self._echoes: deque[tuple[float, str]] = deque()

    def send(self, message: twilio.Outbound, stretches: list[Stretch], now: float) -> None:
        self._under_way.append((now + self.sending_s, message, stretches))

    @property
    def next_change_at(self) -> float:
        """When the next message arrives, the next mark is played, or the next echo is back at the relay."""
        mark_at = self._buffer.next_echo_at()
        return min(
            self._under_way[0][0] if self._under_way else inf,
            inf if mark_at is None else mark_at,
            self._echoes[0][0] if self._echoes else inf,
        )

    def move_to(self, now: float) -> None:
        while self._under_way and self._under_way[0][0] <= now:
            at, message, stretches = self._under_way.popleft()
            self._count_heard(at)
            self._arrive(message, stretches, at)
        self._count_heard(now)
        for echo in self._buffer.advance(now):
            if self.echoes_to_lose:
                self.echoes_to_lose -= 1
                continue
            at_least = self._echoes[-1][0] if self._echoes else 0.0
            self._echoes.append((max(at_least, echo.due_s + self.echoing_s), echo.name))

    def returned(self, now: float) -> list[str]:
        """The names of the marks that are back."""
        names = []
        while self._echoes and self._echoes[0][0] <= now:
            names.append(self._echoes.popleft()[1])
        return names

    def heard_by_a_clear(self, now: float) -> dict[Key, int]:
        """How much will have been heard, of parts that may still sound, when a clear sent now arrives."""
        foreseen = deepcopy(self)
        stretches = [*foreseen._queued, *(stretch for _, _, sent in foreseen._under_way for stretch in sent)]
        foreseen.move_to(now + self.sending_s)
        return {stretch.part.key: stretch.part.heard for stretch in stretches if stretch.part}

    def _arrive(self, message: twilio.Outbound, stretches: list[Stretch], now: float) -> None:
        match message:
            case twilio.Play(media=body):
                self._buffer.queue(body.payload, now)
                self._queued += stretches
            case twilio.SendMark(mark=body):
                self._buffer.mark(body.name, now)
            case twilio.Clear():
                self._buffer.clear(now)
                self._queued.clear()

    def _count_heard(self, now: float) -> None:
        heard = self._buffer.heard_bytes(now)
        for stretch in take(self._queued, heard - self._heard):
            if stretch.part:
                stretch.part.heard += stretch.nbytes
        self._heard = heard

"""A telephone network and an Internet that are not ideal: what they do to one call's stream, decided frame by frame.

Pure and seeded: the same seed loses the same frames. Two stretches are modelled. Between caller and Twilio, frames are
lost, late or never sent; between Twilio and the relay, everything takes its time but stays in order, as TCP has it.
"""

from collections import deque
from random import Random
from typing import Final, Generic, TypeVar

import msgspec

NEVER: Final = float("inf")
T = TypeVar("T")


class Span(msgspec.Struct, frozen=True):
    """A stretch of time, from the stream's beginning."""

    at_ms: int
    ms: int

    def __post_init__(self) -> None:
        if self.at_ms < 0 or self.ms <= 0:
            raise ValueError(f"{self.ms} ms at {self.at_ms} ms is no stretch of a stream")

    def holds(self, at_ms: float) -> bool:
        return self.at_ms <= at_ms < self.at_ms + self.ms


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong on the way. Times count from each stream's beginning. Raises: ValueError if out of range."""

    # Between the caller and Twilio.
    loss: float = 0.0  # share of the caller's frames that never arrive; their timestamps are missing then
    jitter_ms: float = 0.0  # a frame is up to this late; the ones behind it wait, none overtakes
    gaps: tuple[Span, ...] = ()  # nothing arrives from the caller
    silence_suppression: bool = False  # the carrier sends no frames while the caller is silent
    # Between Twilio and the relay.
    to_relay_ms: float = 0.0
    to_twilio_ms: float = 0.0
    reading_stops: tuple[Span, ...] = ()  # Twilio's end does not read: what the relay sends piles up
    vanishes_at_ms: int | None = None  # from here on Twilio's end is gone, without a FIN: a half-open socket
    mark_delay_ms: float = 0.0  # echoes come back this much later than the audio ended
    mark_loss: float = 0.0  # share of echoes that never come back

    def __post_init__(self) -> None:
        if not (0 <= self.loss <= 1 and 0 <= self.mark_loss <= 1):
            raise ValueError("a loss is a share between 0 and 1")
        if min(self.jitter_ms, self.to_relay_ms, self.to_twilio_ms, self.mark_delay_ms, self.vanishes_at_ms or 0) < 0:
            raise ValueError("no network delivers before the time")

    @property
    def is_plain(self) -> bool:
        """Nothing is left to chance and nothing is late; at most the carrier suppresses silence."""
        return self == Network(silence_suppression=self.silence_suppression, reading_stops=self.reading_stops)


class Carrier:
    """What becomes of each of a stream's frames and marks."""

    def __init__(self, network: Network, random: Random) -> None:
        self._network, self._random = network, random
        self._is_perfect = network.is_plain and not network.silence_suppression

    def carries(self, at_ms: int, *, speaking: bool) -> bool:
        """Whether the frame that begins at `at_ms` arrives. `speaking`: the caller is, or was a moment ago."""
        if self._is_perfect:
            return True
        is_lost = self._random.random() < self._network.loss  # drawn for every frame: gaps change no later fate
        suppressed = self._network.silence_suppression and not speaking
        return not (is_lost or suppressed or any(gap.holds(at_ms) for gap in self._network.gaps))

    def lateness_s(self) -> float:
        """How much later than its time a frame arrives."""
        return 0.0 if self._is_perfect else self._random.random() * self._network.jitter_ms / 1000

    def loses_mark(self) -> bool:
        return self._random.random() < self._network.mark_loss


class Pipe(Generic[T]):
    """A way that takes time and keeps the order. Its depth is bounded by what its two ends bound: time and calls."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, T]] = deque()
        self._last_arrival = -NEVER

    def put(self, item: T, now: float, *, late_s: float = 0.0) -> None:
        """Send something: it arrives after the delay, `late_s` more, and never before what was sent earlier."""
        self._last_arrival = max(self._last_arrival, now + self._delay_s + late_s)
        self._waiting.append((self._last_arrival, item))

    def take(self, now: float) -> list[T]:
        """What has arrived until now, in order."""
        arrived = []
        while self._waiting and self._waiting[0][0] <= now:
            arrived.append(self._waiting.popleft()[1])
        return arrived

    def next_at(self) -> float:
        """When the next item arrives, `NEVER` if none is under way."""
        return self._waiting[0][0] if self._waiting else NEVER

    def drop(self) -> None:
        """Nothing of what is under way arrives."""
        self._waiting.clear()

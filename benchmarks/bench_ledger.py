"""Cost of the playout ledger: audio pushed, a mark that comes back, the position asked for; early and after an hour.

Budget: p99 under 30, 100 and 200 µs, about ten times the medians; and audio and marks cost at most 1.25 times as much
in a call of an hour as in one that has just begun (the ratio of the medians, in turns): the ledger must not grow slower
with a call. Run: python -m benchmarks.bench_ledger. Prints one JSON line.

The agent never stops, 10 s an item, in deltas of 20 ms; each mark comes back when its audio was played. The position is
what an interruption asks for, with a second of audio that is not confirmed.
"""

import gc
from collections import deque
from time import perf_counter_ns
from typing import Final

import numpy as np

from benchmarks import samples
from benchmarks.measuring import BLOCK, Benchmark, Figures, Nanoseconds, alone, beside, report, times_ns
from proto import mulaw
from relay.playout import Key, MarkName, Outgoing, Playout

CLAIM: Final = "the ledger takes 30 µs for audio, 100 for a mark, 200 for the position (p99), as quickly after an hour"
PUSH_BUDGET_US: Final = 30.0
ECHO_BUDGET_US: Final = 100.0
POSITION_BUDGET_US: Final = 200.0
FLAT_BUDGET: Final = 1.25
COUNT: Final = 180_000  # frames: an hour
ITEM_FRAMES: Final = 500
UNCONFIRMED_FRAMES: Final = 50
PEER: Final = "a young call's"
FRAME_S: Final = mulaw.FRAME_MS / 1000
LINE_S: Final = 0.1  # a mark's way there and back


def measure(count: int) -> Figures:
    """After `count` frames; at least 100, so that marks come back in the tenth that is timed then."""
    old, young = _Speech(), _Speech()
    old.go_on(count)
    young.go_on(count // 10)
    gc.collect()
    for call in (old, young):
        call.forget_times()
    for _ in range(0, count // 10, BLOCK):
        for call in (old, young):
            call.go_on(BLOCK)
    asked_ns = times_ns(_ask, [_sounding() for _ in range(max(10, count // 100))])
    return (
        alone("ledger: audio sent, 20 ms", young.push_ns, budget_us=PUSH_BUDGET_US),
        alone("ledger: a mark comes back", young.echo_ns, budget_us=ECHO_BUDGET_US),
        alone("ledger: position asked for", asked_ns, budget_us=POSITION_BUDGET_US),
        beside("ledger: audio, after an hour", old.push_ns, PEER, young.push_ns, budget=FLAT_BUDGET),
        beside("ledger: mark, after an hour", old.echo_ns, PEER, young.echo_ns, budget=FLAT_BUDGET),
    )


class _Speech:
    """A ledger, the agent that speaks without end, and the far end that plays it."""

    def __init__(self) -> None:
        self._playout = Playout()
        self._audio = samples.audio()
        self._marks: deque[tuple[float, str]] = deque()  # due back, name
        self._frames = 0
        self._key = _key(0)
        self.forget_times()

    @property
    def push_ns(self) -> Nanoseconds:
        """What each delta took."""
        return np.array(self._push_ns, np.int64)

    @property
    def echo_ns(self) -> Nanoseconds:
        """What each mark took that came back."""
        return np.array(self._echo_ns, np.int64)

    def forget_times(self) -> None:
        """Only what comes now counts."""
        self._push_ns: list[int] = []
        self._echo_ns: list[int] = []

    def go_on(self, frames: int) -> None:
        """So many deltas more, one every 20 ms."""
        for _ in range(frames):
            self._frames += 1
            self._speak(self._frames * FRAME_S)

    def _speak(self, now: float) -> None:
        if self._frames % ITEM_FRAMES == 0:
            self._take(self._playout.finish(self._key, now), now)
            self._key = _key(self._frames // ITEM_FRAMES)
        began = perf_counter_ns()
        outgoing = self._playout.push(self._key, self._audio, now)
        self._push_ns.append(perf_counter_ns() - began)
        self._take(outgoing, now)
        while self._marks and self._marks[0][0] <= now:
            _, name = self._marks.popleft()
            began = perf_counter_ns()
            self._playout.echo(name, now)
            self._echo_ns.append(perf_counter_ns() - began)

    def _take(self, outgoing: list[Outgoing], now: float) -> None:
        for piece in outgoing:
            if isinstance(piece, MarkName):
                self._marks.append((now + FRAME_S + LINE_S, piece.name))


def _sounding() -> Playout:
    """A ledger with a second of audio, of which nothing is confirmed."""
    playout = Playout()
    for number in range(UNCONFIRMED_FRAMES):
        playout.push(_key(0), samples.audio(), number * FRAME_S)
    return playout


def _ask(playout: Playout) -> None:
    playout.interrupt(UNCONFIRMED_FRAMES * FRAME_S)


def _key(number: int) -> Key:
    return Key(samples.RESPONSE_ID, f"item_{number}", 0)


BENCHMARK: Final = Benchmark(name="ledger", claim=CLAIM, measure=measure, count=COUNT)

if __name__ == "__main__":
    report(BENCHMARK)

"""Cost of one decision of a call: a caller's frame, a delta of 20 ms, a mark that comes back.

Budget: p99 under 20, 40 and 120 µs, about ten times the medians: what else runs on a shared machine is in the tail.
Run: python -m benchmarks.bench_call_step. Prints one JSON line.

The call is warm: a session is configured, one response runs, every 20 ms a frame and a delta come, and each mark comes
back when its audio has been played. Decoding and encoding are outside; those are bench_decode and bench_encode.
"""

import gc
from collections import deque
from time import perf_counter_ns
from typing import Final

import numpy as np

from benchmarks import samples
from benchmarks.measuring import Benchmark, Figures, Nanoseconds, alone, report
from proto import mulaw, realtime, twilio
from relay.call import Call
from relay.events import Command, Event
from relay.persona import Persona

CLAIM: Final = "a call decides within 20 µs what a frame means, within 40 on a delta, within 120 on a mark (p99)"
MEDIA_BUDGET_US: Final = 20.0
DELTA_BUDGET_US: Final = 40.0
MARK_BUDGET_US: Final = 120.0
COUNT: Final = 20_000
MARK_EVERY_FRAMES: Final = 10
FRAME_S: Final = mulaw.FRAME_MS / 1000
LINE_S: Final = 0.1  # a mark's way there and back

_PCMU: Final = realtime.AudioEnd(realtime.AudioFormat("audio/pcmu"))
_SESSION: Final = realtime.Session(id="sess_1", audio=realtime.SessionAudio(_PCMU, _PCMU))


def measure(count: int) -> Figures:
    """`count` frames and deltas; a tenth as many marks."""
    exchange = _Exchange(warm_call())
    gc.collect()
    for number in range(1, count + MARK_EVERY_FRAMES + 1):
        exchange.frame(number)
    return (
        alone("decide on a caller's frame", exchange.times("media"), budget_us=MEDIA_BUDGET_US),
        alone("decide on a delta, 20 ms", exchange.times("delta"), budget_us=DELTA_BUDGET_US),
        alone("decide on a mark", exchange.times("mark"), budget_us=MARK_BUDGET_US),
    )


def warm_call() -> Call:
    """A call with a configured session, in which a response has just begun."""
    call = Call(Persona(instructions=""), now=0.0)
    body = twilio.StartBody(samples.STREAM_SID, samples.CALL_SID)
    for event in (
        twilio.Start(samples.STREAM_SID, body, sequence_number=1),
        realtime.SessionCreated(_SESSION),
        realtime.SessionUpdated(_SESSION),
        realtime.ResponseCreated(realtime.Response(samples.RESPONSE_ID, "in_progress")),
    ):
        call.handle(event, 0.0)
    return call


class _Exchange:
    """Both peers of a call whose caller and agent speak at once, one frame each every 20 ms."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._audio = samples.audio()
        self._sequence = 1  # of Twilio's last message
        self._marks: deque[tuple[float, str]] = deque()  # due back, name
        self._spent_ns: dict[str, list[int]] = {"media": [], "delta": [], "mark": []}

    def frame(self, number: int) -> None:
        """The next 20 ms."""
        now = number * FRAME_S
        body = twilio.MediaBody(self._audio, timestamp=number * mulaw.FRAME_MS)
        self._time("media", twilio.Media(samples.STREAM_SID, body, self._next()), now)
        delta = realtime.AudioDelta(samples.RESPONSE_ID, samples.ITEM_ID, self._audio)
        for command in self._time("delta", delta, now):
            if isinstance(command, twilio.SendMark):
                self._marks.append((now + FRAME_S + LINE_S, command.mark.name))
        while self._marks and self._marks[0][0] <= now:
            _, name = self._marks.popleft()
            self._time("mark", twilio.Mark(samples.STREAM_SID, twilio.MarkBody(name), self._next()), now)

    def times(self, kind: str) -> Nanoseconds:
        """In ns, of all but the first tenth."""
        spent_ns = self._spent_ns[kind]
        return np.array(spent_ns[len(spent_ns) // 10 :], np.int64)

    def _time(self, kind: str, event: Event, now: float) -> list[Command]:
        began = perf_counter_ns()
        commands = self._call.handle(event, now)
        self._spent_ns[kind].append(perf_counter_ns() - began)
        return commands

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


BENCHMARK: Final = Benchmark(name="call step", claim=CLAIM, measure=measure, count=COUNT)

if __name__ == "__main__":
    report(BENCHMARK)

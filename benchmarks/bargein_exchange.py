"""One caller speaking over one agent, in virtual time: what barge-in decides, and when the caller hears silence.

Composed of the relay's pure parts (detector, pacer, decision), the simulated VAD and the simulated far buffer; no
socket, no task, no real second passes. Every message takes the same time on each of the four ways between phone, relay
and model, and stays in order.
"""

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Final

import msgspec

from benchmarks.simulators.openai.session_config import TurnDetection
from benchmarks.simulators.openai.vad import SpeechStarted, Vad, VadEvent
from benchmarks.simulators.twilio.playout import Playout, Run
from proto import mulaw
from relay.bargein import BargeIn, BargeInPolicy, Decision, needs_detector
from relay.pacer import Chunk, Pacer
from relay.playout import Key
from relay.voice_detector import VoiceDetector

FRAME_S: Final = mulaw.FRAME_MS / 1000
_DETECTION: Final = TurnDetection(type="server_vad", create_response=True, interrupt_response=True)
_ANSWER: Final = Key("resp_1", "item_1", 0)


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take. service_s: what the service adds between its VAD's decision and its event; inf: never."""

    one_way_s: float = 0.040
    service_s: float = 0.0


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. Times in seconds since the caller's audio began; runs: what sounded without a gap."""

    decisions: tuple[tuple[float, Decision], ...]  # "none" left out
    runs: tuple[Run, ...]

    def silent_from(self, onset_s: float) -> float:
        """When the agent, sounding at the onset, was first not heard any more."""
        return next(run.end_s for run in self.runs if run.end_s > onset_s)

    def first(self, decision: Decision, since_s: float = 0.0) -> float:
        """When this was first decided; inf for never."""
        return next((at for at, each in self.decisions if each == decision and at >= since_s), inf)

    def gaps_s(self) -> list[float]:
        """How long the agent was not heard, each time it came back."""
        return [later.start_s - run.end_s for run, later in zip(self.runs, self.runs[1:], strict=False)]


def exchange(policy: BargeInPolicy, caller: bytes, agent: bytes, ways: Ways) -> Heard:
    """Let the caller's audio run while the agent, whose whole answer came at once, speaks.

    Args: caller, agent: μ-law; the agent's should last longer. Without local detection all of it is sent at once.
    """
    return _Exchange(policy, agent, ways).run(caller)


class _Exchange:
    def __init__(self, policy: BargeInPolicy, agent: bytes, ways: Ways) -> None:
        self._policy, self._agent, self._ways = policy, agent, ways
        self._now = 0.0
        self._on_the_way: list[tuple[float, int, Callable[[], None]]] = []
        self._sent = count()  # what arrives at one moment arrives in the order of sending
        self._detector = VoiceDetector()
        self._barge_in = BargeIn(policy)
        self._pacer = Pacer(policy.lead_ms)
        self._vad = Vad(_DETECTION, "audio/pcmu", start_ms=0)
        self._playout = Playout()
        self._is_sounding = True
        self._decisions: list[tuple[float, Decision]] = []

    def run(self, caller: bytes) -> Heard:
        self._answer()
        for number, at in enumerate(range(0, len(caller), mulaw.FRAME_BYTES), start=1):
            frame = caller[at : at + mulaw.FRAME_BYTES]
            self._arrives(number * FRAME_S + self._ways.one_way_s, partial(self._hear, frame))
        until_s = len(caller) / mulaw.SAMPLE_RATE_HZ
        while (due_at := self._next_at()) <= until_s:
            self._now = max(self._now, due_at)
            self._step()
        return Heard(decisions=tuple(self._decisions), runs=tuple(self._playout.heard(max(until_s, self._now))))

    def _next_at(self) -> float:
        arrives_at = self._on_the_way[0][0] if self._on_the_way else inf
        return min(arrives_at, self._barge_in.deadline, self._pacer.deadline)

    def _step(self) -> None:
        while self._on_the_way and self._on_the_way[0][0] <= self._now:
            heappop(self._on_the_way)[2]()
        self._obey(self._barge_in.timeout(self._now))
        self._pace()

    def _arrives(self, at: float, arrive: Callable[[], None]) -> None:
        heappush(self._on_the_way, (at, next(self._sent), arrive))

    def _answer(self) -> None:
        if self._policy.local_detection:
            self._pacer.put(_ANSWER, self._agent)
            self._pace()
        else:
            self._play(self._agent)

    def _pace(self) -> None:
        for piece in self._pacer.due(self._now):
            if isinstance(piece, Chunk):
                self._play(piece.audio)

    def _play(self, audio: bytes) -> None:
        self._arrives(self._now + self._ways.one_way_s, lambda: self._playout.queue(audio, self._now))

    def _hear(self, frame: bytes) -> None:
        """A frame reaches the relay, which sends it on and listens to it."""
        self._arrives(self._now + self._ways.one_way_s, partial(self._append, frame))
        if needs_detector(self._policy):
            is_speaking = self._detector.hear(frame)
            self._obey(self._barge_in.voice(is_speaking, self._now, is_sounding=self._is_sounding, is_greeting=False))

    def _append(self, frame: bytes) -> None:
        """A frame reaches the model."""
        for event in self._vad.feed(frame):
            self._arrives(self._now + self._ways.service_s + self._ways.one_way_s, partial(self._told, event))

    def _told(self, event: VadEvent) -> None:
        if isinstance(event, SpeechStarted):
            self._obey(self._barge_in.speech_started(self._now, is_sounding=self._is_sounding, is_greeting=False))
        else:
            self._obey(self._barge_in.speech_stopped())

    def _obey(self, decision: Decision) -> None:
        if decision == "none":
            return
        self._decisions.append((self._now, decision))
        if decision == "hold":
            self._pacer.hold()
        elif decision == "resume":
            self._pacer.resume()
        else:
            self._is_sounding = False
            self._pacer.clear()
            self._arrives(self._now + self._ways.one_way_s, self._clear)

    def _clear(self) -> None:
        self._playout.clear(self._now)

"""The figures of one call: what was said, how long each answer took and why, what the interruption did."""

import msgspec

from benchmarks.simulators import twilio
from relay import log
from tautline.demo.recorder import Recorder


class Line(msgspec.Struct, frozen=True):
    """One turn of the transcript. heard: None for the caller; for the agent what share of it was heard, 0 to 1."""

    at_ms: float
    speaker: str
    words: str
    heard: float | None


class Answer(msgspec.Struct, frozen=True):
    """One answer's delay, split. model_ms: the caller's turn ended -> first audio from OpenAI; relay_ms: read ->
    queued; playout_ms: sent -> sounding and told."""

    at_ms: float
    model_ms: float
    relay_ms: float
    playout_ms: float | None

    @property
    def total_ms(self) -> float:
        """What the caller waited, as far as the relay can see it."""
        return self.model_ms + self.relay_ms + (self.playout_ms or 0.0)


class Interruption(msgspec.Struct, frozen=True):
    """One barge-in: when the relay learnt of it, where it told the model it was cut, what was really heard."""

    at_ms: float
    clear_ms: float
    truncated_at_ms: int
    really_heard_ms: int


def transcript(recorder: Recorder) -> list[Line]:
    """Both sides in the order in which they began to speak."""
    began = {event.item_id: at_ms for at_ms, event in recorder.of(log.CallerSpoke)}
    began |= {event.item_id: at_ms for at_ms, event in recorder.of(log.AnswerBegan)}
    caller = [
        Line(began.get(event.item_id, at_ms), "caller", event.words, None)
        for at_ms, event in recorder.of(log.CallerTranscribed)
    ]
    agent = [
        Line(began.get(event.item_id, at_ms), "agent", event.words or "", event.heard_ms / event.generated_ms)
        for at_ms, event in recorder.of(log.AgentHeard)
        if event.generated_ms
    ]
    return sorted(caller + agent, key=lambda line: line.at_ms)


def answers(recorder: Recorder) -> list[Answer]:
    """Every answer in order; the first is the greeting."""
    playout_ms = {event.response_id: event.playout_ms for _, event in recorder.of(log.AnswerSounded)}
    return [
        Answer(at_ms, event.model_ms, event.relay_ms, playout_ms.get(event.response_id))
        for at_ms, event in recorder.of(log.AnswerBegan)
    ]


def interruptions(recorder: Recorder) -> list[Interruption]:
    """Every barge-in, paired with what the phone says of the same moment."""
    return [
        Interruption(at_ms, event.clear_ms, event.heard_ms, phone.heard_ms)
        for (at_ms, event), (_, phone) in zip(recorder.of(log.BargedIn), recorder.of(twilio.Cleared), strict=False)
    ]

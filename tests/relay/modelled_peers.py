"""The peers of a modelled call, as hypothesis plays them: what Twilio, OpenAI, the caller and the tools may do.

`Conversation` in test_call_properties.py is made of these; a rule tells one thing that happens.
"""

from itertools import count

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from proto import realtime, twilio
from relay.bargein import BargeInPolicy
from relay.events import Event
from relay.keypad import KeyPolicy
from relay.patience import Limits, SilencePolicy
from relay.persona import Persona
from relay.tools import OnBargeIn, ToolOffer
from tests.relay.call_model import ModelledCall
from tests.relay.sessions_model import Session, marks_of
from tests.relay.wire import CALL, GREETER, HAND_CUT, PERSONA, STREAM

# No two stretches of a second are alike, so that what is lost, doubled or swapped is seen.
VOICE = b"".join((at * at % 65_521).to_bytes(2, "big") for at in range(32_768))

audio_bytes = st.sampled_from([0, 1, 7, 8, 80, 159, 160, 161, 800, 1599, 1600, 1601, 4000]) | st.integers(0, 6000)
long_audio_bytes = st.integers(400, 9000)
some_seconds = st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.2, 0.3, 0.75, 2.0]) | st.floats(0.0, 1.5)
line_delays_s = st.sampled_from([0.0, 0.02, 0.15, 0.3]) | st.floats(0.0, 0.3)
ages = st.sampled_from([0, 0, 0, 1, 2, 5])  # of a response or a part: mostly the last one
PCMU = realtime.AudioEnd(realtime.AudioFormat("audio/pcmu"))
PCM = realtime.AudioEnd(realtime.AudioFormat("audio/pcm"))


def _endless(persona: Persona, **fields: object) -> Persona:
    return msgspec.structs.replace(persona, limits=Limits(max_duration_s=None), **fields)


PERSONAS = [
    _endless(PERSONA),
    _endless(GREETER),
    _endless(HAND_CUT),
    _endless(PERSONA, greeting="Hello there.", greeting_audio=VOICE[:7001], apology_audio=VOICE[9000:16_123]),
    _endless(GREETER, barge_in=BargeInPolicy(local_detection=True), greeting_audio=VOICE[:7001]),
    _endless(GREETER, barge_in=BargeInPolicy(min_speech_ms=300, local_detection=True, protect_greeting=True)),
    _endless(GREETER, barge_in=BargeInPolicy(min_speech_ms=400)),
    _endless(PERSONA, barge_in=BargeInPolicy(enabled=False), dtmf=KeyPolicy(actions={"0": "staff"})),
    _endless(GREETER, silence=SilencePolicy(prompt_after_s=2.0, end_after_prompts=1)),
    msgspec.structs.replace(PERSONA, limits=Limits(max_duration_s=40.0, wrap_up_before_s=25.0)),
]


def _offer(name: str, on_barge_in: OnBargeIn, *, deadline_s: float = 10.0, filler: str = "") -> ToolOffer:
    definition = realtime.FunctionTool(name=name, description="", parameters={})
    return ToolOffer(
        definition=definition, deadline_s=deadline_s, on_barge_in=on_barge_in, filler=filler, filler_after_ms=1500
    )


OFFERS = [
    _offer("look_up", "cancel", filler="One moment."),
    _offer("book", "finish", deadline_s=3.0),
    _offer("note", "detach"),
]


def start_of(stream: str = STREAM, *, inner: str | None = None, sample_rate: int = 8000) -> twilio.Start:
    media_format = twilio.MediaFormat(sample_rate=sample_rate)
    return twilio.Start(
        stream, twilio.StartBody(stream if inner is None else inner, CALL, media_format=media_format), 1
    )


def updated(output: realtime.AudioEnd = PCMU) -> realtime.SessionUpdated:
    return realtime.SessionUpdated(realtime.Session("sess_1", audio=realtime.SessionAudio(PCMU, output)))


def next_step_of(session: Session) -> realtime.SessionCreated | realtime.SessionUpdated | None:
    """What a service says next that gets ready as it should."""
    if not session.is_created:
        return realtime.SessionCreated(realtime.Session())
    return None if session.is_configured else updated()


def error(code: str | None, event_id: str | None = None, kind: str = "") -> realtime.ErrorReported:
    return realtime.ErrorReported(realtime.ErrorDetail(type=kind, code=code, event_id=event_id))


class Peers(RuleBasedStateMachine):
    """A modelled call, and what its peers remember of it."""

    def begin(self, persona: Persona, sending_s: float) -> None:
        self.modelled = ModelledCall(persona, OFFERS, sending_s=sending_s)
        self.is_paced = persona.barge_in.local_detection
        self.said_bytes = 0  # of VOICE, by the agent and the caller
        self.line_ms = 0  # where the caller's stream is
        self.sequence_number = 1
        self.ids = count(1)
        self.session: Session | None = None  # whose are
        self.responses: list[str] = []
        self.parts: list[tuple[str, str, int]] = []  # all content parts, by response, item, content index
        self.finished: set[tuple[str, str, int]] = set()
        self.turn = ""  # the caller's item

    def says(self, *events: Event) -> None:
        for event in events:
            self.modelled.happens(event)
        self._forget_a_lost_session()

    def wait(self, seconds: float, *, is_punctual: bool = True) -> None:
        self.modelled.wait(seconds, is_punctual=is_punctual)
        self._forget_a_lost_session()

    def _forget_a_lost_session(self) -> None:
        """The ids of a session mean nothing in the next one."""
        if self.modelled.sessions.in_use is not self.session:
            self.session = self.modelled.sessions.in_use
            self.responses, self.parts = [], []

    @property
    def is_ready(self) -> bool:
        """A session listens."""
        session = self.modelled.sessions.in_use
        return session is not None and session.is_configured

    def is_set_up(self) -> None:
        """A session is made ready, if one is wanted now."""
        while self.modelled.sessions.in_use and (step := next_step_of(self.modelled.sessions.in_use)):
            self.says(step)

    def both_are_patient(self, seconds: float) -> None:
        """Time passes while OpenAI does what it is asked for at once; only a session beside has to wait."""
        until = self.modelled.now + seconds
        while self.modelled.now < until and not self.modelled.is_over:
            next_at = min(until, max(self.modelled.call.deadline, self.modelled.now))
            self.wait(next_at - self.modelled.now)
            self.is_set_up()
            while self.session is not None and self.session.create is not None:
                self.response_begins(is_ours=True)
                self._last_response_speaks()
            if self.modelled.sessions.beside is not None:
                return

    def _last_response_speaks(self) -> None:
        for response_id in self.responses[-1:]:  # unless its session was lost
            part = (response_id, f"item_{next(self.ids)}", 0)
            self.delta(part, 2000)
            self.part_is_done(part)
            self.says(realtime.ResponseDone(realtime.Response(response_id, "completed")))

    def voice(self, nbytes: int) -> bytes:
        at = self.said_bytes % (len(VOICE) - 20_000)
        self.said_bytes += nbytes
        return VOICE[at : at + nbytes]

    def response_begins(self, *, is_ours: bool) -> None:
        """One that we asked for, if there is one; else one of the service's own."""
        self.responses.append(f"resp_{next(self.ids)}")
        create = self.modelled.sessions.in_use.create if self.modelled.sessions.in_use else None
        metadata = dict(marks_of(create)) if is_ours and create is not None else None
        self.says(realtime.ResponseCreated(realtime.Response(self.responses[-1], "in_progress", metadata=metadata)))

    def response_of_age(self, age: int) -> str:
        return self.responses[-1 - age % len(self.responses)]

    def part_of_age(self, age: int) -> tuple[str, str, int]:
        return self.parts[-1 - age % len(self.parts)]

    def delta(self, part: tuple[str, str, int], nbytes: int) -> None:
        if part in self.finished and self.is_paced:
            return  # what comes of a part after its end is dropped only once that was heard, which pacing moves
        response_id, item_id, content_index = part
        self.says(realtime.AudioDelta(response_id, item_id, self.voice(nbytes), content_index))

    def part_is_done(self, part: tuple[str, str, int]) -> None:
        self.finished.add(part)
        self.says(realtime.AudioDone(*part))

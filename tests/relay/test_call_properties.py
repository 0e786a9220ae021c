"""Any call: whatever both peers say, in whatever order and at whatever times, the call keeps its promises.

What the promises are stands in `call_model`. `TAUTLINE_LONG_CALLS=20000` tries that many calls of each kind, and other
ones each time.
"""

import os
from itertools import count
from math import inf

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from proto import realtime, twilio
from proto.errors import Peer
from relay.call import MAX_UNKNOWN_KINDS_LOGGED, MAX_WORDS_ITEMS
from relay.events import Abort, Event, Malformed, SocketClosed, Timeout, UpstreamUnreachable
from relay.persona import Persona
from relay.playout import MAX_PENDING_MARKS, MAX_SEGMENTS
from relay.responses import MAX_ACTIVE, MAX_MUTED
from tests.relay.call_model import ModelledCall
from tests.relay.wire import CALL, GREETER, HAND_CUT, PERSONA, STREAM

LONG_RUN = int(os.environ.get("TAUTLINE_LONG_CALLS", "0"))

# No two stretches of a second are alike, so that what is lost, doubled or swapped is seen.
VOICE = b"".join((at * at % 65_521).to_bytes(2, "big") for at in range(32_768))

audio_bytes = st.sampled_from([0, 1, 7, 8, 80, 159, 160, 161, 800, 1599, 1600, 1601, 4000]) | st.integers(0, 6000)
long_audio_bytes = st.integers(400, 9000)
some_seconds = st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.2, 0.3, 0.75, 2.0]) | st.floats(0.0, 1.5)
line_delays_s = st.sampled_from([0.0, 0.02, 0.15, 0.3]) | st.floats(0.0, 0.3)
ages = st.sampled_from([0, 0, 0, 1, 2, 5])  # of a response or a part: mostly the last one
pcmu = realtime.AudioEnd(realtime.AudioFormat("audio/pcmu"))
pcm = realtime.AudioEnd(realtime.AudioFormat("audio/pcm"))


def start_of(stream: str = STREAM, *, inner: str | None = None, sample_rate: int = 8000) -> twilio.Start:
    media_format = twilio.MediaFormat(sample_rate=sample_rate)
    return twilio.Start(
        stream, twilio.StartBody(stream if inner is None else inner, CALL, media_format=media_format), 1
    )


def updated(output: realtime.AudioEnd = pcmu) -> realtime.SessionUpdated:
    return realtime.SessionUpdated(realtime.Session("sess_1", audio=realtime.SessionAudio(pcmu, output)))


def error(code: str | None, event_id: str | None = None) -> realtime.ErrorReported:
    return realtime.ErrorReported(realtime.ErrorDetail(code=code, event_id=event_id))


# Some end any call, some only in a certain state; the model knows when.
ENDINGS: list[Event] = [
    twilio.Stop(STREAM),
    *(SocketClosed("twilio", code) for code in (1000, 1002, 1006, 1007, 1009)),
    *(SocketClosed("openai", code, "keepalive") for code in (1000, 1011)),
    UpstreamUnreachable("refused", 503),
    *(Abort(reason) for reason in ("shutdown", "slow_consumer", "internal_error")),
    *(error(code) for code in ("session_expired", "rate_limit", None)),
    *(start_of("MZ2"), start_of(inner="MZ2"), start_of(""), start_of(sample_rate=16_000)),
    Malformed("twilio", "start", "Expected `str`"),
    updated(pcm),
    Timeout(),
]


class Conversation(RuleBasedStateMachine):
    """Two peers that keep to their protocols, as far as anyone does, on a line that delays and loses."""

    @initialize(
        persona=st.sampled_from([PERSONA, GREETER, HAND_CUT]),
        sending_s=line_delays_s,
        begins=st.sampled_from(["ready"] * 6 + ["started", "started", "unannounced"]),
        ending=st.sampled_from(ENDINGS),
    )
    def the_phone_rings(self, persona: Persona, sending_s: float, begins: str, ending: Event) -> None:
        self.modelled = ModelledCall(persona, sending_s=sending_s)
        self.ending = ending
        self.said_bytes = 0  # of VOICE, by the agent and the caller
        self.line_ms = 0  # where the caller's stream is
        self.sequence_number = 1
        self.ids = count(1)
        self.parts: list[tuple[str, str, int]] = []  # all content parts ever, by response, item, content index
        self.responses: list[str] = []
        if begins != "unannounced":
            self.says(twilio.Connected(), start_of())
        if begins == "ready":
            self.says(realtime.SessionCreated(realtime.Session()), updated())

    def says(self, *events: Event) -> None:
        for event in events:
            self.modelled.happens(event)
        self.nothing_grows_without_bound()

    def nothing_grows_without_bound(self) -> None:
        call = self.modelled.call
        assert len(call._voice._playout._segments) <= MAX_SEGMENTS
        assert len(call._voice._playout._pending) <= MAX_PENDING_MARKS
        assert len(call._responses._active) <= MAX_ACTIVE
        assert len(call._responses._muted) <= MAX_MUTED
        assert len(call._words) <= MAX_WORDS_ITEMS
        assert len(call._unknown_kinds) <= MAX_UNKNOWN_KINDS_LOGGED

    def voice(self, nbytes: int) -> bytes:
        at = self.said_bytes % (len(VOICE) - 20_000)
        self.said_bytes += nbytes
        return VOICE[at : at + nbytes]

    # The line.

    @rule(seconds=some_seconds, is_punctual=st.booleans())
    def time_passes(self, seconds: float, is_punctual: bool) -> None:
        self.modelled.wait(seconds, is_punctual=is_punctual)

    @rule(seconds=some_seconds)
    def all_is_played(self, seconds: float) -> None:
        while (at := self.modelled.far.next_change_at) < inf:
            self.modelled.wait(max(0.0, at - self.modelled.now))
        self.modelled.wait(seconds)

    @precondition(lambda self: self.modelled.call.deadline < inf)
    @rule()
    def the_deadline_passes(self) -> None:
        self.modelled.wait(max(0.0, self.modelled.call.deadline - self.modelled.now), is_punctual=False)
        self.says(Timeout())

    @rule(echoing_s=line_delays_s)
    def the_line_changes(self, echoing_s: float) -> None:
        self.modelled.far.echo_after(echoing_s)

    @rule(how_many=st.integers(1, 3))
    def echoes_will_be_lost(self, how_many: int) -> None:
        self.modelled.far.echoes_to_lose = how_many

    # The caller.

    @precondition(lambda self: not self.modelled.lifetime.stream_sid)
    @rule()
    def twilio_starts(self) -> None:
        self.says(twilio.Connected(), start_of())

    @rule(
        frames=st.integers(2, 60),
        gap_ms=st.sampled_from([0, 0, 0, -40, 19, 20, 60, 900, 6000, 30_000]),
        late=st.booleans(),
    )
    def the_caller_is_heard(self, frames: int, gap_ms: int, late: bool) -> None:
        """late: the second frame comes last."""
        begins_ms = max(0, self.line_ms + gap_ms)
        timestamps = [begins_ms + 20 * at for at in range(frames)]
        self.line_ms = begins_ms + 20 * frames
        if late:
            timestamps.append(timestamps.pop(1))
        for timestamp in timestamps:
            self.sequence_number += 1
            body = twilio.MediaBody(self.voice(160), timestamp=timestamp)
            self.says(twilio.Media(STREAM, body, self.sequence_number))

    @rule()
    def the_caller_begins_to_speak(self) -> None:
        self.says(realtime.SpeechStarted("item_caller"))

    @rule()
    def the_caller_falls_silent(self) -> None:
        self.says(realtime.SpeechStopped("item_caller"), realtime.AudioCommitted("item_caller"))

    @rule(digit=st.sampled_from(["1", "#", "", "12", "é"]), stream=st.sampled_from([STREAM, "MZ2"]))
    def a_key_is_pressed(self, digit: str, stream: str) -> None:
        self.says(twilio.Dtmf(stream, twilio.DtmfBody(digit)))

    # The agent.

    @rule()
    def openai_is_set_up(self) -> None:
        self.says(realtime.SessionCreated(realtime.Session()), updated())

    @precondition(lambda self: not self.modelled.caller.is_configured)
    @rule(gaps_ms=st.lists(st.sampled_from([0, 900, 5000, 9900, 30_000]), min_size=1, max_size=4))
    def openai_lets_the_caller_wait(self, gaps_ms: list[int]) -> None:
        for gap_ms in gaps_ms:
            self.the_caller_is_heard(20, gap_ms, late=False)
        self.openai_is_set_up()

    @precondition(lambda self: self.modelled.lifetime.stream_sid)  # OpenAI is called when the stream begins
    @rule()
    def a_response_begins(self) -> None:
        self.responses.append(f"resp_{next(self.ids)}")
        self.says(realtime.ResponseCreated(realtime.Response(self.responses[-1], "in_progress")))

    @precondition(lambda self: self.responses)
    @rule(age=ages, tokens=st.none() | st.integers(0, 500))
    def a_response_is_done(self, age: int, tokens: int | None) -> None:
        usage = None if tokens is None else realtime.Usage(tokens)
        response_id = self.responses[-1 - age % len(self.responses)]
        self.says(realtime.ResponseDone(realtime.Response(response_id, "completed", usage=usage)))

    @precondition(lambda self: self.responses)
    @rule(age=ages, nbytes=audio_bytes)
    def an_item_begins(self, age: int, nbytes: int) -> None:
        response_id = self.responses[-1 - age % len(self.responses)]
        self.parts.append((response_id, f"item_{next(self.ids)}", 0))
        self.delta(self.parts[-1], nbytes)

    @precondition(lambda self: self.parts)
    @rule(age=ages, nbytes=audio_bytes)
    def an_item_gets_another_part(self, age: int, nbytes: int) -> None:
        response_id, item_id, _ = self.parts[-1 - age % len(self.parts)]
        self.parts.append((response_id, item_id, len(self.parts)))
        self.delta(self.parts[-1], nbytes)

    @precondition(lambda self: self.parts)
    @rule(age=ages, sizes=st.lists(audio_bytes, min_size=1, max_size=4))
    def a_part_goes_on(self, age: int, sizes: list[int]) -> None:
        for nbytes in sizes:
            self.delta(self.parts[-1 - age % len(self.parts)], nbytes)

    @precondition(lambda self: self.parts)
    @rule(age=ages)
    def a_part_is_done(self, age: int) -> None:
        self.says(realtime.AudioDone(*self.parts[-1 - age % len(self.parts)]))

    def delta(self, part: tuple[str, str, int], nbytes: int) -> None:
        response_id, item_id, content_index = part
        self.says(realtime.AudioDelta(response_id, item_id, self.voice(nbytes), content_index))

    @precondition(lambda self: self.modelled.lifetime.stream_sid)
    @rule(sizes=st.lists(long_audio_bytes, min_size=1, max_size=6))
    def an_answer_is_generated(self, sizes: list[int]) -> None:
        self.a_response_begins()
        self.an_item_begins(0, sizes[0])
        self.a_part_goes_on(0, sizes[1:])
        self.a_part_is_done(0)
        self.a_response_is_done(0, 140)

    @precondition(lambda self: self.modelled.lifetime.stream_sid)
    @rule(
        sizes=st.lists(long_audio_bytes, min_size=1, max_size=6), seconds=st.floats(0.0, 2.0), strays=st.integers(0, 3)
    )
    def an_answer_is_interrupted(self, sizes: list[int], seconds: float, strays: int) -> None:
        self.a_response_begins()
        self.an_item_begins(0, sizes[0])
        self.a_part_goes_on(0, sizes[1:])
        self.modelled.wait(seconds)
        self.the_caller_begins_to_speak()
        self.a_part_goes_on(0, [2400] * strays)
        self.a_part_is_done(0)
        self.a_response_is_done(0, 40)

    @precondition(lambda self: self.modelled.lifetime.stream_sid)
    @rule(sizes=st.lists(audio_bytes, min_size=3, max_size=5), seconds=some_seconds, spoken=st.booleans())
    def two_items_take_turns(self, sizes: list[int], seconds: float, spoken: bool) -> None:
        """The first waits until the second is over, and perhaps has been heard."""
        self.a_response_begins()
        self.an_item_begins(0, sizes[0])
        self.an_item_begins(0, sizes[1])
        self.a_part_is_done(0)
        self.modelled.wait(seconds)
        self.a_part_goes_on(1, sizes[2:])
        if spoken:
            self.the_caller_begins_to_speak()
        self.a_part_is_done(1)

    @rule(words=st.sampled_from(["", "Hello", " there"]), item=st.sampled_from(["item_1", "item_2", "item_x"]))
    def words_are_written_down(self, words: str, item: str) -> None:
        self.says(realtime.AgentWords(item, words), realtime.AgentTranscribed(item, words))
        self.says(realtime.CallerTranscribed(item, words), realtime.TranscriptionFailed(item))

    def teardown(self) -> None:
        """Every call ends; what is said after that changes nothing, and a recording of it plays the same again."""
        if self.modelled.has_failed:
            return  # what follows would only hide it
        self.says(self.ending)
        if not self.modelled.lifetime.is_over:
            self.says(twilio.Stop(STREAM), Abort("shutdown"))
        self.says(*ENDINGS[::4], start_of(), realtime.SpeechStarted("item_caller"))
        playout = self.modelled.call._voice._playout
        assert not playout._segments
        assert not playout._pending
        assert not playout.is_sounding
        self.modelled.replay()


class AnyCall(Conversation):
    """Peers that also break their protocols."""

    @rule()
    def a_timeout_comes_early_or_late(self) -> None:
        self.says(Timeout())

    @rule()
    def twilio_starts_again(self) -> None:
        self.says(start_of(), twilio.Connected())

    @rule(
        nbytes=audio_bytes,
        timestamp=st.none() | st.integers(-5, 100_000),
        track=st.sampled_from(["inbound", "inbound", "outbound"]),
        stream=st.sampled_from([STREAM, STREAM, STREAM, "MZ2", ""]),
        sequence_number=st.none() | st.integers(0, 9),
    )
    def an_odd_frame_comes(
        self, nbytes: int, timestamp: int | None, track: str, stream: str, sequence_number: int | None
    ) -> None:
        self.says(twilio.Media(stream, twilio.MediaBody(self.voice(nbytes), track, timestamp), sequence_number))

    @rule(
        name=st.sampled_from(["", "responsePart", "g0.0", "g9.99999", "é" * 300]),
        stream=st.sampled_from([STREAM, "MZ2"]),
    )
    def a_mark_comes_that_was_never_sent(self, name: str, stream: str) -> None:
        self.says(twilio.Mark(stream, twilio.MarkBody(name)))

    @precondition(lambda self: self.modelled.agent.names)
    @rule(which=st.integers(0, 1000), stream=st.sampled_from([STREAM, "MZ2"]))
    def a_mark_comes_once_more(self, which: int, stream: str) -> None:
        agent = self.modelled.agent
        name = agent.names[which % len(agent.names)]
        if name not in dict(agent.pending):
            self.says(twilio.Mark(stream, twilio.MarkBody(name)))

    @precondition(lambda self: self.modelled.agent.pending)
    @rule(which=st.integers(0, 1000))
    def a_mark_comes_before_it_was_played(self, which: int) -> None:
        agent = self.modelled.agent
        agent.is_honest = False
        self.says(twilio.Mark(STREAM, twilio.MarkBody(agent.pending[which % len(agent.pending)][0])))

    @rule(
        event=st.sampled_from(
            [twilio.Unhandled("video"), realtime.Unhandled("rate_limits.updated"), twilio.Stop("MZ2"), twilio.Stop("")]
        )
    )
    def something_means_nothing(self, event: Event) -> None:
        self.says(event)

    @rule(
        peer=st.sampled_from(["twilio", "openai"]),
        tag=st.sampled_from(["media", "mark", "", "error"]),
        how_many=st.sampled_from([1, 2, 19]),
    )
    def messages_are_broken(self, peer: Peer, tag: str, how_many: int) -> None:
        self.says(*[Malformed(peer, tag, "Expected `str`")] * how_many)

    @rule(
        peer=st.sampled_from(["twilio", "openai"]),
        between=st.sampled_from(
            [twilio.Unhandled("video"), twilio.Connected(), realtime.Unhandled("rate_limits.updated")]
        ),
    )
    def broken_messages_have_another_between(self, peer: Peer, between: Event) -> None:
        broken = [Malformed(peer, "", "not JSON")] * 10
        self.says(*broken, between, *broken)

    @rule(session=st.sampled_from([realtime.SessionCreated(realtime.Session()), updated()]))
    def half_a_set_up_comes(self, session: Event) -> None:
        self.says(session)

    @rule(
        code=st.sampled_from(["response_cancel_not_active", "invalid_value", "rate_limit", None]),
        event_id=st.sampled_from([None, "truncate-4", "cancel-5", "configure-1"]),
    )
    def an_error_is_reported(self, code: str | None, event_id: str | None) -> None:
        self.says(error(code, event_id))

    @precondition(lambda self: self.responses)
    @rule(which=st.integers(0, 1000))
    def a_response_begins_again(self, which: int) -> None:
        self.says(realtime.ResponseCreated(realtime.Response(self.responses[which % len(self.responses)])))

    @rule(nbytes=audio_bytes)
    def audio_comes_of_a_response_nobody_knows(self, nbytes: int) -> None:
        self.delta(("resp_x", "item_x", 0), nbytes)
        self.says(realtime.AudioDone("resp_x", "item_x", 0), realtime.ResponseDone(realtime.Response("resp_x")))

    @precondition(lambda self: len(self.modelled.history) > 60)
    @rule(ending=st.sampled_from(ENDINGS))
    def it_ends(self, ending: Event) -> None:
        self.says(ending)


def trying(examples: int) -> settings:
    """The same calls in every run, unless many others are asked for."""
    return settings(
        max_examples=LONG_RUN or examples,
        stateful_step_count=50,
        derandomize=not LONG_RUN,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],
    )


TestConversation = Conversation.TestCase
TestConversation.settings = trying(200)
TestAnyCall = AnyCall.TestCase
TestAnyCall.settings = trying(150)

# Of a failure the shortest story is looked for, which takes minutes.
pytestmark = pytest.mark.timeout(0 if LONG_RUN else 600)

"""Any call: whatever both peers say, in whatever order and at whatever times, the call keeps its promises.

What the promises are stands in `call_model` and the models beside it; what the peers may do, in `any_conversation`, and
here, where they break their protocols. `TAUTLINE_LONG_CALLS=20000` tries that many calls of each kind, and other ones
each time.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from proto import realtime, twilio
from proto.errors import Peer
from relay.events import (
    Event,
    FromOpenAI,
    Malformed,
    Timeout,
    ToolFinished,
)
from relay.tools import ToolReport
from tests.relay.any_conversation import ENDINGS, LOSSES, Conversation
from tests.relay.modelled_peers import (
    audio_bytes,
    error,
    start_of,
    updated,
)
from tests.relay.wire import STREAM

LONG_RUN = int(os.environ.get("TAUTLINE_LONG_CALLS", "0"))


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

    @rule(loss=st.sampled_from(LOSSES))
    def openai_is_in_trouble(self, loss: FromOpenAI) -> None:
        self.says(loss)

    @rule(
        code=st.sampled_from(
            [
                "response_cancel_not_active",
                "conversation_already_has_active_response",
                "invalid_value",
                "rate_limit_exceeded",
                None,
            ]
        ),
        event_id=st.sampled_from([None, "truncate-4", "cancel-5", "configure-1", "the request"]),
    )
    def an_error_is_reported(self, code: str | None, event_id: str | None) -> None:
        session = self.modelled.sessions.in_use
        if event_id == "the request":
            event_id = session.create.event_id if session and session.create else None
        self.says(error(code, event_id))

    @precondition(lambda self: self.responses)
    @rule(which=st.integers(0, 1000))
    def a_response_begins_again(self, which: int) -> None:
        self.says(realtime.ResponseCreated(realtime.Response(self.response_of_age(which))))

    @rule(nbytes=audio_bytes)
    def audio_comes_of_a_response_nobody_knows(self, nbytes: int) -> None:
        self.delta(("resp_x", "item_x", 0), nbytes)
        self.says(realtime.AudioDone("resp_x", "item_x", 0), realtime.ResponseDone(realtime.Response("resp_x")))

    @rule()
    def a_tool_is_finished_that_nobody_ran(self) -> None:
        self.says(ToolFinished("call_x", ToolReport("ok", "Never mind.")))

    @precondition(lambda self: self.responses)
    @rule(name=st.sampled_from(["look_up", "book"]))
    def a_tool_call_is_told_twice(self, name: str) -> None:
        call_id = f"call_{next(self.ids)}"
        item = realtime.Item(f"fc_{call_id}", "function_call", "completed", name=name, call_id=call_id, arguments="{}")
        self.says(*[realtime.OutputItemDone(self.response_of_age(0), item)] * 2)

    @rule()
    def speech_begins_twice(self) -> None:
        self.says(realtime.SpeechStarted("turn_x"), realtime.SpeechStarted("turn_y"))

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
TestConversation.settings = trying(170)
TestAnyCall = AnyCall.TestCase
TestAnyCall.settings = trying(130)

# Of a failure the shortest story is looked for, which takes minutes.
pytestmark = pytest.mark.timeout(0 if LONG_RUN else 600)

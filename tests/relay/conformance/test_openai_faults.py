"""When the model's side misbehaves: numbered points of our OpenAI conformance list, docs/conformance.md, 36 to 45."""

import msgspec
import pytest
import trio
from trio.testing import MockClock

from relay.events import DropUpstream, OpenUpstream, Timeout
from relay.log import CallEnded, CallerTranscribed, ErrorReceived, ResponseEnded
from relay.persona import Persona
from relay.sockets import MAX_OPENAI_MESSAGE_BYTES
from relay.tools import OnBargeIn, Tool, ToolBox, ToolContext
from relay.unusable import MAX_MALFORMED_IN_A_ROW
from tests.relay import wire
from tests.relay.calls import OpenCall, Records
from tests.relay.peers import FakePeer
from tests.relay.story import Story, answering, ready, reopened

BROKEN = b'{"type":"error"'


def reasons(records: Records) -> list[str]:
    return [event.reason for event in records.of(CallEnded)]


async def test_point_36_both_peers_are_pinged_every_twenty_seconds(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        await trio.sleep(110)
        assert (twilio.pings, openai.pings) == (5, 5)
        assert reasons(records) == []


@pytest.mark.parametrize(("who", "reason"), [("openai", "openai_unreachable"), ("twilio", "twilio_closed")])
async def test_point_36_a_peer_that_gives_no_sign_of_life_is_lost(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, who: str, reason: str
) -> None:
    async with open_call() as (twilio, openai):
        silent: FakePeer = openai if who == "openai" else twilio
        silent.answers_pings = silent.answers_close = False
        await twilio.is_disconnected.wait()
        assert trio.current_time() < 70
    assert reasons(records) == [reason]


def test_point_37_events_and_fields_nobody_knows_change_nothing() -> None:
    story = answering(20)
    assert story.openai({"type": "response.new_thing.delta", "delta": "//8="}, {"type": ""}) == []
    heard = story.openai(wire.audio_delta(ms=20) | {"obfuscation": "a1b2", "phase": {"new": [1]}})
    assert wire.played(wire.to_twilio(heard)) == wire.voice(20)


@pytest.mark.parametrize("field", ["response_id", "item_id", "delta"])
def test_point_37_a_known_event_that_lacks_a_field_is_skipped(field: str) -> None:
    story = answering(20)
    lacking = wire.audio_delta(ms=20)
    del lacking[field]
    assert wire.to_twilio(story.openai(lacking)) == []
    assert story.call.ignored["openai.malformed"] == 1
    assert wire.played(wire.to_twilio(story.openai(wire.audio_delta(ms=20)))) == wire.voice(20)


def test_point_38_broken_events_are_counted_and_skipped() -> None:
    story = answering(20)
    story.openai(*([BROKEN] * (MAX_MALFORMED_IN_A_ROW - 1)))
    assert story.call.ignored["openai.malformed"] == MAX_MALFORMED_IN_A_ROW - 1
    assert story.hang_up is None


def test_point_38_after_twenty_in_a_row_another_session_is_opened() -> None:
    story = answering(20)
    *_, told = [story.openai(BROKEN) for _ in range(MAX_MALFORMED_IN_A_ROW)]
    assert DropUpstream() in told
    story.wait(1.0)
    assert story.happens(Timeout()) == [OpenUpstream()]


@pytest.mark.parametrize("between", [wire.audio_delta(ms=20), wire.speech_started(), {"type": "rate_limits.updated"}])
def test_point_38_broken_events_between_good_ones_are_not_in_a_row(between: wire.Message) -> None:
    story = answering(20)
    for _ in range(5):
        story.openai(*([BROKEN] * (MAX_MALFORMED_IN_A_ROW - 1)), between)
    assert story.hang_up is None


async def test_point_38_a_binary_frame_is_skipped(autojump_clock: MockClock, open_call: OpenCall) -> None:
    async with open_call() as (twilio, openai):
        await openai.send_bytes(b"\x82\x03\x00\x01\x02")
        await openai.send(wire.response_created(), wire.audio_delta(ms=20))
        assert wire.played([await twilio.receive()]) == wire.voice(20)


@pytest.mark.parametrize("delta", ["//8", "not base64!", "//8=AAAA", None, 7])
def test_point_39_a_delta_of_bad_base64_is_skipped(delta: object) -> None:
    story = answering(20)
    assert wire.to_twilio(story.openai(wire.audio_delta(ms=20) | {"delta": delta})) == []
    assert wire.played(wire.to_twilio(story.openai(wire.audio_delta(ms=20)))) == wire.voice(20)


async def test_point_40_a_message_of_eight_mib_is_read(autojump_clock: MockClock, open_call: OpenCall) -> None:
    async with open_call() as (twilio, openai):
        await openai.send({"type": "conversation.item.retrieved", "item": "x" * (8 << 20)})
        await openai.send(wire.response_created(), wire.audio_delta(ms=20))
        assert wire.played([await twilio.receive()]) == wire.voice(20)


async def test_point_40_an_oversized_message_is_refused_at_its_header(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        await openai.send_bytes(b"\x81\x7f" + (MAX_OPENAI_MESSAGE_BYTES + 1).to_bytes(8))
        await twilio.is_disconnected.wait()
        assert openai.closed
        assert openai.closed.code == 1009
    assert reasons(records) == ["openai_unreachable"]


def test_point_41_a_repeated_end_of_a_response_counts_once() -> None:
    story = answering(50)
    first = story.openai(wire.audio_done(), wire.audio_done(), wire.response_done(total_tokens=140))
    assert len(wire.marks(wire.to_twilio(first))) == 1
    assert wire.to_twilio(story.openai(wire.response_done(total_tokens=140), wire.audio_done())) == []
    assert len(story.logged(ResponseEnded)) == 1
    assert total_tokens(story) == 140


def test_point_41_cancelled_responses_cost_too_and_some_cost_nothing() -> None:
    story = answering(50)
    story.openai(wire.response_done(status="cancelled", total_tokens=60))
    story.openai(wire.response_created("resp_2"), wire.response_done("resp_2", status="failed", total_tokens=None))
    assert total_tokens(story) == 60


def total_tokens(story: Story) -> int:
    story.twilio(wire.stop())
    (ended,) = story.logged(CallEnded)
    return ended.total_tokens


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "cannot_update_voice", "server_error", None])
def test_point_42_an_error_that_nobody_expected_is_told_and_survived(code: str | None) -> None:
    story = ready()
    story.openai(wire.error(code))
    assert [(event.code, event.benign) for event in story.logged(ErrorReceived)] == [(code, False)]
    assert story.hang_up is None


def test_point_42_an_error_that_ends_the_session_opens_another() -> None:
    story = ready()
    assert {type(command) for command in story.openai(wire.error("session_expired"))} >= {DropUpstream, OpenUpstream}


@pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key"])
def test_point_42_a_terminal_error_ends_the_call(code: str) -> None:
    story = ready()
    story.openai(wire.error(code))
    assert story.hang_up
    assert story.hang_up.reason == "openai_refused"


async def test_point_43_hanging_up_stops_the_audio_and_closes_openai_with_1000(
    autojump_clock: MockClock, open_call: OpenCall
) -> None:
    async with open_call() as (twilio, openai):
        await twilio.send(wire.frame())
        assert wire.appended([await openai.receive()]) == wire.voice(20)
        await twilio.send(wire.stop(), wire.frame())
        await openai.is_disconnected.wait()
        assert openai.closed
        assert openai.closed.code == 1000
        assert await openai.receive_all() == []


async def test_point_43_a_peer_that_does_not_close_is_not_waited_for(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        openai.answers_close = twilio.answers_close = False
        await twilio.send(wire.stop())
        await openai.is_disconnected.wait()
        await twilio.is_disconnected.wait()
        assert trio.current_time() <= 1
    assert reasons(records) == ["caller_hung_up"]


class Anything(msgspec.Struct, frozen=True):
    pass


class SlowTool:
    """A tool that never comes to an end, and knows how it ended."""

    def __init__(self, on_barge_in: OnBargeIn) -> None:
        self.begun, self.cancelled = trio.Event(), trio.Event()
        self.box = ToolBox(
            [Tool(name="find", description="", arguments=Anything, run=self.run, on_barge_in=on_barge_in)]
        )

    async def run(self, _arguments: Anything, _context: ToolContext) -> None:
        self.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()


@pytest.mark.parametrize("on_barge_in", ["cancel", "finish", "detach"])
async def test_point_43_a_tool_that_still_runs_ends_with_its_call(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, on_barge_in: OnBargeIn
) -> None:
    slow = SlowTool(on_barge_in)
    async with open_call(toolbox=slow.box) as (twilio, openai):
        await openai.send(wire.response_created(), wire.tool_called())
        await slow.begun.wait()
        await twilio.send(wire.stop())
        await slow.cancelled.wait()
        await twilio.is_disconnected.wait()
        assert trio.current_time() <= 1
        assert not [message for message in openai.received if message["type"] == "conversation.item.create"]
    assert reasons(records) == ["caller_hung_up"]


def test_point_44_the_services_own_idle_timeout_is_not_used() -> None:
    (update,) = wire.to_openai(ready(Persona(instructions="")).commands)
    assert "idle_timeout_ms" not in update["session"]["audio"]["input"]["turn_detection"]


def test_point_44_an_empty_turn_and_the_services_own_messages_are_nobodys_words() -> None:
    story = ready()
    story.openai(wire.item_added("item_idle", role="system"), wire.committed("item_empty", "item_idle"))
    assert story.openai(wire.transcribed("", "item_empty")) == []
    story.loses_openai(1001)
    assert wire.tags(wire.to_openai(reopened(story))) == ["session.update"]


async def test_point_45_a_twilio_that_does_not_read_keeps_nothing_from_openai_waiting(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        twilio.stop_reading()
        await openai.send(wire.response_created(), *[wire.audio_delta(ms=1000)] * 30)
        await openai.send(wire.speech_started(), wire.transcribed("Stop!"))
        assert (await openai.receive())["type"] == "conversation.item.truncate"
        assert [event.words for event in records.of(CallerTranscribed)] == ["Stop!"]
        assert trio.current_time() < 1
        twilio.go_on_reading()

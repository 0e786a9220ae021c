"""Keys, unknown kinds, broken input: numbered cases of our Twilio conformance list, docs/conformance.md, 56 to 65."""

import pytest
import trio
from trio.testing import MockClock

from relay.log import CallEnded, KeyPressed, MessageIgnored
from relay.unusable import MAX_MALFORMED_IN_A_ROW
from tests.relay import wire
from tests.relay.calls import OpenCall, Records
from tests.relay.story import ready
from tests.relay.wire import Message

FRAME = wire.voice(20)
BINARY_FRAME = b"\x82\x84" + bytes(4) + b"\x00\x01\x02\x03"  # final, masked with zeros, 4 bytes


@pytest.mark.parametrize("digit", [*"0123456789*#AD"])
def test_case_56_a_key_is_told_and_is_no_audio(digit: str) -> None:
    story = ready()
    pressed, *typed = story.twilio(wire.dtmf(digit))
    assert pressed == KeyPressed(digit=digit)
    assert not wire.appended(wire.to_openai(typed))


@pytest.mark.parametrize("digit", ["", "55", "5" * 1000, None, 5, ["5"]])
def test_case_57_a_key_that_is_none_is_left_out(digit: object) -> None:
    story = ready()
    story.twilio(wire.dtmf(digit))
    assert story.logged(KeyPressed) == []
    assert story.hang_up is None


def test_case_57_a_dtmf_message_without_a_digit_is_left_out() -> None:
    story = ready()
    story.twilio({"event": "dtmf", "streamSid": wire.STREAM, "dtmf": {}}, {"event": "dtmf", "streamSid": wire.STREAM})
    assert story.call.ignored["twilio.malformed"] == 2


@pytest.mark.parametrize("message", [{"event": "hello"}, {"streamSid": wire.STREAM}, {"event": 5}])
def test_case_58_an_unknown_message_is_logged_once_and_counted_each_time(message: Message) -> None:
    story = ready()
    story.twilio(message, message, message)
    assert len(story.logged(MessageIgnored)) == 1
    assert story.call.ignored.total() == 3
    assert story.hang_up is None


def test_case_58_a_peer_cannot_fill_the_log_with_new_kinds() -> None:
    story = ready()
    story.twilio(*({"event": f"kind {n}"} for n in range(1000)))
    assert len(story.logged(MessageIgnored)) <= 16


def test_case_59_invalid_json_is_counted_and_the_call_goes_on() -> None:
    story = ready()
    story.twilio(*([b"{"] * (MAX_MALFORMED_IN_A_ROW - 1)))
    assert story.call.ignored["twilio.malformed"] == MAX_MALFORMED_IN_A_ROW - 1
    assert wire.appended(wire.to_openai(story.twilio(wire.frame()))) == FRAME


def test_case_59_twenty_broken_messages_in_a_row_close_the_socket() -> None:
    story = ready()
    story.twilio(*([b"{"] * MAX_MALFORMED_IN_A_ROW))
    assert story.hang_up
    assert (story.hang_up.reason, story.hang_up.code) == ("garbage", 1007)


@pytest.mark.parametrize("between", [wire.frame(), wire.mark("g0.1"), wire.dtmf("5")])
def test_case_59_broken_messages_between_good_ones_are_not_in_a_row(between: Message) -> None:
    story = ready()
    for _ in range(5):
        story.twilio(*([b"{"] * (MAX_MALFORMED_IN_A_ROW - 1)), between)
    assert story.hang_up is None


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"1", b"null", b"true"])
def test_case_60_json_that_is_no_object_is_left_out(raw: bytes) -> None:
    story = ready()
    story.twilio(raw)
    assert story.call.ignored["twilio.malformed"] == 1
    assert wire.appended(wire.to_openai(story.twilio(wire.frame()))) == FRAME


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"event":"media","x":' + b"[" * 100_000])
def test_case_61_deep_nesting_is_left_out(raw: bytes) -> None:
    story = ready()
    story.twilio(raw)
    assert story.call.ignored["twilio.malformed"] == 1
    assert wire.appended(wire.to_openai(story.twilio(wire.frame()))) == FRAME


async def test_case_62_a_binary_frame_is_left_out(autojump_clock: MockClock, open_call: OpenCall) -> None:
    async with open_call() as (twilio, openai):
        await twilio.send_bytes(BINARY_FRAME)
        await twilio.send(wire.frame())
        assert wire.appended([await openai.receive()]) == FRAME


async def test_case_63_a_frame_above_64_kib_is_closed_with_1009_and_the_call_is_cleared_up(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        await twilio.send(wire.frame(bytes(60_000)))
        await twilio.is_disconnected.wait()
        assert twilio.closed
        assert twilio.closed.code == 1009
        await openai.is_disconnected.wait()
    assert [event.reason for event in records.of(CallEnded)] == ["garbage"]


ODD_JSON = {
    "duplicate keys": b'{"event":"dtmf","event":"mark","streamSid":"MZ1","mark":{"name":"a"},"mark":{"name":"b"}}',
    "NaN": b'{"event":"media","streamSid":"MZ1","media":{"payload":"//8=","timestamp":NaN}}',
    "Infinity": b'{"event":"media","streamSid":"MZ1","media":{"payload":"//8=","timestamp":-Infinity}}',
    "a huge integer": b'{"event":"mark","streamSid":"MZ1","sequenceNumber":' + b"9" * 5000 + b',"mark":{"name":"a"}}',
    "a huge number": b'{"event":"mark","streamSid":"MZ1","sequenceNumber":1e999999,"mark":{"name":"a"}}',
    "control characters": b'{"event":"mark","streamSid":"MZ1","mark":{"name":"\\u0000\\u001f"}}',
    "a lone surrogate": b'{"event":"mark","streamSid":"MZ1","mark":{"name":"\\udfff"}}',
    "a lone surrogate, raw": b'{"event":"mark","streamSid":"MZ1","mark":{"name":"\xed\xbf\xbf"}}',
}


@pytest.mark.parametrize("raw", ODD_JSON.values(), ids=ODD_JSON.keys())
def test_case_64_odd_json_does_no_harm(raw: bytes) -> None:
    story = ready()
    story.twilio(raw)
    assert story.hang_up is None
    assert wire.appended(wire.to_openai(story.twilio(wire.frame()))) == FRAME


async def test_case_65_a_flood_on_one_call_leaves_another_call_alone(
    autojump_clock: MockClock, open_call: OpenCall
) -> None:
    async with (
        open_call() as (flooding, flooded),
        open_call(stream_sid="MZ2", call_sid="CA2") as (twilio, openai),
    ):
        flooded.stop_reading()
        for _ in range(10):
            await flooding.send(*([wire.frame()] * 1000))
            await twilio.send(wire.frame(stream="MZ2"))
            assert wire.appended([await openai.receive()]) == FRAME
            await trio.sleep(1)

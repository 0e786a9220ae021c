"""The caller's voice on its way in: numbered cases of our Twilio conformance list, docs/conformance.md, 16 to 29."""

import pytest

from proto import mulaw
from relay.events import Command, Timeout
from tests.relay import wire
from tests.relay.story import Story, ready, started
from tests.relay.wire import Message

FRAME = wire.voice(20)


def heard_by_openai(commands: list[Command]) -> bytes:
    return wire.appended(wire.to_openai(commands))


def test_case_16_a_frame_reaches_openai_byte_for_byte() -> None:
    frames = [bytes([n]) * 160 for n in range(5)]
    appends = wire.to_openai(ready().twilio(*(wire.frame(audio) for audio in frames)))
    assert wire.tags(appends) == ["input_audio_buffer.append"] * 5
    assert [wire.appended([append]) for append in appends] == frames


@pytest.mark.parametrize("nbytes", [1, 7, 80, 161, 1600])
def test_case_17_a_frame_of_any_length_reaches_openai_byte_for_byte(nbytes: int) -> None:
    audio = wire.voice(200)[:nbytes]
    assert heard_by_openai(ready().twilio(wire.frame(audio))) == audio


@pytest.mark.parametrize("stream", [wire.STREAM, "MZ2", ""])
def test_case_18_audio_before_the_start_is_never_forwarded(stream: str) -> None:
    story = Story()
    story.twilio(wire.connected(), wire.frame(stream=stream), wire.start())
    assert wire.tags(wire.to_openai(story.openai(wire.session_created(), wire.session_updated()))) == ["session.update"]
    assert story.hang_up is None
    assert story.call.ignored["twilio.media_before_start"] == 1


def test_case_19_audio_waits_for_openai_and_follows_in_order() -> None:
    story = started()
    frames = [bytes([n]) * 160 for n in range(50)]
    assert heard_by_openai(story.twilio(*(wire.frame(audio) for audio in frames[:20]))) == b""
    assert heard_by_openai(story.openai(wire.session_created())) == b""
    assert heard_by_openai(story.twilio(*(wire.frame(audio) for audio in frames[20:]))) == b""
    assert heard_by_openai(story.openai(wire.session_updated())) == b"".join(frames)


def test_case_19_of_a_long_wait_the_last_ten_seconds_follow() -> None:
    story = started()
    frames = [bytes([n % 251]) * 160 for n in range(600)]
    story.twilio(*(wire.frame(audio) for audio in frames))
    assert heard_by_openai(story.openai(wire.session_created(), wire.session_updated())) == b"".join(frames[-500:])


def test_case_20_the_other_track_is_not_the_caller() -> None:
    story = ready()
    assert heard_by_openai(story.twilio(wire.frame(track="outbound"))) == b""
    assert story.call.ignored["twilio.other_track"] == 1


def test_case_21_frames_of_another_stream_are_counted_and_left_out() -> None:
    story = ready()
    assert heard_by_openai(story.twilio(wire.frame(stream="MZ2"), wire.frame(stream="MZ2"))) == b""
    assert story.call.ignored["twilio.other_stream"] == 2


NO_PAYLOAD: dict[str, Message] = {
    "no body": {"event": "media", "streamSid": wire.STREAM},
    "a null body": {"event": "media", "streamSid": wire.STREAM, "media": None},
    "no payload": {"event": "media", "streamSid": wire.STREAM, "media": {"track": "inbound"}},
    "an empty payload": wire.frame(payload=""),
    "a null payload": wire.frame(payload=None),
    "a number": wire.frame(payload=5),
    "a list": wire.frame(payload=["//8="]),
}


@pytest.mark.parametrize("message", NO_PAYLOAD.values(), ids=NO_PAYLOAD.keys())
def test_case_22_a_frame_without_audio_is_counted_and_left_out(message: Message) -> None:
    story = ready()
    assert heard_by_openai(story.twilio(message)) == b""
    assert story.call.ignored.total() - story.call.ignored["twilio.out_of_sequence"] == 1
    assert heard_by_openai(story.twilio(wire.frame())) == FRAME


@pytest.mark.parametrize("payload", ["//!8", "//8", "//8=AAAA", "//8é", "=", "//8=\n"])
def test_case_23_a_frame_of_bad_base64_is_counted_and_the_next_one_is_heard(payload: str) -> None:
    story = ready()
    assert heard_by_openai(story.twilio(wire.frame(payload=payload))) == b""
    assert story.call.ignored["twilio.malformed"] == 1
    assert heard_by_openai(story.twilio(wire.frame())) == FRAME


def test_case_24_nothing_is_put_before_the_first_frame() -> None:
    assert heard_by_openai(ready().twilio(wire.frame(timestamp="155"))) == FRAME


def test_case_25_a_gap_in_the_timestamps_becomes_silence() -> None:
    story = ready()
    story.twilio(wire.frame(timestamp="100"))
    assert heard_by_openai(story.twilio(wire.frame(timestamp="320"))) == b"\xff" * 1600 + FRAME


def test_case_26_a_long_gap_becomes_ten_seconds_of_silence() -> None:
    story = ready()
    story.twilio(wire.frame(timestamp="100"))
    assert heard_by_openai(story.twilio(wire.frame(timestamp="60120"))) == b"\xff" * 80_000 + FRAME


@pytest.mark.parametrize("timestamp", ["40", "0", "-20", "soon", "", None, "1e3x", [], True])
def test_case_27_a_timestamp_that_goes_back_or_says_nothing_adds_nothing(timestamp: object) -> None:
    story = ready()
    story.twilio(wire.frame(timestamp="100"))
    assert heard_by_openai(story.twilio(wire.frame(timestamp=timestamp))) == FRAME


def test_case_28_frames_that_stop_while_the_caller_speaks_become_silence_once() -> None:
    story = ready()
    story.twilio(wire.frame(timestamp="100"))
    story.openai(wire.speech_started())
    assert story.call.deadline == story.now + 0.750
    story.wait(0.750)
    assert heard_by_openai(story.happens(Timeout())) == mulaw.silence(1000)
    story.wait(5.0)
    assert heard_by_openai(story.happens(Timeout())) == b""
    assert heard_by_openai(story.twilio(wire.frame(timestamp="6000"))) == FRAME


@pytest.mark.parametrize("numbers", [["2", "3", "9", "10"], ["2", "2", "3", "4"], [None, "2", "3", "4"]])
def test_case_29_missing_or_repeated_sequence_numbers_are_counted_and_disconnect_nobody(numbers: list[object]) -> None:
    story = ready()
    audio = heard_by_openai(story.twilio(*(wire.numbered(wire.frame(), number) for number in numbers)))
    assert audio == FRAME * 4
    assert story.call.ignored["twilio.out_of_sequence"] == 1
    assert story.hang_up is None

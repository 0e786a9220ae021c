"""How a stream begins: numbered cases of our Twilio conformance list, docs/conformance.md, 6 to 15."""

import pytest
from structlog.testing import capture_logs

from relay.events import OpenUpstream
from relay.log import CallStarted, MessageIgnored, emit
from tests.relay import wire
from tests.relay.story import Story, ready, started
from tests.relay.wire import STREAM, Message


@pytest.mark.parametrize("fields", [{"version": "9.0.0"}, {"version": None, "new": {"a": [1]}}])
def test_case_06_connected_of_any_version_is_accepted(fields: Message) -> None:
    story = Story()
    assert story.twilio(wire.connected() | fields) == []
    assert OpenUpstream() in story.twilio(wire.start())


def test_case_07_start_without_connected_begins_the_call() -> None:
    story = Story()
    assert OpenUpstream() in story.twilio(wire.start())
    assert [event.stream_sid for event in story.logged(CallStarted)] == [STREAM]


@pytest.mark.parametrize(
    "media_format",
    [
        {"encoding": "audio/l16", "sampleRate": 8000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2},
        {"encoding": None, "sampleRate": 8000, "channels": 1},
    ],
)
def test_case_09_audio_in_another_format_refuses_the_call(media_format: Message) -> None:
    story = Story()
    refused = story.twilio(wire.connected(), wire.start(mediaFormat=media_format), wire.frame())
    assert story.hang_up
    assert (story.hang_up.reason, story.hang_up.code) == ("bad_start", 1008)
    assert OpenUpstream() not in refused
    assert wire.to_openai(refused) == []


@pytest.mark.parametrize(
    "start",
    [
        wire.start(streamSid="MZ2"),
        wire.start(streamSid=""),
        wire.start(streamSid=None),
        wire.start() | {"streamSid": "MZ2"},
        wire.start() | {"streamSid": None},
        wire.start(stream=""),
        {"event": "start", "start": {"streamSid": STREAM, "callSid": "CA1"}},
        {"event": "start", "streamSid": STREAM, "start": {"callSid": "CA1"}},
        {"event": "start", "streamSid": STREAM},
    ],
)
def test_case_10_a_start_that_does_not_name_one_stream_is_closed(start: Message) -> None:
    story = Story()
    assert OpenUpstream() not in story.twilio(wire.connected(), start)
    assert story.hang_up
    assert (story.hang_up.reason, story.hang_up.code) == ("bad_start", 1008)


@pytest.mark.parametrize("is_present", [True, False])
def test_case_11_no_parameters_are_as_good_as_an_empty_set(is_present: bool) -> None:
    story, start = Story(), wire.start()
    if not is_present:
        del start["start"]["customParameters"]
    assert OpenUpstream() in story.twilio(start)
    assert [event.parameters for event in story.logged(CallStarted)] == [()]


def test_case_11_of_parameters_only_the_names_are_logged() -> None:
    story = Story()
    story.twilio(wire.start(customParameters={"token": "9f2c1d7e", "caller": "+15551230001"}))
    (begun,) = story.logged(CallStarted)
    assert begun.parameters == ("caller", "token")
    assert "9f2c1d7e" not in str(story.commands)


def test_the_record_says_who_called_whom_and_its_log_line_does_not() -> None:
    story = Story()
    story.twilio(wire.start(customParameters={"caller": "+15551230001", "called": "sip:" + "x" * 1000}))
    (begun,) = story.logged(CallStarted)
    assert (begun.caller, len(begun.called)) == ("+15551230001", 128)
    with capture_logs() as lines:
        emit("CA1", begun)
    assert [(line["caller"], line["called"]) for line in lines] == [("(12 characters)", "(128 characters)")]


def test_a_stream_that_does_not_say_who_called_whom_is_a_call_all_the_same() -> None:
    (begun,) = started().logged(CallStarted)
    assert (begun.caller, begun.called, begun.direction, begun.persona_version) == ("", "", "inbound", "")


def test_case_12_a_repeated_start_changes_nothing() -> None:
    story = ready()
    assert [type(command) for command in story.twilio(wire.start(), wire.start())] == [MessageIgnored]
    assert story.commands.count(OpenUpstream()) == 1
    assert story.call.ignored["twilio.second_start"] == 2
    assert wire.appended(wire.to_openai(story.twilio(wire.frame()))) == wire.voice(20)


def test_case_13_a_start_for_another_stream_closes_the_socket() -> None:
    story = ready()
    story.twilio(wire.start("MZ2"))
    assert story.hang_up
    assert (story.hang_up.reason, story.hang_up.code) == ("bad_start", 1008)
    assert story.commands.count(OpenUpstream()) == 1


@pytest.mark.parametrize("number", [1, "1", 1.0, "one", None, "", True, {}])
def test_case_15_a_sequence_number_may_be_written_in_any_way(number: object) -> None:
    story = Story()
    assert OpenUpstream() in story.twilio(wire.numbered(wire.start(), number))


def test_a_stream_that_never_starts_is_closed_after_ten_seconds_and_openai_is_not_opened() -> None:
    story = Story()
    story.twilio(wire.connected())
    assert story.call.deadline == story.now + 10
    assert OpenUpstream() not in story.commands


def test_openai_is_opened_by_the_start_and_by_nothing_else() -> None:
    assert started().commands.count(OpenUpstream()) == 1

"""A session as a whole: what it makes of nonsense, how long it lives, and what an observer sees of it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulators.openai import Close, Fail, Incomplete, Reply, Several, SimulatorConfig, ToolCall
from benchmarks.simulators.openai.client_events import CLIENT_EVENTS
from tests.benchmarks.openai.line import PHONE, Json, Line, error, kinds, phone_line

# Everything the simulator says today. What is checked against the SDK is every event any test here hears.
SPOKEN = {
    "session.created",
    "session.updated",
    "error",
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.retrieved",
    "conversation.item.truncated",
    "conversation.item.deleted",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "input_audio_buffer.cleared",
    "response.created",
    "response.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "rate_limits.updated",
}


def whole_call() -> Line:
    """A call in which everything happens once."""
    line = phone_line(
        Reply("greeting"),
        Several((Reply("one_moment"), ToolCall("find", '{"q": "pizza"}'))),
        Fail("server_error", "The server had an error."),
        Incomplete("menu", spoken_ms=500),
        Reply("menu"),
    )
    line.send(
        "session.update",
        session={"type": "realtime", "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}},
    )
    line.send("response.create")
    item_id = line.wait_for("response.done")["response"]["output"][0]["id"]
    line.send("conversation.item.retrieve", item_id=item_id)
    line.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
    line.send("conversation.item.delete", item_id=item_id)
    line.send("conversation.item.delete", item_id=item_id)
    line.say("ask_menu")
    line.wait(20.0)
    for _ in range(2):
        line.send("response.create", response={"output_modalities": ["audio"]})
        line.wait(20.0)
    line.send("response.create", response={"output_modalities": ["text"], "conversation": "none"})
    line.wait(20.0)
    line.send("input_audio_buffer.clear")
    return line


def test_point_13_everything_the_simulator_says_is_heard_in_one_call_and_fits_the_sdk() -> None:
    assert set(kinds(whole_call().events)) == SPOKEN


def test_point_13_every_event_has_an_id_of_its_own() -> None:
    ids = [event["event_id"] for event in whole_call().events]
    assert len(set(ids)) == len(ids)
    assert all(event_id.startswith("event_") and len(event_id) == len("event_") + 21 for event_id in ids)


def test_point_56_an_unknown_event_is_refused_with_the_list_of_those_there_are() -> None:
    line = phone_line()
    refused = error(line.send("response.sing", event_id="s-1"))
    assert (refused["code"], refused["param"], refused["event_id"]) == ("invalid_value", "type", "s-1")
    assert refused["message"].startswith("Invalid value: 'response.sing'. Supported values are: 'session.update'")
    assert all(f"'{name}'" in refused["message"] for name in CLIENT_EVENTS)
    assert kinds(line.send("session.update", session=PHONE)) == ["session.updated"]


@pytest.mark.parametrize("raw", ["", "{", "hello", "[]", "7", "null", '"text"', "[" * 100_000])
def test_point_56_what_is_not_a_json_object_is_refused_and_the_session_goes_on(raw: str) -> None:
    line = phone_line()
    refused = error(line.send_raw(raw))
    assert (refused["type"], refused["event_id"]) == ("invalid_request_error", None)
    assert kinds(line.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]


def test_an_event_without_a_type_or_with_a_strange_key_is_refused() -> None:
    line = phone_line()
    assert error(line.send_raw("{}"))["param"] == "type"
    assert error(line.send_raw('{"type": 7}'))["param"] == "type"
    assert error(line.send("response.cancel", at_once=True))["param"] == "at_once"
    assert error(line.send("response.cancel", event_id=7))["event_id"] is None


_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_keys = st.sampled_from(
    ["type", "id", "role", "content", "audio", "input", "output", "format", "tools", "metadata", "x"]
)
_words = st.sampled_from(
    ["realtime", "message", "user", "item_reference", "function_call", "input_audio", "server_vad"]
)
_json = st.recursive(
    _leaves | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@given(
    st.sampled_from([*CLIENT_EVENTS, "other"]),
    st.dictionaries(
        st.sampled_from(["event_id", "session", "audio", "item", "item_id", "response", "response_id", "content_index"])
        | st.sampled_from(["audio_end_ms", "previous_item_id"]),
        _json,
        max_size=4,
    ),
)
@settings(deadline=None, max_examples=80)
def test_nothing_a_client_can_send_breaks_a_session(kind: str, fields: Json) -> None:
    line = phone_line()
    line.send(kind, **fields)
    line.wait(20.0)
    assert line.session.closing is None


def test_point_57_the_hour_ends_with_an_error_and_then_a_close() -> None:
    line = phone_line()
    assert line.wait(3599.9) == []
    assert line.session.closing is None
    expired = error(line.wait(0.2))
    assert (expired["code"], expired["event_id"]) == ("session_expired", None)
    assert expired["message"] == "Your session hit the maximum duration of 60 minutes."
    ending: Any = line.session.closing
    assert (ending.code, ending.reason) == (1001, "Your session hit the maximum duration of 60 minutes.")


def test_point_57_the_hour_can_pass_faster_and_its_end_can_come_without_an_error() -> None:
    line = phone_line(time_scale=60.0, expiry_error=False)
    assert line.events[0]["session"]["expires_at"] == 1e9 + 60
    assert line.wait(59.9) == []
    assert line.wait(0.2) == []
    assert line.session.closing == Close(1001, "Your session hit the maximum duration of 60 minutes.")


def test_point_19_there_is_no_second_opening_event_unless_an_old_client_needs_it() -> None:
    assert kinds(phone_line().events) == ["session.created", "session.updated"]
    old = phone_line(conversation_created=True)
    assert kinds(old.events) == ["session.created", "conversation.created", "session.updated"]
    assert old.events[1]["conversation"]["id"].startswith("conv_")


def test_nothing_is_said_after_the_end_however_late_the_driver_is() -> None:
    line = phone_line(Reply("menu"), session_seconds=1.0)
    line.send("response.create")
    line.now += 60.0
    assert kinds(line.advance())[-1] == "error"
    assert line.send("response.cancel") == []


def test_point_62_an_observer_sees_both_directions_in_order_but_no_secrets() -> None:
    seen: list[tuple[float, str, Json]] = []
    config = SimulatorConfig(observer=lambda at, who, event: seen.append((at, who, event)), wall_clock=lambda: 1e9)
    line = Line(config)
    tool = {
        "type": "mcp",
        "server_label": "shop",
        "server_url": "https://shop.example/mcp",
        "authorization": "secret-1",
        "headers": {"X-Key": "secret-2"},
    }
    line.send("session.update", session={"type": "realtime", "tools": [tool]})
    line.wait(1.0)
    assert [(who, event["type"]) for _, who, event in seen[:3]] == [
        ("server", "session.created"),
        ("client", "session.update"),
        ("server", "session.updated"),
    ]
    assert "secret" not in msgspec.json.encode([event for *_, event in seen]).decode()
    assert line.events[1]["session"]["tools"] == [tool]  # the client gets its own back


def test_after_a_turn_and_its_answer_only_the_sessions_end_is_left_to_do() -> None:
    line = phone_line()
    began = line.now
    line.say("ask_hours")
    line.wait(30.0)
    assert line.session.deadline == began + 3600.0

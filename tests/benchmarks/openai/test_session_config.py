"""Setting a session up: what it starts with, what an update changes, and what it refuses."""

from typing import Any

import pytest

from benchmarks.simulators.openai import Reply, SimulatorConfig
from tests.benchmarks.openai.line import PHONE, Json, Line, error, kinds, phone_line, the


def update(line: Line, session: Json, **fields: Any) -> list[Json]:
    return line.send("session.update", session={"type": "realtime", **session}, **fields)


def audio_input(**fields: Any) -> Json:
    return {"audio": {"input": fields}}


def test_point_17_a_session_introduces_itself_with_the_service_defaults_before_the_client_speaks() -> None:
    line = Line(SimulatorConfig(wall_clock=lambda: 1_700_000_000.9))
    session = the(line.events, "session.created")["session"]
    assert kinds(line.events) == ["session.created"]
    assert session["expires_at"] == 1_700_003_600
    assert session["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "transcription": None,
        "noise_reduction": None,
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "idle_timeout_ms": None,
            "create_response": True,
            "interrupt_response": True,
        },
    }
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "voice": "marin",
        "speed": 1.0,
    }
    others = {
        key: session[key] for key in ("output_modalities", "tools", "tool_choice", "max_output_tokens", "truncation")
    }
    assert others == {
        "output_modalities": ["audio"],
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
    }
    assert session["object"] == "realtime.session"
    assert session["id"].startswith("sess_")
    assert session["instructions"]


@pytest.mark.parametrize(
    ("model", "silence_ms", "voice"),
    [
        ("gpt-realtime", 200, "alloy"),
        ("gpt-realtime-2025-08-28", 200, "alloy"),
        ("gpt-realtime-mini", 200, "alloy"),
        ("gpt-realtime-1.5", 200, "alloy"),
        ("gpt-realtime-2", 500, "marin"),
        ("gpt-realtime-2.1", 500, "marin"),
        ("gpt-realtime-2.1-mini", 500, "marin"),
    ],
)
def test_point_18_patience_and_voice_follow_the_model(model: str, silence_ms: int, voice: str) -> None:
    session = Line(model=model).events[0]["session"]
    assert session["model"] == model
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == silence_ms
    assert session["audio"]["output"]["voice"] == voice


def test_point_20_an_update_without_a_type_is_refused_and_changes_nothing() -> None:
    line = Line()
    refused = error(line.send("session.update", event_id="cfg-1", session={"instructions": "Be brief."}))
    assert refused["code"] == "missing_required_parameter"
    assert refused["param"] == "session.type"
    assert refused["message"] == "Missing required parameter: 'session.type'."
    assert refused["event_id"] == "cfg-1"
    unchanged = the(update(line, {}), "session.updated")["session"]
    assert unchanged == line.events[0]["session"]


BETA_KEYS = (
    "modalities",
    "voice",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "turn_detection",
    "input_audio_noise_reduction",
    "max_response_output_tokens",
    "temperature",
)


@pytest.mark.parametrize("key", [*BETA_KEYS, "made_up", "id", "expires_at"])
def test_point_21_one_unknown_key_drops_the_whole_update(key: str) -> None:
    line = Line()
    refused = error(update(line, {"instructions": "Be brief.", key: "x"}))
    assert refused["code"] == "unknown_parameter"
    assert refused["param"] == f"session.{key}"
    assert refused["message"] == f"Unknown parameter: 'session.{key}'."
    assert the(update(line, {}), "session.updated")["session"]["instructions"] != "Be brief."


@pytest.mark.parametrize(
    ("session", "path"),
    [
        ({"audio": {"volume": 1}}, "session.audio.volume"),
        (audio_input(turn_detection={"type": "server_vad", "speed": 1}), "session.audio.input.turn_detection.speed"),
        (audio_input(turn_detection={"type": "semantic_vad", "threshold": 0.5}),
         "session.audio.input.turn_detection.threshold"),
        (audio_input(format={"type": "audio/pcmu", "rate": 8000}), "session.audio.input.format.rate"),
        (audio_input(transcription={"model": "whisper-1", "speed": 1}), "session.audio.input.transcription.speed"),
        (audio_input(noise_reduction={"type": "far_field", "db": 3}), "session.audio.input.noise_reduction.db"),
        ({"audio": {"output": {"pitch": 2}}}, "session.audio.output.pitch"),
        ({"tools": [{"type": "function", "name": "f", "function": {}}]}, "session.tools[0].function"),
        ({"reasoning": {"budget": 3}}, "session.reasoning.budget"),
    ],
)  # fmt: skip
def test_point_21_unknown_keys_are_named_with_their_path_at_every_depth(session: Json, path: str) -> None:
    refused = error(update(Line(), session))
    assert (refused["code"], refused["param"]) == ("unknown_parameter", path)


@pytest.mark.parametrize(
    ("session", "path"),
    [
        ({"output_modalities": ["audio", "text"]}, "session.output_modalities"),
        ({"output_modalities": []}, "session.output_modalities"),
        ({"max_output_tokens": 0}, "session.max_output_tokens"),
        ({"max_output_tokens": 4097}, "session.max_output_tokens"),
        ({"tool_choice": "always"}, "session.tool_choice"),
        ({"truncation": "never"}, "session.truncation"),
        ({"reasoning": {"effort": "extreme"}}, "session.reasoning.effort"),
        ({"audio": {"output": {"voice": "nobody"}}}, "session.audio.output.voice"),
        ({"audio": {"output": {"speed": 1.6}}}, "session.audio.output.speed"),
        ({"audio": {"output": {"speed": 0.2}}}, "session.audio.output.speed"),
        ({"audio": {"output": {"format": {"type": "g711_ulaw"}}}}, "session.audio.output.format.type"),
        (audio_input(format={"type": "audio/pcm", "rate": 16000}), "session.audio.input.format.rate"),
        (audio_input(turn_detection={"type": "server_vad", "threshold": 1.1}),
         "session.audio.input.turn_detection.threshold"),
        (audio_input(turn_detection={"type": "server_vad", "threshold": -0.1}),
         "session.audio.input.turn_detection.threshold"),
        (audio_input(turn_detection={"type": "server_vad", "idle_timeout_ms": 4999}),
         "session.audio.input.turn_detection.idle_timeout_ms"),
        (audio_input(turn_detection={"type": "server_vad", "idle_timeout_ms": 30_001}),
         "session.audio.input.turn_detection.idle_timeout_ms"),
        (audio_input(turn_detection={"type": "telepathy"}), "session.audio.input.turn_detection.type"),
        (audio_input(noise_reduction={"type": "mid_field"}), "session.audio.input.noise_reduction.type"),
        ({"model": "gpt-realtime"}, "session.model"),
    ],
)  # fmt: skip
def test_point_22_values_outside_what_is_allowed_are_refused_with_their_path(session: Json, path: str) -> None:
    refused = error(update(Line(), session))
    assert (refused["code"], refused["param"]) == ("invalid_value", path)


def test_point_22_both_modalities_at_once_are_refused_in_the_services_words() -> None:
    refused = error(update(Line(), {"output_modalities": ["audio", "text"]}))
    expected = "Invalid modalities: ['audio', 'text']. Supported combinations are: ['text'] and ['audio']."
    assert refused["message"] == expected


@pytest.mark.parametrize(
    ("session", "path"),
    [
        (audio_input(turn_detection={"threshold": 0.5}), "session.audio.input.turn_detection.type"),
        (audio_input(format={"type": "audio/pcm"}), "session.audio.input.format.rate"),
        (audio_input(transcription={"language": "en"}), "session.audio.input.transcription.model"),
        ({"tools": [{"type": "function"}]}, "session.tools[0].name"),
    ],
)
def test_what_must_be_said_is_named_when_it_is_missing(session: Json, path: str) -> None:
    refused = error(update(Line(), session))
    assert (refused["code"], refused["param"]) == ("missing_required_parameter", path)


def test_a_session_cannot_become_another_kind_of_session() -> None:
    line = Line()
    refused = error(line.send("session.update", session={"type": "session"}))
    assert refused["message"].startswith(
        "Invalid value: 'session'. Supported values are: 'realtime' and 'transcription'"
    )
    assert refused["param"] == "session.type"
    assert error(line.send("session.update", session={"type": "transcription"}))["param"] == "session.type"


def test_reasoning_is_refused_where_the_model_does_not_reason() -> None:
    assert error(update(Line(model="gpt-realtime"), {"reasoning": {"effort": "low"}}))["param"] == "session.reasoning"
    updated = the(update(Line(), {"reasoning": {"effort": "low"}}), "session.updated")
    assert updated["session"]["reasoning"] == {"effort": "low"}


def test_point_23_an_update_is_answered_once_with_the_whole_session_and_keeps_what_it_does_not_name() -> None:
    line = Line()
    tool = {"type": "function", "name": "find", "description": "Find.", "parameters": {"type": "object"}}
    update(line, {"tools": [tool], "instructions": "Be brief."})
    answer = line.send("session.update", session=PHONE)
    session = the(answer, "session.updated")["session"]
    assert len(answer) == 1
    assert session["tools"] == [tool]
    assert session["instructions"] == "Be brief."
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    assert session["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0}


def test_an_update_of_one_vad_setting_keeps_the_others() -> None:
    line = Line()
    patient = {"type": "server_vad", "silence_duration_ms": 900, "threshold": 0.7}
    update(line, audio_input(turn_detection=patient))
    session = update(line, audio_input(turn_detection={"type": "server_vad", "create_response": False}))[0]["session"]
    detection = session["audio"]["input"]["turn_detection"]
    assert (detection["silence_duration_ms"], detection["threshold"]) == (900, 0.7)
    assert detection["create_response"] is False


def test_point_23_empty_and_null_values_turn_things_off() -> None:
    line = Line()
    default = line.events[0]["session"]["instructions"]
    update(line, {"instructions": "Be brief.", "tools": [{"type": "function", "name": "f"}]})
    update(line, audio_input(noise_reduction={"type": "near_field"}))
    off = {"instructions": "", "tools": [], **audio_input(noise_reduction=None, turn_detection=None)}
    session = the(update(line, off), "session.updated")["session"]
    assert session["instructions"] == default
    assert session["tools"] == []
    assert session["audio"]["input"]["noise_reduction"] is None
    assert session["audio"]["input"]["turn_detection"] is None


def test_point_23_the_transcription_echo_shows_language_and_prompt_unset() -> None:
    answer = update(Line(), audio_input(transcription={"model": "gpt-realtime-whisper"}))
    echo = answer[0]["session"]["audio"]["input"]["transcription"]
    assert echo == {"model": "gpt-realtime-whisper", "language": None, "prompt": None}


def test_point_24_a_voice_cannot_change_once_it_was_heard_but_may_be_named_again() -> None:
    line = phone_line(Reply("greeting"))
    assert kinds(update(line, {"audio": {"output": {"voice": "cedar"}}})) == ["session.updated"]
    line.send("response.create")
    line.wait_for("response.done")
    refused = error(update(line, {"instructions": "Sing.", "audio": {"output": {"voice": "ash"}}}, event_id="v"))
    assert refused["code"] == "cannot_update_voice"
    assert refused["message"] == "Cannot update a conversation's voice if assistant audio is present."
    session = the(update(line, {"audio": {"output": {"voice": "cedar"}}}), "session.updated")["session"]
    assert session["instructions"] != "Sing."


def test_the_speed_cannot_change_in_the_middle_of_a_reply() -> None:
    line = phone_line(Reply("greeting"))
    line.send("response.create")
    line.wait_for("response.output_audio.delta")
    assert error(update(line, {"audio": {"output": {"speed": 1.2}}}))["param"] == "session.audio.output.speed"
    line.wait_for("response.done")
    assert kinds(update(line, {"audio": {"output": {"speed": 1.2}}})) == ["session.updated"]


def test_tracing_stays_as_it_was_enabled() -> None:
    line = Line()
    assert kinds(update(line, {"tracing": "auto"})) == ["session.updated"]
    assert kinds(update(line, {"tracing": "auto"})) == ["session.updated"]
    assert error(update(line, {"tracing": None}))["param"] == "session.tracing"

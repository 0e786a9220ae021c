"""What a persona may be, and what a call makes of it."""

from typing import Any

import msgspec
import pytest

from admin.errors import InvalidInputError
from admin.services.personas.persona_body import (
    NO_TEMPERATURE,
    PersonaBody,
    PersonaInput,
    accept,
    patched,
    to_relay,
)
from admin.services.personas.templates import CallFacts
from benchmarks.simulators.openai.session_config import default_session, updated_session
from relay import KeyPolicy, Persona, SemanticVad, ServerVad
from relay.persona import session_config

FACTS = CallFacts(shop_name="Da Mario", caller_number="+4930901820")


def body(**fields: Any) -> PersonaBody:
    return accept(msgspec.convert({"name": "Mario"} | fields, PersonaInput))[0]


def test_a_persona_of_which_only_the_name_is_said_is_the_relays_own() -> None:
    made = to_relay(body(instructions="Be kind."), FACTS)
    assert made == Persona(instructions="Be kind.")


def test_a_calls_persona_says_what_the_persona_does() -> None:
    made = to_relay(
        body(
            voice="voice_123",
            instructions="You are {{shop.name}}'s voice.",
            greeting="Hello {{caller.number}}!",
            apology="Sorry.",
            model="gpt-realtime-2",
            speed=1.25,
            reasoning_effort="high",
            language="DE-at",
            turn_detection={"type": "semantic_vad", "eagerness": "low", "create_response": False},
            tools=["get_time", "get_time"],
            noise_reduction="far_field",
            transcription={"model": "gpt-transcribe"},
            barge_in={"min_speech_ms": 300, "protect_greeting": True},
            silence={"prompt_after_s": 20, "prompts": ["Hello?"], "end_after_prompts": 1},
            keys={"0": "staff"},
            max_duration_s=600,
            privacy={"mask_digits": True},
        ),
        FACTS,
    )
    assert made.voice == "voice_123"
    assert made.instructions == "You are Da Mario's voice."
    assert made.greeting == "Hello +4930901820!"
    assert made.apology == "Sorry."
    assert (made.model, made.speed, made.reasoning_effort) == ("gpt-realtime-2", 1.25, "high")
    assert made.language == "de"
    assert made.turn_detection == SemanticVad(eagerness="low", create_response=False)
    assert made.tools == frozenset({"get_time"})
    assert made.noise_reduction == "far_field"
    assert made.transcription_model == "gpt-transcribe"
    assert (made.barge_in.min_speech_ms, made.barge_in.protect_greeting) == (300, True)
    assert made.silence.prompt_after_s == 20
    assert made.silence.prompts == ("Hello?",)
    assert made.silence.end_after_prompts == 1
    assert made.dtmf.actions == {"0": "staff"}
    assert made.limits.max_duration_s == 600
    assert made.privacy.mask_digits
    assert made.privacy.keep_audio


def test_every_field_of_server_vad_reaches_the_call() -> None:
    fields = {
        "threshold": 0.8,
        "prefix_padding_ms": 200,
        "silence_duration_ms": 700,
        "create_response": False,
        "interrupt_response": False,
    }
    made = to_relay(body(turn_detection={"type": "server_vad"} | fields), FACTS)
    assert isinstance(made.turn_detection, ServerVad)
    assert msgspec.structs.asdict(made.turn_detection) == fields


def test_callers_may_speak_another_language_than_the_persona() -> None:
    assert to_relay(body(language="de", transcription={"language": "en"}), FACTS).language == "en"


@pytest.mark.parametrize(("language", "told"), [("", ""), ("it", "it"), ("pt-BR", "pt"), ("ast", ""), ("ES", "es")])
def test_the_model_is_told_the_language_as_far_as_it_understands_its_name(language: str, told: str) -> None:
    assert to_relay(body(language=language), FACTS).language == told


def test_no_tools_and_all_tools_are_two_things() -> None:
    assert to_relay(body(tools=[]), FACTS).tools == frozenset()
    assert to_relay(body(tools=None), FACTS).tools is None


@pytest.mark.parametrize(("keys", "actions"), [(None, {"9": "staff"}), ({}, {}), ({"0": "staff"}, {"0": "staff"})])
def test_the_servers_staff_key_is_everybodys_who_says_nothing_else(keys: Any, actions: dict[str, str]) -> None:
    made = to_relay(body(keys=keys), FACTS, usual_keys=KeyPolicy(actions={"9": "staff"}))
    assert made.dtmf.actions == actions


def test_who_asks_a_model_to_think_that_cannot_is_told() -> None:
    def codes(**fields: Any) -> list[str]:
        return [each.code for each in accept(PersonaInput(name="Mario", **fields))[1]]

    assert codes(model="gpt-realtime", reasoning_effort="low") == ["reasoning_effort_ignored"]
    assert codes(model="gpt-realtime-2.1", reasoning_effort="low") == []
    assert codes(model="gpt-realtime") == []
    assert codes(reasoning_effort="low") == []  # which model that will be, the server's settings say


def test_what_can_be_switched_off_is_off() -> None:
    made = to_relay(body(transcription={"enabled": False}, silence={"prompt_after_s": 0}, max_duration_s=0), FACTS)
    assert made.transcription_model is None
    assert made.silence.prompt_after_s is None
    assert made.limits.max_duration_s is None


@pytest.mark.parametrize(
    "fields",
    [
        {"speed": 0.25, "turn_detection": {"type": "server_vad", "threshold": 0}},
        {"speed": 1.5, "turn_detection": {"type": "server_vad", "threshold": 1, "prefix_padding_ms": 5000}},
        {"turn_detection": {"type": "server_vad", "silence_duration_ms": 50, "prefix_padding_ms": 0}},
        {"turn_detection": {"type": "server_vad", "silence_duration_ms": 10_000}},
        {"turn_detection": {"type": "semantic_vad"}, "language": "ast", "noise_reduction": "near_field"},
        *({"reasoning_effort": effort} for effort in ("minimal", "low", "medium", "high", "xhigh")),
        {"max_duration_s": 1},
        {"max_duration_s": 30},
        {"max_duration_s": 86_400},
        {"silence": {"prompts": []}},
        {"silence": {"prompts": [], "prompt_after_s": 600, "end_after_prompts": 10}},
        {"barge_in": {"min_speech_ms": 5000, "confirm_within_ms": 50, "lead_ms": 60}},
        {"barge_in": {"min_speech_ms": 0, "confirm_within_ms": 2000, "lead_ms": 2000}},
        {"keys": dict.fromkeys("0123456789*#ABCD", "staff")},
    ],
)
def test_whatever_is_accepted_can_be_carried_out(fields: dict[str, Any]) -> None:
    made = to_relay(body(**fields), FACTS)
    assert msgspec.convert(msgspec.to_builtins(made), Persona) == made  # also by the relay's own constraints
    session = default_session("gpt-realtime-2.1", session_id="sess_1", expires_at=0)
    updated_session(session, msgspec.to_builtins(session_config(made)), has_spoken=False, is_responding=False)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 101},
        {"name": "Mario\n"},
        {"name": "Ma\x00rio"},
        {"language": "german"},
        {"language": "de-"},
        {"language": "de\n"},
        {"voice": "nova"},
        {"voice": "voice_"},
        {"model": "two words"},
        {"model": ""},
        {"instructions": "x" * 20_001},
        {"instructions": "\x00"},
        {"speed": 0.24},
        {"speed": 1.51},
        {"speed": float("nan")},
        {"temperature": 2.1},
        {"reasoning_effort": "huge"},
        {"turn_detection": {}},
        {"turn_detection": {"type": "server_vad", "eagerness": "low"}},
        {"turn_detection": {"type": "server_vad", "threshold": 1.1}},
        {"turn_detection": {"type": "semantic_vad", "threshold": 0.5}},
        {"noise_reduction": "off"},
        {"transcription": None},
        {"transcription": {"language": "ast"}},
        {"tools": ["get time"]},
        {"tools": ["x"] * 65},
        {"silence": {"prompts": [""]}},
        {"silence": {"prompt_after_s": -1}},
        {"keys": {"10": "staff"}},
        {"keys": {"0": "shop"}},
        {"max_duration_s": 86_401},
        {"privacy": {"keep_video": True}},
        {"temprature": 1},
    ],
)
def test_what_no_call_could_use_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        body(**fields)


@pytest.mark.parametrize("language", ["", "de", "pt-BR", "zh-Hant-TW", "ast"])
def test_languages_are_named_as_everywhere(language: str) -> None:
    assert body(language=language).language == language


def test_temperature_is_taken_left_out_and_spoken_of() -> None:
    kept, warnings = accept(PersonaInput(name="Mario", temperature=0.8))
    assert warnings == [NO_TEMPERATURE]
    assert "temperature" not in msgspec.to_builtins(kept)
    assert accept(PersonaInput(name="Mario"))[1] == []


@pytest.mark.parametrize("field", ["instructions", "greeting"])
def test_a_gap_that_nothing_fills_is_refused_where_it_stands(field: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{field}, line 1, column 4: nothing is called 'shop'"):
        body(**{field: "Hi {{shop}}"})


def test_a_version_that_was_kept_before_a_field_was_there_has_its_default() -> None:
    assert msgspec.convert({"name": "Mario", "speed": 1.5}, PersonaBody) == PersonaBody(name="Mario", speed=1.5)
    assert msgspec.convert({"name": "Mario", "gone_since": 1}, PersonaBody) == PersonaBody(name="Mario")


def test_a_patch_changes_what_it_names() -> None:
    current = body(greeting="Hello", silence={"prompt_after_s": 20})
    changed = accept(patched(current, {"greeting": None, "silence": {"end_after_prompts": 1}}))[0]
    assert changed == body(silence={"prompt_after_s": 20, "end_after_prompts": 1})


def test_a_patch_may_choose_the_other_turn_detection() -> None:
    current = body(turn_detection={"type": "server_vad", "threshold": 0.7, "create_response": False})
    chosen = {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}
    semantic = accept(patched(current, chosen))[0]
    assert semantic == body(turn_detection={"type": "semantic_vad", "eagerness": "low", "create_response": False})
    kept = accept(patched(current, {"turn_detection": {"type": "server_vad", "silence_duration_ms": 900}}))[0]
    assert kept.turn_detection == msgspec.structs.replace(current.turn_detection, silence_duration_ms=900)


def test_a_patch_that_leaves_no_persona_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        patched(body(), {"speed": 9})

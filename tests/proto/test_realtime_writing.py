"""OpenAI's events that we write: they are what the official SDK describes, in full and without extras."""

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent
from pydantic import BaseModel, TypeAdapter

from proto import realtime
from proto.realtime import (
    AppendAudio,
    AudioFormat,
    CancelResponse,
    CreateItem,
    CreateResponse,
    DeleteItem,
    InputAudio,
    InputText,
    NewFunctionCall,
    NewFunctionOutput,
    NewMessage,
    Outbound,
    OutputText,
    ResponseConfig,
    TruncateItem,
    UpdateSession,
)
from relay.persona import Persona, SemanticVad, session_config

Json = dict[str, Any]

CONFIG = session_config(Persona(instructions="Short answers.", noise_reduction="near_field"))
CHOSEN = session_config(
    Persona(
        instructions="",
        turn_detection=SemanticVad(eagerness="high"),
        transcription_model="whisper-1",
        language="de",
        speed=1.25,
        reasoning_effort="minimal",
    )
)
WRITTEN: list[tuple[Outbound, Json]] = [
    (
        UpdateSession("configure-1", CONFIG),
        {
            "type": "session.update",
            "event_id": "configure-1",
            "session": {
                "type": "realtime",
                "output_modalities": ["audio"],
                "instructions": "Short answers.",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcmu"},
                        "turn_detection": {
                            "type": "server_vad",
                            "threshold": 0.5,
                            "prefix_padding_ms": 300,
                            "silence_duration_ms": 500,
                            "create_response": True,
                            "interrupt_response": True,
                        },
                        "transcription": {"model": "gpt-realtime-whisper"},
                        "noise_reduction": {"type": "near_field"},
                    },
                    "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
                },
            },
        },
    ),
    (
        UpdateSession("configure-1", CHOSEN),
        {
            "type": "session.update",
            "event_id": "configure-1",
            "session": {
                "type": "realtime",
                "output_modalities": ["audio"],
                "instructions": "",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcmu"},
                        "turn_detection": {
                            "type": "semantic_vad",
                            "eagerness": "high",
                            "create_response": True,
                            "interrupt_response": True,
                        },
                        "transcription": {"model": "whisper-1", "language": "de"},
                        "noise_reduction": None,
                    },
                    "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.25},
                },
                "reasoning": {"effort": "minimal"},
            },
        },
    ),
    (AppendAudio(b"\xff\xff"), {"type": "input_audio_buffer.append", "audio": "//8="}),
    (
        TruncateItem("truncate-2", "item_5", 0, 0),
        {
            "type": "conversation.item.truncate",
            "event_id": "truncate-2",
            "item_id": "item_5",
            "content_index": 0,
            "audio_end_ms": 0,
        },
    ),
    (CreateResponse("greet-3"), {"type": "response.create", "event_id": "greet-3"}),
    (
        CreateResponse("greet-3", ResponseConfig(instructions="Say hello.", metadata={"kind": "greeting"})),
        {
            "type": "response.create",
            "event_id": "greet-3",
            "response": {"instructions": "Say hello.", "metadata": {"kind": "greeting"}},
        },
    ),
    (
        CreateResponse("render-4", ResponseConfig(tool_choice="none", conversation="none")),
        {
            "type": "response.create",
            "event_id": "render-4",
            "response": {"tool_choice": "none", "conversation": "none"},
        },
    ),
    (
        CreateItem("seed-5", NewMessage(id="seed_1", role="assistant", content=[OutputText("Hello.")])),
        {
            "type": "conversation.item.create",
            "event_id": "seed-5",
            "item": {
                "type": "message",
                "id": "seed_1",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hello."}],
            },
        },
    ),
    (
        CreateItem("seed-6", NewMessage(id="seed_2", role="user", content=[InputText("Hi.")]), "seed_1"),
        {
            "type": "conversation.item.create",
            "event_id": "seed-6",
            "item": {
                "type": "message",
                "id": "seed_2",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hi."}],
            },
            "previous_item_id": "seed_1",
        },
    ),
    (
        CreateItem("seed-7", NewFunctionCall(id="seed_3", call_id="call_1", name="get_time", arguments="{}")),
        {
            "type": "conversation.item.create",
            "event_id": "seed-7",
            "item": {
                "type": "function_call",
                "id": "seed_3",
                "call_id": "call_1",
                "name": "get_time",
                "arguments": "{}",
            },
        },
    ),
    (
        CreateItem("tool-8", NewFunctionOutput(id="seed_4", call_id="call_1", output='"noon"')),
        {
            "type": "conversation.item.create",
            "event_id": "tool-8",
            "item": {"type": "function_call_output", "id": "seed_4", "call_id": "call_1", "output": '"noon"'},
        },
    ),
    (
        DeleteItem("delete-9", "seed_1"),
        {"type": "conversation.item.delete", "event_id": "delete-9", "item_id": "seed_1"},
    ),
    (
        CancelResponse("cancel-4", "resp_3"),
        {"type": "response.cancel", "event_id": "cancel-4", "response_id": "resp_3"},
    ),
]
written = pytest.mark.parametrize(
    ("event", "fields"),
    WRITTEN,
    ids=[fields["event_id"] if "event_id" in fields else fields["type"] for _, fields in WRITTEN],
)
_sdk: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)


@written
def test_what_we_write_stands_on_the_wire_in_full_and_without_extras(event: Outbound, fields: Json) -> None:
    assert json.loads(realtime.encode(event)) == fields


@written
def test_the_official_sdk_knows_every_field_that_we_write(event: Outbound, fields: Json) -> None:
    assert unknown_fields(_sdk.validate_json(realtime.encode(event))) == []


def unknown_fields(model: BaseModel) -> list[str]:
    """Fields, at any depth, that a model of the SDK took without knowing them."""
    inner = [value for _, value in model if isinstance(value, BaseModel)]
    return [*(model.model_extra or ()), *(name for value in inner for name in unknown_fields(value))]


def test_a_feature_that_is_off_is_written_as_null() -> None:
    config = session_config(Persona(instructions="", transcription_model=None))
    audio = json.loads(realtime.encode(UpdateSession("configure-1", config)))["session"]["audio"]
    assert (audio["input"]["transcription"], audio["input"]["noise_reduction"]) == (None, None)
    unheard = InputAudio(
        format=AudioFormat("audio/pcmu"), turn_detection=None, transcription=None, noise_reduction=None
    )
    assert msgspec.to_builtins(unheard)["turn_detection"] is None


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_the_callers_voice_is_written_byte_exact(audio: bytes) -> None:
    fields = json.loads(realtime.encode(AppendAudio(audio)))
    assert base64.b64decode(fields["audio"], validate=True) == audio


@given(st.text(), st.text(), st.integers(0, 10), st.integers(0, 10**7))
@settings(deadline=None)
def test_a_truncate_says_what_it_was_told(event_id: str, item_id: str, content_index: int, audio_end_ms: int) -> None:
    assert json.loads(realtime.encode(TruncateItem(event_id, item_id, content_index, audio_end_ms))) == {
        "type": "conversation.item.truncate",
        "event_id": event_id,
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": audio_end_ms,
    }

"""OpenAI's events: what a real session says is read, what we write is what the official SDK describes, and nothing that
arrives can do more than be refused."""

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
from proto.errors import RemoteProtocolError
from proto.realtime import (
    AgentTranscribed,
    AgentWords,
    AppendAudio,
    AudioCommitted,
    AudioDelta,
    AudioDone,
    AudioEnd,
    AudioFormat,
    CallerTranscribed,
    CancelResponse,
    CreateItem,
    CreateResponse,
    DeleteItem,
    ErrorDetail,
    ErrorReported,
    Inbound,
    InputAudio,
    InputText,
    InputTokens,
    Item,
    ItemAdded,
    ItemTruncated,
    NewFunctionCall,
    NewFunctionOutput,
    NewMessage,
    Outbound,
    OutputItemDone,
    OutputText,
    RateLimit,
    RateLimitsUpdated,
    Response,
    ResponseConfig,
    ResponseCreated,
    ResponseDone,
    Session,
    SessionAudio,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    StatusDetails,
    Tokens,
    TranscriptionFailed,
    TranscriptionUsage,
    TruncateItem,
    Unhandled,
    UpdateSession,
    Usage,
)
from relay.persona import Persona, SemanticVad, session_config

Json = dict[str, Any]

_PCM, _PCMU = {"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcmu"}
_PART = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}


def session(audio_format: Json) -> Json:
    """A session as the service shows it: with much that we do not read."""
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": "sess_1",
        "model": "gpt-realtime-2.1",
        "output_modalities": ["audio"],
        "instructions": "(server default text)",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": 1795262400,
        "audio": {
            "input": {"format": audio_format, "transcription": None, "noise_reduction": None, "turn_detection": _VAD},
            "output": {"format": audio_format, "voice": "marin", "speed": 1.0},
        },
        "include": None,
    }


def response(**fields: object) -> Json:
    """A response as the service shows it."""
    shown: Json = {
        "object": "realtime.response",
        "id": "resp_1",
        "status": "in_progress",
        "status_details": None,
        "output": [],
        "conversation_id": "conv_1",
        "output_modalities": ["audio"],
        "max_output_tokens": "inf",
        "audio": {"output": {"format": _PCMU, "voice": "marin"}},
        "usage": None,
        "metadata": None,
    }
    return shown | fields


def read_session(audio_format: str) -> Session:
    end = AudioEnd(AudioFormat(audio_format))
    return Session("sess_1", 1795262400, SessionAudio(end, end), "gpt-realtime-2.1")


def decode(event: object) -> Inbound | Unhandled:
    return realtime.decode(json.dumps(event).encode())


# Events as a session tells them, in the order of a call, beside what they mean to us.
TOLD: list[tuple[Json, Inbound]] = [
    ({"type": "session.created", "session": session(_PCM)}, SessionCreated(read_session("audio/pcm"))),
    ({"type": "session.updated", "session": session(_PCMU)}, SessionUpdated(read_session("audio/pcmu"))),
    (
        {"type": "response.created", "response": response(metadata={"kind": "greeting"})},
        ResponseCreated(Response("resp_1", "in_progress", metadata={"kind": "greeting"})),
    ),
    (
        {
            "type": "response.output_audio_transcript.delta",
            **_PART,
            "delta": "Hello",
            "obfuscation": "a1b2c3d4e5f",
        },
        AgentWords("item_1", "Hello"),
    ),
    (
        {"type": "response.output_audio.delta", **_PART, "delta": "//8="},
        AudioDelta("resp_1", "item_1", b"\xff\xff", 0),
    ),
    ({"type": "response.output_audio.done", **_PART}, AudioDone("resp_1", "item_1", 0)),
    (
        {"type": "response.output_audio_transcript.done", **_PART, "transcript": "Hello, how can I help?"},
        AgentTranscribed("item_1", "Hello, how can I help?"),
    ),
    (
        {
            "type": "response.output_item.done",
            "response_id": "resp_1",
            "output_index": 0,
            "item": {
                "id": "item_1",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_audio", "transcript": "Hello, how can I help?"}],
                "phase": "final_answer",
            },
        },
        OutputItemDone("resp_1", Item("item_1", "message", "completed", "assistant")),
    ),
    (
        {
            "type": "response.done",
            "response": response(
                status="completed",
                usage={
                    "total_tokens": 140,
                    "input_tokens": 90,
                    "output_tokens": 50,
                    "input_token_details": {"text_tokens": 90, "audio_tokens": 0, "cached_tokens": 0},
                    "output_token_details": {"text_tokens": 18, "audio_tokens": 32},
                },
            ),
        },
        ResponseDone(Response("resp_1", "completed", usage=Usage(140, 90, 50, InputTokens(90, 0), Tokens(18, 32)))),
    ),
    (
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1460, "item_id": "item_2"},
        SpeechStarted("item_2", 1460),
    ),
    (
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 4256, "item_id": "item_2"},
        SpeechStopped("item_2", 4256),
    ),
    (
        {"type": "input_audio_buffer.committed", "previous_item_id": "item_1", "item_id": "item_2"},
        AudioCommitted("item_2", "item_1"),
    ),
    (
        {
            "type": "conversation.item.added",
            "previous_item_id": None,
            "item": {"id": "item_1", "type": "message", "status": "completed", "role": "user", "content": []},
        },
        ItemAdded(Item(id="item_1", type="message", status="completed", role="user"), None),
    ),
    (
        {
            "type": "rate_limits.updated",
            "rate_limits": [{"name": "tokens", "limit": 15000000, "remaining": 14999371, "reset_seconds": 0.002}],
        },
        RateLimitsUpdated([RateLimit("tokens", 15_000_000, 14_999_371, 0.002)]),
    ),
    (
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_2",
            "content_index": 0,
            "transcript": "Hello, where is my order?",
            "usage": {"type": "duration", "seconds": 3},
        },
        CallerTranscribed("item_2", "Hello, where is my order?", TranscriptionUsage(seconds=3.0)),
    ),
    (
        {"type": "conversation.item.truncated", "item_id": "item_5", "content_index": 0, "audio_end_ms": 1240},
        ItemTruncated("item_5", 1240),
    ),
    (
        {
            "type": "response.done",
            "response": response(
                status="cancelled", status_details={"type": "cancelled", "reason": "turn_detected"}, usage=None
            ),
        },
        ResponseDone(Response("resp_1", "cancelled", StatusDetails("turn_detected"))),
    ),
    (
        {
            "type": "response.output_item.done",
            "response_id": "resp_9",
            "output_index": 1,
            "item": {
                "id": "item_11",
                "type": "function_call",
                "status": "completed",
                "name": "lookup_order",
                "call_id": "call_1",
                "arguments": '{"number":"42"}',
            },
        },
        OutputItemDone(
            "resp_9", Item("item_11", "function_call", "completed", None, "lookup_order", "call_1", '{"number":"42"}')
        ),
    ),
    (
        {
            "type": "conversation.item.input_audio_transcription.failed",
            "item_id": "item_20",
            "content_index": 0,
            "error": {
                "type": "server_error",
                "code": "DeploymentNotFound",
                "message": "Input transcription failed.",
                "param": None,
            },
        },
        TranscriptionFailed(
            "item_20", ErrorDetail("server_error", "DeploymentNotFound", "Input transcription failed.")
        ),
    ),
    (
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "code": "conversation_already_has_active_response",
                "message": "Conversation already has an active response in progress: resp_9.",
                "param": None,
                "event_id": "cont-1",
            },
        },
        ErrorReported(
            ErrorDetail(
                "invalid_request_error",
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress: resp_9.",
                None,
                "cont-1",
            )
        ),
    ),
    (
        {
            "type": "response.done",
            "response": response(
                status="failed",
                status_details={
                    "type": "failed",
                    "error": {"type": "insufficient_quota", "code": "insufficient_quota", "message": "No more."},
                },
            ),
        },
        ResponseDone(
            Response(
                "resp_1",
                "failed",
                StatusDetails(None, ErrorDetail("insufficient_quota", "insufficient_quota", "No more.")),
            )
        ),
    ),
]
told = pytest.mark.parametrize(("event", "means"), TOLD, ids=[event["type"] for event, _ in TOLD])


@told
def test_each_event_of_a_real_session_is_read(event: Json, means: Inbound) -> None:
    assert decode({"event_id": "event_1"} | event) == means


@told
def test_the_order_of_keys_means_nothing(event: Json, means: Inbound) -> None:
    assert decode(dict(reversed(event.items()))) == means


@told
def test_fields_that_openai_adds_one_day_are_skipped(event: Json, means: Inbound) -> None:
    widened = {key: value | {"new": [None]} if isinstance(value, dict) else value for key, value in event.items()}
    assert decode(widened | {"new": {"a": 1}}) == means


@pytest.mark.parametrize(
    "tag",
    [
        "response.content_part.added",
        "conversation.item.done",
        "response.output_text.delta",
        "input_audio_buffer.timeout_triggered",
        "mcp_list_tools.in_progress",
        "",
        "x" * 1000,
    ],
)
def test_events_we_do_not_act_on_are_named_and_left_alone(tag: str) -> None:
    assert decode({"type": tag, "event_id": "event_1", "item": {}}) == Unhandled(tag[:64])


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_the_agents_voice_arrives_byte_exact(audio: bytes) -> None:
    event = decode({"type": "response.output_audio.delta", **_PART, "delta": base64.b64encode(audio).decode()})
    assert event == AudioDelta("resp_1", "item_1", audio)


# What cannot be read


def refused(raw: bytes) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        realtime.decode(raw)
    assert caught.value.peer == "openai"
    return caught.value


@pytest.mark.parametrize("delta", ["//8", "//8=AA", "/ /=", "__-_", "//8é", None, 5, ["//8="]])
def test_audio_that_is_no_base64_is_refused(delta: object) -> None:
    event = {"type": "response.output_audio.delta", **_PART, "delta": delta}
    assert refused(json.dumps(event).encode()).tag == "response.output_audio.delta"


LACKING: list[Json] = [
    {"type": "session.created"},
    {"type": "session.updated", "session": None},
    {"type": "error"},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 5},
    {"type": "input_audio_buffer.speech_stopped", "item_id": 5},
    {"type": "response.created", "response": {"status": "in_progress"}},
    {"type": "response.done", "response": []},
    {"type": "response.output_item.done", "response_id": "resp_1"},
    {"type": "response.output_audio.delta", "delta": "//8="},
    {"type": "response.output_audio.done", "item_id": "item_1"},
    {"type": "response.output_audio_transcript.delta", "item_id": "item_1"},
    {"type": "conversation.item.input_audio_transcription.completed", "item_id": "item_1", "transcript": None},
]


@pytest.mark.parametrize("event", LACKING, ids=[event["type"] for event in LACKING])
def test_an_event_that_lacks_what_its_kind_must_have_is_refused_by_name(event: Json) -> None:
    assert refused(json.dumps(event).encode()).tag == event["type"]


NO_EVENT = {
    "nothing": b"",
    "words": b"hello",
    "half an event": b'{"type":"error",',
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "no type": b'{"event_id":"event_1"}',
    "a type that is a number": b'{"type":5}',
    "not UTF-8": b'{"type":"error\xff"}',
    "half a surrogate pair": b'{"type":"\\ud800"}',
    "100 000 brackets": b"[" * 100_000,
    "100 000 brackets in a field": b'{"type":"error","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("raw", NO_EVENT.values(), ids=NO_EVENT.keys())
def test_what_is_no_event_is_refused_without_naming_a_kind(raw: bytes) -> None:
    assert refused(raw).tag == ""


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_no_bytes_at_all_do_more_than_be_refused(raw: bytes) -> None:
    refused(raw + b"!")


def test_a_refusal_quotes_no_words() -> None:
    event = {"type": "response.output_audio_transcript.delta", "item_id": 5, "delta": "my secret words"}
    assert "secret" not in str(refused(json.dumps(event).encode()))


# What we write

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

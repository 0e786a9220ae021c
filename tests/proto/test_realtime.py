"""OpenAI's events: what a real session says is read, and nothing that arrives can do more than be refused."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import realtime
from proto.errors import RemoteProtocolError
from proto.realtime import (
    AgentTranscribed,
    AgentWords,
    AudioCommitted,
    AudioDelta,
    AudioDone,
    AudioEnd,
    AudioFormat,
    CallerTranscribed,
    ErrorDetail,
    ErrorReported,
    Inbound,
    InputTokens,
    Item,
    ItemAdded,
    ItemTruncated,
    OutputItemDone,
    RateLimit,
    RateLimitsUpdated,
    Response,
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
    Unhandled,
    Usage,
)

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

"""Both wires in words: one function for each message of Twilio and each event of OpenAI, as it stands on the wire.

Audio is counted in ms, or given as bytes where its content matters.
"""

import base64
import json
from typing import Any

import msgspec

from proto import realtime, twilio
from proto.errors import Peer, RemoteProtocolError
from relay.events import Command, Event, Malformed, ToBeside
from relay.patience import SilencePolicy
from relay.persona import Persona, ServerVad

Message = dict[str, Any]

STREAM = "MZ1"
CALL = "CA1"
PATIENT = SilencePolicy(prompt_after_s=None)  # a test that waits is not to be asked whether it is still there
PERSONA = Persona(instructions="Short answers.", silence=PATIENT)
GREETER = Persona(instructions="Short answers.", silence=PATIENT, greeting="Hello, how can I help?")
# With this one the service only reports speech; stopping the agent's response is left to us.
HAND_CUT = Persona(instructions="Short answers.", silence=PATIENT, turn_detection=ServerVad(interrupt_response=False))


def voice(ms: int) -> bytes:
    """Audio that is no silence, and whose every byte tells where it belongs."""
    return bytes(at % 251 for at in range(ms * 8))


def encoded(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


# What Twilio says.


def connected() -> Message:
    return {"event": "connected", "protocol": "Call", "version": "1.0.0"}


def start(stream: str = STREAM, call: str = CALL, **fields: object) -> Message:
    """`fields` replace those of the inner object."""
    body = {
        "accountSid": "AC1",
        "streamSid": stream,
        "callSid": call,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {},
    }
    return {"event": "start", "sequenceNumber": "1", "streamSid": stream, "start": body | fields}


def frame(audio: bytes | None = None, *, timestamp: object = None, stream: str = STREAM, **fields: object) -> Message:
    """One frame of the caller's voice, 20 ms unless `audio` says otherwise; `fields` join the inner object."""
    body: Message = {"track": "inbound", "payload": encoded(voice(20) if audio is None else audio)}
    if timestamp is not None:
        body["timestamp"] = timestamp
    return {"event": "media", "streamSid": stream, "media": body | fields}


def numbered(message: Message, sequence_number: object) -> Message:
    return message | {"sequenceNumber": sequence_number}


def mark(name: str, stream: str = STREAM) -> Message:
    return {"event": "mark", "sequenceNumber": "9", "streamSid": stream, "mark": {"name": name}}


def dtmf(digit: object) -> Message:
    return {"event": "dtmf", "streamSid": STREAM, "dtmf": {"track": "inbound_track", "digit": digit}}


def stop(stream: str = STREAM) -> Message:
    return {"event": "stop", "sequenceNumber": "9", "stop": {"accountSid": "AC1", "callSid": CALL}, "streamSid": stream}


# What OpenAI says.


def session(format_type: str = "audio/pcmu") -> Message:
    end = {"format": {"type": format_type}}
    return {"type": "realtime", "id": "sess_1", "expires_at": 1795262400, "audio": {"input": end, "output": end}}


def session_created() -> Message:
    return {"type": "session.created", "event_id": "event_1", "session": session("audio/pcm")}


def session_updated(format_type: str = "audio/pcmu") -> Message:
    return {"type": "session.updated", "event_id": "event_2", "session": session(format_type)}


def error(code: str | None, *, event_id: str | None = None, param: str | None = None, message: str = "") -> Message:
    detail = {"type": "invalid_request_error", "code": code, "message": message, "param": param, "event_id": event_id}
    return {"type": "error", "event_id": "event_3", "error": detail}


def speech_started(item: str = "item_caller") -> Message:
    return {"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": 1460}


def speech_stopped(item: str = "item_caller") -> Message:
    return {"type": "input_audio_buffer.speech_stopped", "item_id": item, "audio_end_ms": 4256}


def transcribed(words: str, item: str = "item_caller") -> Message:
    tag = "conversation.item.input_audio_transcription.completed"
    return {"type": tag, "item_id": item, "content_index": 0, "transcript": words}


def committed(item: str = "item_caller", previous: str | None = None) -> Message:
    return {"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": previous}


def response_created(response: str = "resp_1", *, asked: Message | None = None) -> Message:
    """asked: our response.create that it is for, if it is none of the server's own; its marks come back."""
    metadata = asked["response"]["metadata"] if asked else None
    created = {"id": response, "status": "in_progress", "usage": None, "metadata": metadata}
    return {"type": "response.created", "response": created}


def response_done(
    response: str = "resp_1", *, status: str = "completed", total_tokens: int | None = 140, code: str | None = None
) -> Message:
    """code: of the error that it failed with."""
    usage = None if total_tokens is None else {"total_tokens": total_tokens, "input_tokens": 0, "output_tokens": 0}
    details = {"type": status, "error": {"type": code, "code": code}} if code else None
    ended = {"id": response, "status": status, "status_details": details, "usage": usage}
    return {"type": "response.done", "response": ended}


def item_added(item: str, previous: str | None = None, **fields: object) -> Message:
    """`fields` join the item."""
    body = {"id": item, "type": "message", "role": "assistant"} | fields
    return {"type": "conversation.item.added", "item": body, "previous_item_id": previous}


def tool_called(
    name: str = "find",
    call: str = "call_1",
    *,
    response: str = "resp_1",
    arguments: str = "{}",
    status: str = "completed",
) -> Message:
    """The model's call of a function is complete, or was broken off."""
    body = {"id": f"item_{call}", "type": "function_call", "status": status, "name": name, "call_id": call}
    return {"type": "response.output_item.done", "response_id": response, "item": body | {"arguments": arguments}}


def audio_delta(
    item: str = "item_1", *, ms: int = 0, audio: bytes | None = None, response: str = "resp_1", content_index: int = 0
) -> Message:
    """Some of the agent's voice: `ms` of it, or exactly `audio`."""
    return {
        "type": "response.output_audio.delta",
        "response_id": response,
        "item_id": item,
        "output_index": 0,
        "content_index": content_index,
        "delta": encoded(voice(ms) if audio is None else audio),
    }


def audio_done(item: str = "item_1", *, response: str = "resp_1", content_index: int = 0) -> Message:
    where = {"response_id": response, "item_id": item, "output_index": 0, "content_index": content_index}
    return {"type": "response.output_audio.done"} | where


def words_delta(words: str, item: str = "item_1") -> Message:
    return {"type": "response.output_audio_transcript.delta", "item_id": item, "delta": words}


def words_done(words: str, item: str = "item_1") -> Message:
    return {"type": "response.output_audio_transcript.done", "item_id": item, "transcript": words}


# From the wire and back.


def raw(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def read(peer: Peer, message: Message | bytes) -> Event:
    """The event that a call sees when a peer says this."""
    try:
        return twilio.decode(raw(message)) if peer == "twilio" else realtime.decode(raw(message))
    except RemoteProtocolError as fault:
        return Malformed(peer, fault.tag, fault.detail)


def written(message: twilio.Outbound | realtime.Outbound) -> Message:
    """What stands on the wire for a command."""
    encode = twilio.encode(message) if isinstance(message, twilio.Outbound) else realtime.encode(message)
    fields: Message = msgspec.json.decode(encode)
    return fields


def to_twilio(commands: list[Command]) -> list[Message]:
    return [written(command) for command in commands if isinstance(command, twilio.Outbound)]


def to_openai(commands: list[Command]) -> list[Message]:
    """What is said to the model; whether it lives is asked of the service."""
    said = [written(command) for command in commands if isinstance(command, realtime.Outbound)]
    return [message for message in said if not is_probe(message)]


def is_probe(message: Message) -> bool:
    """It asks for a sign of life."""
    return str(message.get("event_id")).startswith("probe-")


def probe_refused(probe: Message) -> Message:
    """The sign of life."""
    return error("item_delete_invalid_item_id", event_id=probe["event_id"], param="item_id")


def to_beside(commands: list[Command]) -> list[Message]:
    """What is said in the session that is being made ready."""
    return [written(command.command) for command in commands if isinstance(command, ToBeside)]


def tags(messages: list[Message]) -> list[str]:
    """What kinds of messages these are, in their order, by either wire's tag."""
    return [message.get("event") or message["type"] for message in messages]


def played(messages: list[Message]) -> bytes:
    """The audio in messages to Twilio."""
    return b"".join(base64.b64decode(message["media"]["payload"]) for message in messages if "media" in message)


def appended(messages: list[Message]) -> bytes:
    """The audio in events to OpenAI."""
    return b"".join(base64.b64decode(message["audio"]) for message in messages if "audio" in message)


def marks(messages: list[Message]) -> list[str]:
    """The names of the marks in messages to Twilio."""
    return [message["mark"]["name"] for message in messages if message["event"] == "mark"]

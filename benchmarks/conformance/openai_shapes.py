"""What each Realtime server event must look like: its fields and their JSON types, after OpenAI's published reference.

Only what is required is listed; unknown fields and unknown kinds are no faults, since the service adds both.
"""

import re
from typing import Any, Final

from benchmarks.conformance.wire import Json

_JSON_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "object": (dict,),
    "array": (list,),
    "string or null": (str, type(None)),
    "object or null": (dict, type(None)),
}

_ITEM = "item:object"
_PART_OF_RESPONSE = "response_id:string item_id:string output_index:integer content_index:integer"
_CALL = "response_id:string item_id:string output_index:integer call_id:string"
_TRANSCRIPTION = "conversation.item.input_audio_transcription"

_FIELDS: Final = {
    "session.created": "session:object",
    "session.updated": "session:object",
    "error": "error:object",
    "conversation.item.added": _ITEM,
    "conversation.item.done": _ITEM,
    "conversation.item.retrieved": _ITEM,
    "conversation.item.truncated": "item_id:string content_index:integer audio_end_ms:integer",
    "conversation.item.deleted": "item_id:string",
    f"{_TRANSCRIPTION}.delta": "item_id:string",
    f"{_TRANSCRIPTION}.completed": "item_id:string content_index:integer transcript:string usage:object",
    f"{_TRANSCRIPTION}.failed": "item_id:string content_index:integer error:object",
    "input_audio_buffer.speech_started": "item_id:string audio_start_ms:integer",
    "input_audio_buffer.speech_stopped": "item_id:string audio_end_ms:integer",
    "input_audio_buffer.committed": "item_id:string",
    "input_audio_buffer.cleared": "",
    "input_audio_buffer.timeout_triggered": "item_id:string audio_start_ms:integer audio_end_ms:integer",
    "response.created": "response:object",
    "response.done": "response:object",
    "response.output_item.added": f"response_id:string output_index:integer {_ITEM}",
    "response.output_item.done": f"response_id:string output_index:integer {_ITEM}",
    "response.content_part.added": f"{_PART_OF_RESPONSE} part:object",
    "response.content_part.done": f"{_PART_OF_RESPONSE} part:object",
    "response.output_audio.delta": f"{_PART_OF_RESPONSE} delta:string",
    "response.output_audio.done": _PART_OF_RESPONSE,
    "response.output_audio_transcript.delta": f"{_PART_OF_RESPONSE} delta:string",
    "response.output_audio_transcript.done": f"{_PART_OF_RESPONSE} transcript:string",
    "response.output_text.delta": f"{_PART_OF_RESPONSE} delta:string",
    "response.output_text.done": f"{_PART_OF_RESPONSE} text:string",
    "response.function_call_arguments.delta": f"{_CALL} delta:string",
    "response.function_call_arguments.done": f"{_CALL} name:string arguments:string",
    "rate_limits.updated": "rate_limits:array",
}

_NESTED: Final = {
    "session": "type:string object:string id:string",
    "error": "type:string message:string",
    "response": (
        "object:string id:string status:string output:array usage:object or null status_details:object or null"
        " conversation_id:string or null"
    ),
    "item": "id:string type:string",
    "part": "type:string",
}
_FIELD = re.compile(r"(\w+):((?:string|integer|object|array)(?: or null)?)")

_IDS: Final = {
    "sess": re.compile(r"sess_[A-Za-z0-9]{21}"),
    "conv": re.compile(r"conv_[A-Za-z0-9]{21}"),
    "resp": re.compile(r"resp_[A-Za-z0-9]{21}"),
    "item": re.compile(r"item_[A-Za-z0-9]{21}"),
    "event": re.compile(r"event_[A-Za-z0-9]{21}"),
}


def faults_of(event: Json) -> list[str]:
    """What is wrong with one event's shape, in words; [] when nothing is."""
    kind = event.get("type")
    if not isinstance(kind, str) or not kind:
        return ["an event without a type"]
    faults = [] if isinstance(event.get("event_id"), str) and event["event_id"] else [f"{kind} without an event_id"]
    faults += _missing(event, _FIELDS.get(kind, ""), kind)
    for name, fields in _NESTED.items():
        if kind in _FIELDS and isinstance(event.get(name), dict) and not _is_other_error(kind, name):
            faults += _missing(event[name], fields, f"{kind}.{name}")
    return faults


def is_id(prefix: str, value: Any) -> bool:
    """Whether this looks like the service's ids: the prefix, an underscore, 21 letters and digits."""
    return isinstance(value, str) and bool(_IDS[prefix].fullmatch(value))


def _is_other_error(kind: str, name: str) -> bool:
    """A failed transcription's error may leave out what an `error` event's may not."""
    return name == "error" and kind != "error"


def _missing(holder: Json, fields: str, where: str) -> list[str]:
    return [
        f"{where}.{name} is not {'an' if expected[0] in 'aeio' else 'a'} {expected}"
        for name, expected in _FIELD.findall(fields)
        if not _is(holder.get(name), expected) or name not in holder
    ]


def _is(value: Any, expected: str) -> bool:
    return isinstance(value, _JSON_TYPES[expected]) and not isinstance(value, bool)

"""What a client may send: the events by name, with their keys, and how raw text becomes one of them."""

from typing import Any, Final

import msgspec

from benchmarks.simulators.openai.checks import (
    Check,
    RequestError,
    anything,
    fields,
    integer,
    missing_parameter,
    nullable,
    text,
    unsupported_value,
)
from benchmarks.simulators.openai.events import Json

MOST_AUDIO_BYTES: Final = 15 * 2**20  # in one append
_LONGEST_EVENT_ID: Final = 512
_LONGEST_AUDIO_MS: Final = 24 * 3600 * 1000


def _event(required: dict[str, Check] | None = None, optional: dict[str, Check] | None = None) -> Check:
    common = {"type": anything, "event_id": text(_LONGEST_EVENT_ID)}
    return fields({**common, **(required or {}), **(optional or {})}, required=tuple(required or ()))


# What is nested (a session, an item, a response) is checked by those who know it; audio, by decoding it.
CLIENT_EVENTS: Final[dict[str, Check]] = {
    "session.update": _event({"session": anything}),
    "input_audio_buffer.append": _event({"audio": anything}),
    "input_audio_buffer.commit": _event(),
    "input_audio_buffer.clear": _event(),
    "conversation.item.create": _event({"item": anything}, {"previous_item_id": nullable(text())}),
    "conversation.item.retrieve": _event({"item_id": text()}),
    "conversation.item.truncate": _event(
        {"item_id": text(), "content_index": integer(0, 1000), "audio_end_ms": integer(0, _LONGEST_AUDIO_MS)}
    ),
    "conversation.item.delete": _event({"item_id": text()}),
    "response.create": _event(optional={"response": nullable(anything)}),
    "response.cancel": _event(optional={"response_id": nullable(text())}),
}

_decoder: Final = msgspec.json.Decoder()


def decode(raw: str | bytes) -> Json:
    """The JSON object a client sent. Raises: RequestError for what is not JSON, or not an object."""
    try:
        event: Any = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RequestError("invalid_json", "Could not parse the event: it is not valid JSON.") from None
    if not isinstance(event, dict):
        raise RequestError("invalid_json", "Could not parse the event: it is not a JSON object.")
    return event


def check_event(event: Json) -> str:
    """The event's type, once its own keys are in order. Raises: RequestError for the first thing that is wrong."""
    if "type" not in event:
        raise missing_parameter("type")
    name = event["type"]
    if not isinstance(name, str) or name not in CLIENT_EVENTS:
        raise unsupported_value("type", name, tuple(CLIENT_EVENTS))
    CLIENT_EVENTS[name](event, "")
    return name

"""Items that a client may create, and what each of them costs as input.

Assistant audio is not among them: it comes from the model alone.
"""

import base64
import binascii
from typing import Any, Final

from benchmarks.simulators.openai.checks import (
    RequestError,
    anything,
    boolean,
    fields,
    list_of,
    nullable,
    one_of,
    tagged,
    text,
)
from benchmarks.simulators.openai.events import Json
from benchmarks.simulators.openai.usage import Tokens, text_tokens

LONGEST_ID: Final = 32
_STATUS: Final = one_of("completed", "incomplete", "in_progress")
_COMMON: Final = {
    "id": text(LONGEST_ID),
    "object": one_of("realtime.item"),
    "type": anything,
    "status": _STATUS,
}
_INPUT_TEXT: Final = fields({"type": anything, "text": text()}, required=("text",))


def _base64(value: Any, path: str) -> None:
    decoded_audio(value, path)


_SYSTEM: Final = tagged({"input_text": _INPUT_TEXT})
_USER: Final = tagged(
    {
        "input_text": _INPUT_TEXT,
        "input_audio": fields(
            {"type": anything, "audio": _base64, "transcript": nullable(text())}, required=("audio",)
        ),
        "input_image": fields(
            {"type": anything, "image_url": text(), "detail": one_of("auto", "low", "high")}, required=("image_url",)
        ),
    }
)
_ASSISTANT: Final = tagged({"output_text": fields({"type": anything, "text": text()}, required=("text",))})

_ITEM: Final = tagged(
    {
        "message": tagged(
            {
                role: fields({**_COMMON, "role": anything, "content": list_of(part)}, required=("content",))
                for role, part in (("system", _SYSTEM), ("user", _USER), ("assistant", _ASSISTANT))
            },
            tag="role",
        ),
        "function_call": fields(
            {**_COMMON, "name": text(), "arguments": text(), "call_id": text(LONGEST_ID)},
            required=("name", "arguments"),
        ),
        "function_call_output": fields(
            {**_COMMON, "call_id": text(LONGEST_ID), "output": text()}, required=("call_id", "output")
        ),
        "mcp_approval_response": fields(
            {
                "id": text(LONGEST_ID),
                "type": anything,
                "approval_request_id": text(),
                "approve": boolean,
                "reason": nullable(text()),
            },
            required=("id", "approval_request_id", "approve"),
        ),
    }
)


def check_item(item: Any, path: str) -> None:
    """Raises: RequestError for anything but an item that a client may create."""
    _ITEM(item, path)


def decoded_audio(value: Any, path: str) -> bytes:
    """The bytes of a base64 string. Raises: RequestError, naming what was expected."""
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    message = f"Invalid '{path}'. Expected base64-encoded audio bytes, but got something that does not decode."
    raise RequestError("invalid_value", message, param=path)


def split_audio(item: Json) -> tuple[Json, bytes]:
    """The item as its events show it, and its audio, which is sent only when it is asked for."""
    parts = item.get("content", [])
    if not any("audio" in part for part in parts):
        return item, b""
    audio = b"".join(base64.b64decode(part["audio"]) for part in parts if "audio" in part)
    shown = [_heard(part) if "audio" in part else part for part in parts]
    return {**item, "content": shown}, audio


def _heard(part: Json) -> Json:
    return {"type": part["type"], "transcript": part.get("transcript")}


def text_cost(item: Json) -> Tokens:
    """What the item's texts cost as input; audio is counted by its length, which the item does not say."""
    parts = item.get("content", ())
    texts = [part.get("text") or part.get("transcript") or "" for part in parts if part["type"] != "input_audio"]
    texts += [item.get("name", ""), item.get("arguments", ""), item.get("output") or ""]
    return Tokens(text=sum(text_tokens(one) for one in texts))

"""The session object: its defaults for each model, and what `session.update` makes of it.

A session is a plain JSON tree that is never changed in place: an update gives a new tree or a RequestError, so it is
all or nothing, and the tree can be sent as the echo as it stands.
"""

from typing import Any, Final, Literal

import msgspec

from benchmarks.simulators.openai.checks import RequestError, missing_parameter
from benchmarks.simulators.openai.events import Json
from benchmarks.simulators.openai.session_fields import SESSION

DEFAULT_INSTRUCTIONS: Final = (
    "You are a helpful assistant on a voice line. Speak warmly, answer briefly, and say so when you do not know."
)
_CHAT_MODELS: Final = ("gpt-realtime", "gpt-audio", "gpt-4o-realtime", "gpt-4o-mini-realtime")
_REASONING_MODELS: Final = ("gpt-realtime-2",)


class TurnDetection(msgspec.Struct, frozen=True):
    """How the end of the caller's turn is found, and what happens by itself then."""

    type: Literal["server_vad", "semantic_vad"]
    create_response: bool
    interrupt_response: bool
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    idle_timeout_ms: int | None = None
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"


def is_conversation_model(model: str) -> bool:
    """Whether this endpoint has a model of this name."""
    return model.startswith(_CHAT_MODELS)


def is_reasoning_model(model: str) -> bool:
    """Whether the model is of the 2.x family, but not the dated first one (gpt-realtime-2025-08-28)."""
    return model.startswith(_REASONING_MODELS) and not model.startswith("gpt-realtime-20")


def default_session(model: str, *, session_id: str, expires_at: int, voice: str | None = None) -> Json:
    """What `session.created` shows. Defaults follow the model: 2.x waits longer for silence and speaks as marin."""
    is_recent = is_reasoning_model(model)
    pcm = {"type": "audio/pcm", "rate": 24000}
    heard = {
        "format": pcm,
        "transcription": None,
        "noise_reduction": None,
        "turn_detection": _default_turn_detection("server_vad", model),
    }
    spoken = {"format": pcm, "voice": voice or ("marin" if is_recent else "alloy"), "speed": 1.0}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": DEFAULT_INSTRUCTIONS,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "audio": {"input": heard, "output": spoken},
        "include": None,
    }


def updated_session(session: Json, update: Any, *, has_spoken: bool, is_responding: bool) -> Json:
    """The session after `session.update`: what the update names has changed, the rest stays.

    Args: has_spoken, whether the conversation holds assistant audio, which fixes the voice; is_responding, whether a
    response is under way, which fixes the speed.
    Raises: RequestError for the first thing that is wrong; then nothing at all changes.
    """
    SESSION(update, "session")
    _refuse_fixed(session, update)
    _refuse_fixed_sound(session, update, has_spoken=has_spoken, is_responding=is_responding)
    merged: Json = {**session, **update}
    merged["instructions"] = merged["instructions"] or DEFAULT_INSTRUCTIONS
    merged["audio"] = _merged_audio(session, update.get("audio", {}))
    return merged


def turn_detection(session: Json) -> TurnDetection | None:
    """The session's turn detection; None when the client ends turns itself."""
    settings = session["audio"]["input"]["turn_detection"]
    return None if settings is None else msgspec.convert(settings, TurnDetection)


def _merged_audio(session: Json, update: Json) -> Json:
    heard, spoken = session["audio"]["input"], session["audio"]["output"]
    given = update.get("input", {})
    merged = {**heard, **given}  # a format is replaced whole: what is left of another one would mean nothing
    if given.get("transcription") is not None:
        merged["transcription"] = _merged_transcription(heard["transcription"], given["transcription"])
    if given.get("turn_detection") is not None:
        current = heard["turn_detection"]
        if current is None or current["type"] != given["turn_detection"]["type"]:
            current = _default_turn_detection(given["turn_detection"]["type"], session["model"])
        merged["turn_detection"] = {**current, **given["turn_detection"]}
    return {"input": merged, "output": {**spoken, **update.get("output", {})}}


def _merged_transcription(current: Json | None, given: Json) -> Json:
    if current is None and "model" not in given:
        raise missing_parameter("session.audio.input.transcription.model")
    return {"model": "", "language": None, "prompt": None, **(current or {}), **given}


def _default_turn_detection(kind: str, model: str) -> Json:
    after = {"create_response": True, "interrupt_response": True}
    if kind == "semantic_vad":
        return {"type": kind, "eagerness": "auto", **after}
    silence_ms = 500 if is_reasoning_model(model) else 200
    windows = {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": silence_ms}
    return {"type": kind, **windows, "idle_timeout_ms": None, **after}


def _refuse_fixed(session: Json, update: Json) -> None:
    """What was settled when the socket opened, and what only some models have."""
    if update["type"] != session["type"]:
        message = f"A session of type '{session['type']}' cannot become one of type '{update['type']}'."
        raise RequestError("invalid_value", message, param="session.type")
    if update.get("model", session["model"]) != session["model"]:
        raise RequestError("invalid_value", "The model of a session cannot be changed.", param="session.model")
    if session["tracing"] is not None and update.get("tracing", session["tracing"]) != session["tracing"]:
        raise RequestError("invalid_value", "Tracing cannot be changed once it is enabled.", param="session.tracing")
    for key in ("reasoning", "parallel_tool_calls"):
        if update.get(key) is not None and not is_reasoning_model(session["model"]):
            message = f"'session.{key}' is not supported with the model '{session['model']}'."
            raise RequestError("invalid_value", message, param=f"session.{key}")


def _refuse_fixed_sound(session: Json, update: Json, *, has_spoken: bool, is_responding: bool) -> None:
    """A voice is fixed once heard, a speed while it speaks. Naming the one in use is no change."""
    spoken, given = session["audio"]["output"], update.get("audio", {}).get("output", {})
    if has_spoken and given.get("voice", spoken["voice"]) != spoken["voice"]:
        raise voice_is_fixed("session.audio.output.voice")
    if is_responding and given.get("speed", spoken["speed"]) != spoken["speed"]:
        message = "The speed cannot be changed while a response is in progress."
        raise RequestError("invalid_value", message, param="session.audio.output.speed")


def voice_is_fixed(path: str) -> RequestError:
    """The caller has heard this assistant: it keeps its voice."""
    message = "Cannot update a conversation's voice if assistant audio is present."
    return RequestError("cannot_update_voice", message, param=path)

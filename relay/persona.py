"""Persona: all that one call needs to know about who answers it. Frozen when the call starts."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET

from proto import realtime
from relay.bargein import BargeInPolicy, interrupts_by_itself
from relay.keypad import KeyPolicy
from relay.patience import Limits, SilencePolicy
from relay.privacy import Privacy
from relay.retry import CALL_BUDGET_S

# The families that cannot think: the first, by its bare name or a date, its small one, and 1.5.
_UNTHINKING = re.compile(r"gpt-realtime(-mini|-1\.|-20\d\d-|$)|gpt-4o")


class ServerVad(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="server_vad"):
    """How OpenAI finds the caller's turns by silence. Always sent in full: its defaults differ from model to model."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="semantic_vad"):
    """How OpenAI finds the caller's turns by what they say. eagerness: to answer; "auto" is as "medium"."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class Persona(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers the call, and how.

    model: "" is the one that the service is opened with otherwise. reasoning_effort: None leaves it to the model; not
    sent to one that cannot think. language: the caller's, ISO 639-1, "" if it is not known. tools: the names of those
    that it may use of what there is, None for all.
    """

    instructions: str
    voice: str = "marin"
    greeting: str = ""  # spoken first; "" lets the caller begin
    model: str = ""
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=1.5)] = 1.0  # of the voice
    reasoning_effort: realtime.ReasoningEffort | None = None
    language: str = ""
    turn_detection: ServerVad | SemanticVad = ServerVad()
    tools: frozenset[str] | None = None
    transcription_model: str | None = "gpt-realtime-whisper"  # None: the caller's words are not written down
    noise_reduction: Literal["near_field", "far_field"] | None = None
    barge_in: BargeInPolicy = BargeInPolicy()
    silence: SilencePolicy = SilencePolicy()
    limits: Limits = Limits()
    dtmf: KeyPolicy = KeyPolicy()
    privacy: Privacy = Privacy()
    greeting_audio: bytes = b""  # the greeting spoken, μ-law: played at once; b"": the model speaks it when it is there
    apology: str = "I am sorry, I cannot hear you well at the moment. Please try again a little later."
    apology_audio: bytes = b""  # played when no model can be reached, before the call ends
    reconnect_within_s: float = CALL_BUDGET_S  # how long the caller is kept waiting when OpenAI is in trouble


_PCMU = realtime.AudioFormat("audio/pcmu")  # G.711 μ-law both ways: Twilio's bytes pass through untouched


def interrupt_response(persona: Persona) -> bool:
    """Whether OpenAI cancels its response by itself when the caller speaks: only if any speech is to interrupt."""
    return persona.turn_detection.interrupt_response and interrupts_by_itself(persona.barge_in)


def takes_reasoning(model: str) -> bool:
    """Whether a model of this name can be told how much to think; so can one that nobody knows yet."""
    return _UNTHINKING.match(model) is None


def session_config(
    persona: Persona, tools: list[realtime.FunctionTool] | None = None, model: str = ""
) -> realtime.SessionConfig:
    """The complete configuration of a realtime session for one call. model: which one it is with, if that is known."""
    effort = persona.reasoning_effort if takes_reasoning(model or persona.model) else None
    return realtime.SessionConfig(
        output_modalities=["audio"],
        instructions=persona.instructions,
        audio=realtime.AudioConfig(_input(persona), output_audio(persona.voice, persona.speed)),
        tools=tools or UNSET,
        reasoning=realtime.Reasoning(effort) if effort is not None else UNSET,
    )


def _input(persona: Persona) -> realtime.InputAudio:
    transcription = None
    if persona.transcription_model:
        transcription = realtime.Transcription(persona.transcription_model, persona.language or UNSET)
    return realtime.InputAudio(
        format=_PCMU,
        turn_detection=_turn_detection(persona),
        transcription=transcription,
        noise_reduction=realtime.NoiseReduction(persona.noise_reduction) if persona.noise_reduction else None,
    )


def _turn_detection(persona: Persona) -> realtime.ServerVad | realtime.SemanticVad:
    fields = msgspec.structs.asdict(persona.turn_detection) | {"interrupt_response": interrupt_response(persona)}
    if isinstance(persona.turn_detection, ServerVad):
        return realtime.ServerVad(**fields)
    return realtime.SemanticVad(**fields)


def output_audio(voice: str, speed: float) -> realtime.OutputAudio:
    """How a session sounds."""
    return realtime.OutputAudio(format=_PCMU, voice=realtime.voice_of(voice), speed=UNSET if speed == 1.0 else speed)


def greeting_config(persona: Persona) -> realtime.ResponseConfig:
    """The response that speaks the greeting; its instructions stand in for the session's, so they repeat them."""
    say = f"The call has just begun. Greet the caller with exactly these words, then wait: {persona.greeting}"
    return realtime.ResponseConfig(instructions=f"{persona.instructions}\n\n{say}".strip())

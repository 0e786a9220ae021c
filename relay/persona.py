"""Persona: all that one call needs to know about who answers it. Frozen when the call starts."""

from typing import Literal

import msgspec

from proto import realtime


class ServerVad(msgspec.Struct, frozen=True, kw_only=True):
    """How OpenAI finds the caller's turns. Always sent in full: the service's defaults differ from model to model."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True


class Persona(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers the call, and how."""

    instructions: str
    voice: str = "marin"
    greeting: str = ""  # spoken first; "" lets the caller begin
    turn_detection: ServerVad = ServerVad()
    transcription_model: str | None = "gpt-realtime-whisper"  # None: the caller's words are not written down
    noise_reduction: Literal["near_field", "far_field"] | None = None


_PCMU = realtime.AudioFormat("audio/pcmu")  # G.711 μ-law both ways: Twilio's bytes pass through untouched


def session_config(persona: Persona) -> realtime.SessionConfig:
    """The complete configuration of a realtime session for one call."""
    vad = realtime.TurnDetection(**msgspec.structs.asdict(persona.turn_detection))
    transcription = realtime.Transcription(persona.transcription_model) if persona.transcription_model else None
    noise_reduction = realtime.NoiseReduction(persona.noise_reduction) if persona.noise_reduction else None
    return realtime.SessionConfig(
        output_modalities=["audio"],
        instructions=persona.instructions,
        audio=realtime.AudioConfig(
            realtime.InputAudio(
                format=_PCMU, turn_detection=vad, transcription=transcription, noise_reduction=noise_reduction
            ),
            realtime.OutputAudio(format=_PCMU, voice=persona.voice),
        ),
    )


def greeting_config(persona: Persona) -> realtime.ResponseConfig:
    """The response that speaks the greeting; its instructions stand in for the session's, so they repeat them."""
    say = f"The call has just begun. Greet the caller with exactly these words, then wait: {persona.greeting}"
    return realtime.ResponseConfig(
        instructions=f"{persona.instructions}\n\n{say}".strip(), metadata={"kind": "greeting"}
    )

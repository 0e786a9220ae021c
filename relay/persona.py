"""Persona: all that one call needs to know about who answers it. Frozen when the call starts."""

from typing import Literal

import msgspec

from proto import realtime
from relay.bargein import BargeInPolicy, interrupts_by_itself
from relay.keypad import KeyPolicy
from relay.patience import Limits, SilencePolicy
from relay.privacy import Privacy
from relay.retry import CALL_BUDGET_S


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


def session_config(persona: Persona, tools: list[realtime.FunctionTool] | None = None) -> realtime.SessionConfig:
    """The complete configuration of a realtime session for one call."""
    detection = msgspec.structs.replace(persona.turn_detection, interrupt_response=interrupt_response(persona))
    vad = realtime.TurnDetection(**msgspec.structs.asdict(detection))
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
        tools=tools or msgspec.UNSET,
    )


def greeting_config(persona: Persona) -> realtime.ResponseConfig:
    """The response that speaks the greeting; its instructions stand in for the session's, so they repeat them."""
    say = f"The call has just begun. Greet the caller with exactly these words, then wait: {persona.greeting}"
    return realtime.ResponseConfig(instructions=f"{persona.instructions}\n\n{say}".strip())

"""The three audio formats of a session, and the clips of `benchmarks.speech` in each of them.

A-law is spoken through a table from μ-law: nobody measures it, but a session may ask for it.
"""

from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks import speech
from benchmarks.simulators.openai.session_fields import PCM_RATE_HZ
from proto import mulaw

FormatName = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]

BYTES_PER_MS: Final[dict[FormatName, int]] = {"audio/pcm": 48, "audio/pcmu": 8, "audio/pcma": 8}


def duration_ms(audio: bytes | bytearray, name: FormatName) -> int:
    """How long this audio sounds, in whole ms, rounded down."""
    return len(audio) // BYTES_PER_MS[name]


@lru_cache(maxsize=128)
def clip_audio(clip_name: str, name: FormatName) -> bytes:
    """A spoken clip in a format, μ-law as it is on disk. Raises: KeyError for an unknown clip."""
    spoken = speech.clip(clip_name).mulaw
    match name:
        case "audio/pcmu":
            return spoken
        case "audio/pcma":
            return spoken.translate(_ALAW_OF_MULAW)
        case "audio/pcm":
            samples = mulaw.resample(mulaw.decode(spoken), mulaw.SAMPLE_RATE_HZ, PCM_RATE_HZ)
            return samples.astype("<i2").tobytes()


def linear_levels(name: Literal["audio/pcmu", "audio/pcma"]) -> NDArray[np.int16]:
    """(256,) int16: what each G.711 byte means as a linear sample."""
    return mulaw.decode(bytes(range(256))) if name == "audio/pcmu" else _alaw_levels()


def _alaw_levels() -> NDArray[np.int16]:
    """G.711 table 1a, in the 16-bit convention; on the wire every second bit of a code is inverted."""
    bits = np.arange(256) ^ 0x55
    segment, mantissa = bits >> 4 & 0x07, bits & 0x0F
    magnitude = np.where(segment == 0, (mantissa << 4) + 8, (mantissa << 4) + 264 << np.maximum(segment - 1, 0))
    return np.where(bits & 0x80, magnitude, -magnitude).astype(np.int16)


def _alaw_of_mulaw() -> bytes:
    wanted, levels = linear_levels("audio/pcmu").astype(np.int32), _alaw_levels().astype(np.int32)
    nearest: NDArray[np.intp] = np.abs(wanted[:, None] - levels[None, :]).argmin(axis=1)
    return nearest.astype(np.uint8).tobytes()


_ALAW_OF_MULAW: Final = _alaw_of_mulaw()

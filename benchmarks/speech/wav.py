"""Audio files in and out: a recording somebody brings becomes μ-law, and what was heard becomes a .wav to listen to.

For the simulators and for demo output, away from any call. The RIFF chunks are walked here because the standard
library's `wave` reads no μ-law, the very format in which telephone recordings come. Source of the format codes and
layouts: Microsoft's WAVEFORMATEX and WAVEFORMATEXTENSIBLE.
"""

import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from proto import mulaw
from proto.mulaw import Samples

RAW_SUFFIXES: Final = frozenset({".ulaw", ".mulaw", ".raw"})
RATES_HZ: Final = frozenset({8000, 16000, 24000, 44100, 48000})
MAX_FILE_BYTES: Final = 128 << 20  # 11 minutes of the largest format; a file is read whole

_PCM: Final = 0x0001
_MULAW: Final = 0x0007
_EXTENSIBLE: Final = 0xFFFE  # the true code stands further behind, in the first two bytes of a GUID
_BITS_OF_CODE: Final = {_PCM: 16, _MULAW: 8}


class WavFormat(msgspec.Struct, frozen=True):
    """A .wav file's `fmt ` chunk, as far as it is read here."""

    code: int
    channels: int
    rate_hz: int
    bits: int  # of one sample of one channel


def read_mulaw(path: Path) -> bytes:
    """The file's audio as mono μ-law, 8 kHz.

    Args: path, a .ulaw, .mulaw or .raw file (taken as it is), or a .wav file of 16-bit PCM or μ-law with one or two
    channels (two are averaged) at 8, 16, 24, 44.1 or 48 kHz. The suffix decides.
    Raises: ValueError, which names the file and what is wrong with it; OSError if it cannot be read.
    """
    try:
        return _read_mulaw(path)
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from None


def write_wav(path: Path, samples: Samples, rate_hz: int = mulaw.SAMPLE_RATE_HZ) -> None:
    """Write samples as a 16-bit PCM .wav file, replacing what is there.

    Args: samples, int16, (n,) for mono or (n, 2) for left and right; rate_hz, their rate.
    Raises: ValueError if they have another type or shape; OSError if the file cannot be written.
    """
    if samples.dtype != np.int16 or samples.ndim not in (1, 2) or samples.shape[1:] not in ((), (2,)):
        raise ValueError(f"{path}: cannot write {samples.dtype} samples of shape {samples.shape} as 16-bit audio")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.ndim)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())


def _read_mulaw(path: Path) -> bytes:
    suffix = path.suffix.lower()
    if suffix != ".wav" and suffix not in RAW_SUFFIXES:
        raise ValueError("expected a .wav file, or raw μ-law in a .ulaw, .mulaw or .raw file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    content = path.read_bytes()
    audio = content if suffix in RAW_SUFFIXES else _mulaw_of_wav(content)
    if not audio:
        raise ValueError("holds no audio")
    return audio


def _mulaw_of_wav(content: bytes) -> bytes:
    chunks = dict(_chunks(content))
    if b"fmt " not in chunks or b"data" not in chunks:
        raise ValueError("has no 'fmt ' or no 'data' chunk")
    wav, audio = _parse_format(chunks[b"fmt "]), chunks[b"data"]
    if wav == WavFormat(_MULAW, 1, mulaw.SAMPLE_RATE_HZ, 8):
        return audio  # already what is asked for: every bit stays
    return mulaw.encode(mulaw.resample(_mono(wav, audio), wav.rate_hz, mulaw.SAMPLE_RATE_HZ))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every chunk's name and body. A body may end early: who streams a file cannot know its length beforehand."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ValueError("is not a RIFF/WAVE file")
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        yield name, content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2  # chunks begin at even places


def _parse_format(chunk: bytes) -> WavFormat:
    if len(chunk) < 16:
        raise ValueError("its 'fmt ' chunk is too short")
    code, channels, rate_hz, bits = struct.unpack("<HHI6xH", chunk[:16])
    if code == _EXTENSIBLE and len(chunk) >= 26:
        (code,) = struct.unpack_from("<H", chunk, 24)
    if _BITS_OF_CODE.get(code) != bits:
        raise ValueError(f"holds format {code} with {bits} bits; only 16-bit PCM (1) and μ-law (7) are read")
    if channels not in (1, 2):
        raise ValueError(f"has {channels} channels; only one or two are read")
    if rate_hz not in RATES_HZ:
        raise ValueError(f"has a rate of {rate_hz} Hz; read are {', '.join(map(str, sorted(RATES_HZ)))}")
    return WavFormat(code, channels, rate_hz, bits)


def _mono(wav: WavFormat, audio: bytes) -> Samples:
    whole = audio[: len(audio) - len(audio) % (wav.channels * wav.bits // 8)]  # a cut file may end within a sample
    samples = mulaw.decode(whole) if wav.code == _MULAW else np.frombuffer(whole, "<i2").astype(np.int16)
    if wav.channels == 1:
        return samples
    mean: NDArray[np.float64] = samples.reshape(-1, 2).mean(axis=1)
    return np.rint(mean).astype(np.int16)

"""μ-law audio as telephony carries it: 8 kHz, one byte per sample, both services' common tongue.

Pure numbers: no I/O, no clock, no call state. On the hot path only `duration_ms` is used, audio passes there untouched;
everything else serves whole clips and whole calls (previews, recordings, simulators, measurements). Source: ITU-T
Recommendation G.711 (11/88), tables 2a and 2b, in the 16-bit convention (its 14-bit levels times four).
"""

from functools import lru_cache
from math import gcd, log10
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Floats = NDArray[np.float64]

SAMPLE_RATE_HZ: Final = 8000
FRAME_MS: Final = 20
FRAME_BYTES: Final = 160
BYTES_PER_MS: Final = 8
SILENCE_BYTE: Final = 0xFF  # positive zero; 0x7F, negative zero, decodes to 0 as well

DIGITAL_SILENCE_DBOV: Final = -127.0  # RFC 6464: the lowest level that its seven bits can say
OVERLOAD: Final = 32768.0  # 0 dBov is a square wave at full scale

_BIAS: Final = 132  # makes every segment begin at a power of two
_CLIP: Final = 32635  # the largest magnitude that still fits the last segment with the bias added
_SIGN_BIT: Final = 0x80
_SEGMENT_TOPS: Final = 1 << np.arange(8, 16)  # biased magnitudes below 256 are segment 0, below 512 segment 1, …

# The resampler's one trade: how deep the stop band is, and over how many zero crossings of the slower rate (on each
# side) the filter may ring. At 8 kHz these give a pass band to about 3580 Hz; speech on the telephone ends at 3400.
STOPBAND_DB: Final = 80.0
ZERO_CROSSINGS: Final = 48


def decode(mulaw: bytes) -> Samples:
    """(n,) int16 samples, linear and full scale, of n μ-law bytes. Source: G.711, tables 2a and 2b."""
    return _LINEAR_OF_CODE[np.frombuffer(mulaw, np.uint8)]


def encode(samples: Samples) -> bytes:
    """n μ-law bytes of (n,) int16 samples: exact at G.711's decision values, for both signs alike.

    Errors: at most half a step of the sample's segment (4 to 512), but what is louder than ±32635 becomes ±32124.
    A sample on a decision value goes to the louder level; -3 to -1 become negative zero. (Encoders that first shift
    to 14 bits, like the old `audioop`, round negative samples down instead and so add a small offset.)
    Raises: TypeError unless the samples are int16: floats would be silently misread.
    """
    if samples.dtype != np.int16:
        raise TypeError(f"μ-law is made from int16 samples, not from {samples.dtype}")
    return _CODE_OF_LINEAR[samples.view(np.uint16)].tobytes()


def duration_ms(nbytes: int) -> int:
    """How long this many bytes sound, in whole ms, rounded down."""
    return nbytes // BYTES_PER_MS


def silence(ms: int) -> bytes:
    """Digital silence of this length."""
    return bytes([SILENCE_BYTE]) * (ms * BYTES_PER_MS)


def level_dbov(samples: Samples) -> float:
    """RMS level against overload: 0 is a full-scale square wave; -127, the floor, is digital silence or no samples.

    Source: RFC 6464 section 3 (the scale), RFC 6465 appendix A (the measure).
    """
    if samples.size == 0:
        return DIGITAL_SILENCE_DBOV
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    if power == 0.0:
        return DIGITAL_SILENCE_DBOV
    return max(DIGITAL_SILENCE_DBOV, 10 * log10(power / OVERLOAD**2))


def is_silence(mulaw: bytes, threshold_dbov: float = -50.0) -> bool:
    """Whether this audio as a whole is quieter than the threshold."""
    return level_dbov(decode(mulaw)) < threshold_dbov


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """The same sound at another rate: linear phase, delay compensated, for a whole clip at once (not for a stream).

    Args: samples, (n,) int16; the rates, Hz. The clip is taken to be silent before its start and after its end.
    Returns: (ceil(n · to_hz / from_hz),) int16, clipped; `samples` itself when the rates are equal.
    Errors: of the slower rate's band all up to 89 % of its Nyquist frequency passes (ripple below 0.01 dB); whatever
    lies above that Nyquist frequency is at least 79 dB down.
    Raises: ValueError if a rate is not positive or the samples are not one channel.
    Source: windowed sinc with a Kaiser window (Kaiser 1974), evaluated one polyphase branch at a time.
    """
    if from_hz <= 0 or to_hz <= 0 or samples.ndim != 1:
        raise ValueError(f"cannot resample {samples.shape} samples from {from_hz} to {to_hz} Hz")
    if from_hz == to_hz or samples.size == 0:
        return samples
    common = gcd(from_hz, to_hz)
    sound = _polyphase(samples, to_hz // common, from_hz // common)
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)


def _polyphase(samples: Samples, up: int, down: int) -> Floats:
    """Output n stands `n * down` steps into the clip on a grid `up` times finer, where only every `up`-th tap meets a
    sample. Outputs that are `up` apart meet the same taps, so each such branch is one strided product."""
    taps = _lowpass(up, down)
    width, delay = -(-taps.size // up), taps.size // 2
    out = np.empty(-(-samples.size * up // down))
    # Zeros before the start for the first window, and after the end for the last one.
    last = ((out.size - 1) * down + delay) // up
    padded = np.pad(samples.astype(np.float64), (width - 1, max(0, last + 1 - samples.size)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    for first in range(min(up, out.size)):
        newest, phase = divmod(first * down + delay, up)
        branch = np.zeros(width)
        branch[: taps[phase::up].size] = taps[phase::up]
        count = len(range(first, out.size, up))
        rows = windows[newest : newest + (count - 1) * down + 1 : down]
        out[first::up] = np.einsum("ij,j->i", rows, branch[::-1])  # in place: the windows overlap and are never copied
    return out


@lru_cache(maxsize=16)
def _lowpass(up: int, down: int) -> Floats:
    """An odd number of symmetric taps on the fine grid; the stop band begins at the slower rate's Nyquist frequency."""
    slower = max(up, down)  # one period of the slower rate, in steps of the fine grid
    steps = np.arange(-ZERO_CROSSINGS * slower, ZERO_CROSSINGS * slower + 1)
    # Kaiser's formulas for the transition width (here a share of the slower rate) and the window's shape.
    transition = (STOPBAND_DB - 7.95) / (14.36 * 2 * ZERO_CROSSINGS)
    cutoff = (0.5 - transition / 2) / slower
    taps = np.sinc(2 * cutoff * steps) * np.kaiser(steps.size, 0.1102 * (STOPBAND_DB - 8.7))
    return np.asarray(taps * (up / taps.sum()), np.float64)


def _linear_of_code() -> Samples:
    """(256,) int16, indexed by code, whose bits are all inverted on the wire: a quiet line still carries pulses."""
    bits = ~np.arange(256, dtype=np.uint8)
    segment, mantissa = (bits >> 4 & 0x07).astype(np.int32), (bits & 0x0F).astype(np.int32)
    magnitude = ((mantissa << 3) + _BIAS << segment) - _BIAS
    return np.where(bits & _SIGN_BIT, -magnitude, magnitude).astype(np.int16)


def _code_of_linear() -> NDArray[np.uint8]:
    """(65536,) uint8, indexed by a sample's 16 bits read as an unsigned number."""
    linear = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    biased = np.minimum(np.abs(linear), _CLIP) + _BIAS
    segment = np.searchsorted(_SEGMENT_TOPS, biased, side="right")
    mantissa = biased >> (segment + 3) & 0x0F
    sign = np.where(linear < 0, _SIGN_BIT, 0)
    code: NDArray[np.uint8] = (sign | segment << 4 | mantissa).astype(np.uint8)
    return ~code


# Built at import, which takes about 2 ms, so that no call pays for them.
_LINEAR_OF_CODE: Final = _linear_of_code()
_CODE_OF_LINEAR: Final = _code_of_linear()

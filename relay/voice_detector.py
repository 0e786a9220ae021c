"""Whether the caller is speaking now, found in the caller's own frames, before OpenAI can have heard them.

Pure: no Trio, no clock, no log. Stands beside the caller's audio on its way to OpenAI, only where a persona asks for
it, and decides nothing itself: relay.bargein does. Its clock is the audio, in hops of 20 ms, measured in halves.

From each sample the one a quarter of a millisecond earlier is taken away, which passes the middle of the telephone
band and leaves 22 dB less of a 50 Hz hum. Speech is 40 ms of what is left, every half well above the background; the
background is the quietest hop of the last two seconds, so steady noise of any level is background after that time.

What it cannot tell from speech: music, a key's tones (DTMF), the beginning of any loud steady sound. They count as
speech until they end or have become background. It knows no words and no direction: the agent's own echo, if a line
returns it louder than the background, is a voice like any other.
"""

from collections import deque
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proto import mulaw

HANGOVER_MS: Final = 160  # longer than the closure of a p, t or k; shorter than the pause between two sentences

_HALF_MS: Final = mulaw.FRAME_MS // 2
_HALF_SAMPLES: Final = _HALF_MS * mulaw.BYTES_PER_MS
_LAG: Final = 2  # samples; the difference over this lag has its zeros at 0 and 4000 Hz, and its peak at 2000 Hz
_ONSET_HALVES: Final = 4  # a click of 20 ms touches three at most
_HANGOVER_HALVES: Final = HANGOVER_MS // _HALF_MS

# Of the difference. White noise has 3 dB more there than before it; so comfort noise at -60 dBov stays 3 dB below this,
# and a soft talker's first consonant is above.
_MIN_LEVEL_DBOV: Final = -54.0
_ABOVE_BACKGROUND: Final = 6.3  # 8 dB; noise sways less, and its quietest hop lies 1 to 2 dB below its mean
_STAYS_ABOVE: Final = 0.5  # 3 dB less is needed to go on

_BLOCK_HOPS: Final = 25  # half a second
_BLOCKS: Final = 3  # finished ones that count as background, beside the one under way


class VoiceDetector:
    """One caller's voice. Raises nothing: any bytes are some sound."""

    def __init__(self) -> None:
        self.is_speaking = False
        self._rest = b""  # less than a hop, not measured yet
        self._loud_halves = 0  # in a row, up to now
        self._quiet_halves = 0  # in a row, up to now
        self._background = inf  # power of the quietest hop of the last seconds
        self._threshold = inf  # power of half a hop; follows from the background
        self._block_minimum = inf  # of the block under way
        self._block_hops = 0
        self._minima: deque[float] = deque(maxlen=_BLOCKS)
        # One hop, and the views on it that are used: made once, they save a quarter of what a hop costs.
        self._hop = bytearray(mulaw.FRAME_BYTES)
        self._codes = np.frombuffer(self._hop, np.uint8)
        self._samples = np.zeros(mulaw.FRAME_BYTES, np.float32)
        self._later, self._earlier = self._samples[_LAG:], self._samples[:-_LAG]
        self._differences = np.zeros(mulaw.FRAME_BYTES - _LAG, np.float32)
        self._first, self._second = self._differences[: _HALF_SAMPLES - _LAG], self._differences[_HALF_SAMPLES - _LAG :]

    def hear(self, frame: bytes) -> bool:
        """Take the next μ-law bytes, of any length; say whether the caller is speaking at their end."""
        if self._rest:
            frame = self._rest + frame
        end = len(frame) - len(frame) % mulaw.FRAME_BYTES
        for at in range(0, end, mulaw.FRAME_BYTES):
            self._hop[:] = frame[at : at + mulaw.FRAME_BYTES]
            first_power, second_power = self._measure_hop()
            self._note_background(first_power + second_power)
            self._note_half(first_power)
            self._note_half(second_power)
        self._rest = frame[end:]
        return self.is_speaking

    def _measure_hop(self) -> tuple[float, float]:
        """The power of both halves of the hop's differences, as sums of squares."""
        # "clip" is never needed with 256 entries, but the default makes numpy copy before it writes to `out`.
        _LINEAR.take(self._codes, out=self._samples, mode="clip")
        np.subtract(self._later, self._earlier, out=self._differences)
        return float(self._first.dot(self._first)), float(self._second.dot(self._second))

    def _note_half(self, power: float) -> None:
        if self.is_speaking:
            self._quiet_halves = 0 if power >= self._threshold * _STAYS_ABOVE else self._quiet_halves + 1
            if self._quiet_halves == _HANGOVER_HALVES:
                self.is_speaking, self._loud_halves = False, 0
        elif power < self._threshold:
            self._loud_halves = 0
        else:
            self._loud_halves += 1
            if self._loud_halves == _ONSET_HALVES:
                self.is_speaking, self._quiet_halves = True, 0

    def _note_background(self, power: float) -> None:
        if power < self._block_minimum:
            self._block_minimum = power
            if power < self._background:
                self._set_background(power)
        self._block_hops += 1
        if self._block_hops == _BLOCK_HOPS:
            self._minima.append(self._block_minimum)
            self._set_background(min(self._minima))
            self._block_minimum, self._block_hops = inf, 0

    def _set_background(self, power: float) -> None:
        self._background = power
        self._threshold = max(_MIN_HALF_POWER, power / 2 * _ABOVE_BACKGROUND)


_LINEAR: Final[NDArray[np.float32]] = mulaw.decode(bytes(range(256))).astype(np.float32)
_MIN_HALF_POWER: Final = _HALF_SAMPLES * mulaw.OVERLOAD**2 * 10 ** (_MIN_LEVEL_DBOV / 10)  # a sum of squares

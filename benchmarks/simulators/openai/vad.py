"""Server VAD: when the caller speaks, found in the appended audio alone.

Its clock is the audio: what is not appended does not pass. It measures windows of 20 ms against a level; three loud
ones in a row are speech, and a stretch of quiet ones ends it. No spectrum, no model: the spoken clips and the line's
silence are far enough apart, and 50 sessions must fit one core.
"""

from functools import lru_cache
from typing import Final

import msgspec
import numpy as np

from benchmarks.simulators.openai.audio import BYTES_PER_MS, FormatName, linear_levels
from benchmarks.simulators.openai.session_config import TurnDetection
from proto import mulaw

WINDOW_MS: Final = 20
ONSET_WINDOWS: Final = 3  # a click is shorter, a word is longer

# A threshold of 0.5 lies at -42 dBov, some 15 dB under telephone speech and far above a line's noise; 0 and 1 are 20 dB
# to either side.
_LEVEL_DBOV_AT_ZERO: Final = -62.0
_LEVEL_DBOV_SPAN: Final = 40.0
_SEMANTIC_THRESHOLD: Final = 0.5
# How long a pause ends a turn when its end is to be judged by meaning; the service's limits are 8, 4 and 2 s.
SEMANTIC_PAUSE_MS: Final = {"low": 1600, "medium": 800, "auto": 800, "high": 400}


class SpeechStarted(msgspec.Struct, frozen=True):
    """The caller speaks. The time is in ms of audio appended since the session began."""

    audio_start_ms: int  # prefix padding included


class SpeechStopped(msgspec.Struct, frozen=True):
    """The caller's turn is over."""

    audio_end_ms: int  # the silence that ended it included


VadEvent = SpeechStarted | SpeechStopped


class Vad:
    """The detector of one session. Raises nothing: any bytes are some sound."""

    def __init__(self, settings: TurnDetection, audio_format: FormatName, start_ms: int) -> None:
        self._format: FormatName = audio_format
        self._rest = b""  # less than a window, not measured yet
        self._position_ms = start_ms  # end of what was measured
        self.configure(settings)
        self.forget(start_ms)

    def configure(self, settings: TurnDetection) -> None:
        """New settings; speech that is under way goes on."""
        is_semantic = settings.type == "semantic_vad"
        self._silence_ms = SEMANTIC_PAUSE_MS[settings.eagerness] if is_semantic else settings.silence_duration_ms
        self._prefix_ms = settings.prefix_padding_ms
        threshold = _SEMANTIC_THRESHOLD if is_semantic else settings.threshold
        level_dbov = _LEVEL_DBOV_AT_ZERO + _LEVEL_DBOV_SPAN * threshold
        self._loud_power = mulaw.OVERLOAD**2 * 10 ** (level_dbov / 10)

    def forget(self, position_ms: int) -> None:
        """Begins a new turn: speech under way is dropped, and the next cannot reach back before this point."""
        self.is_speech = False
        self._loud_windows = 0  # in a row, up to now
        self._loud_end_ms = 0
        self._turn_start_ms = position_ms

    @property
    def is_idle(self) -> bool:
        """Whether silence, however long, changes nothing."""
        return not self.is_speech and not self._rest

    def feed(self, audio: bytes) -> list[VadEvent]:
        """What this audio, appended to what came before, shows."""
        window_bytes = _WINDOW_BYTES[self._format]
        heard = self._rest + audio
        whole = len(heard) - len(heard) % window_bytes
        self._rest = heard[whole:]
        events: list[VadEvent] = []
        for power in _powers(heard[:whole], self._format):
            self._position_ms += WINDOW_MS
            event = self._step(is_loud=power >= self._loud_power)
            if event is not None:
                events.append(event)
        return events

    def feed_silence(self, audio: bytes, times: int) -> None:
        """What `feed`, so many times, does while `is_idle`. Raises: ValueError but for whole windows of silence."""
        windows, rest = divmod(len(audio), _WINDOW_BYTES[self._format])
        if rest or any(power >= self._loud_power for power in _powers(audio, self._format)):
            raise ValueError("this is no silence of whole windows")
        self._loud_windows = 0
        self._position_ms += times * windows * WINDOW_MS

    def _step(self, *, is_loud: bool) -> VadEvent | None:
        if is_loud:
            self._loud_windows += 1
            self._loud_end_ms = self._position_ms
            return self._start() if not self.is_speech and self._loud_windows >= ONSET_WINDOWS else None
        self._loud_windows = 0
        if not self.is_speech or self._position_ms - self._loud_end_ms < self._silence_ms:
            return None
        self.forget(self._position_ms)
        return SpeechStopped(self._position_ms)

    def _start(self) -> SpeechStarted:
        self.is_speech = True
        onset_ms = self._position_ms - ONSET_WINDOWS * WINDOW_MS
        return SpeechStarted(max(self._turn_start_ms, onset_ms - self._prefix_ms))


def _powers(audio: bytes, name: FormatName) -> list[float]:
    """Mean square of each whole window, in squared int16 units."""
    if len(audio) == _WINDOW_BYTES[name]:
        return [_window_power(audio, name)]  # who appends each frame as it comes
    return _measured(audio, name) if audio else []


@lru_cache(maxsize=8192)  # silence, and what a load test's callers all say: 8192 windows are 164 s, at most 8 MB
def _window_power(window: bytes, name: FormatName) -> float:
    return _measured(window, name)[0]


def _measured(audio: bytes, name: FormatName) -> list[float]:
    if name == "audio/pcm":
        squares = np.square(np.frombuffer(audio, "<i2"), dtype=np.float32)
    else:
        squares = _SQUARE_OF_CODE[name][np.frombuffer(audio, np.uint8)]
    weights = _MEAN_OF[name]
    powers: list[float] = (squares.reshape(-1, weights.size) @ weights).tolist()
    return powers


_WINDOW_SAMPLES: Final[dict[FormatName, int]] = {"audio/pcm": 480, "audio/pcmu": 160, "audio/pcma": 160}
_WINDOW_BYTES: Final = {name: WINDOW_MS * bytes_per_ms for name, bytes_per_ms in BYTES_PER_MS.items()}
# The mean as a product: `mean` would cost half of all that an append costs.
_MEAN_OF: Final = {name: np.full(count, 1 / count, np.float32) for name, count in _WINDOW_SAMPLES.items()}
_SQUARE_OF_CODE: Final = {
    name: np.square(linear_levels(name), dtype=np.float32) for name in ("audio/pcmu", "audio/pcma")
}

"""When somebody speaks: the start and the end of speech, told from the level of 20 ms windows.

Pure. The simulator does with it what a listener's ear does: it tells observers when the caller and the agent are
heard, and lets a scripted caller wait for the agent to finish.
"""

from functools import lru_cache
from typing import Final, Literal

from proto import mulaw

SPEECH_DBOV: Final = -45.0  # speech on a telephone line averages about -26 dBov, its room noise lies near -60
HANGOVER_MS: Final = 200  # shorter silences are the gaps inside a sentence

Change = Literal["started", "stopped"]


@lru_cache(maxsize=8192)  # a load test's callers all say the same words; 8192 frames are 160 s and about 2 MB
def is_speech(audio: bytes) -> bool:
    """Whether this window of μ-law audio is loud enough to be somebody speaking."""
    silence = audio.count(mulaw.SILENCE_BYTE) == len(audio)  # most windows: not worth a decoder
    return not silence and not mulaw.is_silence(audio, SPEECH_DBOV)


class SpeechDetector:
    """One voice. A start is told at once, an end when it has been quiet for `HANGOVER_MS`."""

    def __init__(self) -> None:
        self.is_speaking = False
        self._loud_until_ms = 0

    def hear(self, loud: bool, until_ms: int) -> tuple[Change, int] | None:
        """One more window, which ended at `until_ms`: what changed and when, if anything did.

        An end is dated where the sound ended, which is `HANGOVER_MS` before it can be told.
        """
        if loud:
            self._loud_until_ms = until_ms
            if not self.is_speaking:
                self.is_speaking = True
                return "started", until_ms - mulaw.FRAME_MS
        elif self.is_speaking and until_ms - self._loud_until_ms >= HANGOVER_MS:
            self.is_speaking = False
            return "stopped", self._loud_until_ms
        return None

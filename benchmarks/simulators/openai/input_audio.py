"""The input audio buffer: what the caller has said and nobody has committed yet, and the VAD that listens to it.

Positions are ms of audio appended since the session began, the only clock there is here. The id of the caller's item is
announced when speech starts, long before the item exists; whatever commits the turn uses that id.
"""

from typing import Final

import msgspec

from benchmarks.simulators.openai.audio import BYTES_PER_MS, FormatName, duration_ms
from benchmarks.simulators.openai.checks import RequestError
from benchmarks.simulators.openai.ids import Ids
from benchmarks.simulators.openai.session_config import TurnDetection
from benchmarks.simulators.openai.vad import SpeechStarted, SpeechStopped, Vad

SHORTEST_COMMIT_MS: Final = 100
# What is kept of audio that nobody commits: plenty for a padding while nobody speaks, and a long message otherwise.
_IDLE_KEEP_MS: Final = 30_000
_MOST_BYTES: Final = 15 * 2**20


class Turn(msgspec.Struct, frozen=True):
    """One turn of the caller, ready to become a conversation item."""

    item_id: str
    audio: bytes
    audio_format: FormatName


class Started(msgspec.Struct, frozen=True):
    """Speech started; its item will have this id."""

    item_id: str
    audio_start_ms: int


class Stopped(msgspec.Struct, frozen=True):
    """Speech stopped, and this is what was said."""

    turn: Turn
    audio_end_ms: int


class InputAudio:
    """The buffer of one session."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._format: FormatName = "audio/pcm"
        self._vad: Vad | None = None
        self._held = bytearray()
        self._held_from_ms = 0
        self._item_id: str | None = None  # announced, not committed yet

    def configure(self, audio_format: FormatName, detection: TurnDetection | None) -> None:
        """Takes a session's settings over. Speech under way goes on, unless the VAD or the format changes under it."""
        if audio_format != self._format:
            self._restart(self._end_ms)
            self._format, self._vad, self._item_id = audio_format, None, None
        if detection is None:
            self._vad, self._item_id = None, None
        elif self._vad is None:
            self._vad = Vad(detection, self._format, self._end_ms)
        else:
            self._vad.configure(detection)

    def append(self, audio: bytes) -> list[Started | Stopped]:
        """Takes audio of any length and says where turns begin and end in it."""
        self._held += audio
        heard: list[Started | Stopped] = []
        for event in self._vad.feed(audio) if self._vad else ():
            match event:
                case SpeechStarted(audio_start_ms):
                    heard.append(self._start(audio_start_ms))
                case SpeechStopped(audio_end_ms):
                    heard.append(Stopped(self._take(audio_end_ms), audio_end_ms))
        self._let_go()
        return heard

    @property
    def is_idle(self) -> bool:
        """Whether silence, however long, would say nothing: nobody speaks."""
        return self._vad is None or self._vad.is_idle

    def append_silence(self, audio: bytes, times: int) -> None:
        """What `append`, so many times, does while `is_idle`. Raises: ValueError if it is no silence."""
        if self._vad is not None:
            self._vad.feed_silence(audio, times)
        for _ in range(times):  # one by one: how much is held afterwards depends on it
            self._held += audio
            self._let_go()

    def commit(self) -> Turn:
        """Everything held, as one turn. Raises: RequestError below 100 ms."""
        held_ms = len(self._held) / BYTES_PER_MS[self._format]
        if held_ms < SHORTEST_COMMIT_MS:
            message = (
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{SHORTEST_COMMIT_MS}ms of audio, but buffer only has {held_ms:.2f}ms of audio."
            )
            raise RequestError("input_audio_buffer_commit_empty", message)
        turn = self._take(self._end_ms)
        self._forget_speech()
        return turn

    def clear(self) -> None:
        """Drops everything held, and the turn it belonged to."""
        self._restart(self._end_ms)
        self._forget_speech()

    def take_silence(self, most_ms: int) -> tuple[Turn, int, int]:
        """The last so many ms of what is held as a turn of its own, and where it starts and ends in ms."""
        end_ms = self._end_ms
        self._drop_before(end_ms - most_ms)
        start_ms = self._held_from_ms
        turn = self._take(end_ms)
        self._forget_speech()
        return turn, start_ms, end_ms

    @property
    def is_speech(self) -> bool:
        """Whether a turn was announced that is not over yet."""
        return self._item_id is not None

    @property
    def held_ms(self) -> int:
        """How much waits to be committed."""
        return self._end_ms - self._held_from_ms

    @property
    def _end_ms(self) -> int:
        return self._held_from_ms + duration_ms(self._held, self._format)

    def _start(self, audio_start_ms: int) -> Started:
        self._drop_before(audio_start_ms)
        self._item_id = self._ids.new("item")
        return Started(self._item_id, audio_start_ms)

    def _take(self, end_ms: int) -> Turn:
        size = (end_ms - self._held_from_ms) * BYTES_PER_MS[self._format]
        turn = Turn(self._item_id or self._ids.new("item"), bytes(self._held[:size]), self._format)
        self._item_id = None
        self._drop_before(end_ms)
        return turn

    def _forget_speech(self) -> None:
        self._item_id = None
        if self._vad is not None:
            self._vad.forget(self._end_ms)

    def _restart(self, position_ms: int) -> None:
        self._held.clear()
        self._held_from_ms = position_ms

    def _drop_before(self, position_ms: int) -> None:
        if position_ms > self._held_from_ms:
            del self._held[: (position_ms - self._held_from_ms) * BYTES_PER_MS[self._format]]
            self._held_from_ms = position_ms

    def _let_go(self) -> None:
        """A call that never pauses, or a client that never commits, must not fill the memory: the oldest goes."""
        is_idle = self._vad is not None and self._item_id is None
        bytes_per_ms = BYTES_PER_MS[self._format]
        most_ms = _IDLE_KEEP_MS if is_idle else _MOST_BYTES // bytes_per_ms
        # Trimmed only when well above, so that the tail is not moved for every 20 ms.
        if len(self._held) > (most_ms + _IDLE_KEEP_MS) * bytes_per_ms:
            self._drop_before(self._end_ms - most_ms)

"""Who is on the phone: what the caller says, presses and when they hang up.

Pure: each 20 ms the line asks the caller for a frame and tells what the caller hears. A `Recording` talks without
listening; a `Conversation` waits for the agent's turn to end, or speaks into it. Times are ms on the call's clock.
"""

from collections.abc import Sequence
from math import inf
from typing import Final, Protocol, assert_never, runtime_checkable

import msgspec

from proto import mulaw

TURN_GAP_MS: Final = 300  # a quieter stretch of the agent than this ends its speech
PATIENCE_MS: Final = 10_000  # how long a caller who has finished waits for an answer before hanging up
KEY_EVERY_MS: Final = 100  # how fast several keys of one entry follow each other
KEYS: Final = frozenset("0123456789*#ABCD")


class Caller(Protocol):
    """One caller. `frame` is called once for each 20 ms of the stream, in order; then `keys` and `hung_up` are read."""

    def frame(self, now_ms: int, *, hearing: bool, heard_ms: int) -> bytes:
        """The caller's next 20 ms.

        Args: now_ms, where the frame begins; hearing, whether the agent's voice sounds; heard_ms, all of the agent's
        audio that was played so far.
        Returns: 160 bytes of μ-law, or b"" when the network loses the frame.
        """

    @property
    def keys(self) -> str:
        """Keys pressed during the last frame, in order."""

    @property
    def hung_up(self) -> bool:
        """Whether the caller put the phone down with the last frame."""

    @property
    def done(self) -> bool:
        """Whether the caller has said everything."""


@runtime_checkable
class Foreseeable(Caller, Protocol):
    """A caller who can say in advance how long they will be silent, so that nobody need ask every 20 ms."""

    def silent_until_ms(self, now_ms: int) -> float:
        """Until when `frame`, while it hears nothing, would change nothing and give silence.

        Args: now_ms, where the next frame begins.
        Returns: ms, `now_ms` when that cannot be said; infinity for ever.
        """


class Digits(msgspec.Struct, frozen=True):
    """Press these keys, one after the other."""

    at_ms: int
    keys: str

    def __post_init__(self) -> None:
        if not self.keys or not KEYS.issuperset(self.keys):
            raise ValueError(f"{self.keys!r} are not keys of a telephone")


class HangUp(msgspec.Struct, frozen=True):
    """Put the phone down."""

    at_ms: int


Action = Digits | HangUp


class Recording:
    """Plays audio straight through, over and over if asked to, then stays silent. Does not listen."""

    def __init__(self, audio: bytes, *, repeat: bool = False, actions: Sequence[Action] = ()) -> None:
        """Args: audio, μ-law of any length; actions, keys and hang-up on the call's clock."""
        self._voice = _Voice(audio, repeat=repeat)
        self._agenda = _Agenda(actions)

    def frame(self, now_ms: int, *, hearing: bool, heard_ms: int) -> bytes:  # noqa: ARG002 - a recording is deaf
        self._agenda.move_to(now_ms)
        return self._voice.next_frame()

    def silent_until_ms(self, now_ms: int) -> float:
        return self._agenda.next_ms if self._voice.is_over else now_ms

    @property
    def keys(self) -> str:
        return self._agenda.keys

    @property
    def hung_up(self) -> bool:
        return self._agenda.hung_up

    @property
    def done(self) -> bool:
        return self._voice.is_over


class AfterSilence(msgspec.Struct, frozen=True):
    """The agent has spoken since the caller's last words, and has been quiet for this long: it is the caller's turn."""

    ms: int


class AfterHearing(msgspec.Struct, frozen=True):
    """The agent is this far into what it is saying: the caller interrupts."""

    ms: int


class At(msgspec.Struct, frozen=True):
    """Now, whatever the agent does (and never before the caller's last words are over)."""

    ms: int


Condition = AfterSilence | AfterHearing | At


class Utterance(msgspec.Struct, frozen=True):
    """One thing the caller says, and when."""

    audio: bytes  # μ-law
    after: Condition


class Conversation:
    """Says its utterances in order, each when its condition holds."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        hang_up_after_silence_ms: int | None = None,
        actions: Sequence[Action] = (),
    ) -> None:
        """Args: hang_up_after_silence_ms, when all is said and the agent, having answered, has been quiet for this
        long (or has not answered for `PATIENCE_MS`), hang up; None stays on the line."""
        self._waiting = list(reversed(utterances))
        self._hang_up_after_silence_ms = hang_up_after_silence_ms
        self._agenda = _Agenda(actions)
        self._voice = _Voice(b"")
        self._agent = _AgentsTurn()
        self._fell_silent_ms = 0  # when the caller's last words ended
        self._left = False

    def frame(self, now_ms: int, *, hearing: bool, heard_ms: int) -> bytes:  # noqa: ARG002 - it listens by `hearing`
        self._agenda.move_to(now_ms)
        self._agent.move_to(now_ms, hearing)
        if not self._voice.is_over:
            return self._speak(now_ms)
        is_time = now_ms >= self._acts_ms
        if is_time and self._waiting:
            self._voice = _Voice(self._waiting.pop().audio)
            return self._speak(now_ms)
        self._left = is_time
        return _SILENT_FRAME

    def silent_until_ms(self, now_ms: int) -> float:
        is_listening = self._voice.is_over and not self._agent.is_speaking
        return min(self._acts_ms, self._agenda.next_ms) if is_listening else now_ms

    @property
    def keys(self) -> str:
        return self._agenda.keys

    @property
    def hung_up(self) -> bool:
        return self._left or self._agenda.hung_up

    @property
    def done(self) -> bool:
        return not self._waiting and self._voice.is_over

    def _speak(self, now_ms: int) -> bytes:
        frame = self._voice.next_frame()
        if self._voice.is_over:
            self._fell_silent_ms = now_ms + mulaw.FRAME_MS
            self._agent.forget()  # what it said while the caller spoke is no answer to it
        return frame

    @property
    def _acts_ms(self) -> float:
        """When it is time for the next words, or to leave, as long as the agent goes on as it does now."""
        return self._due_ms(self._waiting[-1].after) if self._waiting else self._leaves_ms()

    def _due_ms(self, condition: Condition) -> float:
        match condition:
            case AfterSilence(ms):
                return self._agent.last_heard_ms + ms if self._agent.has_spoken else inf
            case AfterHearing(ms):
                return self._agent.lasts_for_at(ms)
            case At(ms):
                return ms
        assert_never(condition)

    def _leaves_ms(self) -> float:
        if self._hang_up_after_silence_ms is None:
            return inf
        if not self._agent.has_spoken:
            return self._fell_silent_ms + max(PATIENCE_MS, self._hang_up_after_silence_ms)
        return self._agent.last_heard_ms + self._hang_up_after_silence_ms


class _AgentsTurn:
    """What a listening caller knows about the agent's speech."""

    def __init__(self) -> None:
        self.has_spoken = False
        self.last_heard_ms = 0
        self._began_ms: int | None = None  # the speech that is going on

    @property
    def is_speaking(self) -> bool:
        return self._began_ms is not None

    def move_to(self, now_ms: int, hearing: bool) -> None:
        if hearing:
            self.has_spoken = True
            self.last_heard_ms = now_ms
            if self._began_ms is None:
                self._began_ms = now_ms
        elif now_ms - self.last_heard_ms >= TURN_GAP_MS:
            self._began_ms = None

    def forget(self) -> None:
        self.has_spoken = False
        self._began_ms = None

    def lasts_for_at(self, ms: int) -> float:
        """When its speech will have lasted so long, if it goes on; while it is silent that is never, but for 0 ms."""
        if self._began_ms is None:
            return -inf if ms <= 0 else inf
        return self._began_ms + ms


class _Voice:
    """Audio cut into frames; the last one is filled up with silence."""

    def __init__(self, audio: bytes, *, repeat: bool = False) -> None:
        padding = -len(audio) % mulaw.FRAME_BYTES
        self._audio = audio + _SILENT_FRAME[:padding]
        self._repeat = repeat and bool(audio)
        self._at = 0

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._audio)

    def next_frame(self) -> bytes:
        if self.is_over:
            return _SILENT_FRAME
        frame = self._audio[self._at : self._at + mulaw.FRAME_BYTES]
        self._at += mulaw.FRAME_BYTES
        if self._repeat:
            self._at %= len(self._audio)
        return frame


class _Agenda:
    """Actions by the clock."""

    def __init__(self, actions: Sequence[Action]) -> None:
        presses = [
            (action.at_ms + n * KEY_EVERY_MS, key)
            for action in actions
            if isinstance(action, Digits)
            for n, key in enumerate(action.keys)
        ]
        self._presses = sorted(presses, key=lambda press: press[0], reverse=True)
        self._hang_up_ms = min((action.at_ms for action in actions if isinstance(action, HangUp)), default=None)
        self.keys = ""
        self.hung_up = False

    @property
    def next_ms(self) -> float:
        press_ms = self._presses[-1][0] if self._presses else inf
        return press_ms if self._hang_up_ms is None else min(press_ms, self._hang_up_ms)

    def move_to(self, now_ms: int) -> None:
        self.keys = ""
        while self._presses and self._presses[-1][0] <= now_ms:
            self.keys += self._presses.pop()[1]
        self.hung_up = self._hang_up_ms is not None and now_ms >= self._hang_up_ms


_SILENT_FRAME: Final = mulaw.silence(mulaw.FRAME_MS)

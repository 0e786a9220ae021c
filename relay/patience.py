"""How long a silent caller is waited for, and how long a call may last.

Pure: no Trio, no clock, no log. Silence counts while nobody speaks and nobody is about to: no agent sounds, no response
is being generated, no tool runs, and OpenAI's VAD hears no caller. Frames are no input here, so a line that carries
comfort noise or music is as silent as one that carries nothing.

OpenAI's own `idle_timeout_ms` is not used. It guesses when the last response stopped sounding, and knows of no tool and
no key pressed; it writes a message and an empty turn of the caller's into the conversation, and bills the silence;
and it starts anew with every session, when the caller's silence did not.
"""

from math import inf
from typing import Literal

import msgspec

GOODBYE_WITHIN_S = 15.0  # from asking for a goodbye to the end, whatever became of it
LINGER_S = 5.0  # past the maximum duration, for what is being said

Reason = Literal["caller_silent", "max_duration"]


class SilencePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What to do when the caller says nothing.

    prompts: what the model is to ask, the last one again and again; after `end_after_prompts` of them without an answer
    it says goodbye, and the call ends.
    """

    prompt_after_s: float | None = 12.0  # None: wait as long as the call may last
    prompts: tuple[str, ...] = ("Are you still there?",)
    end_after_prompts: int = 2

    def __post_init__(self) -> None:
        if self.prompt_after_s is not None and not 0 < self.prompt_after_s < inf:
            raise ValueError(f"prompt_after_s must be more than 0, not {self.prompt_after_s}")
        if self.end_after_prompts < 0:
            raise ValueError(f"end_after_prompts must not be less than 0, but is {self.end_after_prompts}")
        if self.end_after_prompts and not self.prompts:
            raise ValueError("prompts must not be empty if any are to be given")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a call may last. wrap_up_before_s: when the model is told to come to an end; 0 for never."""

    max_duration_s: float | None = 3600.0
    wrap_up_before_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.wrap_up_before_s < inf:
            raise ValueError(f"wrap_up_before_s must be 0 or more, not {self.wrap_up_before_s}")
        if self.max_duration_s is not None and not self.wrap_up_before_s < self.max_duration_s < inf:
            raise ValueError(f"max_duration_s must be more than wrap_up_before_s, not {self.max_duration_s}")


class Prompt(msgspec.Struct, frozen=True):
    """Have the model ask whether the caller is still there."""

    text: str


class WrapUp(msgspec.Struct, frozen=True):
    """Have the model bring the conversation to an end: little time is left."""


class SayGoodbye(msgspec.Struct, frozen=True):
    """Have the model say goodbye; `End` follows once that has sounded, unless the caller speaks up."""

    reason: Reason


class End(msgspec.Struct, frozen=True):
    """Hang up now. Nothing follows."""

    reason: Reason


Decision = Prompt | WrapUp | SayGoodbye | End


class Patience:
    """Follows one call from its beginning. `now` in monotonic seconds. Until it is told otherwise, somebody is busy."""

    def __init__(self, silence: SilencePolicy, limits: Limits, now: float) -> None:
        self._silence = silence
        self._limit_at = inf if limits.max_duration_s is None else now + limits.max_duration_s
        self._wrap_up_at = self._limit_at - limits.wrap_up_before_s if limits.wrap_up_before_s else inf
        self._is_wrapping_up = False
        self._quiet_since: float | None = None  # None while anybody is busy
        self._prompts_given = 0  # since the caller last did anything
        self._goodbye_by = inf  # when the call ends, once goodbye is to be said
        self._is_goodbye_begun = False
        self._is_over = False

    @property
    def deadline(self) -> float:
        """When `timeout` is due next, inf for never. May have passed already."""
        if self._is_over:
            return inf
        wrap_up_at = inf if self._is_leaving else self._wrap_up_at
        return min(self._goodbye_by, self._end_at, wrap_up_at, self._prompt_at)

    def observe(self, *, is_busy: bool, now: float) -> None:
        """Whether the agent sounds or is about to, a tool runs, or the caller speaks. Cheap if nothing changed."""
        if is_busy == (self._quiet_since is None):
            return
        self._quiet_since = None if is_busy else now
        if is_busy:
            self._is_goodbye_begun = self._goodbye_by < inf
        elif self._is_goodbye_begun:
            self._goodbye_by = now  # it has been said

    def caller_active(self, now: float) -> None:
        """The caller began to speak, or pressed a key: all patience is restored, and a goodbye is taken back."""
        self._prompts_given = 0
        self._goodbye_by, self._is_goodbye_begun = inf, False
        if self._quiet_since is not None:
            self._quiet_since = now

    def timeout(self, now: float) -> list[Decision]:
        """`deadline` has passed."""
        if self._is_over:
            return []
        if now >= self._goodbye_by:
            return self._end("caller_silent")
        if now >= self._end_at:
            return self._end("max_duration")
        if now >= self._wrap_up_at and not self._is_leaving:
            self._is_wrapping_up = True
            return [WrapUp()]
        return self._lose_patience(now) if now >= self._prompt_at else []

    @property
    def _is_leaving(self) -> bool:
        """The end was spoken of, or is about to be: nobody is asked for anything any more."""
        return self._is_wrapping_up or self._goodbye_by < inf

    @property
    def _end_at(self) -> float:
        """At the limit, or when what is being said there has been said, but not much later."""
        return self._limit_at if self._quiet_since is not None else self._limit_at + LINGER_S

    @property
    def _prompt_at(self) -> float:
        if self._quiet_since is None or self._silence.prompt_after_s is None or self._is_leaving:
            return inf
        return self._quiet_since + self._silence.prompt_after_s

    def _lose_patience(self, now: float) -> list[Decision]:
        self._quiet_since = now  # should nothing come of what is decided here, the next step is due later all the same
        if self._prompts_given == self._silence.end_after_prompts:
            self._goodbye_by = now + GOODBYE_WITHIN_S
            return [SayGoodbye("caller_silent")]
        text = self._silence.prompts[min(self._prompts_given, len(self._silence.prompts) - 1)]
        self._prompts_given += 1
        return [Prompt(text)]

    def _end(self, reason: Reason) -> list[Decision]:
        self._is_over = True
        return [End(reason)]

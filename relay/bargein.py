"""When the caller's speech stops the agent: a persona's policy, and the decision from moment to moment.

Pure: no Trio, no clock, no log. Told by the call what OpenAI's VAD and the local detector hear, it answers with one
decision; the call knows what to hold, to clear and to truncate.

    "hold"       give Twilio no more audio for now: the local detector hears speech, OpenAI has not said so yet
    "resume"     go on with what was held: it was no speech, or not enough of it
    "interrupt"  stop the agent: clear Twilio and whatever was held back, cancel and truncate; a hold ends with it
    "none"       nothing changes

What the policy asks of the rest. OpenAI cancels its response by itself as soon as it hears speech, unless the session
says `interrupt_response: false`; so that must be said whenever not all speech interrupts (`interrupts_by_itself`), and
the call then cancels with its interrupts. `create_response` stays as it is: a turn that interrupted nothing is answered
too. If a response is still being made when that turn ends, OpenAI refuses to begin another
(`conversation_already_has_active_response`), and the call must ask again when it is done.
"""

from math import inf
from typing import Annotated, Final, Literal

import msgspec

from relay.pacer import MIN_LEAD_MS

# Whatever made one hold (an echo, a radio) makes the next; the voice must not stutter with it.
REST_AFTER_FALSE_HOLD_S: Final = 2.0

Decision = Literal["none", "hold", "resume", "interrupt"]


class BargeInPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Whether and when the caller may interrupt. Times in ms."""

    enabled: bool = True
    # Shorter speech does not interrupt. OpenAI alone cannot say so in time, for it waits for silence before it calls
    # speech over; so the local detector listens too (`needs_detector`).
    min_speech_ms: Annotated[int, msgspec.Meta(ge=0, le=5000)] = 0
    protect_greeting: bool = False
    local_detection: bool = False  # hold at the local detector's word; audio is paced for it (`relay.pacer`)
    confirm_within_ms: Annotated[int, msgspec.Meta(ge=50, le=2000)] = 400  # or the held voice goes on
    # How far ahead Twilio is, so: how soon a hold is silence. Two thirds of it outlast a stall of the relay.
    lead_ms: Annotated[int, msgspec.Meta(ge=MIN_LEAD_MS, le=2000)] = 100


def interrupts_by_itself(policy: BargeInPolicy) -> bool:
    """Whether OpenAI may cancel at the first sound of speech: what `interrupt_response` must be, at most."""
    return policy.enabled and policy.min_speech_ms == 0 and not policy.protect_greeting


def needs_detector(policy: BargeInPolicy) -> bool:
    """Whether the caller's frames must pass a `VoiceDetector`."""
    return policy.enabled and (policy.local_detection or policy.min_speech_ms > 0)


class BargeIn:
    """One call's interruptions. `now` in monotonic seconds.

    is_sounding: the agent has the word: its audio sounds, is held or queued, or a response is being made.
    is_greeting: what has the word is the greeting.
    """

    def __init__(self, policy: BargeInPolicy) -> None:
        self._policy = policy
        self._is_held = False
        self._confirm_due_at = inf  # of a hold that OpenAI has not confirmed
        self._is_pending = False  # OpenAI hears speech that may interrupt, but has not lasted long enough
        self._long_enough_at = inf  # when it will have; inf while the local detector hears a pause in it
        self._voice_since = inf  # by the local detector; inf while it hears none
        self._rests_until = -inf  # the local detector was wrong, and is not heeded

    @property
    def deadline(self) -> float:
        """When `timeout` is due; inf for never."""
        return min(self._confirm_due_at, self._long_enough_at)

    def speech_started(self, now: float, *, is_sounding: bool, is_greeting: bool) -> Decision:
        """OpenAI hears the caller speak."""
        self._confirm_due_at = inf
        if not self._may_interrupt(is_sounding=is_sounding, is_greeting=is_greeting):
            return self._release()
        self._is_pending = True
        self._long_enough_at = min(now, self._voice_since) + self._policy.min_speech_ms / 1000
        return self.timeout(now)

    def speech_stopped(self) -> Decision:
        """OpenAI found the end of the caller's speech; what was not long enough by now is forgotten."""
        was_pending, self._is_pending = self._is_pending, False
        self._long_enough_at = inf
        return self._release() if was_pending else "none"  # another hold waits for speech yet to be told

    def voice(self, is_speaking: bool, now: float, *, is_sounding: bool, is_greeting: bool) -> Decision:
        """What the local detector says of the latest frame; only a change matters."""
        if is_speaking == (self._voice_since < inf):
            return "none"
        if not is_speaking:
            self._voice_since = self._long_enough_at = inf
            return self._give_up(now)
        self._voice_since = now
        if self._is_pending:
            self._long_enough_at = now + self._policy.min_speech_ms / 1000
        if not self._policy.local_detection or not self._may_interrupt(
            is_sounding=is_sounding, is_greeting=is_greeting
        ):
            return "none"
        return self._hold(now)

    def timeout(self, now: float) -> Decision:
        """The deadline may have passed."""
        if now >= self._long_enough_at:
            self._is_held = self._is_pending = False
            self._confirm_due_at = self._long_enough_at = inf
            return "interrupt"
        return self._give_up(now) if now >= self._confirm_due_at else "none"

    def _may_interrupt(self, *, is_sounding: bool, is_greeting: bool) -> bool:
        return self._policy.enabled and is_sounding and not (is_greeting and self._policy.protect_greeting)

    def _hold(self, now: float) -> Decision:
        if now < self._rests_until:
            return "none"
        self._is_held = True
        self._confirm_due_at = inf if self._is_pending else now + self._policy.confirm_within_ms / 1000
        return "hold"

    def _give_up(self, now: float) -> Decision:
        """A hold that nothing justified, or not yet enough."""
        if self._is_held and not self._is_pending:
            self._rests_until = now + REST_AFTER_FALSE_HOLD_S
        return self._release()

    def _release(self) -> Decision:
        was_held, self._is_held = self._is_held, False
        self._confirm_due_at = inf
        return "resume" if was_held else "none"

"""What happens in a simulated call, told live to whoever watches: a terminal, a plot, a test.

`at_ms` counts from the call's answer, like everything in the report. Words as in telephony: *heard* is what sounded at
the caller's ear, not what was sent to it.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

from benchmarks.simulators.twilio.report import EndedBy


class CallEvent(msgspec.Struct, tag_field="event", frozen=True, kw_only=True):
    """What all events share."""

    at_ms: int


class StreamStarted(CallEvent, frozen=True, kw_only=True, tag="stream_started"):
    """The socket is open and `start` is on its way."""

    call_sid: str
    stream_sid: str


class CallerSpeaking(CallEvent, frozen=True, kw_only=True, tag="caller_speaking"):
    """The caller's audio rose above the speech level."""


class CallerSilent(CallEvent, frozen=True, kw_only=True, tag="caller_silent"):
    """The caller fell silent at `at_ms`; told when the silence has lasted long enough to be one."""


class AgentHeard(CallEvent, frozen=True, kw_only=True, tag="agent_heard"):
    """The agent's voice began or ceased to sound at the caller. An end is told late, as with `CallerSilent`."""

    state: Literal["started", "stopped"]


class MarkReceived(CallEvent, frozen=True, kw_only=True, tag="mark_received"):
    """The relay sent a mark."""

    name: str


class MarkEchoed(CallEvent, frozen=True, kw_only=True, tag="mark_echoed"):
    """A mark went back: all before it was played, or cleared."""

    name: str


class Cleared(CallEvent, frozen=True, kw_only=True, tag="cleared"):
    """The relay emptied the playback buffer."""

    dropped_ms: int
    heard_ms: int  # played without a gap until then; 0 when nothing was sounding


class KeyPressed(CallEvent, frozen=True, kw_only=True, tag="key_pressed"):
    """The caller pressed a key."""

    digit: str


class Ended(CallEvent, frozen=True, kw_only=True, tag="ended"):
    """The call is over."""

    ended_by: EndedBy


Event = (
    StreamStarted
    | CallerSpeaking
    | CallerSilent
    | AgentHeard
    | MarkReceived
    | MarkEchoed
    | Cleared
    | KeyPressed
    | Ended
)
Observer = Callable[[Event], None]


def unobserved(_: Event) -> None:
    """The observer of a call that nobody watches."""

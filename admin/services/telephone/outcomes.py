"""How calls ended, for as long as Twilio may ask: what is decided about a caller whose media stream has closed.

Filled from the calls' log, read by the webhook that Twilio asks next. The record is there before that question can be:
a call that ends by our doing is recorded in the same step that begins to close its socket, and Twilio asks once it is
closed. Only where the socket breaks on its way may Twilio know first; then nothing is known of the call here, which is
as it should be, because nobody decided anything.

`Outcomes` keeps them in this process's memory. Where webhook and stream may reach different processes, the app is
handed another `Endings`, which those processes share.
"""

from typing import Final, Protocol

import msgspec

from relay import CallEnded, LogEvent

STAFF: Final = "staff"  # the outcome that asks for a person
MAX_ENDINGS: Final = 4096  # Twilio asks within seconds; so many calls do not end in a process meanwhile

_NO_MODEL = frozenset({"openai_unreachable", "openai_refused"})  # the caller has heard an apology


class Ending(msgspec.Struct, frozen=True):
    """How one call left the media stream. outcome: what somebody decided about the caller, "" if nobody did."""

    reason: str
    outcome: str

    @property
    def needs_staff(self) -> bool:
        """A person is to take over: the caller asked for one, or there was no model to talk to."""
        return self.outcome == STAFF or self.reason in _NO_MODEL


class Endings(Protocol):
    """Filled as a relay.CallLog, read by the webhook; neither waits."""

    def offer(self, call_sid: str, event: LogEvent) -> None:
        """Take one record of a call; only its end matters here."""

    def find(self, call_sid: str) -> Ending | None:
        """How the call ended, None if nothing is known of it."""


def ending_of(event: LogEvent) -> Ending | None:
    """The ending that this record tells of, None if it tells of anything else."""
    return Ending(event.reason, event.outcome) if isinstance(event, CallEnded) else None


class Outcomes:
    """The endings of the latest calls, by `call_sid`.

    An ending stays when it has been read, because Twilio asks again when our answer was lost on its way.
    """

    def __init__(self, size: int = MAX_ENDINGS) -> None:
        self._size = size
        self._endings: dict[str, Ending] = {}  # in the order they came

    def offer(self, call_sid: str, event: LogEvent) -> None:
        """See Endings."""
        ending = ending_of(event)
        if ending is None or not call_sid:
            return  # a stream that was not let in names no call
        self._endings.pop(call_sid, None)  # a call may have had a stream before this one
        self._endings[call_sid] = ending
        if len(self._endings) > self._size:
            del self._endings[next(iter(self._endings))]

    def find(self, call_sid: str) -> Ending | None:
        """See Endings."""
        return self._endings.get(call_sid)

"""How a call gets on, told to whoever asked for it: status callbacks in the order of events, numbered and dated.

Pure but for the courier it hands the callbacks to, which never waits.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final, Literal

import msgspec

from benchmarks.simulators.twilio.callbacks import Callback, Courier
from benchmarks.simulators.twilio.options import Method, StatusEvent

CallStatus = Literal[
    "queued", "initiated", "ringing", "in-progress", "completed", "busy", "no-answer", "failed", "canceled"
]
TERMINAL: Final[frozenset[CallStatus]] = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})

# The last SIP answer of a call that ended this way. Twilio documents 487 for a ring timeout; the others are SIP's own.
_SIP_CODES: Final[Mapping[CallStatus, str]] = {
    "completed": "200",
    "busy": "486",
    "no-answer": "487",
    "canceled": "487",
    "failed": "404",
}


class WallClock:
    """The date, moved on by the monotonic clock: under virtual time an hour later is an hour later here, too."""

    def __init__(self, now: float) -> None:
        self._date, self._zero_s = datetime.now(UTC), now

    def at(self, now: float) -> datetime:
        return self._date + timedelta(seconds=now - self._zero_s)

    def rfc2822(self, now: float) -> str:
        return format_datetime(self.at(now))

    def iso8601(self, now: float) -> str:
        return self.at(now).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Subscription(msgspec.Struct, frozen=True):
    """Who wants to know which events."""

    url: str
    method: Method = "POST"
    events: tuple[StatusEvent, ...] = ("completed",)


class Progress:
    """One leg's status. Fires a callback for each event that was asked for.

    Attributes: status, as Twilio names it; a terminal one is never left.
    """

    def __init__(
        self,
        status: CallStatus,
        subscription: Subscription | None,
        courier: Courier,
        wall: WallClock,
        fields: Callable[[CallStatus], dict[str, str]],
    ) -> None:
        """Args: fields, the parameters that every request about this leg carries."""
        self.status: CallStatus = status
        self.subscription = subscription
        self._courier, self._wall, self._fields = courier, wall, fields
        self._sequence = 0

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL

    def move(self, event: StatusEvent, status: CallStatus, now: float) -> None:
        """An event that is not the last one."""
        if not self.is_over:
            self.status = status
            self._fire(event, {}, now)

    def end(self, status: CallStatus, duration_s: float, now: float) -> None:
        """The last event. duration_s: from the answer, 0 without one."""
        if self.is_over:
            return
        was_queued, self.status = self.status == "queued", status
        seconds = round(duration_s)
        # Callbacks tell the seconds as CallDuration; Duration is what is billed, in minutes, begun ones count.
        durations = {"CallDuration": str(seconds), "Duration": str(-(-seconds // 60))}
        if not was_queued:  # a call that is canceled in the queue tells nobody
            self._fire("completed", durations | {"SipResponseCode": _SIP_CODES.get(status, "200")}, now)

    def _fire(self, event: StatusEvent, more: Mapping[str, str], now: float) -> None:
        wanted = self.subscription
        if wanted is None or event not in wanted.events:
            return
        numbered = {
            "SequenceNumber": str(self._sequence),
            "Timestamp": self._wall.rfc2822(now),
            "CallbackSource": "call-progress-events",
        }
        self._sequence += 1
        fields = {**self._fields(self.status), **numbered, **more}
        self._courier.fire(Callback("status", wanted.url, wanted.method, fields))

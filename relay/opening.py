"""A media stream before its call: from the socket's opening to Twilio's `start`, which names the call.

Pure, and spoken to like a `Call`: events in, commands out, time as an argument. Who answers is settled with the
`start`, so nothing of a persona is known here. A stream that brings none is let go: after a while, or for what it
brings instead. One that does becomes a `Call`, which goes on with the same `Unusable`.
"""

from collections import Counter
from collections.abc import Mapping
from math import inf

import msgspec

from proto import twilio
from relay import log
from relay.events import Abort, Command, EndReason, Event, HangUp, Malformed, SocketClosed, StartRefused, Timeout
from relay.persona import Persona
from relay.stream_token import Direction
from relay.unusable import Unusable

START_WITHIN_S = 10.0  # from the socket's opening to Twilio's `start`


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A call that begins, for whoever says who answers it.

    persona_version: as the token claims it, "" where it claims none or there is no gate; parameters: of the stream, as
    the TwiML named them, the token left out; their values are a stranger's where there is no gate.
    """

    call_sid: str
    direction: Direction = "inbound"
    persona_version: str = ""
    parameters: Mapping[str, str] = {}


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """The stream may begin its call: who answers it, and what is known of it beside its `start`.

    persona_version: as the token claims it, "" for the persona of the settings.
    """

    persona: Persona
    direction: Direction = "inbound"
    persona_version: str = ""


class Opening:
    """One media stream that has not begun. Attributes: call_sid, always ""; unusable, what it brought in vain."""

    call_sid = ""

    def __init__(self, now: float) -> None:
        self._opened_at = now
        self._is_over = False
        self.unusable = Unusable()

    @property
    def deadline(self) -> float:
        """When it wants a `Timeout`, in monotonic seconds; inf for never."""
        return inf if self._is_over else self._opened_at + START_WITHIN_S

    @property
    def ignored(self) -> Counter[str]:
        """How many messages were not acted on, by "peer.why"."""
        return self.unusable.counts

    def handle(self, event: Event, now: float) -> list[Command]:
        """Decide what anything but a good `start` means. Once the stream is over nothing means anything."""
        if self._is_over:
            return []
        self.unusable.note_readable(event)
        match event:
            case StartRefused(reason=reason, call_sid=call_sid):
                refused = log.StartRefused(reason=reason, claimed_call_sid=call_sid)
                return [refused, *self._end("not_admitted", now, code=1008)]
            case Malformed(tag="start"):
                return self._end("bad_start", now, code=1008)
            case Malformed():
                if self.unusable.malformed(event):
                    return self._end("garbage", now, code=1007)
                return self.unusable.ignore("twilio", "malformed", event.tag)
            case Timeout() if now >= self.deadline:
                return self._end("start_timeout", now, code=1008)
            case SocketClosed():
                return self._end(why_closed(event), now)
            case Abort(reason=reason):
                return self._end(reason, now, code=abort_code(reason))
            case twilio.Media():
                return self.unusable.ignore("twilio", "media_before_start")
            case twilio.Mark() | twilio.Stop():
                return self.unusable.ignore("twilio", "other_stream")
            case twilio.Dtmf():
                return self.unusable.ignore("twilio", "bad_dtmf")
            case twilio.Unhandled(tag=tag):
                return self.unusable.ignore("twilio", "unknown_event", tag)
            case _:
                return []  # `connected`; and nobody but Twilio is there to say anything

    def _end(self, reason: EndReason, now: float, code: int = 1000) -> list[Command]:
        self._is_over = True
        ended = log.CallEnded(
            reason=reason,
            duration_ms=round((now - self._opened_at) * 1000),
            frames_from_caller=0,
            audio_ms_to_caller=0,
            barge_ins=0,
            total_tokens=0,
            ignored=dict(self.ignored),
        )
        return [ended, HangUp(reason, code)]


def why_closed(event: SocketClosed) -> EndReason:
    """What it means that Twilio's socket is gone."""
    return "garbage" if event.code in (1002, 1007, 1009) else "twilio_closed"


def abort_code(reason: EndReason) -> int:
    """The close code that tells Twilio of an end that we bring about."""
    return 1001 if reason == "shutdown" else 1011

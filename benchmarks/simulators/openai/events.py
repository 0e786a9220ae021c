"""What the simulator's modules hand each other: events as plain JSON objects, disturbances, and tracks of both.

Server events are dictionaries here, not typed structs: this program must be able to say anything the service says, and
also what it should not. `event_id` is added where an event leaves the session. A disturbance is what can go wrong at
one moment; a script, a fault or the control endpoint asks for it, the stage carries it out.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec

Json = dict[str, Any]

Direction = Literal["client", "server"]

OVERSIZED_BYTES: Final = 20 * 2**20
_MOST_OVERSIZED_BYTES: Final = 64 * 2**20

NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=_MOST_OVERSIZED_BYTES)]
CloseCode = Annotated[int, msgspec.Meta(ge=1000, le=4999)]
CloseReason = Annotated[str, msgspec.Meta(max_length=120)]  # a close frame has 123 bytes for it


class _Moment(msgspec.Struct, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """What all disturbances share.

    In a script, `after_audio_ms` is how much of the response's audio is sent before: 0 is right after
    `response.created`, and what is beyond the audio comes just before `response.done`.
    """

    after_audio_ms: Milliseconds = 0


class Drop(_Moment, frozen=True):
    """The connection is gone without a close frame."""

    @property
    def code(self) -> int:
        """What a client makes of it (RFC 6455, 7.1.5); it is never sent."""
        return 1006

    @property
    def reason(self) -> str:
        return ""


class Close(_Moment, frozen=True):
    """The server ends the session with a WebSocket close frame."""

    code: CloseCode = 1011
    reason: CloseReason = ""


class Stall(_Moment, frozen=True):
    """For so long nothing is sent; then all that was due meanwhile comes at once."""

    seconds: NotNegative


class SendError(_Moment, frozen=True):
    """An `error` event that no client event caused."""

    code: str | None
    message: str
    kind: str = "server_error"  # the error's `type` on the wire
    param: str | None = None


class SendEvent(_Moment, frozen=True):
    """Any event at all, with an id of its own unless it brings one."""

    event: Json


class SendText(_Moment, frozen=True):
    """A text frame with just this in it, JSON or not."""

    text: str


class SendOversized(_Moment, frozen=True):
    """One event with so many bytes of padding."""

    padding_bytes: Bytes = OVERSIZED_BYTES


Ending = Close | Drop
Disturbance = Drop | Close | Stall | SendError | SendEvent | SendText | SendOversized


class Incident(msgspec.Struct, frozen=True):
    """Something goes wrong when a session is so old, whatever is being said."""

    after_s: NotNegative
    what: Disturbance


# What takes time is a track: pauses in seconds, and what happens between them. Code between two yields runs exactly
# when what follows it is due, so a track may look at the conversation as it then is.
Track = Iterator[float | Json | Disturbance]

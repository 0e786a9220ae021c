"""What goes into a `Call` and what comes out of it, beside the messages of the two wires."""

from typing import Literal

import msgspec

from proto import realtime, twilio
from proto.errors import Peer
from relay import log

EndReason = Literal[
    "caller_hung_up", "twilio_closed", "bad_start", "start_timeout", "garbage", "slow_consumer",
    "openai_closed", "openai_unreachable", "openai_refused", "shutdown", "internal_error",
]  # fmt: skip


class Malformed(msgspec.Struct, frozen=True):
    """A message that could not be read. tag: its kind, "" when not even that could be read."""

    peer: Peer
    tag: str
    detail: str


class SocketClosed(msgspec.Struct, frozen=True):
    """A WebSocket is gone: closed by its peer, failed for a protocol error, or cut (1006)."""

    peer: Peer
    code: int
    reason: str = ""


class UpstreamUnreachable(msgspec.Struct, frozen=True):
    """OpenAI could not be connected to."""

    detail: str
    status: int | None = None


class Abort(msgspec.Struct, frozen=True):
    """The session itself must end the call: shutdown, a slow consumer, or a fault of ours."""

    reason: EndReason


class Timeout(msgspec.Struct, frozen=True):
    """`deadline` has passed."""


class OpenUpstream(msgspec.Struct, frozen=True):
    """Connect to OpenAI."""


class HangUp(msgspec.Struct, frozen=True):
    """The call is over: close both sockets. code: the close code for Twilio."""

    reason: EndReason
    code: int = 1000


Event = (
    twilio.Inbound
    | twilio.Unhandled
    | realtime.Inbound
    | realtime.Unhandled
    | Malformed
    | SocketClosed
    | UpstreamUnreachable
    | Abort
    | Timeout
)
Command = twilio.Outbound | realtime.Outbound | OpenUpstream | HangUp | log.LogEvent

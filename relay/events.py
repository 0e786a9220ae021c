"""What goes into a `Call` and what comes out of it, beside the messages of the two wires."""

from typing import Literal

import msgspec

from proto import realtime, twilio
from proto.errors import Peer
from relay import log
from relay.retry import Failure
from relay.tools import ToolReport

EndReason = Literal[
    "caller_hung_up", "twilio_closed", "bad_start", "not_admitted", "start_timeout", "garbage", "slow_consumer",
    "openai_unreachable", "openai_refused", "caller_silent", "max_duration", "agent_ended", "shutdown",
    "internal_error",
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
    """OpenAI could not be connected to. detail: for people."""

    failure: Failure
    detail: str


FromOpenAI = realtime.Inbound | realtime.Unhandled | Malformed | SocketClosed | UpstreamUnreachable


class Beside(msgspec.Struct, frozen=True):
    """It happened in the session that is being made ready beside the one in use, and not in that one."""

    event: FromOpenAI


class StartRefused(msgspec.Struct, frozen=True):
    """Twilio's `start` came and may not begin a call. reason: a word; call_sid: as claimed, "" if it is none."""

    reason: str
    call_sid: str


class ToolFinished(msgspec.Struct, frozen=True):
    """A tool's run is over."""

    call_id: str
    report: ToolReport


class Abort(msgspec.Struct, frozen=True):
    """The session itself must end the call: shutdown, a slow consumer, or a fault of ours."""

    reason: EndReason


class Timeout(msgspec.Struct, frozen=True):
    """`deadline` has passed."""


class OpenUpstream(msgspec.Struct, frozen=True):
    """Connect to OpenAI: for the session to be used, or for one beside it that is to take its place."""

    beside: bool = False


class ToBeside(msgspec.Struct, frozen=True):
    """Say this in the session beside the one in use."""

    command: realtime.Outbound


class SwitchUpstream(msgspec.Struct, frozen=True):
    """The session beside is the one in use from now on; close the other."""


class DropUpstream(msgspec.Struct, frozen=True):
    """Close a session, or give up opening it; nothing that still comes from it matters."""

    beside: bool = False


class RunTool(msgspec.Struct, frozen=True):
    """Run a tool in the call's nursery, and tell of its end. arguments: JSON text as the model wrote it."""

    call_id: str
    name: str
    arguments: str


class CancelTool(msgspec.Struct, frozen=True):
    """Stop a run; nobody waits for its end."""

    call_id: str


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
    | Beside
    | StartRefused
    | ToolFinished
    | Abort
    | Timeout
)
Command = (
    twilio.Outbound
    | realtime.Outbound
    | OpenUpstream
    | ToBeside
    | SwitchUpstream
    | DropUpstream
    | RunTool
    | CancelTool
    | HangUp
    | log.LogEvent
)

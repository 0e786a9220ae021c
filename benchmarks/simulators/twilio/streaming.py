"""`<Connect><Stream>` within a call: open the socket, carry the stream, tell its status callback."""

from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import trio

from benchmarks.simulators.twilio import events
from benchmarks.simulators.twilio.callbacks import Callback
from benchmarks.simulators.twilio.caller import Caller
from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.leg import Leg
from benchmarks.simulators.twilio.line import Line, StreamIdentity
from benchmarks.simulators.twilio.report import EndedBy
from benchmarks.simulators.twilio.stream import StreamAddress, carry, parse_stream_url
from benchmarks.simulators.twilio.verbs import Stream

OpenTransport = Callable[[StreamAddress], Awaitable[trio.abc.Stream]]


class StreamRunner:
    """Runs a call's streams, one at a time.

    Attributes: line, the stream that is open, None while none is: a REST request ends it from outside.
    """

    def __init__(self, caller: Caller, open_for: OpenTransport, observe: events.Observer, random: Random) -> None:
        self.line: Line | None = None
        self._caller, self._open_for, self._observe, self._random = caller, open_for, observe, random

    async def run(self, leg: Leg, stream: Stream) -> EndedBy:
        """Carry one stream: who ended it. Raises: CallProblemError if it does not come about."""
        tell = _Teller(leg, stream, leg.sids.next("MZ"))
        try:
            address = parse_stream_url(stream.url, allow_insecure=leg.options.allow_insecure)
            transport = await self._open_for(address)
            line = self._line(leg, stream, tell.stream_sid)
            self.line = line
            leg.record.close_code = await carry(
                transport,
                address,
                line,
                auth_token=leg.options.auth_token,
                opened=lambda: tell("stream-started"),
            )
        except CallProblemError as problem:
            tell("stream-error", str(problem))
            raise
        finally:
            self.line = None
        tell("stream-stopped" if line.failure is None else "stream-error", line.failure)
        return line.ended_by or "relay"

    def _line(self, leg: Leg, stream: Stream, stream_sid: str) -> Line:
        identity = StreamIdentity(
            call_sid=leg.identity.call_sid,
            account_sid=leg.identity.account_sid,
            stream_sid=stream_sid,
            parameters=dict(stream.parameters),
        )
        return Line(
            identity,
            self._caller,
            leg.record,
            ends_at=leg.phone.ends_at,
            observe=self._observe,
            network=leg.options.network,
            random=self._random,
        )


class _Teller(msgspec.Struct, frozen=True):
    """One stream's status callback."""

    leg: Leg
    stream: Stream
    stream_sid: str

    def __call__(self, event: str, error: str | None = None) -> None:
        if self.stream.status_callback is None:
            return
        fields = {
            "AccountSid": self.leg.identity.account_sid,
            "CallSid": self.leg.identity.call_sid,
            "StreamSid": self.stream_sid,
            "StreamName": self.stream.name or self.stream_sid,
            "StreamEvent": event,
            "Timestamp": self.leg.wall.iso8601(trio.current_time()),
        }
        if error is not None:
            fields["StreamError"] = error
        self.leg.courier.fire(
            Callback("stream", self.stream.status_callback, self.stream.status_callback_method, fields)
        )

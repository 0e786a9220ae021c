"""Call a relay: the two functions that most users need, and nothing but an options struct and a caller to hand them."""

from functools import partial

import httpx
import trio

from benchmarks.simulators.twilio import events
from benchmarks.simulators.twilio.call import Call
from benchmarks.simulators.twilio.caller import Caller
from benchmarks.simulators.twilio.options import CallOptions
from benchmarks.simulators.twilio.people import Callee
from benchmarks.simulators.twilio.recordings import Recordings
from benchmarks.simulators.twilio.report import CallReport
from benchmarks.simulators.twilio.stream import Dial, StreamAddress, dial_tcp, open_transport


def answers_at_once(caller: Caller) -> Callee:
    """This caller, who needs no ringing: on an inbound call they are on the phone already."""
    return Callee(person=lambda: caller, after_s=0.0)


async def place_call(
    options: CallOptions,
    caller: Caller,
    observer: events.Observer | None = None,
    *,
    dial: Dial = dial_tcp,
    http_transport: httpx.AsyncBaseTransport | None = None,
    recordings: Recordings | None = None,
) -> CallReport:
    """Call a relay and stay until the call is over and its last callback has been delivered.

    Args: caller, who speaks; observer, told what happens as it happens; dial and http_transport, in place of the
    network, for tests; recordings, where what <Record> records is kept.
    Returns: the report, also of a call that failed: then `error` says what was tried and what came back.
    Cancellation: closes the socket without a goodbye.
    """
    call = Call(
        options,
        answers_at_once(caller),
        partial(open_transport, connect_to=options.connect_to, dial=dial),
        observer=observer,
        http_transport=http_transport,
        recordings=recordings,
    )
    return await call.run()


async def run_stream(
    transport: trio.abc.Stream, options: CallOptions, caller: Caller, observer: events.Observer | None = None
) -> CallReport:
    """`place_call` for a direct stream over a transport that is open already; it is closed on return.

    Raises: ValueError unless `options.stream_url` is given.
    """
    if options.stream_url is None:
        raise ValueError("a direct stream needs a stream_url: its path is asked for and its text is signed")

    async def opened(_: StreamAddress) -> trio.abc.Stream:
        return transport

    try:
        return await Call(options, answers_at_once(caller), opened, observer=observer).run()
    finally:
        await trio.aclose_forcefully(transport)  # also when its URL was refused and nothing was sent

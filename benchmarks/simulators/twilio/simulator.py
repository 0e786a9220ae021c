"""A whole Twilio on loopback: an account with a REST API, the calls it places and takes, the recordings it keeps.

`open_twilio` is the way in. Calls that are placed through it, in either direction, can be fetched, redirected and
ended over the API while they last.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import httpx
import msgspec
import trio

from benchmarks.simulators.twilio import events
from benchmarks.simulators.twilio.call import Call
from benchmarks.simulators.twilio.caller import Caller
from benchmarks.simulators.twilio.httpd import serve_stream
from benchmarks.simulators.twilio.options import CallOptions
from benchmarks.simulators.twilio.own_numbers import OwnNumbers
from benchmarks.simulators.twilio.people import Callee, look_up
from benchmarks.simulators.twilio.place import answers_at_once
from benchmarks.simulators.twilio.recordings import API_BASE, Recordings
from benchmarks.simulators.twilio.report import CallReport
from benchmarks.simulators.twilio.rest import Account, Faults, RestApi
from benchmarks.simulators.twilio.stream import Dial, dial_tcp, open_transport

MAX_WARNINGS: Final = 100  # the last ones
MAX_ENDED_CALLS: Final = 1000  # that can still be fetched; the oldest are forgotten
# Whatever a REST request can say replaces what stands here.
DEFAULT_TEMPLATE: Final = CallOptions(webhook_url="https://replaced.invalid/", direction="outbound-api")


class TwilioSimulator:
    """One account.

    Attributes: account; template, what REST requests cannot say about a call (its phone book tells who answers which
    number); recordings; own_numbers; faults, to be set; warnings, what the API took but would have logged; calls, by
    SID, the ended ones too; reports, of ended calls by SID; rest, the API without its socket; base_url, where it is
    served.
    """

    def __init__(
        self,
        account: Account,
        nursery: trio.Nursery,
        *,
        template: CallOptions = DEFAULT_TEMPLATE,
        calls_per_second: float | None = None,
        dial: Dial = dial_tcp,
        http_transport: httpx.AsyncBaseTransport | None = None,
        observer: events.Observer | None = None,
        base_url: str = API_BASE,
    ) -> None:
        """Args: nursery, in which outbound calls live; calls_per_second, how fast they leave the queue, None at once;
        observer, of outbound calls."""
        self.account, self.base_url = account, base_url
        self.template = msgspec.structs.replace(template, account_sid=account.sid, auth_token=account.auth_token)
        self.recordings = Recordings(base_url)
        self.own_numbers = OwnNumbers(account.sid, account.numbers)
        self.faults = Faults()
        self.warnings: deque[str] = deque(maxlen=MAX_WARNINGS)
        self.calls: dict[str, Call] = {}
        self.reports: dict[str, CallReport] = {}
        self.rest = RestApi(self)
        self._nursery, self._calls_per_second = nursery, calls_per_second
        self._dial, self._http_transport, self._observer = dial, http_transport, observer
        self._next_release_at = 0.0
        self._placed = 0
        self._reported = trio.Condition()

    async def place_call(
        self, options: CallOptions, caller: Caller, observer: events.Observer | None = None
    ) -> CallReport:
        """`place_call` on this account: its SID, its token, its recordings, and within reach of its API."""
        options = msgspec.structs.replace(options, account_sid=self.account.sid, auth_token=self.account.auth_token)
        return await self._hold(self._register(options, answers_at_once(caller), observer))

    def warn(self, code: int, detail: str) -> None:
        """Note what Twilio would have logged."""
        self.warnings.append(f"{code}: {detail}")

    def start_outbound(self, options: CallOptions) -> Call:
        """Place a call to whoever the phone book has at its number; it waits its turn first."""
        now = trio.current_time()
        release_at = max(now, self._next_release_at)
        if self._calls_per_second is not None:
            self._next_release_at = release_at + 1 / self._calls_per_second
        callee = look_up(options.phone_book, options.to_number)
        call = self._register(options, callee, self._observer, queue_s=release_at - now)
        self._nursery.start_soon(self._hold, call)
        return call

    async def report(self, call_sid: str) -> CallReport:
        """The report of a call of this account, once it is over."""
        async with self._reported:
            while call_sid not in self.reports:
                await self._reported.wait()
        return self.reports[call_sid]

    def _register(
        self, options: CallOptions, callee: Callee, observer: events.Observer | None, *, queue_s: float = 0.0
    ) -> Call:
        if options.seed is not None:  # each call needs a SID of its own
            options = msgspec.structs.replace(options, seed=options.seed + self._placed)
        self._placed += 1
        call = Call(
            options,
            callee,
            partial(open_transport, connect_to=options.connect_to, dial=self._dial),
            observer=observer,
            http_transport=self._http_transport,
            recordings=self.recordings,
            queue_s=queue_s,
        )
        self.calls[call.sid] = call
        return call

    async def _hold(self, call: Call) -> CallReport:
        report = await call.run()
        self.reports[call.sid] = report
        while len(self.reports) > MAX_ENDED_CALLS:
            oldest = next(iter(self.reports))
            del self.reports[oldest], self.calls[oldest]
        async with self._reported:
            self._reported.notify_all()
        return report


@asynccontextmanager
async def open_twilio(
    account: Account,
    *,
    template: CallOptions = DEFAULT_TEMPLATE,
    calls_per_second: float | None = None,
    observer: events.Observer | None = None,
    port: int = 0,
) -> AsyncIterator[TwilioSimulator]:
    """Serve an account's REST API on loopback. Leaving it ends all calls that it has placed.

    Args: as TwilioSimulator's; port, 0 for any free one.
    """
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    bound_port: int = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        simulator = TwilioSimulator(
            account,
            nursery,
            template=template,
            calls_per_second=calls_per_second,
            observer=observer,
            base_url=f"http://127.0.0.1:{bound_port}",
        )

        async def serve(stream: trio.SocketStream) -> None:
            await serve_stream(stream, simulator.rest.handle)

        nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
        try:
            yield simulator
        finally:
            nursery.cancel_scope.cancel()

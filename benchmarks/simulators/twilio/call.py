"""One call, from the webhook to the status callback: fetch TwiML, run its verbs, carry its stream, report.

What Twilio's call engine does, reduced to what a voice relay can see of it. A call that goes wrong still ends in a
report, whose `error` says why: a load test of fifty calls wants to know about the other forty-nine.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, assert_never

import httpx
import trio

from benchmarks.simulators.twilio import events, twiml
from benchmarks.simulators.twilio.caller import Caller
from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.line import FRAME_S, Line, StreamIdentity
from benchmarks.simulators.twilio.options import CallOptions, Sids
from benchmarks.simulators.twilio.report import CallRecord, CallReport, EndedBy
from benchmarks.simulators.twilio.stream import Dial, StreamAddress, carry, dial_tcp, open_transport, parse_stream_url
from benchmarks.simulators.twilio.webhook import CallIdentity, CallStatus, Webhooks
from proto import mulaw

MAX_DOCUMENTS: Final = 20  # redirects and actions of one call; more is a loop
TOO_MANY_DOCUMENTS: Final = 11215

OpenTransport = Callable[[StreamAddress], Awaitable[trio.abc.Stream]]


async def place_call(
    options: CallOptions,
    caller: Caller,
    observer: events.Observer | None = None,
    *,
    dial: Dial = dial_tcp,
    http_transport: httpx.AsyncBaseTransport | None = None,
) -> CallReport:
    """Call a relay and stay on the line until the call is over.

    Args: caller, who speaks; observer, told what happens as it happens; dial and http_transport, in place of the
    network, for tests.
    Returns: the report, also of a call that failed: then `error` says what was tried and what came back.
    Cancellation: closes the socket without a goodbye.
    """
    return await _run(
        _Call(options, caller, observer, partial(open_transport, connect_to=options.connect_to, dial=dial)),
        http_transport,
    )


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
        return await _run(_Call(options, caller, observer, opened), None)
    finally:
        await trio.aclose_forcefully(transport)  # also when its URL was refused and nothing was sent


async def _run(call: "_Call", http_transport: httpx.AsyncBaseTransport | None) -> CallReport:
    webhooks = Webhooks(call.options, call.identity, transport=http_transport)
    try:
        return await call.run(webhooks)
    finally:
        await webhooks.aclose()


class _Call:
    """One call under way."""

    def __init__(
        self, options: CallOptions, caller: Caller, observer: events.Observer | None, open_for: OpenTransport
    ) -> None:
        self.options = options
        self._sids = Sids(options.seed)
        self.identity = CallIdentity(
            call_sid=self._sids.next("CA"), account_sid=options.account_sid or self._sids.next("AC")
        )
        self._caller, self._observe, self._open_for = caller, observer or events.unobserved, open_for
        self._record = CallRecord(call_sid=self.identity.call_sid, zero_s=trio.current_time())
        self._status: CallStatus = "ringing"
        self._last_stream: EndedBy | None = None

    async def run(self, webhooks: Webhooks) -> CallReport:
        try:
            ended_by = await (self._run_stream_url() if self.options.stream_url else self._run_documents(webhooks))
        except CallProblemError as problem:
            self._note(problem)
            ended_by = "error"
        ended_at = trio.current_time()
        self._observe(events.Ended(at_ms=self._record.at_ms(ended_at), ended_by=ended_by))
        await self._tell_ended(webhooks, ended_at)
        self._record.http_statuses = webhooks.statuses
        return self._record.report(ended_by, ended_at)

    async def _run_stream_url(self) -> EndedBy:
        self._answer()
        return await self._stream(self.options.stream_url or "", self.options.parameters)

    async def _run_documents(self, webhooks: Webhooks) -> EndedBy:
        """Run documents until one of them ends the call."""
        asked: CallStatus = "ringing" if self.options.direction == "inbound" else "in-progress"
        where = twiml.Redirect(self.options.webhook_url or "", self.options.webhook_method)
        for _ in range(MAX_DOCUMENTS):
            document = await webhooks.ask(where.url, where.method, asked)
            outcome = await self._run_verbs(twiml.parse(document, where.url))
            if not isinstance(outcome, twiml.Redirect):
                return outcome
            where, asked = outcome, "in-progress"
        raise CallProblemError(
            TOO_MANY_DOCUMENTS, f"{MAX_DOCUMENTS} documents did not end the call, the last: {where.url}"
        )

    async def _run_verbs(self, verbs: Sequence[twiml.Verb]) -> twiml.Redirect | EndedBy:
        """Run one document: where to go on, or who ended the call."""
        for verb in verbs:
            if isinstance(verb, twiml.Reject) and self._status == "ringing":
                self._status = "busy" if verb.reason == "busy" else "no-answer"
                return "rejected"
            self._answer()
            outcome = await self._run_verb(verb)
            if outcome is not None:
                return outcome
        self._answer()
        return self._last_stream or "hangup_verb"  # Twilio hangs up where a document ends

    async def _run_verb(self, verb: twiml.Verb) -> twiml.Redirect | EndedBy | None:
        """Run one verb: None if the next one follows."""
        match verb:
            case twiml.Say(text):
                self._record.said.append(text)
            case twiml.Pause(length_s):
                return await self._hold(length_s)
            case twiml.Connect():
                return await self._connect(verb)
            case twiml.Redirect():
                return verb
            case twiml.Hangup():
                return "hangup_verb"
            case twiml.Reject():
                self._record.unsupported_verbs.append("Reject of an answered call")
            case twiml.Unsupported(name):
                self._record.unsupported_verbs.append(name)
            case _:
                assert_never(verb)
        return None

    async def _connect(self, connect: twiml.Connect) -> twiml.Redirect | EndedBy | None:
        """Run a stream and find out what follows. Nothing does once the caller is gone: no action is asked for then."""
        try:
            self._last_stream = await self._stream(connect.stream.url, connect.stream.parameters)
        except CallProblemError as problem:
            self._note(problem)  # as Twilio does, go on behind <Connect>: that is where a relay's fallback stands
            self._last_stream = "error"
        if self._last_stream in ("caller", "time_limit"):
            return self._last_stream
        return twiml.Redirect(connect.action, connect.method) if connect.action is not None else None

    async def _stream(self, url: str, parameters: Mapping[str, str]) -> EndedBy:
        """Carry one stream: who ended it. Raises: CallProblemError if it does not come about."""
        address = parse_stream_url(url, allow_insecure=self.options.allow_insecure)
        transport = await self._open_for(address)
        line = Line(
            StreamIdentity(
                call_sid=self.identity.call_sid,
                account_sid=self.identity.account_sid,
                stream_sid=self._sids.next("MZ"),
                parameters=dict(parameters),
            ),
            self._caller,
            self._record,
            ends_at=self._ends_at,
            observe=self._observe,
        )
        self._record.close_code = await carry(transport, address, line, auth_token=self.options.auth_token)
        return line.ended_by or "relay"

    async def _hold(self, seconds: float) -> EndedBy | None:
        """Wait on a line without a stream, where the caller can still hang up."""
        tick = trio.current_time()
        until = min(tick + seconds, self._ends_at)
        while tick < until:
            tick = min(tick + FRAME_S, until)
            await trio.sleep_until(tick)
            heard_ms = mulaw.duration_ms(self._record.heard_bytes)
            self._caller.frame(self._record.at_ms(tick) - mulaw.FRAME_MS, hearing=False, heard_ms=heard_ms)
            if self._caller.hung_up:
                return "caller"
        return "time_limit" if until >= self._ends_at else None

    @property
    def _ends_at(self) -> float:
        return self._record.zero_s + self.options.max_seconds

    def _answer(self) -> None:
        """The call is answered when its first verb runs: from here on its clock counts."""
        if self._status == "ringing":
            self._status = "in-progress"
            self._record.zero_s = trio.current_time()

    def _note(self, problem: CallProblemError) -> None:
        self._record.error = str(problem)
        self._record.warn(problem.code, problem.detail, trio.current_time())

    async def _tell_ended(self, webhooks: Webhooks, ended_at: float) -> None:
        if self.options.status_callback_url is None:
            return
        final: dict[CallStatus, CallStatus] = {"ringing": "failed", "in-progress": "completed"}
        status, duration_s = final.get(self._status, self._status), ended_at - self._record.zero_s
        try:
            await webhooks.tell_ended(self.options.status_callback_url, status, duration_s)
        except CallProblemError as problem:
            self._record.warn(problem.code, problem.detail, trio.current_time())  # it cannot fail an ended call

"""One call, from the first ring to the last callback: fetch TwiML, run its verbs, carry its streams, report.

What Twilio's call engine does, reduced to what a voice relay can see of it. A call that goes wrong still ends in a
report, whose `error` says why: a load test of fifty calls wants to know about the other forty-nine. The verbs
themselves are carried out next door (`speaking`, `recording`, `dialling`, `queueing`, `streaming`).
"""

from collections.abc import Sequence
from typing import Final, assert_never

import httpx
import msgspec
import trio

from benchmarks.simulators.twilio import answering, dialling, events, queueing, recording, speaking, twiml, verbs
from benchmarks.simulators.twilio.callbacks import Callback, Courier
from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.leg import Leg, Outcome
from benchmarks.simulators.twilio.options import CallOptions, Method, Sids, chance
from benchmarks.simulators.twilio.people import AnsweredBy, Callee
from benchmarks.simulators.twilio.phone import Phone
from benchmarks.simulators.twilio.progress import CallStatus, Progress, Subscription, WallClock
from benchmarks.simulators.twilio.recordings import Recordings
from benchmarks.simulators.twilio.report import CallRecord, CallReport, EndedBy
from benchmarks.simulators.twilio.streaming import OpenTransport, StreamRunner
from benchmarks.simulators.twilio.verbs import Ask
from benchmarks.simulators.twilio.webhook import CallIdentity, Webhooks

MAX_DOCUMENTS: Final = 20  # redirects and actions of one call; more is a loop
TOO_MANY_DOCUMENTS: Final = 11215


class Inline(msgspec.Struct, frozen=True):
    """A document that came with a request instead of being fetched."""

    twiml: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a REST request wants of a live call: go on with this."""

    document: Ask | Inline
    fallback: tuple[str, Method] | None = None  # from now on; None leaves it


class Call:
    """One call.

    Attributes: sid and account_sid; record, what it has come to so far; answered_by, what machine detection found;
    created_at, answered_at and ended_at, on the monotonic clock, s; queue_s, how long it waits for its turn.
    """

    def __init__(
        self,
        options: CallOptions,
        callee: Callee,
        open_for: OpenTransport,
        *,
        observer: events.Observer | None = None,
        http_transport: httpx.AsyncBaseTransport | None = None,
        recordings: Recordings | None = None,
        queue_s: float = 0.0,
    ) -> None:
        """Args: callee, who is on the phone, and for outbound calls how it rings."""
        self.options = options
        self._sids = Sids(options.seed)
        self.sid = self._sids.next("CA")
        self.account_sid = options.account_sid or self._sids.next("AC")
        self.created_at = trio.current_time()
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.wall = WallClock(self.created_at)
        self.record = CallRecord(call_sid=self.sid, zero_s=self.created_at)
        self.answered_by: AnsweredBy | None = None
        self.queue_s = queue_s
        self._callee, self._open_for, self._observe = callee, open_for, observer or events.unobserved
        self._http_transport, self._recordings = http_transport, recordings or Recordings()
        self._fallback = (options.fallback_url, options.fallback_method) if options.fallback_url else None
        self._order: Order | None = None
        self._given_up = trio.Event()  # a REST request ended it before the answer
        self._leg: Leg | None = None
        self._streams: StreamRunner | None = None
        self._last_stream: EndedBy | None = None
        self._refusal: CallStatus = "failed"  # how it ends unless it is answered

    @property
    def status(self) -> CallStatus:
        if self._leg is not None:
            return self._leg.progress.status
        return "ringing" if self.options.direction == "inbound" else "queued"

    @property
    def duration_s(self) -> float:
        """From the answer to the end, 0 without an answer; only once it has ended."""
        return 0.0 if self.answered_at is None or self.ended_at is None else self.ended_at - self.answered_at

    async def run(self) -> CallReport:
        """Hold the call. Cancellation closes its socket without a goodbye."""
        identity = CallIdentity(call_sid=self.sid, account_sid=self.account_sid)
        webhooks = Webhooks(self.options, identity, transport=self._http_transport)
        try:
            async with trio.open_nursery() as nursery:
                leg = self._leg = self._set_up(identity, webhooks, nursery)
                ended_by = await self._live(leg)
                ended_at = trio.current_time()
                self._end(leg, ended_by, ended_at)
            self.record.http_statuses = webhooks.statuses
            return self.record.report(ended_by, ended_at, leg.progress.status)
        finally:
            await webhooks.aclose()

    def redirect(self, order: Order) -> bool:
        """Leave the document that is run, its stream and whatever else, and go on with another.

        Returns: whether that is possible: the call is answered and not about to end.
        """
        if self.status != "in-progress" or not self._leave("redirected"):
            return False
        self._order = order
        return True

    def hang_up(self) -> None:
        """End the call, or give it up if it has not been answered."""
        self._given_up.set()
        self._refusal = "canceled"
        self._leave("api")

    def subscribe(self, subscription: Subscription) -> None:
        """From now on, tell this URL how the call gets on. Only once the call has begun."""
        if self._leg is not None:
            self._leg.progress.subscription = subscription

    def _leave(self, left_by: EndedBy) -> bool:
        leg = self._leg
        if leg is None or leg.progress.is_over or leg.phone.left_by not in (None, "redirected"):
            return False
        leg.phone.left_by = left_by
        if self._streams is not None and self._streams.line is not None:
            self._streams.line.leave(left_by)
        return True

    def _set_up(self, identity: CallIdentity, webhooks: Webhooks, nursery: trio.Nursery) -> Leg:
        options = self.options
        caller = self._callee.person()

        async def deliver(callback: Callback) -> None:
            try:
                await webhooks.tell(callback)
            except CallProblemError as problem:
                self._warn(problem)  # it cannot fail the call

        courier = Courier(deliver, options.delivery, chance(options.seed, "callbacks"), nursery)
        asked = options.status_callback_url
        wanted = asked and Subscription(asked, options.status_callback_method, options.status_callback_events)
        self._streams = StreamRunner(caller, self._open_for, self._observe, chance(options.seed, "network"))
        return Leg(
            options=options,
            identity=identity,
            sids=self._sids,
            record=self.record,
            phone=Phone(caller, self.record, self._observe, options.max_seconds),
            webhooks=webhooks,
            courier=courier,
            progress=Progress(self.status, wanted or None, courier, self.wall, webhooks.fields),
            wall=self.wall,
            recordings=self._recordings,
            nursery=nursery,
        )

    async def _live(self, leg: Leg) -> EndedBy:
        try:
            if self.options.direction == "outbound-api":
                refusal = await answering.ring(leg, self._callee, queue_s=self.queue_s, given_up=self._given_up)
                if refusal is not None:
                    self._refusal = refusal
                    return "api" if refusal == "canceled" else "unanswered"
                self._answer()
                detected = await answering.detect_machine(leg, self._callee, self._note_answerer)
            else:
                detected = {}
                leg.progress.move("initiated", "ringing", trio.current_time())
                leg.progress.move("ringing", "ringing", trio.current_time())
            return await self._converse(leg, detected)
        except CallProblemError as problem:
            self.record.error = str(problem)
            self._warn(problem)
            return "error"

    async def _converse(self, leg: Leg, detected: dict[str, str]) -> EndedBy:
        """Args: detected, what the first request says about who answered."""
        options = self.options
        if options.stream_url is not None:
            self._answer()
            ended_by = await self._stream(leg, verbs.Stream(options.stream_url, dict(options.parameters)))
            return ended_by if ended_by != "redirected" else await self._run_documents(leg, self._take_order(leg))
        if options.twiml is not None:
            return await self._run_documents(leg, Inline(options.twiml))
        first = Ask(url=options.webhook_url or "", method=options.webhook_method, fields=detected)
        return await self._run_documents(leg, first)

    async def _run_documents(self, leg: Leg, first: Ask | Inline) -> EndedBy:
        """Run documents until one of them ends the call."""
        document = first
        for _ in range(MAX_DOCUMENTS):
            outcome = await self._run_document(leg, document)
            if isinstance(outcome, Ask):
                document = outcome
            elif outcome == "redirected":
                document = self._take_order(leg)
            else:
                return outcome
        where = document.url if isinstance(document, Ask) else "inline TwiML"
        raise CallProblemError(TOO_MANY_DOCUMENTS, f"{MAX_DOCUMENTS} documents did not end the call, the last: {where}")

    def _take_order(self, leg: Leg) -> Ask | Inline:
        order, self._order = self._order, None
        if order is None:
            raise AssertionError("redirected, but nowhere to")
        leg.phone.left_by = None
        self._last_stream = None
        self._fallback = order.fallback or self._fallback
        return order.document

    async def _run_document(self, leg: Leg, document: Ask | Inline) -> Ask | EndedBy:
        """Run one document: where to go on, or who ended the call. If it fails, the fallback URL is where to go on."""
        try:
            if isinstance(document, Inline):
                return await self._run_verbs(leg, twiml.parse(document.twiml.encode(), ""))
            body = await leg.webhooks.ask(document.url, document.method, leg.progress.status, document.fields)
            return await self._run_verbs(leg, twiml.parse(body, document.url))
        except CallProblemError as problem:
            failed_url = document.url if isinstance(document, Ask) else ""
            if self._fallback is None or self._fallback[0] == failed_url:
                raise
            self._warn(problem)
            url, method = self._fallback
            return Ask(url=url, method=method, fields={"ErrorCode": str(problem.code), "ErrorUrl": failed_url})

    async def _run_verbs(self, leg: Leg, document: Sequence[verbs.Verb]) -> Ask | EndedBy:
        for verb in document:
            if leg.phone.left_by is not None:
                return leg.phone.left_by
            if isinstance(verb, verbs.Reject) and leg.progress.status == "ringing":
                self._refusal = "busy" if verb.reason == "busy" else "no-answer"
                return "rejected"
            outcome = await self._run_verb(leg, verb)
            if outcome is not None:
                return outcome
        self._answer()
        return leg.phone.left_by or self._last_stream or "hangup_verb"  # Twilio hangs up where a document ends

    async def _run_verb(self, leg: Leg, verb: verbs.Verb) -> Outcome:
        """Run one verb: None if the next one follows."""
        if not isinstance(verb, verbs.Dial | verbs.Unsupported):  # a <Dial> may leave the answer to whom it reaches
            self._answer()
        match verb:
            case verbs.Say() | verbs.Play() | verbs.Pause():
                return await speaking.prompt(leg, verb)
            case verbs.Gather():
                return await speaking.gather(leg, verb)
            case verbs.Record():
                return await recording.record(leg, verb)
            case verbs.Dial():
                return await dialling.dial(leg, verb, self._answer)
            case verbs.Enqueue():
                return await queueing.enqueue(leg, verb)
            case verbs.Connect():
                return await self._connect(leg, verb)
            case verbs.Redirect(url, method):
                return Ask(url=url, method=method)
            case verbs.Hangup():
                return "hangup_verb"
            case verbs.Reject():
                self.record.unsupported_verbs.append("Reject of an answered call")
            case verbs.Unsupported(name):
                self.record.unsupported_verbs.append(name)
            case _:
                assert_never(verb)
        return None

    async def _connect(self, leg: Leg, connect: verbs.Connect) -> Outcome:
        """Run a stream and find out what follows. Nothing does once the caller is gone: no action is asked for then."""
        try:
            self._last_stream = await self._stream(leg, connect.stream)
        except CallProblemError as problem:
            self.record.error = str(problem)
            self._warn(problem)  # as Twilio does, go on behind <Connect>: that is where a relay's fallback stands
            self._last_stream = "error"
        if self._last_stream not in ("relay", "error"):
            return self._last_stream
        return None if connect.action is None else Ask(url=connect.action, method=connect.method)

    async def _stream(self, leg: Leg, stream: verbs.Stream) -> EndedBy:
        if self._streams is None:
            raise AssertionError("a call streams only once it runs")
        return await self._streams.run(leg, stream)

    def _answer(self) -> None:
        """The call is answered when its first verb runs, an outbound one when it is picked up: its clock begins."""
        if self._leg is not None and self._leg.progress.status == "ringing":
            now = trio.current_time()
            self.record.zero_s = self.answered_at = now
            self._leg.progress.move("answered", "in-progress", now)

    def _end(self, leg: Leg, ended_by: EndedBy, ended_at: float) -> None:
        self._observe(events.Ended(at_ms=self.record.at_ms(ended_at), ended_by=ended_by))
        self.ended_at = ended_at
        was_answered = leg.progress.status == "in-progress"
        leg.progress.end("completed" if was_answered else self._refusal, self.duration_s, ended_at)
        leg.courier.release()

    def _note_answerer(self, answered_by: AnsweredBy) -> None:
        self.answered_by = answered_by

    def _warn(self, problem: CallProblemError) -> None:
        self.record.warn(problem.code, problem.detail, trio.current_time())

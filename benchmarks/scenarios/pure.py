"""The pure stage: phone, call and model stepped through virtual time, without a task, a stream or a frame on a wire.

The cheapest stage by far, and the one that says exactly which decision was wrong. Messages take no time unless
`one_way_s` says so; then they stay in order, as on a socket.

An hour is 180,000 frames, most of them silence while everybody waits. So the stage looks around only when somebody else
is due (`_run_on`), and the model is told of silence that cannot move it when it is told something else (`_Model`).
Neither changes what anybody says, hears or sees, nor when.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from random import Random
from typing import Any, TypeVar

from benchmarks.scenarios.scenario import Outcome, Scenario
from benchmarks.scenarios.service import Attempt, Service
from benchmarks.simulators.openai import Message, frame
from benchmarks.simulators.openai.events import Ending
from benchmarks.simulators.openai.session import Session
from benchmarks.simulators.twilio.line import Line, SilentFrame, StreamIdentity
from benchmarks.simulators.twilio.report import CallRecord, EndedBy
from proto import mulaw, realtime, twilio
from proto.errors import Peer, RemoteProtocolError
from relay import LogEvent
from relay.call import Call
from relay.events import (
    Beside,
    CancelTool,
    Command,
    DropUpstream,
    Event,
    FromOpenAI,
    HangUp,
    Malformed,
    OpenUpstream,
    RunTool,
    SocketClosed,
    SwitchUpstream,
    Timeout,
    ToBeside,
    ToolFinished,
    UpstreamUnreachable,
)
from relay.retry import Failure
from relay.tools import ToolReport

Decoded = TypeVar("Decoded")
What = TypeVar("What")

MODEL = "gpt-realtime-2.1"
MAX_UNTOLD = 3000  # frames of silence: a minute
PHONE = StreamIdentity(call_sid="CA" + "0" * 32, account_sid="AC" + "0" * 32, stream_sid="MZ" + "0" * 32)


def play(scenario: Scenario, *, one_way_s: float = 0.0) -> Outcome:
    """Play a scenario to its end. one_way_s: how long every message takes, between any two of the three."""
    return _Stage(scenario, one_way_s).play()


class _Stage:
    def __init__(self, scenario: Scenario, one_way_s: float) -> None:
        self._scenario, self._one_way_s = scenario, one_way_s
        self._now = 0.0
        # What is on its way, in order: when it arrives, who is told, and what.
        self._on_the_way: deque[tuple[float, Callable[[Any], None], Any]] = deque()
        self._in_use, self._beside = _Upstream(), _Upstream()
        self._service = Service(scenario)
        self._tools: dict[str, tuple[float, ToolReport]] = {}  # when a run ends, and how, by call id
        self._log: list[LogEvent] = []
        self._record = CallRecord(call_sid=PHONE.call_sid, zero_s=0.0)
        self._line = Line(
            PHONE,
            scenario.new_caller(),
            self._record,
            ends_at=scenario.max_s,
            network=scenario.network,
            random=Random(0),  # the same chances each time
        )
        self._call = Call(scenario.persona, 0.0, scenario.toolbox().offers())

    def play(self) -> Outcome:
        self._from_phone(self._line.begin(self._now))
        while not self._line.is_over:
            self._now = self._next_at()
            self._step()
            self._run_on()
        self._drain()
        ended_by: EndedBy = "caller" if self._line.ended_by is None else self._line.ended_by
        return Outcome(
            report=self._record.report(ended_by, self._now),
            log=tuple(self._log),
            events=self._service.events,
            sessions=self._service.sessions,
            tolerance_ms=round(4 * self._one_way_s * 1000) + 1,  # a mark's way back, a clear's way there, and rounding
        )

    def _next_at(self) -> float:
        arrives_at = self._on_the_way[0][0] if self._on_the_way else inf
        return max(self._now, min(arrives_at, self._line.due_at(), self._call.deadline, self._model_at))

    @property
    def _model_at(self) -> float:
        """When a session or a tool has something to say."""
        models_at = min(self._in_use.due_at, self._beside.due_at)
        return min([models_at, *(due_at for due_at, _ in self._tools.values())]) if self._tools else models_at

    def _run_on(self) -> None:
        """As long as nobody but the phone is due, and all take in at once what it sends, frame follows frame."""
        if self._one_way_s or self._on_the_way:
            return
        others_at = min(self._call.deadline, self._model_at)
        for at, sent in self._line.frames(before=others_at):
            self._now = at
            if isinstance(sent, SilentFrame):
                self._tell_call(_silence(sent))  # at once: nothing else is on the way
            else:
                self._from_phone(sent)
            self._arrive()
            if self._call.deadline < others_at or self._model_at < others_at:
                return  # somebody is due earlier now

    def _step(self) -> None:
        """All that is due now: first what has arrived, then who wants to speak."""
        self._arrive()
        for upstream in (self._in_use, self._beside):
            self._step_model(upstream)
        self._end_tools()
        if self._call.deadline <= self._now:
            self._tell_call(Timeout())
        if self._line.due_at() <= self._now:
            self._from_phone(self._line.step(self._now))
        self._arrive()  # what takes no time is there already

    def _drain(self) -> None:
        """The phone has hung up: what it said last still reaches the call."""
        self._now += self._one_way_s
        self._arrive()
        self._tell_call(SocketClosed("twilio", 1000))

    def _arrive(self) -> None:
        while self._on_the_way and self._on_the_way[0][0] <= self._now:
            _, tell, what = self._on_the_way.popleft()
            tell(what)

    def _send(self, tell: Callable[[What], None], what: What) -> None:
        """Put something on its way; all ways are equally long, so what was sent first arrives first."""
        self._on_the_way.append((self._now + self._one_way_s, tell, what))

    # Who hears what.

    def _from_phone(self, raws: list[str]) -> None:
        for raw in raws:
            self._send(self._tell_call, _read("twilio", twilio.decode, raw.encode()))

    def _from_model(self, upstream: "_Upstream", messages: list[Message]) -> None:
        for message in messages:
            self._send(partial(self._tell_call_of, upstream), _read("openai", realtime.decode, frame(message)))

    def _tell_call_of(self, upstream: "_Upstream", event: FromOpenAI) -> None:
        """What a session says concerns nobody once the call has dropped it."""
        if upstream is self._in_use:
            self._tell_call(event)
        elif upstream is self._beside:
            self._tell_call(Beside(event))

    def _tell_call(self, event: Event) -> None:
        for command in self._call.handle(event, self._now):
            self._obey(command)

    def _obey(self, command: Command) -> None:
        match command:
            case realtime.AppendAudio():
                self._append(command)
            case LogEvent():
                self._log.append(command)
            case OpenUpstream(beside=beside):
                self._connect(beside=beside)
            case SwitchUpstream():
                self._in_use.leave()
                self._in_use, self._beside = self._beside, _Upstream()
            case DropUpstream(beside=beside):
                self._drop(beside=beside)
            case RunTool(call_id=call_id, name=name):
                self._run_tool(call_id, name)
            case CancelTool(call_id=call_id):
                self._tools.pop(call_id, None)
            case HangUp(code=code):
                self._drop(beside=False)
                self._drop(beside=True)
                self._send(self._tell_phone_closed, code)
            case twilio.Play() | twilio.SendMark() | twilio.Clear():
                self._send(self._tell_phone, twilio.encode(command))
            case ToBeside(command=told):
                self._send(partial(self._tell_model, self._beside), realtime.encode(told))
            case _:
                self._send(partial(self._tell_model, self._in_use), realtime.encode(command))

    def _tell_phone(self, raw: bytes) -> None:
        self._line.hear(raw.decode(), self._now)

    def _tell_phone_closed(self, code: int) -> None:
        self._line.closed(code, self._now)

    def _tell_model(self, upstream: "_Upstream", raw: bytes) -> None:
        if upstream.model is None:
            return
        self._from_model(upstream, upstream.model.receive(raw, self._now))
        self._mind_closing(upstream)

    def _append(self, command: realtime.AppendAudio) -> None:
        arrives_now = not self._one_way_s and not self._on_the_way
        hearer = self._in_use.model if arrives_now and command.audio == _SILENT_FRAME else None
        if hearer is None or not hearer.sits_through_silence(self._now):
            self._send(partial(self._tell_model, self._in_use), realtime.encode(command))

    def _connect(self, *, beside: bool) -> None:
        upstream = _Upstream()
        if beside:
            self._beside = upstream
        else:
            self._in_use = upstream
        attempt = self._service.attempt()
        if attempt.connect_s is None:
            refused = UpstreamUnreachable(Failure(kind="unreachable"), "connection refused")
            self._send(partial(self._tell_call_of, upstream), refused)
        else:
            upstream.attempt, upstream.connected_at = attempt, self._now + attempt.connect_s

    def _step_model(self, upstream: "_Upstream") -> None:
        if upstream.connected_at <= self._now:
            upstream.connected_at = inf
            self._answer(upstream)
        if upstream.model is not None and upstream.model.deadline <= self._now:
            self._from_model(upstream, upstream.model.advance(self._now))
            self._mind_closing(upstream)

    def _answer(self, upstream: "_Upstream") -> None:
        """The connection stands: a session begins, or an HTTP status says why not."""
        attempt = upstream.attempt
        if attempt is None:
            return
        status, retry_after_s = attempt.config.faults.http_status, attempt.config.faults.retry_after_s
        if status is not None:
            failure = Failure(kind="refused", status=status, retry_after_s=retry_after_s)
            self._send(partial(self._tell_call_of, upstream), UpstreamUnreachable(failure, f"HTTP {status}"))
            return
        session = Session(attempt.config, MODEL, number=attempt.number, now=self._now)
        upstream.model = _Model(session)
        self._from_model(upstream, session.open())
        self._mind_closing(upstream)

    def _mind_closing(self, upstream: "_Upstream") -> None:
        """The model may have ended the session with what it just said."""
        if upstream.model is not None and upstream.model.closing is not None:
            closing, upstream.model = upstream.model.closing, None
            self._send(partial(self._tell_call_of, upstream), SocketClosed("openai", closing.code, closing.reason))

    def _drop(self, *, beside: bool) -> None:
        (self._beside if beside else self._in_use).leave()
        if beside:
            self._beside = _Upstream()
        else:
            self._in_use = _Upstream()

    # Tools.

    def _run_tool(self, call_id: str, name: str) -> None:
        tool = next(tool for tool in self._scenario.tools if tool.name == name)
        self._tools[call_id] = (self._now + tool.takes_s, tool.report)

    def _end_tools(self) -> None:
        for call_id, (due_at, report) in list(self._tools.items()):
            if due_at <= self._now:
                del self._tools[call_id]
                self._tell_call(ToolFinished(call_id, report))


class _Upstream:
    """A session with the model, or one being connected to; a new one is neither."""

    def __init__(self) -> None:
        self.attempt: Attempt | None = None
        self.connected_at = inf
        self.model: _Model | None = None

    @property
    def due_at(self) -> float:
        return self.model.deadline if self.model is not None else self.connected_at

    def leave(self) -> None:
        """Nobody listens to it any more; it has heard all that was said to it."""
        if self.model is not None:
            self.model.catch_up()


class _Model:
    """The model's session, and the silence that it is still to be told of.

    A session that waits for speech is not moved by silence: told at once or told before the next thing that is said to
    it, it and its observers come to the same.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._untold_at: list[float] = []  # when frames of silence were appended
        self._unmoved_until = 0.0  # the session's deadline, while there are any: nothing has been said to it since

    @property
    def deadline(self) -> float:
        return self._unmoved_until if self._untold_at else self.session.deadline

    @property
    def closing(self) -> Ending | None:
        return self.session.closing

    def advance(self, now: float) -> list[Message]:
        self.catch_up()
        return self.session.advance(now)

    def receive(self, raw: bytes, now: float) -> list[Message]:
        self.catch_up()
        return self.session.receive(raw, now)

    def sits_through_silence(self, now: float) -> bool:
        """Whether one more frame of silence, now, does not move it; then it counts as appended."""
        if not self._untold_at:
            self._unmoved_until = self.session.deadline if self.session.is_idle else -inf
        is_unmoved = now < self._unmoved_until
        if is_unmoved:
            self._untold_at.append(now)
            if len(self._untold_at) == MAX_UNTOLD:
                self.catch_up()
        return is_unmoved

    def catch_up(self) -> None:
        """Tell it what it is still to be told."""
        if self._untold_at:
            self.session.receive_silence(_SILENCE, self._untold_at)
            self._untold_at.clear()


def _silence(frame: SilentFrame) -> twilio.Media:
    """What is read when this frame is written and sent; most of an hour is silence, and need not be."""
    body = twilio.MediaBody(_SILENT_FRAME, "inbound", frame.timestamp_ms)
    return twilio.Media(PHONE.stream_sid, body, frame.sequence)


def _read(peer: Peer, decode: Callable[[bytes], Decoded], raw: bytes) -> Decoded | Malformed:
    try:
        return decode(raw)
    except RemoteProtocolError as error:
        return Malformed(peer, error.tag, error.detail)


_SILENT_FRAME = mulaw.silence(mulaw.FRAME_MS)
_SILENCE = realtime.encode(realtime.AppendAudio(_SILENT_FRAME))

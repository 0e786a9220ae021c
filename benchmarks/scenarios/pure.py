"""The pure stage: phone, call and model stepped through virtual time, without a task, a stream or a frame on a wire.

The cheapest stage by far, and the one that says exactly which decision was wrong. Messages take no time unless
`one_way_s` says so; then they stay in order, as on a socket.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf

from benchmarks.scenarios.scenario import Outcome, Scenario
from benchmarks.simulators.openai import Json, Message, frame
from benchmarks.simulators.openai.session import Session
from benchmarks.simulators.twilio.line import Line, StreamIdentity
from benchmarks.simulators.twilio.report import CallRecord, EndedBy
from proto import realtime, twilio
from proto.errors import Peer, RemoteProtocolError
from relay import LogEvent
from relay.call import Call
from relay.events import Command, Event, HangUp, Malformed, OpenUpstream, SocketClosed, Timeout, UpstreamUnreachable

MODEL = "gpt-realtime-2.1"
PHONE = StreamIdentity(call_sid="CA" + "0" * 32, account_sid="AC" + "0" * 32, stream_sid="MZ" + "0" * 32)


def play(scenario: Scenario, *, one_way_s: float = 0.0) -> Outcome:
    """Play a scenario to its end. one_way_s: how long every message takes, between any two of the three."""
    return _Stage(scenario, one_way_s).play()


class _Stage:
    def __init__(self, scenario: Scenario, one_way_s: float) -> None:
        self._scenario, self._one_way_s = scenario, one_way_s
        self._now = 0.0
        self._on_the_way: deque[tuple[float, Callable[[], None]]] = deque()  # when it arrives, what then; in order
        self._connected_at = inf
        self._log: list[LogEvent] = []
        self._watched: list[tuple[str, Json]] = []
        self._record = CallRecord(call_sid=PHONE.call_sid, zero_s=0.0)
        self._line = Line(PHONE, scenario.new_caller(), self._record, ends_at=scenario.max_s)
        self._call = Call(scenario.persona, 0.0)
        self._model: Session | None = None

    def play(self) -> Outcome:
        self._from_phone(self._line.begin(self._now))
        while not self._line.is_over:
            self._now = self._next_at()
            self._step()
        self._drain()
        ended_by: EndedBy = "caller" if self._line.ended_by is None else self._line.ended_by
        return Outcome(
            report=self._record.report(ended_by, self._now),
            log=tuple(self._log),
            events=tuple(self._watched),
            tolerance_ms=round(4 * self._one_way_s * 1000) + 1,  # a mark's way back, a clear's way there, and rounding
        )

    def _next_at(self) -> float:
        arrives_at = self._on_the_way[0][0] if self._on_the_way else inf
        model_at = self._model.deadline if self._model is not None else self._connected_at
        return max(self._now, min(arrives_at, self._line.due_at(), self._call.deadline, model_at))

    def _step(self) -> None:
        """All that is due now: first what has arrived, then who wants to speak."""
        self._arrive()
        if self._connected_at <= self._now:
            self._open_model()
        if self._model is not None and self._model.deadline <= self._now:
            self._from_model(self._model.advance(self._now))
            self._mind_closing()
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
            self._on_the_way.popleft()[1]()

    def _send(self, arrive: Callable[[], None]) -> None:
        """Put something on its way; all ways are equally long, so what was sent first arrives first."""
        self._on_the_way.append((self._now + self._one_way_s, arrive))

    # Who hears what.

    def _from_phone(self, raws: list[str]) -> None:
        for raw in raws:
            self._send(partial(self._tell_call, _read("twilio", twilio.decode, raw.encode())))

    def _from_model(self, messages: list[Message]) -> None:
        for message in messages:
            raw = frame(message)
            self._send(partial(self._tell_call, _read("openai", realtime.decode, raw)))

    def _tell_call(self, event: Event) -> None:
        for command in self._call.handle(event, self._now):
            self._obey(command)

    def _obey(self, command: Command) -> None:
        match command:
            case LogEvent():
                self._log.append(command)
            case OpenUpstream():
                self._connect()
            case HangUp(code=code):
                self._model, self._connected_at = None, inf
                self._send(partial(self._tell_phone_closed, code))
            case twilio.Play() | twilio.SendMark() | twilio.Clear():
                self._send(partial(self._tell_phone, twilio.encode(command)))
            case _:
                self._send(partial(self._tell_model, realtime.encode(command)))

    def _tell_phone(self, raw: bytes) -> None:
        self._line.hear(raw.decode(), self._now)

    def _tell_phone_closed(self, code: int) -> None:
        self._line.closed(code, self._now)

    def _tell_model(self, raw: bytes) -> None:
        if self._model is not None:
            self._from_model(self._model.receive(raw, self._now))
            self._mind_closing()

    def _connect(self) -> None:
        if self._scenario.connect_s is None:
            self._send(partial(self._tell_call, UpstreamUnreachable("connection refused")))
        else:
            self._connected_at = self._now + self._scenario.connect_s

    def _open_model(self) -> None:
        self._connected_at = inf
        self._model = Session(self._scenario.model_config(self._watched), MODEL, number=0, now=self._now)
        self._from_model(self._model.open())

    def _mind_closing(self) -> None:
        """The model may have ended the session with what it just said."""
        if self._model is not None and self._model.closing is not None:
            closing, self._model = self._model.closing, None
            closed = SocketClosed("openai", closing.code, closing.reason)
            self._send(partial(self._tell_call, closed))


def _read(peer: Peer, decode: Callable[[bytes], Event], raw: bytes) -> Event:
    try:
        return decode(raw)
    except RemoteProtocolError as error:
        return Malformed(peer, error.tag, error.detail)

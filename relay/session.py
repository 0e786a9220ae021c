"""CallSession: one call's nursery, its two sockets, and the `Call` it drives.

Every event of either socket becomes one step: the call decides, the commands are put into the outboxes, nothing is
awaited. When `run` returns nothing of the call is left, and nothing that goes wrong in it reaches another call.
"""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import TypeVar, assert_never

import structlog
import trio

from proto import realtime, twilio
from proto.errors import HandshakeError, Peer, RemoteProtocolError, SlowConsumerError
from proto.websocket import Binary, Closed, Pong, Received
from relay import log
from relay.budget import TokenBudget
from relay.call import Call
from relay.events import (
    Abort,
    Beside,
    CancelTool,
    Command,
    DropUpstream,
    EndReason,
    Event,
    FromOpenAI,
    HangUp,
    Malformed,
    OpenUpstream,
    RunTool,
    SocketClosed,
    StartRefused,
    SwitchUpstream,
    Timeout,
    ToBeside,
    ToolFinished,
    UpstreamUnreachable,
)
from relay.gate import Refused
from relay.model_sockets import Connect, ModelSockets, PlaceOf
from relay.opening import Admitted, Opening
from relay.recorder import Capture, Decide
from relay.reporter import Reporter
from relay.retry import failure_of
from relay.sockets import Line, MediaSocket, OnBatch
from relay.tools import ToolBox, ToolContext, run_tool
from relay.totals import Totals

PING_EVERY_S = 20.0  # what both services' own clients do
GOODBYE_WITHIN_S = 1.0  # for the close frames of both peers
SID_CHARACTERS = 34  # of an identifier of Twilio's; a stranger's may be longer

Decoded = TypeVar("Decoded")
Admit = Callable[[twilio.Start], Admitted | Refused]
Signs = dict[MediaSocket, tuple[int, int]]  # of life: bytes received from it so far, and written to it

_logger = structlog.stdlib.get_logger("tautline.session")


class CallSession:
    """One call from its accepted media socket to its last close.

    Args: admit, asked about the stream's `start` before anything is done about it: who answers the call, or why it may
    not begin; connect, opens a line to OpenAI, given the model (raises HandshakeError or OSError); call_log, where the
    records go; totals, the process's counters; capture, what is to record the call, if anything is; toolbox, what the
    model may do; budget, of the OpenAI account, shared by all calls.
    """

    def __init__(
        self,
        admit: Admit,
        *,
        connect: Connect,
        call_log: log.CallLog,
        totals: Totals,
        capture: Capture | None = None,
        toolbox: ToolBox | None = None,
        budget: TokenBudget | None = None,
    ) -> None:
        self._admit, self._totals, self._capture = admit, totals, capture
        self._reporter = Reporter(call_log, totals, budget or TokenBudget())
        self._toolbox = toolbox or ToolBox()
        self._tools: dict[str, trio.CancelScope] = {}  # those that run, by call id
        self._context = ToolContext(call_sid="")  # complete once Twilio's `start` came
        self._twilio = MediaSocket("twilio", self._on_twilio)
        self._models = ModelSockets(
            connect, listener=self._listener, on_unreachable=self._on_unreachable, on_failure=self._fail
        )
        self._appends: list[bytes] = []  # caller audio of this batch, sent as one append
        self._hang_up: HangUp | None = None
        self._ended = trio.Event()
        self._changed = trio.Event()  # a socket closed: look again whether the goodbye is complete
        self._clock = trio.lowlevel.current_clock()
        self._timer = trio.CancelScope()  # what the call's task sleeps in
        self._armed_for = inf  # its deadline, which Trio is slower to tell

    async def run(self, line: Line) -> None:
        """Carry the call on this line until either side ends it. Raises nothing but Cancelled."""
        self._totals.active_calls += 1
        now = trio.current_time()
        self._call: Opening | Call = Opening(now)
        self._decide: Decide = self._call.handle
        if self._capture is not None:
            self._decide = self._capture.begin(self._call.handle, now)
        try:
            await self._carry(line)
        except* Exception as group:
            _logger.error("call.failed", call_sid=self._call.call_sid, exc_info=group)
            self._abort("internal_error")
        finally:
            self._abort("shutdown")  # only means something if we were cancelled
            if self._capture is not None:
                self._capture.close()
            self._totals.active_calls -= 1
            del self._twilio, self._models, self._admit  # they know us: all is freed now, not by a collection

    @property
    def is_over(self) -> bool:
        """Whether the call has ended; its sockets may still be saying goodbye."""
        return self._ended.is_set()

    def end(self) -> None:
        """Hang up in an orderly way, because this process is going down."""
        self._abort("shutdown")

    async def _carry(self, line: Line) -> None:
        async with trio.open_nursery() as self._nursery, line.attach(self._twilio, self._fail):
            await self._keep_time()
            await self._say_goodbye()
            self._nursery.cancel_scope.cancel()

    async def _run_tool(self, command: RunTool) -> None:
        with trio.CancelScope() as scope:
            self._tools[command.call_id] = scope
            try:
                report = await run_tool(self._toolbox, command.name, command.arguments, self._context)
            finally:
                del self._tools[command.call_id]
            self._step(ToolFinished(command.call_id, report), trio.current_time())
            self._after_steps()

    async def _say_goodbye(self) -> None:
        """Close both sockets with a close frame, and wait a little for theirs."""
        code = self._hang_up.code if self._hang_up else 1011
        sockets = self._sockets()
        for media in sockets:
            if not media.is_closed:
                media.close(code if media is self._twilio else 1000)
        with trio.move_on_after(GOODBYE_WITHIN_S):
            while not all(media.is_closed for media in sockets):
                self._changed = trio.Event()
                await self._changed.wait()

    def _sockets(self) -> list[MediaSocket]:
        """All that are open, Twilio's first."""
        return [self._twilio, *self._models.connected]

    async def _keep_time(self) -> None:
        """Give the call its Timeouts, and look after its peers, until it has ended.

        All in the call's own task: a task for each is another 2 KB in every call. A deadline moves with every frame;
        the timer is only ever moved nearer, and looks again when it wakes.
        """
        seen: Signs = {}
        look_at = trio.current_time() + PING_EVERY_S
        while True:
            self._armed_for = min(self._call.deadline, look_at)
            with trio.CancelScope(deadline=self._armed_for) as self._timer:
                await self._ended.wait()
                return
            now = trio.current_time()
            if now >= look_at:
                seen, look_at = self._look_after_peers(seen), now + PING_EVERY_S
            if now >= self._call.deadline:
                self._step(Timeout(), now)
                self._flush_appends()  # no batch of messages follows that would do it

    def _look_after_peers(self, before: Signs) -> Signs:
        """Ping both peers; find the one that no longer answers, or no longer reads, since it was seen last."""
        after: Signs = {}
        for media in self._sockets():
            received, written = media.bytes_received, media.outbox.bytes_written
            received_before, written_before = before.get(media, (-1, -1))
            if received == received_before:
                media.lost("no sign of life")
            elif written == written_before and media.outbox.size_bytes:
                self._does_not_read(media)
            else:
                after[media] = (received, written)
                self._ping(media)
        return after

    def _ping(self, media: MediaSocket) -> None:
        try:
            media.ping()
        except SlowConsumerError:
            self._does_not_read(media)

    def _does_not_read(self, media: MediaSocket) -> None:
        """Without Twilio there is no call; another session with the model can be had."""
        if media is self._twilio:
            self._fail(SlowConsumerError(media.peer, media.outbox.size_bytes))
        else:
            media.lost("it does not read")

    # From bytes to steps.

    def _on_twilio(self, received: list[Received]) -> None:
        step = self._step_until_begun if isinstance(self._call, Opening) else self._step
        self._on_batch("twilio", twilio.decode, step, received)

    def _listener(self, place_of: PlaceOf) -> OnBatch:
        """What hears all that one session with the model says."""
        return partial(self._on_batch, "openai", realtime.decode, partial(self._step_from, place_of))

    def _on_unreachable(self, place_of: PlaceOf, error: HandshakeError | OSError) -> None:
        self._step_from(place_of, UpstreamUnreachable(failure_of(error), str(error)), trio.current_time())
        self._after_steps()

    def _step_from(self, place_of: PlaceOf, event: FromOpenAI, now: float) -> None:
        """A session's news concern nobody once it was dropped, and one of the same batch may be the reason for that."""
        place = place_of()
        if place is not None:
            self._step(event if place == "in_use" else Beside(event), now)

    def _on_batch(
        self,
        peer: Peer,
        decode: Callable[[bytes], Decoded],
        step: Callable[[Decoded | Malformed | SocketClosed, float], None],
        received: list[Received],
    ) -> None:
        now = self._clock.current_time()
        for message in received:
            if type(message) is bytes:
                try:
                    event: Decoded | Malformed = decode(message)
                except RemoteProtocolError as error:
                    event = Malformed(peer, error.tag, error.detail)
                step(event, now)
            elif (rare := _event_of(peer, message)) is not None:
                step(rare, now)
                self._changed.set()
        self._after_steps()

    def _after_steps(self) -> None:
        """All events of a batch are handled: send what was gathered, and wake up in time for what is due next."""
        if self._appends:
            self._flush_appends()
        deadline = self._call.deadline
        if deadline < self._armed_for:
            self._armed_for = self._timer.deadline = deadline

    def _step_until_begun(self, event: Event, now: float) -> None:
        if isinstance(event, twilio.Start) and isinstance(self._call, Opening) and not self.is_over:
            event = self._admitted(event, self._call, now)
        self._step(event, now)

    def _admitted(self, start: twilio.Start, opening: Opening, now: float) -> twilio.Start | StartRefused:
        """The start if it may begin the call; then from here on there is one, and it knows who answers."""
        admitted = self._admit(start)
        if isinstance(admitted, Refused):
            claimed = start.start.call_sid[:SID_CHARACTERS]
            return StartRefused(admitted.reason, claimed if claimed.isalnum() else "")
        self._context = ToolContext(call_sid=start.start.call_sid, parameters=start.start.custom_parameters)
        self._reporter.privacy, self._models.model = admitted.persona.privacy, admitted.persona.model
        wanted = admitted.persona.tools
        offers = [each for each in self._toolbox.offers() if wanted is None or each.definition.name in wanted]
        self._call = Call(
            admitted.persona,
            now,
            offers,
            direction=admitted.direction,
            persona_version=admitted.persona_version,
            unusable=opening.unusable,
        )
        self._decide = self._call.handle
        if self._capture is not None:
            self._decide = self._capture.answered(admitted, self._call.handle, offers)
        return start

    def _step(self, event: Event, now: float) -> None:
        """One event in, all its commands out. No await in here."""
        for command in self._decide(event, now):
            self._dispatch(command, now)

    def _dispatch(self, command: Command, now: float) -> None:
        # By type, and what comes with every frame first: for a struct that does not fit, a class pattern is slow.
        if type(command) is realtime.AppendAudio:
            self._appends.append(command.audio)
            return
        if type(command) is twilio.Play or type(command) is twilio.SendMark:
            self._twilio.send(twilio.encode(command), is_audio=True)  # a clear overtakes both
            return
        match command:
            case twilio.Clear():
                self._twilio.outbox.discard_audio()
                self._twilio.send(twilio.encode(command))
            case log.LogEvent():
                dropped = self._models.dropped_audio_frames
                self._reporter.record(self._call.call_sid, command, now, dropped_audio_frames=dropped)
            case RunTool():
                self._nursery.start_soon(self._run_tool, command)
            case CancelTool(call_id=call_id):
                if call_id in self._tools:
                    self._tools[call_id].cancel()
            case OpenUpstream(beside=beside):
                self._models.open("beside" if beside else "in_use", self._nursery)
            case SwitchUpstream():
                self._flush_appends()
                self._models.switch()
            case DropUpstream(beside=beside):
                self._models.drop("beside" if beside else "in_use")
            case HangUp():
                self._hang_up = command
                self._ended.set()
            case (
                realtime.UpdateSession()
                | realtime.TruncateItem()
                | realtime.CreateItem()
                | realtime.DeleteItem()
                | realtime.CreateResponse()
                | realtime.CancelResponse()
            ):
                self._flush_appends()  # what the caller said before goes before
                self._models.send("in_use", command)
            case ToBeside(command=told):
                self._models.send("beside", told, is_audio=isinstance(told, realtime.AppendAudio))
            case _:
                assert_never(command)

    def _flush_appends(self) -> None:
        """Several frames of one caller that came in one read become one append."""
        if self._appends:
            append = realtime.AppendAudio(b"".join(self._appends))
            self._appends.clear()
            self._models.send("in_use", append, is_audio=True)

    def _fail(self, error: Exception) -> None:
        """A socket's handler raised: end this call, and only this one."""
        if isinstance(error, SlowConsumerError):
            self._abort("slow_consumer")
        else:
            _logger.error("call.failed", call_sid=self._call.call_sid, exc_info=error)
            self._abort("internal_error")

    def _abort(self, reason: EndReason) -> None:
        """End the call whatever its decisions or its log say about that."""
        try:
            self._step(Abort(reason), trio.current_time())
        except Exception:
            _logger.exception("call.failed_while_ending", call_sid=self._call.call_sid)
        self._ended.set()


def _event_of(peer: Peer, message: Received) -> Malformed | SocketClosed | None:
    """What a message other than text means to a call."""
    match message:
        case bytes() | Binary():
            return Malformed(peer, "", "a binary message")
        case Closed(code=code, reason=reason):
            return SocketClosed(peer, code, reason)
        case Pong():
            return None
    assert_never(message)

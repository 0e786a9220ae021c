"""CallSession: one call's nursery, its two sockets, and the `Call` it drives.

Every event of either socket becomes one step: the call decides, the commands are put into the outboxes, nothing is
awaited. When `run` returns nothing of the call is left, and nothing that goes wrong in it reaches another call.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import assert_never

import msgspec
import structlog
import trio

from proto import realtime, twilio
from proto.errors import HandshakeError, Peer, RemoteProtocolError, SlowConsumerError
from proto.websocket import Binary, Closed, Pong, Received
from relay import log
from relay.call import Call
from relay.events import (
    Abort,
    Command,
    EndReason,
    Event,
    HangUp,
    Malformed,
    OpenUpstream,
    SocketClosed,
    Timeout,
    UpstreamUnreachable,
)
from relay.persona import Persona
from relay.recorder import Capture, Decide
from relay.sockets import Line, MediaSocket
from relay.totals import Totals

PING_EVERY_S = 20.0  # what both services' own clients do
GOODBYE_WITHIN_S = 1.0  # for the close frames of both peers

Connect = Callable[[], AbstractAsyncContextManager[Line]]

_logger = structlog.stdlib.get_logger("tautline.session")


class CallSession:
    """One call from its accepted media socket to its last close.

    Args: persona, who answers; connect, opens a line to OpenAI (raises HandshakeError or OSError); call_log, where the
    records go; totals, the process's counters; capture, what is to record the call, if anything is.
    """

    def __init__(
        self,
        persona: Persona,
        *,
        connect: Connect,
        call_log: log.CallLog,
        totals: Totals,
        capture: Capture | None = None,
    ) -> None:
        self._persona, self._connect, self._call_log, self._totals = persona, connect, call_log, totals
        self._capture = capture
        self._twilio = MediaSocket("twilio", partial(self._on_batch, "twilio", twilio.decode))
        self._openai: MediaSocket | None = None
        self._appends: list[bytes] = []  # caller audio of this batch, sent as one append
        self._hang_up: HangUp | None = None
        self._ended = trio.Event()
        self._changed = trio.Event()  # a socket closed: look again whether the goodbye is complete
        self._clock = trio.lowlevel.current_clock()
        self._timer = trio.CancelScope()  # what the deadline's task sleeps in

    async def run(self, line: Line) -> None:
        """Carry the call on this line until either side ends it. Raises nothing but Cancelled."""
        self._totals.active_calls += 1
        now = trio.current_time()
        self._call = Call(self._persona, now)
        self._decide: Decide = self._call.handle
        if self._capture is not None:
            self._decide = self._capture.begin(self._persona, self._call.handle, now)
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

    def end(self) -> None:
        """Hang up in an orderly way, because this process is going down."""
        self._abort("shutdown")

    async def _carry(self, line: Line) -> None:
        async with trio.open_nursery() as self._nursery, line.attach(self._twilio, self._fail):
            self._nursery.start_soon(self._watch_deadline)
            self._nursery.start_soon(self._watch_peers)
            await self._ended.wait()
            await self._say_goodbye()
            self._nursery.cancel_scope.cancel()

    async def _carry_upstream(self) -> None:
        try:
            async with self._connect() as line:
                # Before it is attached: its first event may come with the handshake.
                self._openai = MediaSocket("openai", partial(self._on_batch, "openai", realtime.decode))
                async with line.attach(self._openai, self._fail):
                    await trio.sleep_forever()
        except (HandshakeError, OSError) as error:
            status = error.status if isinstance(error, HandshakeError) else None
            self._step(UpstreamUnreachable(str(error), status), trio.current_time())

    async def _say_goodbye(self) -> None:
        """Close both sockets with a close frame, and wait a little for theirs."""
        code = self._hang_up.code if self._hang_up else 1011
        sockets = [self._twilio] if self._openai is None else [self._twilio, self._openai]
        for media, close_code in zip(sockets, (code, 1000), strict=False):
            if not media.is_closed:
                media.close(close_code)
        with trio.move_on_after(GOODBYE_WITHIN_S):
            while not all(media.is_closed for media in sockets):
                self._changed = trio.Event()
                await self._changed.wait()

    async def _watch_deadline(self) -> None:
        """Give the call its Timeouts.

        A deadline moves with every frame; the timer is only ever moved nearer, and looks again when it wakes.
        """
        while True:
            with trio.CancelScope(deadline=self._call.deadline) as self._timer:
                await trio.sleep_forever()
            now = trio.current_time()
            if now >= self._call.deadline:
                self._step(Timeout(), now)
                self._flush_appends()  # no batch of messages follows that would do it

    async def _watch_peers(self) -> None:
        """Ping both peers; find the one that no longer answers, or no longer reads."""
        before: dict[MediaSocket, tuple[int, int]] = {}
        while True:
            await trio.sleep(PING_EVERY_S)
            for media in filter(None, (self._twilio, self._openai)):
                received, written = media.bytes_received, media.outbox.bytes_written
                received_before, written_before = before.get(media, (-1, -1))
                if received == received_before:
                    self._step(SocketClosed(media.peer, 1006, "no sign of life"), trio.current_time())
                elif written == written_before and media.outbox.size_bytes:
                    self._fail(SlowConsumerError(media.peer, media.outbox.size_bytes))
                before[media] = (received, written)
                self._ping(media)

    def _ping(self, media: MediaSocket) -> None:
        try:
            media.ping()
        except SlowConsumerError as error:
            self._fail(error)

    # From bytes to steps.

    def _on_batch(self, peer: Peer, decode: Callable[[bytes], Event], received: list[Received]) -> None:
        now = self._clock.current_time()
        for message in received:
            if type(message) is bytes:
                try:
                    event = decode(message)
                except RemoteProtocolError as error:
                    event = Malformed(peer, error.tag, error.detail)
                self._step(event, now)
            elif (rare := _event_of(peer, message)) is not None:
                self._step(rare, now)
                self._changed.set()
        self._flush_appends()
        deadline = self._call.deadline
        if deadline < self._timer.deadline:
            self._timer.deadline = deadline

    def _step(self, event: Event, now: float) -> None:
        """One event in, all its commands out. No await in here."""
        for command in self._decide(event, now):
            self._dispatch(command, now)

    def _dispatch(self, command: Command, now: float) -> None:
        match command:
            case realtime.AppendAudio(audio=audio):
                self._appends.append(audio)
            case twilio.Play() | twilio.SendMark():
                self._twilio.send(twilio.encode(command), is_audio=True)  # a clear overtakes both
            case twilio.Clear():
                self._twilio.outbox.discard_audio()
                self._twilio.send(twilio.encode(command))
            case log.LogEvent():
                self._record(command, now)
            case OpenUpstream():
                self._nursery.start_soon(self._carry_upstream)
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
                self._send_to_openai(command)
            case _:
                assert_never(command)

    def _flush_appends(self) -> None:
        """Several frames of one caller that came in one read become one append."""
        if self._appends:
            append = realtime.AppendAudio(b"".join(self._appends))
            self._appends.clear()
            self._send_to_openai(append, is_audio=True)

    def _send_to_openai(self, event: realtime.Outbound, *, is_audio: bool = False) -> None:
        if self._openai is not None and not self._openai.is_closed:
            self._openai.send(realtime.encode(event), is_audio=is_audio)

    def _record(self, event: log.LogEvent, now: float) -> None:
        """Count what happened and hand it on; add what only a real clock or a socket knows."""
        spent_ms = (trio.current_time() - now) * 1000
        match event:
            case log.CallStarted():
                self._totals.calls_started += 1
            case log.BargedIn():
                self._totals.barge_ins += 1
                event = msgspec.structs.replace(event, clear_ms=spent_ms)
            case log.AnswerBegan():
                event = msgspec.structs.replace(event, relay_ms=spent_ms)
            case log.CallEnded():
                dropped = self._openai.outbox.dropped_audio_frames if self._openai else 0
                event = msgspec.structs.replace(event, dropped_audio_frames=dropped)
                self._totals.add_ended(event)
        self._call_log.offer(self._call.call_sid, event)

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


def _event_of(peer: Peer, message: Received) -> Event | None:
    """What a message other than text means to a call."""
    match message:
        case bytes() | Binary():
            return Malformed(peer, "", "a binary message")
        case Closed(code=code, reason=reason):
            return SocketClosed(peer, code, reason)
        case Pong():
            return None
    assert_never(message)

"""Many telephone calls at once, to put a relay under load: what it costs, what comes back, and how soon.

Each call opens a media stream as Twilio does and sends a frame every 20 ms on an absolute timetable; the calls are
spread evenly over those 20 ms. Behind the relay stands an upstream that echoes (benchmarks.echo_upstream), so every
frame comes back, and each carries its call and its number: it is matched byte for byte, a loss is seen, and so is a
frame that went to another call. Marks are echoed at once. The far end runs on the relay's own pump and frame codec: the
tool has to be cheaper than what it measures, and says what it cost.
"""

import binascii
import ssl
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Final

import msgspec
import numpy as np
import trio

from benchmarks.process_cpu import CpuTime, cpu_of, own_cpu
from proto import mulaw, timing, twilio
from proto.errors import HandshakeError
from proto.timing import Percentiles
from proto.websocket import Closed, Received
from relay import Pump, Upstream, open_upstream
from relay.sockets import Line, MediaSocket

FRAME_S: Final = mulaw.FRAME_MS / 1000
WARMUP_S: Final = 1.0  # connections, caches and the interpreter's specialisation settle
SETTLE_WITHIN_S: Final = 2.0  # for the last frames to come back
GOODBYE_WITHIN_S: Final = 2.0  # for the relay to close after `stop`
_CALL_BYTES, _NUMBER_BYTES = 2, 4  # what a frame begins with; together a multiple of three, so base64 can be joined
_HEAD_BYTES: Final = _CALL_BYTES + _NUMBER_BYTES
_RETURNED: Final = -1.0

_START: Final = (
    b'{"event":"start","sequenceNumber":"1","start":{"accountSid":"AC%032x","streamSid":"%s","callSid":"CA%032x",'
    b'"tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},'
    b'"customParameters":{}},"streamSid":"%s"}'
)
_CONNECTED: Final = b'{"event":"connected","protocol":"Call","version":"1.0.0"}'
_MEDIA: Final = (
    b'{"event":"media","sequenceNumber":"%d","media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%s"},'
    b'"streamSid":"%s"}'
)
_MARK: Final = b'{"event":"mark","sequenceNumber":"%d","streamSid":"%s","mark":{"name":%s}}'
_STOP: Final = b'{"event":"stop","sequenceNumber":"%d","streamSid":"%s"}'

_decoder: msgspec.json.Decoder[twilio.Outbound] = msgspec.json.Decoder(twilio.Outbound)
_encoder = msgspec.json.Encoder()


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one load saw in its window, that is from the end of the warm-up to the last frame due.

    frames_returned: of those sent in the window, however late. frames_carried: came back while it was open, whenever
    sent, so these are what the window's CPU has paid for. frames_altered: came back at any time, but not as sent: other
    bytes, another call's, or twice. round_trip_ms: from a frame's sending to its return; None when none returned.
    late_ms: how much after its due time the tool sent a frame; that is the tool's fault, never the relay's. own_cpu: of
    this process, echo upstream included if it runs here; relay_cpu: None when the relay's process is not known.
    """

    calls: int
    window_s: float
    frames_sent: int
    frames_returned: int
    frames_carried: int
    frames_altered: int
    marks_echoed: int
    round_trip_ms: Percentiles | None
    late_ms: Percentiles | None
    own_cpu: CpuTime
    relay_cpu: CpuTime | None
    errors: tuple[str, ...]

    @property
    def frames_lost(self) -> int:
        """Sent in the window and never seen again."""
        return self.frames_sent - self.frames_returned


@asynccontextmanager
async def open_pump() -> AsyncIterator[Pump]:
    """A pump that runs while the context lasts."""
    pump = Pump()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        yield pump
        nursery.cancel_scope.cancel()


async def run_load(
    url: str, *, calls: int, seconds: float, warmup_s: float = WARMUP_S, relay_pid: int | None = None
) -> LoadReport:
    """Make so many calls at once to a relay, and report.

    Args: url, ws:// address of its media stream; seconds, how long it is measured after the warm-up; relay_pid, whose
    CPU to read at the window's ends.
    Error handling: a call that fails is a line in the report's `errors`, and its frames are no longer sent.
    """
    warmup_frames, window_frames = round(warmup_s / FRAME_S), max(1, round(seconds / FRAME_S))
    callers = [_Caller(number, warmup_frames) for number in range(calls)]
    async with open_pump() as pump, trio.open_nursery() as nursery:
        async with trio.open_nursery() as dialling:
            tls = ssl.create_default_context()
            for caller in callers:
                dialling.start_soon(nursery.start, partial(caller.run, url, pump, tls))
        window = await _pace(callers, warmup_frames, window_frames, relay_pid)
        await _settle(callers)
        await _hang_up(callers)
        nursery.cancel_scope.cancel()
    return _report(callers, window)


class _Window(msgspec.Struct, frozen=True):
    """What is measured at the window's ends, and how late the tool was in between."""

    seconds: float
    frames_carried: int
    own_cpu: CpuTime
    relay_cpu: CpuTime | None
    late_ms: Sequence[float]


class _Reading(msgspec.Struct, frozen=True):
    """Clocks and counters at one end of the window."""

    now: float
    frames_back: int  # of all callers, since the beginning
    own: CpuTime
    relay: CpuTime | None


async def _pace(callers: list["_Caller"], warmup_frames: int, window_frames: int, relay_pid: int | None) -> _Window:
    """Send all frames when they are due: one each FRAME_S / calls, one call after the other."""
    spacing_s = FRAME_S / len(callers)
    window_begins, ends = warmup_frames * len(callers), (warmup_frames + window_frames) * len(callers)
    late_ms = array("d")
    began_at = trio.current_time()
    before = _read(callers, relay_pid)
    for index in range(ends):
        due_at = began_at + index * spacing_s
        await _wait_until(due_at, is_round_over=index % len(callers) == 0)
        if index == window_begins:
            before = _read(callers, relay_pid)
        now = trio.current_time()
        callers[index % len(callers)].send_frame(now)
        if index >= window_begins:
            late_ms.append((now - due_at) * 1000)
    await trio.sleep_until(began_at + ends * spacing_s)
    after = _read(callers, relay_pid)
    return _Window(
        seconds=after.now - before.now,
        frames_carried=after.frames_back - before.frames_back,
        own_cpu=after.own.since(before.own),
        relay_cpu=after.relay.since(before.relay) if after.relay and before.relay else None,
        late_ms=late_ms,
    )


async def _wait_until(due_at: float, *, is_round_over: bool) -> None:
    """Sleep if there is time to; when late, still let what came back be read once per round."""
    if due_at > trio.current_time():
        await trio.sleep_until(due_at)
    elif is_round_over:
        await trio.lowlevel.checkpoint()


def _read(callers: list["_Caller"], relay_pid: int | None) -> _Reading:
    frames_back = sum(caller.frames_back for caller in callers)
    return _Reading(trio.current_time(), frames_back, own_cpu(), None if relay_pid is None else cpu_of(relay_pid))


async def _settle(callers: list["_Caller"]) -> None:
    for _ in range(round(SETTLE_WITHIN_S / FRAME_S)):
        if not any(caller.is_waiting for caller in callers):
            return
        await trio.sleep(FRAME_S)


async def _hang_up(callers: list["_Caller"]) -> None:
    for caller in callers:
        caller.hang_up()
    with trio.move_on_after(GOODBYE_WITHIN_S):
        for caller in callers:
            await caller.ended.wait()


def _report(callers: list["_Caller"], window: _Window) -> LoadReport:
    return LoadReport(
        calls=len(callers),
        window_s=window.seconds,
        frames_sent=sum(caller.frames_sent for caller in callers),
        frames_returned=sum(len(caller.round_trips_ms) for caller in callers),
        frames_carried=window.frames_carried,
        frames_altered=sum(caller.frames_altered for caller in callers),
        marks_echoed=sum(caller.marks_echoed for caller in callers),
        round_trip_ms=_spread([each for caller in callers for each in caller.round_trips_ms]),
        late_ms=_spread(window.late_ms),
        own_cpu=window.own_cpu,
        relay_cpu=window.relay_cpu,
        errors=tuple(error for caller in callers for error in caller.errors),
    )


def _spread(values: Sequence[float]) -> Percentiles | None:
    return timing.percentiles(np.asarray(values, np.float64)) if values else None


class _Caller:
    """One call as Twilio carries it. Frames from `count_from` on are counted; the ones before are the warm-up."""

    def __init__(self, number: int, count_from: int) -> None:
        # A MediaSocket takes its part from its peer: who talks to "openai" is a client, and so are we.
        self._socket = MediaSocket("openai", self._on_batch)
        self._number, self._count_from = number, count_from
        self._stream_sid = b"MZ%032x" % number
        self._tail = Random(number).randbytes(mulaw.FRAME_BYTES - _HEAD_BYTES)
        self._tail_base64 = _base64(self._tail)
        self._sequence = 1  # of the last message sent; `connected` carries none
        self._sent_at = array("d")  # of each frame, in s; _RETURNED once it is back
        self._returned = b""  # less than a frame
        self._is_over = False  # we have said `stop`
        self.ended = trio.Event()
        self.round_trips_ms = array("d")
        self.frames_back = 0  # warm-up included
        self.frames_altered = 0
        self.marks_echoed = 0
        self.errors: list[str] = []

    @property
    def frames_sent(self) -> int:
        """Since the warm-up."""
        return max(0, len(self._sent_at) - self._count_from)

    @property
    def is_waiting(self) -> bool:
        """Frames are still out."""
        return not self.ended.is_set() and len(self.round_trips_ms) < self.frames_sent

    async def run(
        self,
        url: str,
        pump: Pump,
        tls: ssl.SSLContext,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be on the telephone until the relay closes. Started when the stream has begun, or cannot."""
        try:
            async with open_upstream(Upstream(url=url, api_key=""), pump, tls) as line:
                await self._carry(line, task_status)
        except (HandshakeError, OSError) as error:
            self._fail(error)
            task_status.started()

    def send_frame(self, now: float) -> None:
        """The next 20 ms of voice; nothing once the call has ended."""
        if self.ended.is_set():
            return
        number = len(self._sent_at)
        self._sent_at.append(now)
        head = self._number.to_bytes(_CALL_BYTES) + number.to_bytes(_NUMBER_BYTES)
        payload = _base64(head) + self._tail_base64
        self._send(_MEDIA % (self._next(), number + 1, number * mulaw.FRAME_MS, payload, self._stream_sid))

    def hang_up(self) -> None:
        """Say `stop`; the relay is to close."""
        if not self.ended.is_set():
            self._is_over = True
            self._send(_STOP % (self._next(), self._stream_sid))

    async def _carry(self, line: Line, task_status: trio.TaskStatus[None]) -> None:
        async with line.attach(self._socket, self._fail):
            self._send(_CONNECTED)
            self._send(_START % (0, self._stream_sid, self._number, self._stream_sid))
            task_status.started()
            await self.ended.wait()

    def _send(self, raw: bytes) -> None:
        self._socket.send(raw)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _fail(self, error: Exception) -> None:
        self.errors.append(f"call {self._number}: {error!r}")
        self.ended.set()

    def _on_batch(self, received: list[Received]) -> None:
        now = trio.current_time()
        for message in received:
            if isinstance(message, bytes):
                self._on_message(_decoder.decode(message), now)
            elif isinstance(message, Closed):
                self._on_closed(message)

    def _on_message(self, message: twilio.Outbound, now: float) -> None:
        match message:
            case twilio.Play(media=media):
                self._take_back(media.payload, now)
            case twilio.SendMark(mark=mark):
                self.marks_echoed += 1
                self._send(_MARK % (self._next(), self._stream_sid, _encoder.encode(mark.name)))
            case twilio.Clear():
                pass  # nothing is queued here

    def _on_closed(self, closed: Closed) -> None:
        if not self._is_over:
            self.errors.append(f"call {self._number}: the relay closed it with {closed.code} {closed.reason}".rstrip())
        self.ended.set()

    def _take_back(self, audio: bytes, now: float) -> None:
        """A relay may cut and join as it likes, as long as the stream of bytes stays what it was."""
        audio = self._returned + audio
        whole = len(audio) - len(audio) % mulaw.FRAME_BYTES
        self._returned = audio[whole:]
        for at in range(0, whole, mulaw.FRAME_BYTES):
            self._match(audio[at : at + mulaw.FRAME_BYTES], now)

    def _match(self, frame: bytes, now: float) -> None:
        call, number = int.from_bytes(frame[:_CALL_BYTES]), int.from_bytes(frame[_CALL_BYTES:_HEAD_BYTES])
        is_ours = call == self._number and frame[_HEAD_BYTES:] == self._tail and number < len(self._sent_at)
        if not is_ours or self._sent_at[number] == _RETURNED:
            self.frames_altered += 1
            return
        self.frames_back += 1
        if number >= self._count_from:
            self.round_trips_ms.append((now - self._sent_at[number]) * 1000)
        self._sent_at[number] = _RETURNED


def _base64(audio: bytes) -> bytes:
    return binascii.b2a_base64(audio, newline=False)

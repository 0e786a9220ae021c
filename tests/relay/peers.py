"""The two services as a session meets them over memory streams: real WebSocket frames, virtual time."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import trio
from trio.testing import memory_stream_pair, memory_stream_pump, wait_all_tasks_blocked

from proto.errors import RelayError
from proto.websocket import Closed, FrameCodec, Role
from relay.sockets import Line, StreamLine
from tests.relay import wire
from tests.relay.wire import Message

MAX_MESSAGE_BYTES = 1 << 24
_PONG = 0x8A
_BYTES_PER_S = 8000


class FakePeer:
    """The far end of one memory stream pair.

    `received` holds every message so far, `receive` gives them one by one. `answers_pings` may be switched off, and
    `stop_reading` leaves what the relay writes where it is.
    """

    def __init__(self, role: Role) -> None:
        ours, self.stream = memory_stream_pair()
        self._relay_end = ours
        self._codec = FrameCodec(role, max_message_bytes=MAX_MESSAGE_BYTES)
        self._inbox, self._unread = trio.open_memory_channel[Message](math.inf)
        self._may_read = trio.Event()
        self._may_read.set()
        self._speaking = trio.Lock()  # several tasks speak for one peer
        self.received: list[Message] = []
        self.pings = 0
        self.answers_pings = True
        self.answers_close = True
        self.closed: Closed | None = None  # the relay's close frame
        self.is_disconnected = trio.Event()  # the relay has let go of the transport

    @property
    def line(self) -> StreamLine:
        """The relay's end."""
        outgoing = self._relay_end.send_stream
        arrive = outgoing.send_all_hook  # lets the bytes of a write arrive here
        assert arrive is not None

        async def arrive_when_read() -> None:
            if not self._may_read.is_set():
                await self._may_read.wait()
            await arrive()

        def arrive_and_end() -> None:
            """What was written before the end arrives before it."""
            memory_stream_pump(outgoing, self.stream.receive_stream)
            memory_stream_pump(outgoing, self.stream.receive_stream)

        outgoing.send_all_hook = arrive_when_read
        outgoing.close_hook = arrive_and_end
        return StreamLine(self._relay_end)

    async def send(self, *messages: Message | bytes) -> None:
        """Say these, all in one write."""
        await self.send_bytes(self.in_frames(*messages))

    def in_frames(self, *messages: Message | bytes) -> bytes:
        """These as they stand on the transport."""
        return b"".join(self._codec.text(wire.raw(message)) for message in messages)

    async def send_bytes(self, data: bytes) -> None:
        """Bytes as they are; lost if the relay has let go already."""
        async with self._speaking:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_all(data)

    async def receive(self) -> Message:
        """The next message that was not received yet; an error when none comes within a minute."""
        with trio.fail_after(60):
            return await self._unread.receive()

    async def receive_all(self) -> list[Message]:
        """All messages until nothing moves any more at this moment, but for those received already."""
        await wait_all_tasks_blocked()
        messages = []
        while self._unread.statistics().current_buffer_used:
            messages.append(self._unread.receive_nowait())
        return messages

    async def close(self, code: int = 1000) -> None:
        """Say goodbye, and hang up."""
        await self.say_goodbye(code)
        await self.disconnect()

    async def say_goodbye(self, code: int) -> None:
        """Send a close frame, and wait for one."""
        await self.send_bytes(self._codec.close(code))

    async def disconnect(self) -> None:
        """Cut the line without a word."""
        await self.stream.send_stream.aclose()

    def stop_reading(self) -> None:
        """From now on, whatever the relay writes stays with it."""
        self._may_read = trio.Event()

    def go_on_reading(self) -> None:
        self._may_read.set()

    async def run(self) -> None:
        """Read until the relay lets go."""
        while data := await self.stream.receive_some():
            for message in self._codec.receive(bytes(data)):
                if isinstance(message, bytes):
                    self._take_message(msgspec.json.decode(message))
                elif isinstance(message, Closed):
                    self.closed = message
            await self._reply()
        self.is_disconnected.set()

    async def _reply(self) -> None:
        replies = self._codec.take_replies()
        self.pings += replies[:1] == bytes([_PONG]) or replies[:2] == bytes([_PONG, 0x80])
        if replies and (self.answers_close if self.closed else self.answers_pings):
            await self.send_bytes(replies)

    def _take_message(self, message: Message) -> None:
        if message.get("type") and wire.is_probe(message):
            return  # this service does not know the question, which is no part of what is said
        self.received.append(message)
        self.act_on(message)
        self._inbox.send_nowait(message)

    def act_on(self, message: Message) -> None:
        """What this service does about a message."""


class FakeTwilio(FakePeer):
    """The telephone's side: plays what it is sent in real time, and echoes marks when it has played up to them."""

    def __init__(self, nursery: trio.Nursery, stream_sid: str = wire.STREAM) -> None:
        super().__init__(Role.CLIENT)
        self._nursery, self.stream_sid = nursery, stream_sid
        self._plays_until = 0.0
        self._awaiting: dict[str, float] = {}  # marks not echoed yet, and when they are due
        self.echoes_marks = True

    def act_on(self, message: Message) -> None:
        match message["event"]:
            case "media":
                began = max(self._plays_until, trio.current_time())
                self._plays_until = began + len(wire.played([message])) / _BYTES_PER_S
            case "mark":
                self._awaiting[message["mark"]["name"]] = self._plays_until
                self._nursery.start_soon(self._echo_in_time, message["mark"]["name"])
            case "clear":
                self._plays_until = 0.0
                for name in list(self._awaiting)[-1:]:
                    self._nursery.start_soon(self._echo_up_to, name)

    async def _echo_in_time(self, name: str) -> None:
        await trio.sleep_until(self._awaiting[name])
        await self._echo_up_to(name)

    async def _echo_up_to(self, name: str) -> None:
        """Marks come back in the order they were sent, also those that are due at the same moment."""
        while name in self._awaiting:
            oldest = next(iter(self._awaiting))
            del self._awaiting[oldest]
            if self.echoes_marks:
                await self.send(wire.mark(oldest, self.stream_sid))


class FakeOpenAI(FakePeer):
    """The model's side: opens a session, takes its configuration, and otherwise says what it is told to."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(Role.SERVER)
        self._nursery = nursery
        self.may_connect = trio.Event()
        self.may_connect.set()
        self.refusal: RelayError | OSError | None = None
        self.connections = 0
        self.models: list[str] = []  # that were asked for, by connection
        self._next: list[FakeOpenAI] = []  # who serve the connections after the first
        self.configures = True  # answers session.update by itself
        self.is_configured = trio.Event()

    def next_session(self) -> "FakeOpenAI":
        """Who takes the next connection. Each is one session: without a next one, connections are refused."""
        self._next.append(FakeOpenAI(self._nursery))
        return self._next[-1]

    @asynccontextmanager
    async def connect(self, model: str = "") -> AsyncIterator[Line]:
        """What the session opens its line with, the first time and again."""
        self.connections += 1
        self.models.append(model)
        is_first = self.connections == 1
        await self.may_connect.wait()
        if self.refusal is not None:
            raise self.refusal
        if not is_first and not self._next:
            raise ConnectionRefusedError("connection refused")
        serving = self if is_first else self._next.pop(0)
        async with serving._serve() as line:
            yield line

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[Line]:
        self._nursery.start_soon(self.run)
        await self.send(wire.session_created())
        yield self.line

    def act_on(self, message: Message) -> None:
        if message["type"] == "session.update" and self.configures:
            self._nursery.start_soon(self._configure)

    async def _configure(self) -> None:
        await self.send(wire.session_updated())
        self.is_configured.set()

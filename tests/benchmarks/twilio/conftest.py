"""A relay to call: a WebSocket server at the other end of memory streams, which plays a script and keeps what it got.

It is written on trio-websocket and plain dicts, and knows nothing of the simulator or of our relay.
"""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

Message = dict[str, Any]


class Peer:
    """One stream as the relay sees it. `received` are (virtual time, message), in order."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.stream_sid = ""
        self.received: list[tuple[float, Message]] = []

    async def receive(self) -> Message:
        message: Message = json.loads(await self.socket.get_message())
        self.received.append((trio.current_time(), message))
        if message["event"] == "start":
            self.stream_sid = message["streamSid"]
        return message

    async def until(self, event: str) -> Message:
        while True:
            message = await self.receive()
            if message["event"] == event:
                return message

    async def play(self, audio: bytes) -> None:
        await self.send({"event": "media", "media": {"payload": base64.b64encode(audio).decode()}})

    async def mark(self, name: str) -> None:
        await self.send({"event": "mark", "mark": {"name": name}})

    async def clear(self) -> None:
        await self.send({"event": "clear"})

    async def send(self, message: Message) -> None:
        await self.socket.send_message(json.dumps(message | {"streamSid": self.stream_sid}))

    def events(self, event: str) -> list[Message]:
        return [message for _, message in self.received if message["event"] == event]


Script = Callable[[Peer], Awaitable[None]]


async def listen_only(_: Peer) -> None:
    """The script of a relay that says nothing."""


class FakeRelay:
    """Answers every dial. The n-th socket plays the n-th script, further ones the last; then it reads to the end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.scripts: list[Script] = [listen_only]
        self.refuse_with: int | None = None
        self.peers: list[Peer] = []
        self.dialled: list[tuple[str, int]] = []
        self.upgrades: list[tuple[str, dict[str, str]]] = []  # path, headers
        self._nursery = nursery

    @property
    def peer(self) -> Peer:
        return self.peers[-1]

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        self.dialled.append((host, port))
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            headers = {name.decode().lower(): value.decode() for name, value in request.headers}
            self.upgrades.append((request.path, headers | {"host": request._event.host}))  # kept apart by wsproto
            if self.refuse_with is not None:
                await request.reject(self.refuse_with, body=b"no")
                return
            peer = Peer(await request.accept())
            self.peers.append(peer)
            try:
                await self.scripts[min(len(self.peers), len(self.scripts)) - 1](peer)
                while True:
                    await peer.receive()
            except ConnectionClosed:
                nursery.cancel_scope.cancel()


@pytest.fixture
async def relay() -> AsyncIterator[FakeRelay]:
    """For tests in virtual time; pytest-trio finds `autojump_clock` only in a test's own arguments."""
    async with trio.open_nursery() as nursery:
        yield FakeRelay(nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def free_tcp_listener() -> trio.SocketListener:
    """A random free port on loopback."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    return listener

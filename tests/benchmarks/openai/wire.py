"""What the tests on the wire share: a WebSocket client on any stream, which checks every event it receives."""

import base64
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from proto import mulaw
from tests.benchmarks.openai.line import Json, check_event

MODEL = "/v1/realtime?model=gpt-realtime-2.1"
KEY = (b"Authorization", b"Bearer sk-test")


class Client:
    """A WebSocket client that checks every event it receives."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_message(msgspec.json.encode({"type": kind, **fields}).decode())

    async def receive(self) -> Json:
        raw = await self.socket.get_message()
        assert isinstance(raw, str), "events are text frames"
        event: Json = msgspec.json.decode(raw)
        check_event(event)
        return event

    async def receive_until(self, kind: str) -> list[Json]:
        events = [await self.receive()]
        while events[-1]["type"] != kind:
            events.append(await self.receive())
        return events

    async def speak(self, audio: bytes) -> None:
        """μ-law in real time, 20 ms for each append."""
        for start in range(0, len(audio), mulaw.FRAME_BYTES):
            await trio.sleep(0.020)
            await self.append(audio[start : start + mulaw.FRAME_BYTES])

    async def append(self, audio: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())

    async def closed(self) -> tuple[int, str | None]:
        """The code and reason of the server's close, once everything before it was read."""
        with suppress(ConnectionClosed):
            while True:
                await self.receive()
        reason = self.socket.closed
        assert reason is not None
        return reason.code, reason.reason


async def dial(nursery: trio.Nursery, stream: Any, target: str = MODEL, **offered: Any) -> WebSocketConnection:
    """Upgrades a stream of any kind (the library's annotation knows only sockets)."""
    return await wrap_client_stream(nursery, stream, "simulator", target, **{"extra_headers": [KEY], **offered})


OpenLine = Callable[..., AbstractAsyncContextManager[Client]]

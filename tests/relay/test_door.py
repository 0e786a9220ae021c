"""The door on a real port: who is let in, who is handed on, and what garbage gets."""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio_websocket import open_websocket

from proto.handshake import RequestHead
from proto.websocket import Received
from relay import door as door_module
from relay.door import Door, Entry, ReplayedStream
from relay.pump import Pump
from relay.sockets import Line, MediaSocket
from relay.totals import Totals

UPGRADE = (
    b"GET /media-stream HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class House:
    """What lies behind the door in these tests: calls that echo, and a web app that answers with what it read."""

    def __init__(self, port: int, totals: Totals) -> None:
        self.port, self.totals = port, totals

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def ask(self, *chunks: bytes) -> bytes:
        """Send bytes, perhaps in pieces, and read the answer to its end."""
        async with await self.connect() as stream:
            for chunk in chunks:
                await stream.send_all(chunk)
            return await read_all(stream)


async def read_all(stream: trio.SocketStream) -> bytes:
    answer = b""
    try:
        async for data in stream:
            answer += bytes(data)
    except trio.BrokenResourceError:
        pass  # a reset ends an answer, too
    return answer


async def echo_call(line: Line) -> None:
    ended = trio.Event()

    def on_batch(received: list[Received]) -> None:
        for message in received:
            if isinstance(message, bytes):
                media.send(message)
            else:
                ended.set()

    media = MediaSocket("twilio", on_batch)
    async with line.attach(media, lambda error: ended.set()):
        await ended.wait()


async def web_app(stream: ReplayedStream) -> None:
    head = await stream.receive_some(10)
    head += await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head.split(b"\r\n")[0])


def admit(head: RequestHead) -> int | None:
    return None if head.header("x-twilio-signature") != "forged" else 403


@asynccontextmanager
async def open_house() -> AsyncIterator[House]:
    pump, totals = Pump(), Totals()
    door = Door(Entry(carry=echo_call, serve_web=web_app, admit=admit), pump, totals)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        listeners = await nursery.start(lambda task_status: _serve(door, task_status))
        yield House(listeners[0].socket.getsockname()[1], totals)
        nursery.cancel_scope.cancel()


async def _serve(door: Door, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
    await trio.serve_tcp(door.handle, 0, host="127.0.0.1", task_status=task_status)


async def test_a_media_stream_reaches_its_call() -> None:
    async with (
        open_house() as house,
        open_websocket("127.0.0.1", house.port, "/media-stream", use_ssl=False) as socket_,
    ):
        await socket_.send_message("hello")
        assert await socket_.get_message() == "hello"


async def test_messages_sent_with_the_upgrade_are_not_lost() -> None:
    async with open_house() as house, await house.connect() as stream:
        await stream.send_all(UPGRADE + b"\x81\x82\x00\x00\x00\x00hi")
        answer = b""
        while not answer.endswith(b"\x81\x02hi"):
            answer += bytes(await stream.receive_some())
        assert answer.startswith(b"HTTP/1.1 101")


async def test_everything_else_goes_to_the_web_app_with_nothing_missing() -> None:
    async with open_house() as house:
        answer = await house.ask(b"GET /health HTTP/1.1\r\n", b"Host: relay\r\n\r\n")
        assert answer.endswith(b"GET /health HTTP/1.1")


async def test_an_upgrade_that_is_not_admitted_is_refused_before_101() -> None:
    async with open_house() as house:
        answer = await house.ask(UPGRADE.replace(b"Host: relay", b"Host: relay\r\nX-Twilio-Signature: forged"))
        assert answer.startswith(b"HTTP/1.1 403")
        assert house.totals.handshakes_refused == 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET /media-stream HTTP/1.1\r\nHost: relay\r\n\r\n", b"426", id="no upgrade"),
        pytest.param(UPGRADE.replace(b"Version: 13", b"Version: 8"), b"426", id="old WebSocket"),
        pytest.param(UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), b"400", id="bad key"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400", id="TLS on the plain port"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505", id="HTTP/2 preface"),
        pytest.param(b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", b"400", id="broken header"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000, b"431", id="a megabyte of head"),
    ],
)
async def test_what_is_not_understood_gets_a_clear_answer(request_: bytes, status: bytes) -> None:
    async with open_house() as house:
        try:
            answer = await house.ask(request_)
        except trio.BrokenResourceError:
            # Who is still sending a megabyte when the door closes may see the reset before the answer.
            assert len(request_) > 100_000
        else:
            assert answer.startswith(b"HTTP/1.1 " + status)


async def test_a_slow_head_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "HEAD_WITHIN_S", 0.01)
    async with open_house() as house:
        assert (await house.ask(b"GET / HT")).startswith(b"HTTP/1.1 408")


async def test_too_many_undecided_connections_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "MAX_HEADS_AT_ONCE", 2)
    async with open_house() as house, await house.connect() as first, await house.connect() as second:
        await first.send_all(b"GET")
        await second.send_all(b"GET")
        assert (await house.ask(b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 503")


async def test_random_bytes_harm_nobody_on_the_line(caplog: pytest.LogCaptureFixture) -> None:
    random_ = random.Random(2)
    async with open_house() as house, open_websocket("127.0.0.1", house.port, "/media-stream", use_ssl=False) as caller:
        for _ in range(200):
            garbage = random_.randbytes(random_.randint(1, 400)) + b"\r\n\r\n"
            await house.ask(garbage if random_.random() < 0.5 else UPGRADE[: random_.randint(1, 200)] + garbage)
        await caller.send_message("still here")
        assert await caller.get_message() == "still here"
    assert "Traceback" not in caplog.text


async def test_peers_that_reset_at_once_are_forgotten() -> None:
    async with open_house() as house:
        for _ in range(20):
            stream = await house.connect()
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            await stream.aclose()
        assert (await house.ask(b"GET /health HTTP/1.1\r\nHost: relay\r\n\r\n")).startswith(b"HTTP/1.1 200")

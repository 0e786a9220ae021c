"""The codec and the handshakes, talking to trio-websocket: each of the two calls, each answers, each hangs up first."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream, wrap_server_stream

from proto.handshake import ClientHandshake, accept_upgrade, parse_request_head
from proto.websocket import Binary, Closed, FrameCodec, Pong, Received, Role

LIMIT_BYTES = 64 * 1024
TARGET = "/media-stream?seat=1"
TEXTS = ["", "a", "Grüezi", "漢字 👋" * 40, "x" * 125, "x" * 126, "é" * 400, "x" * 5_000, "漢" * 21_845]


class OurEnd:
    """The codec over a stream: what the relay does with a socket, as plainly as it can be written."""

    def __init__(self, stream: trio.abc.Stream, role: Role) -> None:
        self.codec = FrameCodec(role, max_message_bytes=LIMIT_BYTES)
        self._stream = stream
        self._received: list[Received] = []

    async def send(self, frame: bytes) -> None:
        await self._stream.send_all(frame)

    async def feed(self, data: bytes) -> None:
        self._received += self.codec.receive(data)
        await self.send(self.codec.take_replies())

    async def receive(self) -> Received:
        while not self._received:
            data = bytes(await self._stream.receive_some())
            assert data, "the peer left without a word"
            await self.feed(data)
        return self._received.pop(0)


Opened = tuple[OurEnd, WebSocketConnection]
Open = Callable[[], AbstractAsyncContextManager[Opened]]


@asynccontextmanager
async def we_call() -> AsyncIterator[Opened]:
    our_stream, their_stream = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        handshake = ClientHandshake("relay.test", TARGET, [("Authorization", "Bearer none")])
        await our_stream.send_all(handshake.request())
        request = await wrap_server_stream(nursery, their_stream)
        assert (request.path, dict(request.headers)[b"authorization"]) == (TARGET, b"Bearer none")
        theirs = await request.accept()
        while (followed := handshake.receive(bytes(await our_stream.receive_some()))) is None:
            pass
        ours = OurEnd(our_stream, Role.CLIENT)
        await ours.feed(followed)
        yield ours, theirs
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def they_call() -> AsyncIterator[Opened]:
    our_stream, their_stream = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, our_stream)
        # "Wrap an arbitrary stream", says its documentation; its annotation names two kinds.
        theirs = await wrap_client_stream(nursery, their_stream, "relay.test", TARGET)  # type: ignore[arg-type]  # a memory stream
        yield OurEnd(our_stream, Role.SERVER), theirs
        nursery.cancel_scope.cancel()


async def answer(stream: trio.abc.Stream) -> None:
    raw = b""
    while not raw.endswith(b"\r\n\r\n"):
        raw += await stream.receive_some()
    head = parse_request_head(raw)
    assert (head.is_websocket_upgrade, head.target) == (True, TARGET)
    await stream.send_all(accept_upgrade(head))


@pytest.fixture(params=[we_call, they_call])
def opened(request: pytest.FixtureRequest) -> Open:
    opener: Open = request.param
    return opener


async def test_they_hear_every_text_we_send(opened: Open) -> None:
    async with opened() as (ours, theirs):
        for text in TEXTS:
            await ours.send(ours.codec.text(text.encode()))
            assert await theirs.get_message() == text


async def test_we_hear_every_text_they_send(opened: Open) -> None:
    async with opened() as (ours, theirs):
        for text in TEXTS:
            await theirs.send_message(text)
            assert await ours.receive() == text.encode()
        await theirs.send_message(b"\x00\xff")
        assert await ours.receive() == Binary(b"\x00\xff")


async def test_a_burst_arrives_whole_and_in_order(opened: Open) -> None:
    async with opened() as (ours, theirs), trio.open_nursery() as nursery:
        burst = [f'{{"n":{n},"text":"é"}}' for n in range(200)]
        nursery.start_soon(ours.send, b"".join(ours.codec.text(text.encode()) for text in burst))
        assert [await theirs.get_message() for _ in burst] == burst


async def test_their_ping_is_answered(opened: Open) -> None:
    async with opened() as (ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(ours.receive)
        await theirs.ping(b"are you there")
        nursery.cancel_scope.cancel()


async def test_they_answer_our_ping(opened: Open) -> None:
    async with opened() as (ours, _):
        await ours.send(ours.codec.ping(b"and you"))
        assert await ours.receive() == Pong(b"and you")


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going away"), (4001, "é" * 61)])
async def test_when_we_hang_up_they_learn_why(opened: Open, code: int, reason: str) -> None:
    async with opened() as (ours, theirs):
        await ours.send(ours.codec.close(code, reason))
        with pytest.raises(ConnectionClosed):
            await theirs.get_message()
        assert theirs.closed is not None
        assert (theirs.closed.code, theirs.closed.reason or "") == (code, reason)
        assert await ours.receive() == Closed(code, reason, by_peer=True)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1011, "it broke"), (4001, "é" * 61)])
async def test_when_they_hang_up_we_learn_why(opened: Open, code: int, reason: str) -> None:
    async with opened() as (ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(theirs.aclose, code, reason)
        assert await ours.receive() == Closed(code, reason, by_peer=True)
    # Leaving the block means that their aclose returned: our reply was the close frame it waits for.


async def test_when_they_say_too_much_they_are_told_so(opened: Open) -> None:
    async with opened() as (ours, theirs):
        await theirs.send_message("x" * (LIMIT_BYTES + 1))
        closed = await ours.receive()
        assert isinstance(closed, Closed)
        assert (closed.code, closed.by_peer) == (1009, False)
        with pytest.raises(ConnectionClosed):
            await theirs.get_message()
        assert theirs.closed is not None
        assert theirs.closed.code == 1009

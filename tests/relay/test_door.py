"""The door on a real port: who is let in, who is handed on, and what garbage gets."""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair
from trio_websocket import open_websocket

from proto.handshake import RequestHead
from proto.websocket import FrameCodec, Received, Role
from relay import door as door_module
from relay.client_address import Networks
from relay.door import Door, Entry, ReplayedStream
from relay.log import CallEnded
from relay.pump import Pump
from relay.seats import Limits, Seats
from relay.sockets import Line, MediaSocket
from relay.switchboard import Switchboard
from relay.totals import Totals
from tests.relay import wire
from tests.relay.calls import Records
from tests.relay.peers import FakeOpenAI

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
async def open_house(limits: Limits | None = None, trusted_proxies: Networks = ()) -> AsyncIterator[House]:
    pump, totals = Pump(), Totals()
    entry = Entry(carry=echo_call, serve_web=web_app, admit=admit)
    door = Door(entry, pump, totals, seats=Seats(limits), trusted_proxies=trusted_proxies)
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


# Places


async def upgraded(house: House, *headers: bytes) -> trio.SocketStream:
    """A media stream that is open and says nothing."""
    stream = await house.connect()
    await stream.send_all(with_headers(*headers))
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
    return stream


def with_headers(*headers: bytes) -> bytes:
    return UPGRADE.replace(b"\r\n\r\n", b"".join(b"\r\n" + header for header in headers) + b"\r\n\r\n")


async def until_left(house: House, limit: str) -> None:
    """The place of a stream that has gone is free a moment later; until then the next one is refused."""
    while house.totals.streams_over_limit[limit]:
        house.totals.streams_over_limit.clear()
        async with await house.connect() as stream:
            await stream.send_all(UPGRADE)
            await stream.receive_some()


async def test_no_more_streams_are_let_in_than_there_are_places() -> None:
    async with open_house(Limits(calls=2)) as house:
        first, second = await upgraded(house), await upgraded(house)
        answer = await house.ask(UPGRADE)
        assert answer.startswith(b"HTTP/1.1 503")
        assert answer.endswith(b"all places for calls are taken")
        assert (house.totals.handshakes_refused, house.totals.streams_over_limit) == (1, {"calls": 1})
        assert (await house.ask(b"GET /health HTTP/1.1\r\nHost: relay\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await first.aclose()
        await until_left(house, "calls")
        await second.aclose()


async def test_a_stranger_without_a_signature_learns_nothing_of_the_places_and_takes_none() -> None:
    forged = with_headers(b"X-Twilio-Signature: forged")
    async with open_house(Limits(calls=1)) as house:
        for _ in range(3):
            assert (await house.ask(forged)).startswith(b"HTTP/1.1 403")
        async with await upgraded(house):
            assert (await house.ask(forged)).startswith(b"HTTP/1.1 403")
        assert house.totals.streams_over_limit == {}


async def test_a_broken_upgrade_takes_no_place() -> None:
    async with open_house(Limits(calls=1)) as house:
        assert (await house.ask(UPGRADE.replace(b"Version: 13", b"Version: 8"))).startswith(b"HTTP/1.1 426")
        await (await upgraded(house)).aclose()


async def test_one_address_cannot_take_every_place() -> None:
    async with open_house(Limits(per_address=1)) as house, await upgraded(house):
        answer = await house.ask(with_headers(b"X-Forwarded-For: 192.0.2.7"))  # nobody's proxy says so
        assert answer.startswith(b"HTTP/1.1 503")
        assert answer.endswith(b"from this address")


async def test_behind_a_trusted_proxy_its_clients_are_told_apart() -> None:
    one, other = b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-For: 192.0.2.8"
    async with open_house(Limits(per_address=1), (ip_network("127.0.0.0/8"),)) as house, await upgraded(house, one):
        assert (await house.ask(with_headers(one))).startswith(b"HTTP/1.1 503")
        await (await upgraded(house, other)).aclose()


async def test_streams_that_never_start_are_few_and_let_go_after_ten_seconds(autojump_clock: MockClock) -> None:
    records, totals = Records(), Totals()
    async with trio.open_nursery() as nursery:
        openai = FakeOpenAI(nursery)
        switchboard = Switchboard(lambda _: wire.PERSONA, connect=openai.connect, call_log=records, totals=totals)
        seats = Seats(Limits(calls=9, waiting=2), lambda: switchboard.begun_calls)
        entry = Entry(carry=switchboard.carry, serve_web=web_app, admit=lambda _: None)
        door = Door(entry, Pump(), totals, seats=seats)

        async def open_stream(*messages: wire.Message) -> bytes:
            stream, theirs = memory_stream_pair()
            nursery.start_soon(door.handle, theirs)
            codec = FrameCodec(Role.CLIENT, max_message_bytes=1 << 20)
            await stream.send_all(UPGRADE + b"".join(codec.text(wire.raw(message)) for message in messages))
            streams.append(stream)
            return bytes(await stream.receive_some())[:12]

        streams: list[trio.abc.Stream] = []
        assert await open_stream(wire.start()) == b"HTTP/1.1 101"
        await openai.is_configured.wait()
        assert [await open_stream() for _ in range(3)] == [b"HTTP/1.1 101", b"HTTP/1.1 101", b"HTTP/1.1 503"]
        assert totals.streams_over_limit == {"waiting": 1}
        await trio.sleep(12)  # the deadline, and a second for a goodbye that nobody answers
        assert [event.reason for event in records.of(CallEnded)] == ["start_timeout"] * 2
        assert await open_stream() == b"HTTP/1.1 101"
        assert (openai.connections, switchboard.begun_calls) == (1, 1)
        await streams[0].aclose()  # the call
        await trio.sleep(3)
        assert (switchboard.active_calls, switchboard.begun_calls) == (1, 0)
        nursery.cancel_scope.cancel()

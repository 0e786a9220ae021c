"""The contract with hypercorn: what the bridge promises, on real sockets and, where time matters, on virtual time."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Response, request, websocket
from quart_trio import QuartTrio
from structlog.testing import capture_logs

from tautline import web
from tautline.web import WebAppError, open_web_app

Client = trio.SocketStream
Connect = Callable[[], Awaitable[Client]]
WEBSOCKET_HEADERS = (
    b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Replayed(trio.abc.HalfCloseableStream):
    """A stream of which somebody has read the beginning already, as the door hands it over."""

    def __init__(self, stream: trio.SocketStream, head: bytes) -> None:
        self._stream, self._head, self.socket = stream, head, stream.socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        head, self._head = self._head, b""
        return head or bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def make_app() -> QuartTrio:
    app = QuartTrio("contract", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 1000

    @app.get("/health")
    async def health() -> str:
        return "ok"

    @app.get("/client")
    async def client() -> str:
        return str(request.remote_addr)

    @app.get("/broken")
    async def broken() -> str:
        raise RuntimeError("this view is broken")

    @app.get("/large")
    async def large() -> Response:
        return Response(b"x" * 10_000_000)

    @app.get("/forever")
    async def forever() -> str:
        await trio.sleep_forever()

    @app.post("/body")
    async def body() -> bytes:
        return await request.get_data(cache=True, as_text=False, parse_form_data=False)

    @app.websocket("/echo")
    async def echo() -> None:
        await websocket.send(await websocket.receive())

    return app


@asynccontextmanager
async def serving(app: QuartTrio | None = None) -> AsyncIterator[tuple[Connect, trio.Nursery]]:
    """The bridge behind a real listener on loopback, and the nursery in which its connections live."""
    async with open_web_app(app or make_app()) as serve_stream, trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]

        async def accept() -> None:
            async with listener, trio.open_nursery() as connections:
                while True:
                    stream = await listener.accept()
                    head = bytes(await stream.receive_some(10))  # the door has looked already
                    connections.start_soon(serve_stream, Replayed(stream, head))

        async def connect() -> Client:
            return await trio.open_tcp_stream("127.0.0.1", port)

        nursery.start_soon(accept)
        with trio.fail_after(10):
            yield connect, nursery
        nursery.cancel_scope.cancel()


async def exchange(connect: Connect, request_bytes: bytes) -> bytes:
    """Everything the server answers until it closes the connection, though we never do."""
    async with await connect() as client:
        await client.send_all(request_bytes)
        return await read_all(client)


async def read_all(client: trio.abc.ReceiveStream) -> bytes:
    received = b""
    while piece := await client.receive_some():
        received += piece
    return received


async def test_a_plain_request_is_answered_and_the_connection_closed() -> None:
    async with serving() as (connect, _):
        answer = await exchange(connect, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"\r\nconnection: close" in head.lower()
    assert b"\r\nserver:" not in head.lower()
    assert body == b"ok"


async def test_a_second_request_on_the_same_connection_is_not_served() -> None:
    async with serving() as (connect, _):
        answer = await exchange(connect, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    assert answer.count(b"HTTP/1.1 200") == 1


async def test_the_app_sees_the_clients_address() -> None:
    async with serving() as (connect, _):
        assert (await exchange(connect, b"GET /client HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"\r\n\r\n127.0.0.1")


async def test_a_client_that_leaves_midway_leaves_no_task_behind() -> None:
    async with serving() as (connect, nursery):
        [accepting] = nursery.child_tasks
        for sent in (b"GET /heal", b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /body HTTP/1.1\r\nHost: x\r\n"):
            client = await connect()
            await client.send_all(sent)
            await until(lambda: bool(connections_of(accepting)))
            await client.aclose()
            await until(lambda: not connections_of(accepting))


def connections_of(accepting: trio.lowlevel.Task) -> frozenset[trio.lowlevel.Task]:
    return frozenset().union(*(nursery.child_tasks for nursery in accepting.child_nurseries))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.lowlevel.checkpoint()


async def test_a_websocket_to_an_unknown_path_is_refused_cleanly() -> None:
    async with serving() as (connect, _):
        answer = await exchange(connect, b"GET /nowhere HTTP/1.1\r\n" + WEBSOCKET_HEADERS)
    assert answer.startswith(b"HTTP/1.1 404")


async def test_a_websocket_route_of_the_app_works() -> None:
    async with serving() as (connect, _), await connect() as client:
        await client.send_all(b"GET /echo HTTP/1.1\r\n" + WEBSOCKET_HEADERS)
        assert (await client.receive_some()).startswith(b"HTTP/1.1 101")
        await client.send_all(b"\x81\x82\x00\x00\x00\x00hi")
        assert (await client.receive_some()).startswith(b"\x81\x02hi")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client hello on a plain port",
        b"GET /health HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET " + b"x" * 2 * web.MAX_HEAD_BYTES + b" HTTP/1.1\r\n",
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_garbage_is_a_bad_request_and_no_traceback(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (connect, _):
        with capture_logs() as logs:
            answer = await exchange(connect, garbage)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert logs == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "preface",
    [
        b"PRI * HTTP/2.0\r\nHost: x\r\n\r\nSM\r\n\r\n",
        b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
    ],
)
async def test_http_2_without_tls_is_refused(preface: bytes) -> None:
    async with serving() as (connect, _):
        assert (await exchange(connect, preface)).startswith(b"HTTP/1.1 505")


async def test_an_upgrade_to_http_2_is_not_followed() -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    async with serving() as (connect, _):
        answer = await exchange(connect, b"GET /health HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_body_that_is_too_large_is_refused_and_the_refusal_arrives() -> None:
    async with serving() as (connect, _):
        body = b"x" * 500_000
        head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert (await exchange(connect, head + body)).startswith(b"HTTP/1.1 413")


async def test_a_broken_view_breaks_one_request_only(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (connect, _):
        assert (await exchange(connect, b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 500")
        assert (await exchange(connect, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_stream_that_raises_harms_nobody_else() -> None:
    class Exploding(trio.abc.HalfCloseableStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            raise RuntimeError("this stream is broken")

        async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...
        async def wait_send_all_might_not_block(self) -> None: ...
        async def send_eof(self) -> None: ...
        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    async with open_web_app(make_app()) as serve_stream:
        with capture_logs() as logs:
            await serve_stream(Exploding())
    assert [entry["event"] for entry in logs] == ["web.connection_failed"]


async def test_a_client_that_never_finishes_its_request_is_let_go(autojump_clock: trio.testing.MockClock) -> None:
    async with open_web_app(make_app()) as serve_stream:
        client, server = trio.testing.memory_stream_pair()
        await client.send_all(b"GET /health HTTP/1.1\r\nHost:")
        await serve_stream(server)
    assert trio.current_time() < web.HEAD_TIMEOUT_S + web.LINGER_S + 1


async def test_a_client_that_never_reads_is_let_go(autojump_clock: trio.testing.MockClock) -> None:
    async with open_web_app(make_app()) as serve_stream:
        client, server = trio.testing.lockstep_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            await serve_stream(server)
    assert trio.current_time() < web.SEND_TIMEOUT_S + web.LINGER_S + 1


async def test_a_cancelled_connection_ends_and_closes_its_stream(autojump_clock: trio.testing.MockClock) -> None:
    async with open_web_app(make_app()) as serve_stream:
        client, server = trio.testing.memory_stream_pair()
        await client.send_all(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.move_on_after(1) as scope:
            await serve_stream(server)
        assert scope.cancelled_caught
        assert await client.receive_some() == b""


@settings(deadline=None, max_examples=60)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=80).map(lambda rest: b"GET /health HTTP/1.1\r\nHost: x\r\n" + rest),
        st.binary(max_size=80).map(lambda rest: b"GET /echo HTTP/1.1\r\n" + WEBSOCKET_HEADERS + rest),
        st.binary(max_size=80).map(
            lambda rest: b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + rest
        ),
    )
)
def test_no_bytes_raise_or_keep_a_connection(sent: bytes) -> None:
    async def main() -> None:
        async with open_web_app(make_app()) as serve_stream:
            client, server = trio.testing.memory_stream_pair()
            await client.send_all(sent)
            await client.send_eof()
            with capture_logs() as logs:
                await serve_stream(server)
            assert logs == []

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_the_app_is_started_before_and_stopped_after_serving() -> None:
    told: list[str] = []
    app = make_app()

    @app.before_serving
    async def start() -> None:
        told.append("started")

    @app.after_serving
    async def stop() -> None:
        told.append("stopped")

    async with open_web_app(app):
        assert told == ["started"]
    assert told == ["started", "stopped"]


async def test_the_app_is_stopped_even_when_the_server_is_cancelled() -> None:
    told: list[str] = []
    app = make_app()

    @app.after_serving
    async def stop() -> None:
        await trio.lowlevel.checkpoint()
        told.append("stopped")

    with trio.CancelScope() as scope:
        async with open_web_app(app):
            scope.cancel()
            await trio.sleep_forever()
    assert told == ["stopped"]


async def test_an_app_that_cannot_start_says_so_and_serves_nothing() -> None:
    app = make_app()

    @app.before_serving
    async def start() -> None:
        raise RuntimeError("no database")

    with pytest.RaisesGroup(pytest.RaisesExc(WebAppError, match="no database"), flatten_subgroups=True):
        async with open_web_app(app):
            pytest.fail("the block must not be entered")

"""Opening a line to OpenAI on real sockets: certificates, refusals, silence, and what the upgrade carries."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trustme
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from proto.errors import HandshakeError
from proto.websocket import Received
from relay import upstream as upstream_module
from relay.pump import Pump
from relay.sockets import MediaSocket
from relay.upstream import Upstream, open_upstream


class Seen:
    """What the server saw of the last upgrade."""

    path = ""
    headers: dict[str, str] = {}  # noqa: RUF012 - replaced as a whole, never changed


@asynccontextmanager
async def open_echo_server(seen: Seen, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def serve_one(request: WebSocketRequest) -> None:
        seen.path = request.path
        seen.headers = {name.decode(): value.decode() for name, value in request.headers}
        socket = await request.accept()
        await socket.send_message("first")
        try:
            while True:
                await socket.send_message(await socket.get_message())
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, serve_one, "127.0.0.1", 0, tls))
        yield server.port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_raw_server(answer: bytes) -> AsyncIterator[int]:
    async def serve_one(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve_one, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def hold_conversation(upstream: Upstream, tls: ssl.SSLContext) -> list[Received]:
    """Say two things over a fresh line; give all that came back."""
    send, receive = trio.open_memory_channel[Received](10)

    def on_batch(received: list[Received]) -> None:
        for message in received:
            send.send_nowait(message)

    pump, media = Pump(), MediaSocket("openai", on_batch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        async with open_upstream(upstream, pump, tls) as line, line.attach(media, lambda error: None):
            media.send(b"one")
            media.send(b"two")
            messages = [await receive.receive() for _ in range(3)]
        nursery.cancel_scope.cancel()
    return messages


async def test_a_line_carries_messages_and_says_who_we_are() -> None:
    seen = Seen()
    async with open_echo_server(seen) as port:
        upstream = Upstream(url=f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime-2.1", api_key="sk-test")
        assert await hold_conversation(upstream, ssl.create_default_context()) == [b"first", b"one", b"two"]
    assert seen.path == "/v1/realtime?model=gpt-realtime-2.1"
    assert seen.headers["authorization"] == "Bearer sk-test"
    assert "openai-beta" not in seen.headers


async def test_tls_with_a_trusted_certificate() -> None:
    authority, trusting = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusting)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    async with open_echo_server(Seen(), tls) as port:
        upstream = Upstream(url=f"wss://localhost:{port}/v1/realtime?model=m", api_key="sk-test")
        assert await hold_conversation(upstream, trusting) == [b"first", b"one", b"two"]


@pytest.mark.parametrize("certified", ["localhost", "elsewhere.example"])
async def test_a_certificate_that_is_not_trusted_is_refused(certified: str) -> None:
    authority, other = trustme.CA(), trustme.CA()
    tls, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(certified).configure_cert(tls)
    (authority if certified != "localhost" else other).configure_trust(trusting)
    async with open_raw_tls_server(tls) as port:
        upstream = Upstream(url=f"wss://localhost:{port}/v1/realtime?model=m", api_key="sk-test")
        with pytest.raises(ssl.SSLCertVerificationError):
            await hold_conversation_failing(upstream, trusting)


async def test_each_line_verifies_the_certificate_anew() -> None:
    """Nothing of an earlier line, a TLS session to resume for example, speaks for the server of the next."""
    authority, other, trusting = trustme.CA(), trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusting)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    async with open_echo_server(Seen(), tls) as port:
        upstream = Upstream(url=f"wss://localhost:{port}/v1/realtime?model=m", api_key="sk-test")
        for _ in range(2):
            assert await hold_conversation(upstream, trusting) == [b"first", b"one", b"two"]
        other.issue_cert("localhost").configure_cert(tls)
        async with open_raw_tls_server(tls) as other_port:
            upstream = Upstream(url=f"wss://localhost:{other_port}/v1/realtime?model=m", api_key="sk-test")
            with pytest.raises(ssl.SSLCertVerificationError):
                await hold_conversation_failing(upstream, trusting)


@asynccontextmanager
async def open_raw_tls_server(tls: ssl.SSLContext) -> AsyncIterator[int]:
    async def serve_one(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # the client does not like our certificate
            await trio.SSLStream(stream, tls, server_side=True).do_handshake()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve_one, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def hold_conversation_failing(upstream: Upstream, tls: ssl.SSLContext) -> None:
    async with open_upstream(upstream, Pump(), tls):
        pytest.fail("a line was opened")


@pytest.mark.parametrize(
    ("answer", "status", "retry_after_s"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 401, None),
        (b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 429, 7.0),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", 503, None),
        (b"SSH-2.0-OpenSSH_9\r\n", None, None),
    ],
)
async def test_a_refusal_says_why(answer: bytes, status: int | None, retry_after_s: float | None) -> None:
    async with open_raw_server(answer) as port:
        upstream = Upstream(url=f"ws://127.0.0.1:{port}/v1/realtime?model=m", api_key="sk-test")
        with pytest.raises(HandshakeError) as caught:
            await hold_conversation_failing(upstream, ssl.create_default_context())
    assert (caught.value.status, caught.value.retry_after_s) == (status, retry_after_s)
    assert "sk-test" not in str(caught.value)


async def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "CONNECT_WITHIN_S", 0.02)
    async with open_raw_server(b"") as port:
        upstream = Upstream(url=f"ws://127.0.0.1:{port}/v1/realtime?model=m", api_key="sk-test")
        with pytest.raises(HandshakeError, match="did not answer"):
            await hold_conversation_failing(upstream, ssl.create_default_context())


async def test_nobody_listening_is_an_os_error() -> None:
    async with open_raw_server(b"") as port:
        pass
    upstream = Upstream(url=f"ws://127.0.0.1:{port}/v1/realtime?model=m", api_key="sk-test")
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        await hold_conversation_failing(upstream, ssl.create_default_context())


def test_the_key_is_never_shown() -> None:
    assert "sk-test" not in repr(Upstream(url="wss://api.openai.com/v1/realtime", api_key="sk-test"))


@pytest.mark.parametrize(
    ("url", "changed"),
    [
        ("wss://h/v1/realtime?model=one", "wss://h/v1/realtime?model=two%20%26"),
        ("ws://h:1/v1/realtime", "ws://h:1/v1/realtime?model=two%20%26"),
        ("wss://h/rt?api=1&model=one&deployment=d", "wss://h/rt?api=1&model=two%20%26&deployment=d"),
    ],
)
def test_another_model_changes_nothing_but_the_model(url: str, changed: str) -> None:
    upstream = Upstream(url=url, api_key="k")
    assert upstream.with_model("two &") == Upstream(url=changed, api_key="k")
    assert upstream.with_model("two &").model == "two &"
    assert upstream.with_model("") == upstream


async def test_a_line_can_be_opened_with_a_model_of_its_own() -> None:
    seen = Seen()
    async with open_echo_server(seen) as port:
        upstream = Upstream(url=f"ws://127.0.0.1:{port}/v1/realtime?model=one", api_key="k")
        async with open_upstream(upstream, Pump(), ssl.create_default_context(), "two"):
            assert seen.path == "/v1/realtime?model=two"

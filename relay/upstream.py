"""Opening a line to OpenAI: TCP, TLS, WebSocket handshake, all bounded in time, then a plain socket for the pump."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import trio

from proto.errors import HandshakeError
from proto.handshake import ClientHandshake
from relay.pump import Pump, PumpLine
from relay.sockets import Line, StreamLine

CONNECT_WITHIN_S = 10.0  # all three handshakes together
HANDSHAKE_READ_BYTES = 16 * 1024

T = TypeVar("T")


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """Where OpenAI is, and who we are there. url: ws:// or wss://, with the model in its query."""

    url: str
    api_key: str

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """What the upgrade carries. Never `OpenAI-Beta`: the service answers it with a refusal."""
        return (("Authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", self.url)]  # without the key: rich would show it in tracebacks with local variables

    def __repr__(self) -> str:
        return f"Upstream(url={self.url!r})"  # without the key


@asynccontextmanager
async def open_upstream(upstream: Upstream, pump: Pump, tls: ssl.SSLContext) -> AsyncIterator[Line]:
    """Connect to OpenAI and complete the handshakes; the line is closed when the context ends.

    Raises: HandshakeError when it refuses or does not answer in time; OSError when it cannot be reached.
    """
    try:
        with trio.fail_after(CONNECT_WITHIN_S):
            sock, received = await _connect(upstream, tls)
    except trio.TooSlowError:
        raise HandshakeError(f"OpenAI did not answer within {CONNECT_WITHIN_S:.0f} s") from None
    with sock:
        yield PumpLine(pump, sock, received)


async def open_stream_line(upstream: Upstream, stream: trio.abc.Stream) -> Line:
    """The same over a stream that is open already, for tests in memory and where there is nothing to select on.

    Raises: HandshakeError when it refuses, or breaks off.
    """
    handshake = _handshake(upstream)
    await stream.send_all(handshake.request())
    while True:
        received = _followed(handshake, bytes(await stream.receive_some(HANDSHAKE_READ_BYTES)))
        if received is not None:
            return StreamLine(stream, received)


async def _connect(upstream: Upstream, tls: ssl.SSLContext) -> tuple[socket.socket, bytes]:
    """An open WebSocket as a non-blocking socket, and the bytes that followed its handshake."""
    url = urlsplit(upstream.url)
    is_tls = url.scheme == "wss"
    host = url.hostname or ""
    stream = await trio.open_tcp_stream(host, url.port or (443 if is_tls else 80))
    sock = socket.socket(fileno=stream.socket.detach())
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_tls:
            sock = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            await _until_done(sock, sock.do_handshake)
        return sock, await _shake_hands(sock, _handshake(upstream))
    except BaseException:
        sock.close()
        raise


async def _shake_hands(sock: socket.socket, handshake: ClientHandshake) -> bytes:
    # A request of some hundred bytes always fits into the buffer of a new socket.
    await _until_done(sock, lambda: sock.sendall(handshake.request()))
    while True:
        received = _followed(handshake, await _until_done(sock, lambda: sock.recv(HANDSHAKE_READ_BYTES)))
        if received is not None:
            return received


def _handshake(upstream: Upstream) -> ClientHandshake:
    url = urlsplit(upstream.url)
    return ClientHandshake(url.netloc, f"{url.path or '/'}?{url.query}", upstream.headers)


def _followed(handshake: ClientHandshake, data: bytes) -> bytes | None:
    """What followed the handshake once it is complete."""
    if not data:
        raise HandshakeError("OpenAI closed the connection during the handshake")
    return handshake.receive(data)


async def _until_done(sock: socket.socket, action: Callable[[], T]) -> T:
    """Repeat a non-blocking action until the socket, or the TLS layer in it, lets it through."""
    while True:
        try:
            return action()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)

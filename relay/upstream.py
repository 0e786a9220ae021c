"""Opening a line to OpenAI: TCP, TLS, WebSocket handshake, all bounded in time, then a plain socket for the pump.

What comes out is a *connection*: an open WebSocket that carries no call yet. It becomes a call's line at once
(`open_upstream`), or waits for its call first (relay.spares).
"""

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec
import trio

from proto.errors import HandshakeError
from proto.handshake import ClientHandshake
from relay.pump import Pump, PumpLine
from relay.sockets import READ_BYTES, Line, StreamLine

CONNECT_WITHIN_S = 10.0  # all three handshakes together
HANDSHAKE_READ_BYTES = 16 * 1024

T = TypeVar("T")


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """Where OpenAI is, and who we are there. url: ws:// or wss://, with the model in its query."""

    url: str
    api_key: str

    @property
    def model(self) -> str:
        """The model in its query, "" if it names none."""
        return dict(parse_qsl(urlsplit(self.url).query)).get("model", "")

    def with_model(self, model: str) -> "Upstream":
        """The same service with another model; "" changes nothing."""
        if not model:
            return self
        parts = urlsplit(self.url)
        query = urlencode({**dict(parse_qsl(parts.query)), "model": model}, quote_via=quote)
        return Upstream(url=urlunsplit(parts._replace(query=query)), api_key=self.api_key)

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """What the upgrade carries. Never `OpenAI-Beta`: the service answers it with a refusal."""
        return (("Authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", self.url)]  # without the key: rich would show it in tracebacks with local variables

    def __repr__(self) -> str:
        return f"Upstream(url={self.url!r})"  # without the key


class Connection(Protocol):
    """An open WebSocket to OpenAI that carries no call yet: bytes to read, a control frame to write, a line to become.

    Whoever has it closes it. One task at a time reads; cancelling a read loses no bytes.
    """

    @property
    def received(self) -> bytes:
        """What followed the handshake; b"" if nothing has."""
        ...

    async def read(self) -> bytes:
        """The next bytes; b"" when the connection has ended, in whatever way."""
        ...

    async def write(self, frame: bytes) -> None:
        """Write one control frame. Raises: OSError when that cannot be done; the connection is of no use then."""
        ...

    def line(self, received: bytes) -> Line:
        """The line for a call. received: all that was read and that the call has still to see."""
        ...

    async def aclose(self) -> None:
        """Let go of the transport, at once and without a goodbye."""
        ...


class SocketConnection:
    """A connection on a non-blocking socket, TLS or not; its line is the pump's."""

    def __init__(self, pump: Pump, sock: socket.socket, received: bytes) -> None:
        self._pump, self._sock, self.received = pump, sock, received

    async def read(self) -> bytes:
        """See Connection.read."""
        await trio.lowlevel.checkpoint()
        try:
            return await _until_done(self._sock, lambda: self._sock.recv(READ_BYTES))
        except OSError:
            return b""

    async def write(self, frame: bytes) -> None:
        """See Connection.write. A socket that carries nothing has room for a control frame, or a peer that is gone."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._sock.sendall(frame)  # without room it raises: BlockingIOError and SSLWantWriteError are OSErrors
        await trio.lowlevel.cancel_shielded_checkpoint()

    def line(self, received: bytes) -> Line:
        """See Connection.line."""
        self.received = b""  # the line has it
        return PumpLine(self._pump, self._sock, received)

    async def aclose(self) -> None:
        """See Connection.aclose."""
        self._sock.close()
        await trio.lowlevel.checkpoint()


class StreamConnection:
    """The same over any Trio stream, for tests in memory and where there is nothing to select on."""

    def __init__(self, stream: trio.abc.Stream, received: bytes = b"") -> None:
        self._stream, self.received = stream, received

    async def read(self) -> bytes:
        """See Connection.read."""
        try:
            return bytes(await self._stream.receive_some(READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def write(self, frame: bytes) -> None:
        """See Connection.write."""
        try:
            await self._stream.send_all(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise BrokenPipeError("the stream is closed") from error

    def line(self, received: bytes) -> Line:
        """See Connection.line."""
        return StreamLine(self._stream, received)

    async def aclose(self) -> None:
        """See Connection.aclose."""
        await trio.aclose_forcefully(self._stream)


async def connect_upstream(upstream: Upstream, pump: Pump, tls: ssl.SSLContext, model: str = "") -> Connection:
    """Connect to OpenAI and complete the handshakes.

    Args: model, instead of the service's own, "" for that.
    Raises: HandshakeError when it refuses or does not answer in time; OSError when it cannot be reached.
    """
    try:
        with trio.fail_after(CONNECT_WITHIN_S):
            sock, received = await _connect(upstream.with_model(model), tls)
    except trio.TooSlowError:
        raise HandshakeError(f"OpenAI did not answer within {CONNECT_WITHIN_S:.0f} s") from None
    return SocketConnection(pump, sock, received)


async def connect_stream(upstream: Upstream, stream: trio.abc.Stream) -> Connection:
    """The same over a stream that is open already; it stays the caller's if this fails.

    Raises: HandshakeError when it refuses, or breaks off.
    """
    handshake = _handshake(upstream)
    await stream.send_all(handshake.request())
    while True:
        received = _followed(handshake, bytes(await stream.receive_some(HANDSHAKE_READ_BYTES)))
        if received is not None:
            return StreamConnection(stream, received)


@asynccontextmanager
async def open_upstream(upstream: Upstream, pump: Pump, tls: ssl.SSLContext, model: str = "") -> AsyncIterator[Line]:
    """A line of its own to OpenAI; it is closed when the context ends. Args and Raises: as connect_upstream."""
    async with aclosing(await connect_upstream(upstream, pump, tls, model)) as connection:
        yield connection.line(connection.received)


async def open_stream_line(upstream: Upstream, stream: trio.abc.Stream) -> Line:
    """A line over a stream that is open already. Raises: as connect_stream."""
    connection = await connect_stream(upstream, stream)
    return connection.line(connection.received)


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

"""Opening the far end's WebSockets, from both sides: TCP, TLS if the address says so, handshake; bounded in time.

What comes out is a plain non-blocking socket and the bytes that followed the handshake. It happens once per call, so
Trio and the relay's own handshakes do it.
"""

import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

import trio

from proto.errors import HandshakeError
from proto.handshake import ClientHandshake, RequestHead, accept_upgrade, parse_request_head, refuse

WITHIN_S: Final = 10.0
MAX_HEAD_BYTES: Final = 16 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"


async def dial(url: str, tls: ssl.SSLContext | None) -> tuple[socket.socket, bytes]:
    """Open a ws:// address, or with `tls` a wss:// one.

    Raises: HandshakeError when it refuses or does not answer in time; OSError when it cannot be reached.
    """
    try:
        with trio.fail_after(WITHIN_S):
            return await _dial(url, tls)
    except trio.TooSlowError:
        raise HandshakeError(f"no answer within {WITHIN_S:g} s") from None


async def answer(stream: trio.SocketStream) -> tuple[socket.socket, RequestHead, bytes]:
    """Accept the WebSocket that is asked for on this stream; returns also the request.

    Raises: HandshakeError when this is no upgrade, TooSlowError when it takes too long.
    """
    with trio.fail_after(WITHIN_S):
        raw = await _read_head(stream)
        try:
            head = parse_request_head(raw)
            accepted = accept_upgrade(head)
        except HandshakeError as error:
            await stream.send_all(refuse(error.status or 400, error.detail))
            raise
        await stream.send_all(accepted)
    return _detached(stream), head, raw.partition(_END_OF_HEAD)[2]


async def answer_in_tls(stream: trio.SocketStream, tls: ssl.SSLContext) -> tuple[socket.socket, RequestHead, bytes]:
    """The same inside TLS; what is returned is an `ssl.SSLSocket`. In a thread, as when dialling.

    Raises: HandshakeError when this is no TLS, no upgrade, or takes too long.
    """
    sock = _detached(stream)

    def shake_hands() -> tuple[socket.socket, RequestHead, bytes]:
        sock.settimeout(WITHIN_S)
        secure = tls.wrap_socket(sock, server_side=True)
        try:
            raw = b""
            while _END_OF_HEAD not in raw:
                raw = _with_more(raw, secure.recv(MAX_HEAD_BYTES))
            head = parse_request_head(raw)
            secure.sendall(accept_upgrade(head))
        except BaseException:
            secure.close()
            raise
        secure.setblocking(False)
        return secure, head, raw.partition(_END_OF_HEAD)[2]

    try:
        return await trio.to_thread.run_sync(shake_hands)
    except OSError as error:  # TLS's own errors, and time running out, are such
        raise HandshakeError(f"no TLS: {error}") from None


async def _dial(url: str, tls: ssl.SSLContext | None) -> tuple[socket.socket, bytes]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    stream = await trio.open_tcp_stream(host, parts.port or (443 if tls else 80))
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    handshake = ClientHandshake(parts.netloc, target, ())
    if tls:
        return await _shake_hands_in_tls(_detached(stream), host, tls, handshake)
    async with stream:
        await stream.send_all(handshake.request())
        while (received := handshake.receive(_some(bytes(await stream.receive_some(MAX_HEAD_BYTES))))) is None:
            pass
        return _detached(stream), received


async def _shake_hands_in_tls(
    sock: socket.socket, host: str, tls: ssl.SSLContext, handshake: ClientHandshake
) -> tuple[socket.socket, bytes]:
    """In a thread: a blocking handshake is three lines, and this is not what is measured."""

    def shake_hands() -> tuple[socket.socket, bytes]:
        sock.settimeout(WITHIN_S)
        secure = tls.wrap_socket(sock, server_hostname=host)
        secure.sendall(handshake.request())
        while (received := handshake.receive(_some(secure.recv(MAX_HEAD_BYTES)))) is None:
            pass
        secure.setblocking(False)
        return secure, received

    try:
        return await trio.to_thread.run_sync(shake_hands)
    except BaseException:
        sock.close()
        raise


async def _read_head(stream: trio.SocketStream) -> bytes:
    raw = b""
    while _END_OF_HEAD not in raw:
        raw = _with_more(raw, bytes(await stream.receive_some(MAX_HEAD_BYTES)))
    return raw


def _with_more(raw: bytes, received: bytes) -> bytes:
    raw += _some(received)
    if len(raw) > MAX_HEAD_BYTES:
        raise HandshakeError("no request head")
    return raw


def _some(data: bytes) -> bytes:
    if not data:
        raise HandshakeError("the connection was closed during the handshake")
    return data


def _detached(stream: trio.SocketStream) -> socket.socket:
    """The plain socket below, which the caller now has to close."""
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock

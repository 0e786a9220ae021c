"""The one port: media upgrades to the relay, everything else to the web app.

Reads each connection's request head, bounded in size and time, and decides on it alone. Keep-alive stays off, so an
upgrade can never arrive on a connection that already belongs to the web app.
"""

import socket
from collections.abc import Awaitable, Callable

import msgspec
import structlog
import trio

from proto.errors import HandshakeError
from proto.handshake import RequestHead, accept_upgrade, parse_request_head, refuse
from relay.client_address import Networks, client_address
from relay.pump import Pump, PumpLine
from relay.seats import Limit, Seats
from relay.sockets import Line, StreamLine
from relay.totals import Totals

MEDIA_PATH = "/media-stream"
MAX_HEAD_BYTES = 16 * 1024
HEAD_WITHIN_S = 10.0
GOODBYE_WITHIN_S = 1.0
MAX_HEADS_AT_ONCE = 500  # connections that have not yet said what they want
READ_BYTES = 4096

_END_OF_HEAD = b"\r\n\r\n"
_NO_SEAT: dict[Limit, str] = {
    "calls": "all places for calls are taken",
    "waiting": "too many media streams are open and have not started",
    "address": "too many media streams are open from this address",
}
_logger = structlog.stdlib.get_logger("tautline.door")


class ReplayedStream(trio.abc.HalfCloseableStream):
    """A connection whose first bytes were read already: they are read again first.

    `socket` is there for servers that ask who is on the line.
    """

    socket: trio.socket.SocketType  # only if the connection is a socket's

    def __init__(self, stream: trio.abc.HalfCloseableStream, replay: bytes) -> None:
        self._stream, self._replay = stream, replay
        if isinstance(stream, trio.SocketStream):
            self.socket = stream.socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See trio.abc.ReceiveStream."""
        if not self._replay:
            return bytes(await self._stream.receive_some(max_bytes))
        await trio.lowlevel.checkpoint()
        size_bytes = len(self._replay) if max_bytes is None else max_bytes
        data, self._replay = self._replay[:size_bytes], self._replay[size_bytes:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See trio.abc.SendStream."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See trio.abc.SendStream."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """See trio.abc.HalfCloseableStream."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """See trio.abc.AsyncResource."""
        await self._stream.aclose()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What lies behind the door.

    carry: takes an accepted media line, for as long as its call lasts. serve_web: takes a connection of the web app.
    admit: None to let a media upgrade in, else the HTTP status that refuses it.
    """

    carry: Callable[[Line], Awaitable[None]]
    serve_web: Callable[[ReplayedStream], Awaitable[None]]
    admit: Callable[[RequestHead], int | None]


class Door:
    """Sorts connections. One `handle` per connection; it returns when the connection is over and never raises.

    Args: seats, how many media sockets may be open, without limit if not given; trusted_proxies, whose X-Forwarded-For
    is believed.
    """

    def __init__(
        self,
        entry: Entry,
        pump: Pump,
        totals: Totals,
        *,
        seats: Seats | None = None,
        trusted_proxies: Networks = (),
    ) -> None:
        self._entry, self._pump, self._totals = entry, pump, totals
        self._seats, self._trusted_proxies = seats or Seats(), trusted_proxies
        self._reading = trio.CapacityLimiter(MAX_HEADS_AT_ONCE)

    async def handle(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Read what the connection wants, and hand it on."""
        try:
            async with stream:
                await self._sort(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # the peer went away; nobody is left to tell
        except Exception:
            _logger.exception("door.connection_failed")

    async def _sort(self, stream: trio.abc.HalfCloseableStream) -> None:
        try:
            raw, head = await self._read_head(stream)
            if head.path != MEDIA_PATH:
                await self._entry.serve_web(ReplayedStream(stream, raw))
                return
            address = self._address_of(stream, head)
            accepted, received = self._accept(raw, head, address)
        except HandshakeError as error:
            self._totals.handshakes_refused += 1
            _logger.info("door.refused", status=error.status, detail=error.detail)
            await _turn_away(stream, error)
            return
        del raw, head  # some KB that nobody reads again, and a call may last an hour
        try:
            await stream.send_all(accepted)
            if isinstance(stream, trio.SocketStream):
                await self._carry_on_pump(stream, received)
            else:
                await self._entry.carry(StreamLine(stream, received))
        finally:
            self._seats.leave(address)

    async def _carry_on_pump(self, stream: trio.SocketStream, received: bytes) -> None:
        with socket.socket(fileno=stream.socket.detach()) as sock:
            sock.setblocking(False)
            await self._entry.carry(PumpLine(self._pump, sock, received))

    async def _read_head(self, stream: trio.abc.ReceiveStream) -> tuple[bytes, RequestHead]:
        """All bytes read so far, and the head they begin with.

        Raises: HandshakeError with the status to answer.
        """
        try:
            self._reading.acquire_nowait()
        except trio.WouldBlock:
            raise HandshakeError("too many connections are waiting", status=503) from None
        try:
            with trio.fail_after(HEAD_WITHIN_S):
                raw = await _read_until_blank_line(stream)
        except trio.TooSlowError:
            raise HandshakeError(f"no request within {HEAD_WITHIN_S:.0f} s", status=408) from None
        finally:
            self._reading.release()
        return raw, parse_request_head(raw)

    def _address_of(self, stream: trio.abc.HalfCloseableStream, head: RequestHead) -> str:
        if not isinstance(stream, trio.SocketStream):
            return ""
        peer = stream.socket.getpeername()
        forwarded_for = [value for name, value in head.headers if name == "x-forwarded-for"]
        return client_address(str(peer[0]), forwarded_for, self._trusted_proxies)

    def _accept(self, raw: bytes, head: RequestHead, address: str) -> tuple[bytes, bytes]:
        """The 101 answer, and the bytes that came after the head. A seat is taken, last of all.

        Raises: HandshakeError with the status to answer, and then no seat is taken.
        """
        if not head.is_websocket_upgrade:
            raise HandshakeError("this path speaks WebSocket only", status=426)
        status = self._entry.admit(head)
        if status is not None:
            raise HandshakeError("the media stream was not admitted", status=status)
        accepted = accept_upgrade(head)
        reached = self._seats.take(address)
        if reached is not None:
            self._totals.streams_over_limit[reached] += 1
            raise HandshakeError(_NO_SEAT[reached], status=503)
        return accepted, raw[raw.index(_END_OF_HEAD) + len(_END_OF_HEAD) :]


async def _read_until_blank_line(stream: trio.abc.ReceiveStream) -> bytes:
    raw = b""
    while _END_OF_HEAD not in raw:
        if len(raw) > MAX_HEAD_BYTES:
            raise HandshakeError(f"the request head is longer than {MAX_HEAD_BYTES} bytes", status=431)
        data = bytes(await stream.receive_some(READ_BYTES))
        if not data:
            raise HandshakeError("the connection ended before its request", status=400)
        raw += data
        if not raw[:1].isupper():  # methods are upper case; whatever else this is, waiting for its end is vain
            raise HandshakeError("this is not HTTP", status=400)
    return raw


async def _turn_away(stream: trio.abc.HalfCloseableStream, error: HandshakeError) -> None:
    """Answer, then read on for a moment: closing on unread bytes would reset the connection and lose the answer."""
    with trio.move_on_after(GOODBYE_WITHIN_S):
        await stream.send_all(refuse(error.status or 400, error.detail))
        await stream.send_eof()
        while await stream.receive_some(READ_BYTES):
            pass

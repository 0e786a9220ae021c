"""The socket of one stream: dial, upgrade with Twilio's signature, carry messages, close.

Beneath it lies any trio transport: TCP, TLS or memory. One task talks on the line's deadlines, one listens; all
decisions are the `Line`'s. Twilio waits for nobody: every wait here is bounded.
"""

import ssl
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Final, cast
from urllib.parse import urlsplit

import msgspec
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from benchmarks.errors import leaves
from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.line import Line
from benchmarks.simulators.twilio.signature import sign
from benchmarks.simulators.twilio.transport import ImpairedTransport

USER_AGENT: Final = "Tautline-TwilioSimulator/1"
MAX_MESSAGE_BYTES: Final = 1 << 20  # two minutes of audio in one message: more is no answer but an accident
CONNECT_TIMEOUT_S: Final = 10.0
SEND_TIMEOUT_S: Final = 10.0  # how long the relay may leave a frame unread
CLOSE_TIMEOUT_S: Final = 2.0

NO_ANSWER: Final = 31901
REFUSED: Final = 31902
TLS_FAILED: Final = 31910
HANDSHAKE_FAILED: Final = 31920
BAD_SCHEME: Final = 31922
BAD_URL: Final = 31923
_ABNORMAL_CLOSURE: Final = 1006  # RFC 6455, 7.1.5: no close code was received

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]


class StreamAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A stream's URL taken apart. `url` is what is signed, as written in the TwiML."""

    url: str
    host: str
    port: int
    is_tls: bool
    target: str  # the path of the request line

    @property
    def host_header(self) -> str:
        usual = self.port == (443 if self.is_tls else 80)
        return self.host if usual else f"{self.host}:{self.port}"


def parse_stream_url(url: str, *, allow_insecure: bool = False) -> StreamAddress:
    """Raises: CallProblemError with Twilio's code for a URL that it would not dial; `ws:` only if allowed."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise CallProblemError(BAD_URL, f"the stream URL {url!r} is malformed: {error}") from None
    if parts.scheme != "wss" and not (allow_insecure and parts.scheme == "ws"):
        raise CallProblemError(BAD_SCHEME, f"the stream URL {url!r} is not wss://")
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise CallProblemError(BAD_URL, f"the stream URL {url!r} needs a host, and no user and no fragment")
    if parts.query:
        raise CallProblemError(HANDSHAKE_FAILED, f"the stream URL {url!r} has a query: data goes into <Parameter>")
    is_tls = parts.scheme == "wss"
    return StreamAddress(
        url=url, host=parts.hostname, port=port or (443 if is_tls else 80), is_tls=is_tls, target=parts.path or "/"
    )


async def dial_tcp(host: str, port: int) -> trio.abc.Stream:
    """The usual transport."""
    return await trio.open_tcp_stream(host, port)


async def open_transport(
    address: StreamAddress, *, connect_to: tuple[str, int] | None = None, dial: Dial = dial_tcp
) -> trio.abc.Stream:
    """A transport to the relay, with TLS if the URL asks for it.

    Args: connect_to, dial this address instead and without TLS, as a tunnel or proxy in front of the relay would.
    Raises: CallProblemError if nobody answers.
    """
    host, port = connect_to or (address.host, address.port)
    where = f"{address.url} at {host}:{port}"
    transport: trio.abc.Stream | None = None
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            transport = await dial(host, port)
            if address.is_tls and connect_to is None:
                transport = trio.SSLStream(
                    transport, tls_context(), server_hostname=address.host, https_compatible=True
                )
                await transport.do_handshake()
            return transport
    except trio.TooSlowError:
        problem = CallProblemError(NO_ANSWER, f"{where} did not answer within {CONNECT_TIMEOUT_S:.0f} s")
    except OSError as error:
        problem = CallProblemError(REFUSED, f"{where} cannot be reached: {error}")
    except trio.BrokenResourceError as error:
        problem = CallProblemError(TLS_FAILED, f"{where} does not speak TLS: {error.__cause__ or error}")
    if transport is not None:
        await trio.aclose_forcefully(transport)
    raise problem


@cache
def tls_context() -> ssl.SSLContext:
    """One for all calls: loading the certificate store takes longer than a whole handshake."""
    return ssl.create_default_context()


async def carry(
    transport: trio.abc.Stream,
    address: StreamAddress,
    line: Line,
    *,
    auth_token: str | None,
    opened: Callable[[], None] = lambda: None,
) -> int | None:
    """Run one stream over an open transport, from the upgrade to the last byte; the transport is closed on return.

    Args: opened, called when the relay has accepted the upgrade.
    Returns: the WebSocket's close code, None if it ended without one.
    Raises: CallProblemError if the relay does not accept the upgrade.
    """
    problem: CallProblemError | None = None
    exchange: _Exchange | None = None
    impaired = ImpairedTransport(transport, line.network)
    try:
        async with trio.open_nursery() as nursery:
            exchange = _Exchange(await _upgrade(nursery, impaired, address, auth_token), line)
            impaired.begin(trio.current_time())
            opened()
            nursery.start_soon(exchange.listen)
            await exchange.talk()
            nursery.cancel_scope.cancel()
    except* ConnectionRejected as rejections:
        problem = _refusal(address, rejections)
    except* _NoUpgradeError:
        problem = CallProblemError(
            NO_ANSWER, f"{address.url} did not answer the WebSocket upgrade within {CONNECT_TIMEOUT_S:.0f} s"
        )
    except* LocalProtocolError:
        # trio-websocket answers a ping that crossed our own close frame, which wsproto does not allow.
        line.closed(_ABNORMAL_CLOSURE, trio.current_time())
    finally:
        await trio.aclose_forcefully(transport)
    if problem is not None:
        raise problem
    return exchange.close_code if exchange is not None else None


class _NoUpgradeError(Exception):
    """The upgrade was not answered in time."""


async def _upgrade(
    nursery: trio.Nursery, transport: trio.abc.Stream, address: StreamAddress, auth_token: str | None
) -> WebSocketConnection:
    headers = [(b"User-Agent", USER_AGENT.encode())]
    if auth_token is not None:
        headers.append((b"x-twilio-signature", sign(auth_token, address.url, {}).encode()))
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            return await wrap_client_stream(
                nursery,
                cast("trio.SocketStream", transport),  # its annotation is narrower than what it needs: any stream
                address.host_header,
                address.target,
                extra_headers=headers,
                max_message_size=MAX_MESSAGE_BYTES,
            )
    except trio.TooSlowError:
        raise _NoUpgradeError from None


def _refusal(address: StreamAddress, rejections: BaseExceptionGroup[ConnectionRejected]) -> CallProblemError:
    status = next(error.status_code for error in leaves(rejections) if isinstance(error, ConnectionRejected))
    return CallProblemError(
        HANDSHAKE_FAILED, f"{address.url} answered the WebSocket upgrade with HTTP {status}, not 101", status=status
    )


class _Exchange:
    """The two tasks of an open socket. Only `talk` sends, so a relay that does not read cannot stop us listening."""

    def __init__(self, socket: WebSocketConnection, line: Line) -> None:
        self._socket, self._line = socket, line
        self._changed = trio.Event()  # the relay said something: the line may be due earlier now
        self._is_stuck = False  # the relay does not read

    @property
    def close_code(self) -> int | None:
        return self._socket.closed.code if self._socket.closed is not None else None

    async def talk(self) -> None:
        """Send what is due until the line has ended, then say goodbye."""
        await self._send(self._line.begin(trio.current_time()))
        while not self._line.is_over:
            with trio.move_on_at(self._line.due_at()):
                await self._changed.wait()
            self._changed = trio.Event()
            await self._send(self._line.step(trio.current_time()))
        # With half a frame under way nothing can follow it, and an end that has vanished says no goodbye.
        if not self._is_stuck and self._line.ended_by != "network":
            with trio.move_on_after(CLOSE_TIMEOUT_S):
                await self._socket.aclose()

    async def listen(self) -> None:
        """Hand every message to the line, until the socket closes."""
        try:
            while True:
                raw = await self._socket.get_message()
                self._line.hear(raw, trio.current_time())
                self._changed.set()
        except ConnectionClosed as closed:
            self._note_closed(closed)

    async def _send(self, raws: list[str]) -> None:
        try:
            for raw in raws:
                with trio.fail_after(SEND_TIMEOUT_S):
                    await self._socket.send_message(raw)
        except trio.TooSlowError:
            self._is_stuck = True
            self._line.fail(f"the relay has not read for {SEND_TIMEOUT_S:.0f} s", trio.current_time())
        except ConnectionClosed as closed:
            self._note_closed(closed)

    def _note_closed(self, closed: ConnectionClosed) -> None:
        now = trio.current_time()
        reason = closed.reason
        if reason is not None and reason.code == 1009 and "maximum message size" in (reason.reason or ""):
            # That was us, not the relay: trio-websocket closes on its own limit.
            self._line.fail(f"the relay sent a message of more than {MAX_MESSAGE_BYTES} bytes", now)
        self._line.closed(reason.code if reason is not None else _ABNORMAL_CLOSURE, now)
        self._changed.set()

"""The simulator's server: sessions at `GET /v1/realtime?model=…`, and on the same port the control endpoint.

The head of each request is read here, by h11; what asks for a WebSocket is handed on with the bytes already read, the
rest is plain HTTP. One session for each WebSocket; they share nothing but the desk that counts them.
"""

import ipaddress
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import Final

import h11
import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream

from benchmarks.simulators.openai import control
from benchmarks.simulators.openai.capture import Capture, open_capture
from benchmarks.simulators.openai.config import SimulatorConfig
from benchmarks.simulators.openai.connection import Connection, close
from benchmarks.simulators.openai.control import Answer, Desk, error_body
from benchmarks.simulators.openai.handshake import (
    PATH,
    Accept,
    CloseAfterUpgrade,
    Reject,
    Request,
    Upgrade,
    judge,
    recorded,
)
from benchmarks.simulators.openai.ids import Ids
from benchmarks.simulators.openai.session import Session

MAX_MESSAGE_BYTES: Final = 16 * 2**20
MAX_HTTP_BYTES: Final = 64 * 1024  # of a request's head, and of an order's body
HANDSHAKE_S: Final = 10.0  # for a client to say what it wants

logger = logging.getLogger(__name__)


class Simulator:
    """One simulated service.

    Attributes: desk, its live sessions, the requests it has seen and the faults of new sessions; to be read and changed
    from the same program as the control endpoint does it from outside.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self.desk = Desk(config.faults)
        self._config = config
        self._numbers = count()

    async def serve(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves until cancelled; started with the port, which is a free one for port 0.

        Resource handling: sockets and sessions end when this is cancelled.
        Error handling: OSError if the port cannot be had; what fails in one session is logged and ends that session.
        """
        listeners = await trio.open_tcp_listeners(port, host=host)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, self.serve_stream, listeners))
            task_status.started(listeners[0].socket.getsockname()[1])

    async def serve_stream(self, stream: trio.abc.Stream, *, number: int | None = None) -> None:
        """Serves one connection on any stream, from its first byte to its end, and closes the stream.

        Args: number, tells this session from others of the same seed; without one they are counted.
        Error handling: raises nothing but Cancelled; whatever fails is logged, and concerns this connection alone.
        """
        try:
            async with stream:
                head = None
                with trio.move_on_after(HANDSHAKE_S):
                    head = await _read_head(stream)
                    if head is not None and not head.is_upgrade:
                        await self._answer_http(stream, head)
                if head is not None and head.is_upgrade:
                    await self._upgrade(stream, head.raw, next(self._numbers) if number is None else number)
        except* (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # gone before it was answered
        except* Exception:
            logger.exception("a connection failed")

    # WebSocket

    async def _upgrade(self, stream: trio.abc.Stream, raw: bytes, number: int) -> None:
        async with trio.open_nursery() as nursery:  # holds the WebSocket's reader
            request = None
            with trio.move_on_after(HANDSHAKE_S):
                again = trio.StapledStream(stream, _Replay(raw, stream))
                request = await wrap_server_stream(nursery, again, max_message_size=MAX_MESSAGE_BYTES)
            if request is not None:
                await self._judge(request, stream, number)
            nursery.cancel_scope.cancel()

    async def _judge(self, request: WebSocketRequest, stream: trio.abc.Stream, number: int) -> None:
        asked = Request(request.path, tuple(request.headers), tuple(request.proposed_subprotocols))
        upgrade, config = recorded(asked, number), self._config
        if upgrade.path == PATH:
            self.desk.upgrades.append(upgrade)
            config = msgspec.structs.replace(config, faults=self.desk.next_faults())
            await trio.sleep(config.faults.upgrade_delay_s)
        match judge(asked, config):
            case Reject(status, body, headers):
                headers = [(b"Content-Type", b"application/json"), *headers]
                await request.reject(status, extra_headers=headers, body=msgspec.json.encode(body))
            case CloseAfterUpgrade(subprotocol, event, goodbye):
                socket = await request.accept(subprotocol=subprotocol)
                named = {"type": event["type"], "event_id": Ids(f"{config.seed}/{number}").new("event"), **event}
                await socket.send_message(msgspec.json.encode(named).decode())
                await close(socket, goodbye)
            case Accept(subprotocol, model):
                socket = await request.accept(subprotocol=subprotocol)
                await self._hold(socket, stream, config, model, upgrade)

    async def _hold(
        self,
        socket: WebSocketConnection,
        stream: trio.abc.Stream,
        config: SimulatorConfig,
        model: str,
        upgrade: Upgrade,
    ) -> None:
        with _captured(config, upgrade) as capture:
            observers = (capture.observe,) if capture else ()
            session = Session(config, model, number=upgrade.number, now=trio.current_time(), observers=observers)
            connection = Connection(socket, stream, session, upgrade)
            self.desk.live[session.id] = connection
            try:
                await connection.run()
            finally:
                del self.desk.live[session.id]
                if capture:
                    capture.end(trio.current_time(), session.closing)

    # HTTP

    async def _answer_http(self, stream: trio.abc.Stream, head: "_Head") -> None:
        path, method = head.request.target.partition(b"?")[0].decode("ascii"), head.request.method.decode("ascii")
        if path == PATH:
            said = Answer(426, error_body("This is a WebSocket endpoint."))
        elif path not in (control.PATH, control.SESSIONS_PATH):
            said = Answer(404, error_body(f"Invalid URL ({method} {path})"))
        elif not _is_this_machine(stream):
            said = Answer(403, error_body("Only this machine may control the simulator."))
        else:
            body = await _read_body(stream, head.http)
            said = control.answer(method, path, body, self.desk)
        await _send_answer(stream, head.http, said)


class _Head(msgspec.Struct, frozen=True):
    """A request up to its blank line, and all that was read with it."""

    http: h11.Connection
    request: h11.Request
    raw: bytes

    @property
    def is_upgrade(self) -> bool:
        return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self.request.headers)


class _Replay(trio.abc.ReceiveStream):
    """What was read of a stream already, and then the stream."""

    def __init__(self, raw: bytes, stream: trio.abc.Stream) -> None:
        self._raw = raw
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._raw:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = len(self._raw) if max_bytes is None else max_bytes
        now, self._raw = self._raw[:size], self._raw[size:]
        return now

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _read_head(stream: trio.abc.Stream) -> _Head | None:
    """The next request's; None if the client left, or spoke something else and was told so."""
    http, raw = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HTTP_BYTES), b""
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as error:
            await _send_answer(stream, http, Answer(error.error_status_hint, error_body("This is not HTTP/1.1.")))
            return None
        if isinstance(event, h11.Request):
            return _Head(http, event, raw)
        if event is not h11.NEED_DATA:
            return None
        received = bytes(await stream.receive_some())
        raw += received
        http.receive_data(received)


async def _read_body(stream: trio.abc.Stream, http: h11.Connection) -> bytes:
    """A request's, up to 64 KiB of it: a longer or a broken one is cut off, and then is no order."""
    body = b""
    while len(body) <= MAX_HTTP_BYTES:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError:
            break
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            break
    return body[:MAX_HTTP_BYTES]


async def _send_answer(stream: trio.abc.Stream, http: h11.Connection, answer: Answer) -> None:
    body = msgspec.json.encode(answer.body)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
    parts: list[h11.Event] = [h11.Response(status_code=answer.status, headers=headers), h11.Data(data=body)]
    with suppress(h11.LocalProtocolError):  # what a HEAD is answered may have no body
        for part in [*parts, h11.EndOfMessage()]:
            await stream.send_all(http.send(part) or b"")


def _is_this_machine(stream: trio.abc.Stream) -> bool:
    """A stream in memory is; a socket is if its peer's address says so."""
    if not isinstance(stream, trio.SocketStream):
        return True
    address = ipaddress.ip_address(stream.socket.getpeername()[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


@contextmanager
def _captured(config: SimulatorConfig, upgrade: Upgrade) -> Iterator[Capture | None]:
    """The session's file, if there is to be one."""
    if config.capture_dir is None:
        yield None
        return
    now, with_audio = trio.current_time(), config.capture_audio
    with open_capture(config.capture_dir, upgrade.number, opened_at=now, with_audio=with_audio) as capture:
        capture.begin(upgrade)
        yield capture


async def serve(
    config: SimulatorConfig,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """`Simulator.serve` of a simulator of its own."""
    await Simulator(config).serve(host=host, port=port, task_status=task_status)


async def serve_stream(stream: trio.abc.Stream, config: SimulatorConfig, *, number: int = 0) -> None:
    """`Simulator.serve_stream` of a simulator of its own."""
    await Simulator(config).serve_stream(stream, number=number)

"""The bridge to hypercorn: serves the admin app on connections that somebody else accepted.

The door accepts and looks at the first bytes; what is not a media stream comes here, one stream at a time. This is the
only file that touches hypercorn's internals, and `tests/tautline/test_web.py` is the contract: it fails when a new
version moves them. Used are `hypercorn.trio.tcp_server.TCPServer` (reading, sending, closing, the idle timer),
`H11Protocol` with `H11WSConnection` and `WSStream` (HTTP/1.1 and WebSockets), `TaskGroup`, `WorkerContext`,
`ASGIWrapper` and `Config`.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol, cast, runtime_checkable

import h11
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from hypercorn.utils import parse_socket_addr
from quart_trio import QuartTrio

HEAD_TIMEOUT_S = 5.0  # for the whole request head; the body's time is the app's own (BODY_TIMEOUT)
MAX_HEAD_BYTES = 16 * 1024
MAX_WEBSOCKET_MESSAGE_BYTES = 64 * 1024
SEND_TIMEOUT_S = 10.0  # for one piece of a response: who reads more slowly is gone
LINGER_S = 1.0  # how long what a client still sends is read away, so that our answer reaches it before a reset does
LIFESPAN_TIMEOUT_S = 20.0

ServeStream = Callable[[trio.abc.HalfCloseableStream], Awaitable[None]]

_logger = structlog.stdlib.get_logger("tautline.web")


class WebAppError(Exception):
    """The app could not be started or stopped; its own log lines say why."""


@asynccontextmanager
async def open_web_app(app: QuartTrio) -> AsyncIterator[ServeStream]:
    """Start the app, yield the function that serves one connection, stop the app at the end, also when cancelled.

    `serve_stream(stream)` serves one request and returns when the connection is closed. It closes the stream whatever
    happens, raises nothing but cancellation, and logs what goes wrong. Run it in a nursery that ends inside this block.

    What it needs of the stream: trio's HalfCloseableStream (`receive_some`, `send_all`, `send_eof`, `aclose`), where
    the first bytes received are those of the request head, even if somebody has read them before; and, if the app is to
    know the client's address, `.socket` with `family`, `getpeername()` and `getsockname()`. TLS ends before us.

    Raises: WebAppError if the app does not start or stop. Like whatever the block raises, it comes in an exception
    group, because a task beside the block holds the app's lifespan.
    """
    lifespan = _Lifespan(app)
    async with trio.open_nursery() as nursery:
        lifespan_scope = await nursery.start(lifespan.run)
        try:
            await lifespan.say("startup")
            context = WorkerContext(max_requests=None)
            try:
                yield _serving(app, context)
            finally:
                with trio.CancelScope(shield=True):  # a goodbye, and say() bounds it
                    await context.terminated.set()
                    await lifespan.say("shutdown")
        finally:
            lifespan_scope.cancel()


def _serving(app: QuartTrio, context: WorkerContext) -> ServeStream:
    config = _config()
    wrapped = ASGIWrapper(cast("ASGIFramework", app))

    async def serve_stream(stream: trio.abc.HalfCloseableStream) -> None:
        try:
            await _Connection(wrapped, config, context, _BoundedStream(stream)).run()
        except* Exception as error:
            _logger.error("web.connection_failed", exc_info=error)
        finally:
            await trio.aclose_forcefully(stream)

    return serve_stream


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")  # a logger, not "-": that would add a handler of its own
    config.include_server_header = False
    config.keep_alive_max_requests = 0  # every response says Connection: close
    config.keep_alive_timeout = HEAD_TIMEOUT_S  # what hypercorn calls idle begins with the connection
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.websocket_max_message_size = MAX_WEBSOCKET_MESSAGE_BYTES
    return config


@runtime_checkable
class _HasSocket(Protocol):
    @property
    def socket(self) -> trio.socket.SocketType: ...


class _BoundedStream:
    """The stream as hypercorn sees it. Sends have a time limit, since hypercorn shields them from cancellation."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.client, self.server = _addresses(stream)
        self._stream = stream
        self._peer_is_done = trio.Event()

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(SEND_TIMEOUT_S) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self._stream)  # else hypercorn would go on waiting for the client's next bytes
            raise trio.BrokenResourceError("the client does not read its response")

    async def receive_some(self, max_bytes: int) -> bytes:
        try:
            received = bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._peer_is_done.set()
            raise
        if not received:
            self._peer_is_done.set()
        return received

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        with trio.move_on_after(LINGER_S):
            await self._read_away()
        await self._stream.aclose()

    async def _read_away(self) -> None:
        try:
            while not self._peer_is_done.is_set():
                await self.receive_some(MAX_HEAD_BYTES)
        except trio.BusyResourceError:  # hypercorn's reader is at it already
            await self._peer_is_done.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


class _Http1(H11Protocol):
    """HTTP/1.1 only: hypercorn would follow an h2c upgrade or an HTTP/2 preface into a protocol we do not bound."""

    is_over = False  # set once the connection is to be closed: what still arrives is read away

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData) and (self.is_over or self._is_opening_websocket()):
            return
        try:
            await super().handle(event)
        except _UnsupportedVersionError:
            await self._send_error_response(505)
            await self.send(Closed())

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.http_version not in (b"1.0", b"1.1"):
            raise _UnsupportedVersionError

    async def _create_stream(self, request: h11.Request) -> None:
        await super()._create_stream(request)
        if isinstance(self.connection, H11WSConnection):
            self.connection.buffer.clear()

    def _is_opening_websocket(self) -> bool:
        """Whether a client would have to wait for our answer. hypercorn answers early bytes itself, beside the app."""
        return isinstance(self.stream, WSStream) and not self.stream.handshake.accepted


class _UnsupportedVersionError(Exception):
    pass


class _Connection(TCPServer):
    """One connection: hypercorn's own, without TLS and without its choice between HTTP versions."""

    def __init__(self, app: ASGIWrapper, config: Config, context: WorkerContext, stream: _BoundedStream) -> None:
        super().__init__(app, config, context, {}, cast("Any", stream))  # Any: typed as the TLS stream it may be
        self._addresses = (stream.client, stream.server)

    async def run(self) -> None:
        try:
            async with TaskGroup() as self._task_group:
                self._http1 = self._speak_http1()
                self.protocol = cast("ProtocolWrapper", self._http1)  # handle() is all that is called
                await self.idle_task.restart(self._task_group, self._idle_timeout)
                await self._read_data()
                await self.idle_task.stop()  # or an early disconnect would be waited for until the timeout
        finally:
            await self._close()

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, Closed):
            await super().protocol_send(event)
        elif not self._http1.is_over:
            self._http1.is_over = True
            # Not in this task: often it is the app's, which Quart cancels as soon as its response is complete.
            self._task_group.spawn(self._close)
            await self._http1.handle(Closed())

    def _speak_http1(self) -> _Http1:
        client, server = self._addresses
        state = ConnectionState(self.state)
        return _Http1(
            self.app, self.config, self.context, self._task_group, state, False, client, server, self.protocol_send
        )


class _Lifespan:
    """The app's start and stop, as ASGI words it: we say a word, the app answers that it is complete or has failed."""

    def __init__(self, app: QuartTrio) -> None:
        self._app = app
        self._words, self._words_out = trio.open_memory_channel[dict[str, Any]](1)
        self._answers_in, self._answers = trio.open_memory_channel[dict[str, Any]](1)

    async def run(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Be the app's lifespan task, out of reach of cancellation until the scope that is reported is cancelled."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        with trio.CancelScope(shield=True) as cancel_scope, self._words_out, self._answers_in:
            task_status.started(cancel_scope)
            await self._app(
                cast("Any", scope), cast("Any", self._words_out.receive), cast("Any", self._answers_in.send)
            )

    async def say(self, word: Literal["startup", "shutdown"]) -> None:
        """Tell the app and wait for its answer. Raises WebAppError."""
        try:
            with trio.fail_after(LIFESPAN_TIMEOUT_S):
                await self._words.send({"type": f"lifespan.{word}"})
                answer = await self._answers.receive()
        except (trio.TooSlowError, trio.BrokenResourceError, trio.EndOfChannel):
            raise WebAppError(f"the web app did not answer its {word}") from None
        if answer["type"] != f"lifespan.{word}.complete":
            raise WebAppError(f"the web app's {word} failed: {answer.get('message') or 'no reason given'}")


def _addresses(stream: trio.abc.HalfCloseableStream) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    """The client's address and ours; None for both when the stream has none, or has lost it with its client."""
    if not isinstance(stream, _HasSocket):
        return None, None
    try:
        family = stream.socket.family
        return (
            parse_socket_addr(family, stream.socket.getpeername()),
            parse_socket_addr(family, stream.socket.getsockname()),
        )
    except OSError:
        return None, None

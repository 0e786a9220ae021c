"""The simulator's server: `GET /v1/realtime?model=…`, one session for each WebSocket, nothing shared between them."""

import logging
from functools import partial
from itertools import count
from typing import Final

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, wrap_server_stream

from benchmarks.simulators.openai.config import SimulatorConfig
from benchmarks.simulators.openai.connection import Connection, close
from benchmarks.simulators.openai.handshake import Accept, CloseAfterUpgrade, Reject, Request, judge
from benchmarks.simulators.openai.ids import Ids
from benchmarks.simulators.openai.session import Session

MAX_MESSAGE_BYTES: Final = 16 * 2**20
HANDSHAKE_S: Final = 10.0  # for a client to say what it wants

logger = logging.getLogger(__name__)


async def serve(
    config: SimulatorConfig,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves sessions until cancelled; started with the port, which is a free one for port 0.

    Resource handling: sockets and sessions end when this is cancelled.
    Error handling: OSError if the port cannot be had; what fails in one session is logged and ends that session.
    """
    numbers = count()

    async def serve_client(stream: trio.SocketStream) -> None:
        await serve_stream(stream, config, number=next(numbers))

    listeners = await trio.open_tcp_listeners(port, host=host)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, serve_client, listeners))
        task_status.started(listeners[0].socket.getsockname()[1])


async def serve_stream(stream: trio.abc.Stream, config: SimulatorConfig, *, number: int = 0) -> None:
    """Serves one connection on any stream, from its handshake to its end, and closes the stream.

    Args: number, tells this session from others of the same seed.
    Error handling: raises nothing but Cancelled; whatever fails is logged, and concerns this connection alone.
    """
    try:
        async with stream, trio.open_nursery() as nursery:  # the nursery holds the WebSocket's reader
            request = None
            with trio.move_on_after(HANDSHAKE_S):
                request = await wrap_server_stream(nursery, stream, max_message_size=MAX_MESSAGE_BYTES)
            if request is not None:
                await _answer(request, config, number)
            nursery.cancel_scope.cancel()
    except* ConnectionClosed:
        pass  # gone before it was answered
    except* Exception:
        logger.exception("a connection failed")


async def _answer(request: WebSocketRequest, config: SimulatorConfig, number: int) -> None:
    asked = Request(request.path, request.headers, request.proposed_subprotocols)
    match judge(asked, config):
        case Reject(status, body):
            headers = [(b"Content-Type", b"application/json")]
            await request.reject(status, extra_headers=headers, body=msgspec.json.encode(body))
        case CloseAfterUpgrade(subprotocol, event, goodbye):
            socket = await request.accept(subprotocol=subprotocol)
            named = {"type": event["type"], "event_id": Ids(f"{config.seed}/{number}").new("event"), **event}
            await socket.send_message(msgspec.json.encode(named).decode())
            await close(socket, goodbye)
        case Accept(subprotocol, model):
            socket = await request.accept(subprotocol=subprotocol)
            await Connection(socket, Session(config, model, number=number, now=trio.current_time())).run()

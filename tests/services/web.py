"""The admin app on a real port, over the bridge that serves it in production."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from quart_trio import QuartTrio

from tautline.web import open_web_app


@asynccontextmanager
async def serving_web(app: QuartTrio, *, send_buffer_bytes: int | None = None) -> AsyncIterator[int]:
    """The app on a port of 127.0.0.1. send_buffer_bytes: how much the kernel keeps for a client that does not read."""
    async with open_web_app(app) as serve_stream, trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        if send_buffer_bytes is not None:  # what is accepted inherits it
            listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, send_buffer_bytes)
        nursery.start_soon(trio.serve_listeners, serve_stream, [listener])
        with trio.fail_after(20):
            yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()

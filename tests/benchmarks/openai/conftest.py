"""Connections to a simulator over a pair of memory streams."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from benchmarks.simulators.openai import Simulator, SimulatorConfig
from tests.benchmarks.openai.wire import KEY, MODEL, Client, OpenLine, dial


@pytest.fixture
def open_line() -> OpenLine:
    """Opens a connection to a simulator of its own; leaving it proves that the simulator's task ended too.

    Ask for `autojump_clock` beside it, or time will pass.
    """

    @asynccontextmanager
    async def connect(
        config: SimulatorConfig | Simulator | None = None,
        *headers: tuple[bytes, bytes],
        target: str = MODEL,
        subprotocols: list[str] | None = None,
    ) -> AsyncIterator[Client]:
        config = config or SimulatorConfig(wall_clock=lambda: 1e9)
        simulator = config if isinstance(config, Simulator) else Simulator(config)
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as server_nursery, trio.open_nursery() as nursery:
            server_nursery.start_soon(simulator.serve_stream, theirs)
            offered = {"subprotocols": subprotocols, "extra_headers": list(headers or (KEY,))}
            socket = await dial(nursery, ours, target, **offered)
            yield Client(socket)
            await socket.aclose()
            nursery.cancel_scope.cancel()

    return connect

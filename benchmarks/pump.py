"""The relay's own pump, running while a context lasts: for benchmarks and tests that speak over its sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from relay import Pump


@asynccontextmanager
async def open_pump() -> AsyncIterator[Pump]:
    """A pump that runs while the context lasts."""
    pump = Pump()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        yield pump
        nursery.cancel_scope.cancel()

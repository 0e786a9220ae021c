"""Where previews are spoken in tests: the OpenAI simulator, in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import memory_stream_pair

from admin.services.personas.previews import Speech
from benchmarks.simulators.openai import Reply, Script, Simulator, SimulatorConfig, Step
from relay import open_stream_line
from relay.sockets import Line
from relay.upstream import Upstream


class Service:
    """A simulated OpenAI in memory. Attributes: opened, the models asked for, one for each line."""

    def __init__(self, simulator: Simulator, nursery: trio.Nursery) -> None:
        self._simulator, self._nursery = simulator, nursery
        self.opened: list[str | None] = []

    @property
    def is_left_alone(self) -> bool:
        """Whether no session is open any more."""
        return self._simulator.desk.live == {}

    def speech(self, model: str | None) -> Speech:
        url = f"ws://openai.test/v1/realtime?model={model or 'gpt-realtime-2.1'}"

        @asynccontextmanager
        async def connect() -> AsyncIterator[Line]:
            self.opened.append(model)
            ours, theirs = memory_stream_pair()
            self._nursery.start_soon(self._simulator.serve_stream, theirs)
            async with ours:
                yield await open_stream_line(Upstream(url=url, api_key="sk-test"), ours)

        return Speech(connect=connect, service=url)


@asynccontextmanager
async def serving_speech(*steps: Step, **settings: Any) -> AsyncIterator[Service]:
    """Leaving it proves that every session has ended."""
    config = SimulatorConfig(script=Script(steps=steps or (Reply("greeting"),) * 9), wall_clock=lambda: 1e9, **settings)
    async with trio.open_nursery() as nursery:
        service = Service(Simulator(config), nursery)
        yield service
    assert service.is_left_alone

"""The memory stage: the whole stack over memory streams; under `trio.testing.MockClock` it takes no time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
from trio.testing import memory_stream_pair

from benchmarks.scenarios.scenario import Outcome, Scenario
from benchmarks.scenarios.service import Service
from benchmarks.simulators import openai
from benchmarks.simulators.twilio import CallOptions, run_stream
from relay import Door, Entry, LogEvent, Pump, Switchboard, Totals, Upstream, open_stream_line
from relay.sockets import Line

UPSTREAM = Upstream(url="ws://openai.test/v1/realtime?model=gpt-realtime-2.1", api_key="sk-test")


class Kept:
    """A call log that keeps everything."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def offer(self, call_sid: str, event: LogEvent) -> None:  # noqa: ARG002 - a scenario is one call
        """See relay.CallLog."""
        self.events.append(event)


async def play(scenario: Scenario) -> Outcome:
    """Play a scenario to its end: upgrade, call, goodbye."""
    kept, service = Kept(), Service(scenario)
    async with trio.open_nursery() as nursery:

        @asynccontextmanager
        async def connect(_model: str) -> AsyncIterator[Line]:
            attempt = service.attempt()
            if attempt.connect_s is None:
                raise ConnectionRefusedError("connection refused")
            await trio.sleep(attempt.connect_s)
            ours, theirs = memory_stream_pair()
            nursery.start_soon(partial(openai.serve_stream, theirs, attempt.config, number=attempt.number))
            yield await open_stream_line(UPSTREAM, ours)

        switchboard = Switchboard(
            lambda _: scenario.persona, connect=connect, call_log=kept, totals=Totals(), toolbox=scenario.toolbox()
        )
        entry = Entry(carry=switchboard.carry, serve_web=no_web_app, admit=lambda _: None)
        ours, theirs = memory_stream_pair()
        nursery.start_soon(Door(entry, Pump(), Totals()).handle, ours)
        options = CallOptions(
            stream_url="ws://relay.test/media-stream",
            allow_insecure=True,
            seed=1,
            max_seconds=scenario.max_s,
            network=scenario.network,
        )
        report = await run_stream(theirs, options, scenario.new_caller())
        await switchboard.drain()
    return Outcome(
        report=report,
        log=tuple(kept.events),
        events=service.events,
        sessions=service.sessions,
        tolerance_ms=1,
    )


async def no_web_app(stream: object) -> None:
    raise AssertionError(f"a media upgrade went to the web app: {stream}")

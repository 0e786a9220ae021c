"""The sockets stage: the whole stack in real time over loopback, TCP and the pump included."""

import ssl
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from benchmarks.scenarios.memory import Kept, no_web_app
from benchmarks.scenarios.scenario import Outcome, Scenario
from benchmarks.scenarios.service import Service
from benchmarks.simulators import openai
from benchmarks.simulators.twilio import CallOptions, place_call
from relay import Door, Entry, Pump, Switchboard, Totals, Upstream, open_upstream

TOLERANCE_MS = 60  # of a loaded machine: a frame late at either end, a mark late on its way back


async def play(scenario: Scenario) -> Outcome:
    """Play a scenario to its end. Takes as long as the call does."""
    kept, service = Kept(), Service(scenario)
    pump, totals = Pump(), Totals()
    async with trio.open_nursery() as nursery:
        model_port = await _serve(partial(_serve_session, service), nursery)
        upstream = Upstream(url=f"ws://127.0.0.1:{model_port}/v1/realtime?model=gpt-realtime-2.1", api_key="sk-test")
        connect = partial(open_upstream, upstream, pump, ssl.create_default_context())
        switchboard = Switchboard(
            lambda _: scenario.persona, connect=connect, call_log=kept, totals=totals, toolbox=scenario.toolbox()
        )
        entry = Entry(carry=switchboard.carry, serve_web=no_web_app, admit=lambda _: None)
        nursery.start_soon(pump.run)
        port = await _serve(Door(entry, pump, totals).handle, nursery)
        options = CallOptions(
            stream_url=f"ws://127.0.0.1:{port}/media-stream",
            allow_insecure=True,
            max_seconds=scenario.max_s,
            network=scenario.network,
        )
        report = await place_call(options, scenario.new_caller())
        await switchboard.drain()
        nursery.cancel_scope.cancel()
    return Outcome(
        report=report,
        log=tuple(kept.events),
        events=service.events,
        sessions=service.sessions,
        tolerance_ms=TOLERANCE_MS,
    )


async def _serve(handle: Callable[[trio.SocketStream], Awaitable[object]], nursery: trio.Nursery) -> int:
    """Take connections on a free port; returns it."""
    listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
    port: int = listeners[0].socket.getsockname()[1]
    return port


async def _serve_session(service: Service, stream: trio.SocketStream) -> None:
    attempt = service.attempt()
    if attempt.connect_s is None:
        await stream.aclose()
        return
    await trio.sleep(attempt.connect_s)
    await openai.serve_stream(stream, attempt.config, number=attempt.number)

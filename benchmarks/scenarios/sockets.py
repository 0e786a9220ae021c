"""The sockets stage: the whole stack in real time over loopback, TCP and the pump included."""

import ssl
from functools import partial

import trio

from benchmarks.scenarios.memory import Kept, no_web_app
from benchmarks.scenarios.scenario import Outcome, Scenario
from benchmarks.simulators import openai
from benchmarks.simulators.openai import Json
from benchmarks.simulators.twilio import CallOptions, place_call
from relay import Door, Entry, Pump, Switchboard, Totals, Upstream, open_upstream

TOLERANCE_MS = 60  # of a loaded machine: a frame late at either end, a mark late on its way back


async def play(scenario: Scenario) -> Outcome:
    """Play a scenario to its end. Takes as long as the call does."""
    kept, watched = Kept(), list[tuple[str, Json]]()
    pump, totals = Pump(), Totals()
    async with trio.open_nursery() as nursery:
        model_port = await nursery.start(partial(openai.serve, scenario.model_config(watched)))
        upstream = Upstream(url=f"ws://127.0.0.1:{model_port}/v1/realtime?model=gpt-realtime-2.1", api_key="sk-test")
        connect = partial(open_upstream, upstream, pump, ssl.create_default_context())
        switchboard = Switchboard(scenario.persona, connect=connect, call_log=kept, totals=totals)
        entry = Entry(carry=switchboard.carry, serve_web=no_web_app, admit=lambda _: None)
        nursery.start_soon(pump.run)
        serve = partial(trio.serve_tcp, Door(entry, pump, totals).handle, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        options = CallOptions(
            stream_url=f"ws://127.0.0.1:{port}/media-stream", allow_insecure=True, max_seconds=scenario.max_s
        )
        report = await place_call(options, scenario.new_caller())
        await switchboard.drain()
        nursery.cancel_scope.cancel()
    return Outcome(report=report, log=tuple(kept.events), events=tuple(watched), tolerance_ms=TOLERANCE_MS)

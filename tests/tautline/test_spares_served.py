"""The server as a whole: what it opens ahead of its calls, and that nothing of it stays behind."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from benchmarks.simulators.openai import Simulator, SimulatorConfig
from proto.handshake import ClientHandshake
from proto.websocket import FrameCodec, Role
from tautline.serve import LineLog, Server
from tautline.settings import Settings
from tests.relay import wire


@asynccontextmanager
async def open_server(simulator: Simulator, *, key: str | None, spares: int) -> AsyncIterator[tuple[Server, int]]:
    """A server before a simulated model, and its port."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            model_port = await nursery.start(simulator.serve)
            settings = Settings(
                host="127.0.0.1",
                port=0,
                openai_api_key=key,
                openai_realtime_url=f"ws://127.0.0.1:{model_port}/v1/realtime",
                upstream_spares=spares,
                cache_greeting="off",  # what renders it opens a session, too
            )
            server = Server(settings, LineLog())
            async with trio.open_nursery() as serving:
                yield server, await serving.start(server.run)
                serving.cancel_scope.cancel()
            await until(lambda: not simulator.desk.live)
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Server and simulator are tasks of this program; neither tells a test what it has done."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await trio.sleep(0.001)


async def call(port: int, is_enough: Callable[[], bool]) -> None:
    """A call that is hung up as soon as that is so."""
    codec = FrameCodec(Role.CLIENT, max_message_bytes=1 << 20)
    async with await trio.open_tcp_stream("127.0.0.1", port) as phone:
        await phone.send_all(ClientHandshake("127.0.0.1", "/media-stream", ()).request())
        await phone.send_all(codec.text(wire.raw(wire.connected())) + codec.text(wire.raw(wire.start())))
        await until(is_enough)
        await phone.send_all(codec.text(wire.raw(wire.stop())) + codec.close(1000))
        while await phone.receive_some():
            pass


async def test_the_first_call_finds_a_session_that_waited_for_it() -> None:
    simulator = Simulator(SimulatorConfig())
    async with open_server(simulator, key="sk-test", spares=2) as (server, port):
        totals = server.totals
        await until(lambda: totals.upstream_spares_waiting == 2)
        assert len(simulator.desk.live) == 2
        await call(port, lambda: totals.upstream_spares_used == 1)
        await until(lambda: totals.upstream_spares_waiting == 2)
        assert (totals.upstream_spares_used, totals.upstream_opened_cold) == (1, 0)


@pytest.mark.parametrize(("key", "spares"), [("sk-test", 0), (None, 1)])
async def test_without_spares_or_a_key_nothing_is_opened_before_a_call(key: str | None, spares: int) -> None:
    simulator = Simulator(SimulatorConfig())
    async with open_server(simulator, key=key, spares=spares) as (server, port):
        await call(port, lambda: bool(simulator.desk.upgrades))
        await server.switchboard.drain()
        assert len(simulator.desk.upgrades) == 1  # the call's own
        assert server.totals.upstream_spares_used == 0

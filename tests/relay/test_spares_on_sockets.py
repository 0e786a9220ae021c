"""Spare connections on real sockets: the OpenAI simulator, with and without TLS, and the pump that takes over."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import pytest
import trio
import trustme

from benchmarks.simulators.openai import Order, Simulator, SimulatorConfig
from benchmarks.simulators.openai.events import Close
from proto import realtime
from proto.websocket import Received
from relay.persona import Persona, session_config
from relay.pump import Pump
from relay.sockets import Line, MediaSocket
from relay.spares import SpareConnections
from relay.totals import Totals
from relay.upstream import Upstream, connect_upstream


class Pool:
    """Spares of a simulated service."""

    def __init__(self, simulator: Simulator, url: str, tls: ssl.SSLContext) -> None:
        self.simulator, self.totals, self.pump = simulator, Totals(), Pump()
        upstream = Upstream(url=f"{url}/v1/realtime?model=gpt-realtime-2.1", api_key="sk-test")
        connect = partial(connect_upstream, upstream, self.pump, tls)
        self.spares = SpareConnections(connect, size=1, totals=self.totals)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Both ends are tasks of this program; neither tells a test what it has done."""
        with trio.fail_after(10):
            while not condition():  # noqa: ASYNC110 - there is no event to wait for
                await trio.sleep(0.001)

    async def until_one_waits(self) -> None:
        await self.until(lambda: self.totals.upstream_spares_waiting == 1)


@asynccontextmanager
async def open_pool(config: SimulatorConfig, *, with_tls: bool = False) -> AsyncIterator[Pool]:
    simulator, authority = Simulator(config), trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("localhost").configure_cert(theirs)
    async with trio.open_nursery() as nursery:
        listeners: list[trio.abc.Listener[trio.abc.Stream]] = []
        for plain in await trio.open_tcp_listeners(0, host="127.0.0.1"):
            port = plain.socket.getsockname()[1]
            listeners.append(trio.SSLListener(plain, theirs) if with_tls else plain)
        nursery.start_soon(trio.serve_listeners, simulator.serve_stream, listeners)
        pool = Pool(simulator, f"wss://localhost:{port}" if with_tls else f"ws://127.0.0.1:{port}", ours)
        nursery.start_soon(pool.pump.run)
        async with pool.spares.filling():
            yield pool
        await pool.until(lambda: not simulator.desk.live)  # nothing stays behind
        assert pool.pump.attached == 0
        nursery.cancel_scope.cancel()


async def configure(line: Line) -> list[str]:
    """Use the line as a call does; the kinds of events that came until the session was configured."""
    send, receive = trio.open_memory_channel[Received](100)

    def on_batch(received: list[Received]) -> None:
        for message in received:
            send.send_nowait(message)

    media, kinds = MediaSocket("openai", on_batch), list[str]()
    async with line.attach(media, lambda error: None):
        media.send(
            realtime.encode(realtime.UpdateSession("configure-1", session_config(Persona(instructions="Short."))))
        )
        with trio.fail_after(10):
            while "session.updated" not in kinds:
                message = await receive.receive()
                kinds.append(msgspec.json.decode(message)["type"] if isinstance(message, bytes) else repr(message))
    return kinds


@pytest.mark.parametrize("with_tls", [False, True])
async def test_a_call_talks_to_the_session_that_waited_for_it(with_tls: bool) -> None:
    async with open_pool(SimulatorConfig(), with_tls=with_tls) as pool:
        await pool.until_one_waits()
        [waiting] = pool.simulator.desk.live
        async with pool.spares.open_line() as line:
            assert waiting in pool.simulator.desk.live
            assert await configure(line) == ["session.created", "session.updated"]
        await pool.until(lambda: waiting not in pool.simulator.desk.live)
        await pool.until_one_waits()
        assert (pool.totals.upstream_spares_used, pool.totals.upstream_opened_cold) == (1, 0)
        assert len(pool.simulator.desk.upgrades) == 2


@pytest.mark.parametrize("with_tls", [False, True])
async def test_a_session_that_openai_closes_is_given_to_nobody(with_tls: bool) -> None:
    async with open_pool(SimulatorConfig(), with_tls=with_tls) as pool:
        await pool.until_one_waits()
        [closed] = pool.simulator.desk.carry_out(Order(sessions="running", now=(Close(1001, "going away"),)))
        await pool.until(lambda: len(pool.simulator.desk.upgrades) == 2 and closed not in pool.simulator.desk.live)
        await pool.until_one_waits()
        async with pool.spares.open_line() as line:
            assert await configure(line) == ["session.created", "session.updated"]


async def test_a_wrong_key_leaves_the_call_to_hear_it_for_itself() -> None:
    async with open_pool(SimulatorConfig(bad_keys=frozenset({"sk-test"}))) as pool:
        await pool.until(lambda: len(pool.simulator.desk.upgrades) == 1)
        async with pool.spares.open_line() as line:
            send, receive = trio.open_memory_channel[list[Received]](10)
            async with line.attach(MediaSocket("openai", send.send_nowait), lambda error: None):
                with trio.fail_after(10):
                    first = (await receive.receive())[0]
        assert isinstance(first, bytes)
        assert msgspec.json.decode(first)["error"]["code"] == "invalid_api_key"
        assert (pool.totals.upstream_spares_used, pool.totals.upstream_opened_cold) == (0, 1)

"""How connections end: by the clock, by the client, by what nobody should send, and without harm to others."""

from contextlib import suppress

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock
from trio_websocket import ConnectionClosed

from benchmarks.simulators.openai import Fail, Reply, Script, SimulatorConfig, serve, serve_stream
from benchmarks.simulators.openai.connection import OUTBOX_BYTES, SEND_S
from tests.benchmarks.openai.line import Json
from tests.benchmarks.openai.wire import Client, OpenLine, dial


async def test_a_client_that_talks_on_past_the_end_is_still_closed_properly(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    async with open_line(SimulatorConfig(session_seconds=2.0)) as client, trio.open_nursery() as nursery:

        async def chatter() -> None:
            with suppress(ConnectionClosed):
                while True:
                    await client.send("input_audio_buffer.clear")
                    await trio.sleep(0.25)

        nursery.start_soon(chatter)
        assert (await client.closed())[0] == 1001


async def test_point_60_a_client_that_hangs_up_mid_reply_leaves_nothing_behind(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    seen: list[str] = []
    config = SimulatorConfig(pace=1.0, observer=lambda _at, _who, event: seen.append(event["type"]))
    async with open_line(config) as client:
        await client.send("response.create")
        await client.receive_until("response.output_audio.delta")
        hung_up = trio.current_time()
    assert trio.current_time() == hung_up  # the simulator's task has already ended
    assert "response.done" not in seen


async def test_point_60_a_client_that_vanishes_without_a_word_ends_the_session(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as server_nursery:
        server_nursery.start_soon(serve_stream, theirs, SimulatorConfig())
        async with trio.open_nursery() as nursery:
            socket = await dial(nursery, ours)
            await socket.get_message()
            await ours.aclose()
    assert trio.current_time() < 1.0


async def test_a_client_that_never_upgrades_is_let_go(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, theirs, SimulatorConfig())
        await trio.sleep(9.0)
        await ours.send_all(b"GET /v1/rea")
        with trio.fail_after(2.0):
            assert await ours.receive_some() == b""


async def test_a_client_that_does_not_speak_http_is_let_go(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, theirs, SimulatorConfig())
        await ours.send_all(b"\x16\x03\x01\x02\x00" * 100 + b"\r\n\r\n")
        with trio.fail_after(11.0):
            while await ours.receive_some():
                pass


async def test_point_59_a_client_that_talks_but_never_listens_is_cut_off(autojump_clock: MockClock) -> None:
    """A pair of streams that holds nothing: whatever the client does not take stays with the simulator."""
    ours, theirs = trio.testing.lockstep_stream_pair()
    said = 0

    def count(_at: float, who: str, event: Json) -> None:
        nonlocal said
        said += len(msgspec.json.encode(event)) if who == "server" else 0

    async with trio.open_nursery() as server_nursery:
        server_nursery.start_soon(serve_stream, theirs, SimulatorConfig(observer=count))
        async with trio.open_nursery() as nursery:
            client = Client(await dial(nursery, ours))
            with pytest.raises(ConnectionClosed):
                await talk_without_listening(client)
            nursery.cancel_scope.cancel()
    assert OUTBOX_BYTES < said < 1.5 * OUTBOX_BYTES


async def talk_without_listening(client: Client) -> None:
    """Sends items of half a MiB each, which are echoed twice, until the connection is gone."""
    text = {"type": "input_text", "text": "x" * 2**19}
    while True:
        await client.send("conversation.item.create", item={"type": "message", "role": "user", "content": [text]})


async def test_point_59_a_client_that_takes_nothing_for_long_is_cut_off(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as server_nursery:
        server_nursery.start_soon(serve_stream, theirs, SimulatorConfig())
        async with trio.open_nursery() as nursery:
            client = Client(await dial(nursery, ours))
            await client.send("response.create")
            began = trio.current_time()
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
    assert SEND_S <= trio.current_time() - began < SEND_S + 5.0


async def test_a_message_beyond_all_bounds_closes_the_session(autojump_clock: MockClock, open_line: OpenLine) -> None:
    async with open_line() as client:
        await client.receive()
        await client.socket.send_message('"' + "x" * (16 * 2**20) + '"')
        assert (await client.closed())[0] == 1009


async def test_point_12_a_simulator_that_fails_ends_only_that_session(
    autojump_clock: MockClock, open_line: OpenLine, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_line(SimulatorConfig(script=Script(steps=(Reply("no such clip"),)))) as broken,
        open_line() as healthy,
    ):
        await broken.send("response.create")
        assert await broken.closed() == (1011, "internal error")
        assert "a simulated session failed" in caplog.text
        await healthy.send("response.create")
        assert (await healthy.receive_until("response.done"))[-1]["response"]["status"] == "completed"


async def test_point_12_sessions_share_nothing(autojump_clock: MockClock, open_line: OpenLine) -> None:
    failing = SimulatorConfig(script=Script(steps=(Fail("server_error", "Sorry."),)))
    async with open_line(failing) as first, open_line() as second:
        for client in (first, second):
            await client.send("response.create")
        statuses = [
            (await client.receive_until("response.done"))[-1]["response"]["status"] for client in (first, second)
        ]
        assert statuses == ["failed", "completed"]


async def test_a_served_port_takes_many_sessions_with_ids_of_their_own(nursery: trio.Nursery) -> None:
    port = await nursery.start(serve, SimulatorConfig(first_audio_delay_s=0.0, pace=1000.0))
    created = []
    for _ in range(3):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        socket = await dial(nursery, stream)
        client = Client(socket)
        created.append(await client.receive())
        await client.send("response.create")
        assert (await client.receive_until("response.done"))[-1]["response"]["status"] == "completed"
        await socket.aclose()
    assert len({event["session"]["id"] for event in created}) == 3

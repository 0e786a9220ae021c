"""The control endpoint: faults of a running simulator, changed over HTTP on the same port."""

from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair
from trio_websocket import ConnectionClosed

from benchmarks.simulators.openai import Drop, Faults, Reply, Script, Simulator, SimulatorConfig
from benchmarks.simulators.openai.server import _is_this_machine
from tests.benchmarks.openai.line import Json
from tests.benchmarks.openai.wire import Client, OpenLine, dial


async def ask(simulator: Simulator, method: str, target: str, body: Any = None, **raw: Any) -> tuple[int, Json]:
    """One HTTP exchange with a simulator, in memory."""
    content: bytes = raw.get("content", b"" if body is None else msgspec.json.encode(body))
    ours, theirs = memory_stream_pair()
    head = f"{method} {target} HTTP/1.1\r\nHost: simulator\r\nContent-Length: {len(content)}\r\n\r\n"
    answer = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(simulator.serve_stream, theirs)
        await ours.send_all(head.encode() + content)
        async for part in ours:
            answer += part
    status, _, rest = answer.partition(b"\r\n\r\n")
    told: Json = msgspec.json.decode(rest)
    return int(status.split()[1]), told


async def order(simulator: Simulator, **body: Any) -> Json:
    """What a good order is answered."""
    status, told = await ask(simulator, "POST", "/control", body)
    assert status == 200, told
    return told


async def sessions(simulator: Simulator) -> list[Json]:
    _, told = await ask(simulator, "GET", "/control/sessions")
    live: list[Json] = told["sessions"]
    return live


async def test_the_faults_of_new_sessions_can_be_seen_and_changed(autojump_clock: MockClock) -> None:
    simulator = Simulator(SimulatorConfig(faults=Faults(stray_deltas=2)))
    assert (await ask(simulator, "GET", "/control"))[1]["faults"]["stray_deltas"] == 2
    told = await order(simulator, faults={"http_status": 503})
    assert (told["faults"]["http_status"], told["faults"]["stray_deltas"]) == (503, 2)
    assert simulator.desk.faults == Faults(http_status=503, stray_deltas=2)
    await order(simulator, faults={"http_status": None})
    assert simulator.desk.faults == Faults(stray_deltas=2)
    await order(simulator, reset=True)
    assert simulator.desk.faults == Faults()


async def test_live_sessions_are_listed_while_they_live(autojump_clock: MockClock, open_line: OpenLine) -> None:
    simulator = Simulator(SimulatorConfig())
    async with open_line(simulator) as client:
        created = await client.receive()
        await client.send("response.create")
        await client.receive_until("response.created")
        (shown,) = await sessions(simulator)
        assert shown["id"] == created["session"]["id"]
        assert (shown["model"], shown["is_responding"]) == ("gpt-realtime-2.1", True)
        assert shown["upgrade"]["query"] == {"model": "gpt-realtime-2.1"}
        assert "sk-test" not in msgspec.json.encode(shown).decode()
    assert await sessions(simulator) == []


async def test_a_running_session_can_be_given_faults_or_spared_them(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    simulator = Simulator(SimulatorConfig(script=Script(steps=(Reply("greeting"),))))
    async with open_line(simulator) as first, open_line(simulator) as second:
        ids = [(await client.receive())["session"]["id"] for client in (first, second)]
        told = await order(simulator, sessions=[ids[0]], faults={"duplicate_done": True})
        assert told["changed"] == [ids[0]]
        assert simulator.desk.faults == Faults()
        for client, times in ((first, 2), (second, 1)):
            await client.send("response.create")
            kinds = [event["type"] for event in await client.receive_until("rate_limits.updated")]
            assert kinds.count("response.done") == times
        assert (await order(simulator, sessions="all", faults={"late_done": True}))["changed"] == ids
        assert simulator.desk.faults == Faults(late_done=True)


@pytest.mark.parametrize(
    ("moment", "code"),
    [({"type": "Drop"}, 1006), ({"type": "Close", "code": 1012, "reason": "restart"}, 1012)],
)
async def test_point_58_a_running_session_can_be_ended_at_once(
    autojump_clock: MockClock, open_line: OpenLine, moment: Json, code: int
) -> None:
    simulator = Simulator(SimulatorConfig())
    async with open_line(simulator) as client:
        await client.receive()
        await order(simulator, sessions="running", now=[moment])
        assert (await client.closed())[0] == code


async def test_a_running_session_can_be_stalled_and_told_to_say_anything(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    simulator = Simulator(SimulatorConfig())
    async with open_line(simulator) as client:
        await client.receive()
        await order(
            simulator, sessions="running", now=[{"type": "SendText", "text": "hm"}, {"type": "Stall", "seconds": 9}]
        )
        assert await client.socket.get_message() == "hm"
        began = trio.current_time()
        await client.send("input_audio_buffer.clear")
        assert (await client.receive())["type"] == "input_audio_buffer.cleared"
        assert trio.current_time() - began == pytest.approx(9.0)


BAD_ORDERS: dict[str, Any] = {
    "a fault nobody knows": {"faults": {"colour": "blue"}},
    "a fault that cannot be": {"faults": {"http_status": 200}},
    "a fault of the wrong kind": {"faults": {"stall_s": "long"}},
    "faults that are no object": {"faults": [1]},
    "a key nobody knows": {"fault": {}},
    "a session that is not there": {"sessions": ["sess_gone"]},
    "sessions nobody knows": {"sessions": "some"},
    "a moment nobody knows": {"sessions": "running", "now": [{"type": "Explode"}]},
    "a moment without a session": {"now": [{"type": "Drop"}]},
    "too many moments": {"sessions": "running", "now": [{"type": "Drop"}] * 101},
    "no object": [],
}


@pytest.mark.parametrize("body", BAD_ORDERS.values(), ids=BAD_ORDERS)
async def test_an_order_that_makes_no_sense_is_refused_and_changes_nothing(
    autojump_clock: MockClock, body: Any
) -> None:
    simulator = Simulator(SimulatorConfig())
    status, told = await ask(simulator, "POST", "/control", body)
    assert status == 400
    assert told["error"]["message"]
    assert simulator.desk.faults == Faults()


async def test_what_is_no_json_or_too_long_is_refused(autojump_clock: MockClock) -> None:
    simulator = Simulator(SimulatorConfig())
    too_long = b'{"faults": {' + b" " * 70_000 + b"}}"
    for content in (b"", b"{", b"\xff", b"[" * 50_000, too_long):
        assert (await ask(simulator, "POST", "/control", content=content))[0] == 400


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("DELETE", "/control", 405),
        ("POST", "/control/sessions", 405),
        ("GET", "/control/else", 404),
        ("GET", "/", 404),
        ("GET", "/v1/realtime?model=gpt-realtime", 426),
    ],
)
async def test_other_requests_are_told_what_is_wrong(
    autojump_clock: MockClock, method: str, target: str, status: int
) -> None:
    assert (await ask(Simulator(SimulatorConfig()), method, target))[0] == status


async def test_only_this_machine_may_give_orders(nursery: trio.Nursery) -> None:
    class Elsewhere:
        def getpeername(self) -> tuple[str, int]:
            return ("203.0.113.9", 4711)

    ours, _ = memory_stream_pair()
    assert _is_this_machine(ours)
    simulator = Simulator(SimulatorConfig())
    port = await nursery.start(simulator.serve)
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    assert _is_this_machine(stream)
    remote = object.__new__(trio.SocketStream)
    remote.socket = Elsewhere()  # type: ignore[assignment]  # a peer of another machine cannot be had in a test
    assert not _is_this_machine(remote)
    await stream.aclose()


async def test_an_ordinary_http_client_finds_it_on_the_port_of_the_sessions(nursery: trio.Nursery) -> None:
    simulator = Simulator(SimulatorConfig())
    port = await nursery.start(simulator.serve)
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    socket = await dial(nursery, stream)
    await Client(socket).receive()
    async with stream, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        (live,) = (await http.get("/control/sessions")).json()["sessions"]
        refused = await http.post("/control", json={"faults": {"colour": "blue"}})
        assert (refused.status_code, "colour" in refused.json()["error"]["message"]) == (400, True)
        dropped = await http.post("/control", json={"sessions": [live["id"]], "now": [{"type": "Drop"}]})
        assert dropped.json()["changed"] == [live["id"]]
        with pytest.raises(ConnectionClosed):
            await socket.get_message()


async def test_faults_for_a_few_connections_leave_the_next_ones_alone(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    simulator = Simulator(SimulatorConfig(faults=Faults(connections=1, drop_after_audio_ms=0)))
    for is_dropped in (True, False, False):
        async with open_line(simulator) as client:
            await client.receive()
            await client.send("response.create")
            if is_dropped:
                assert (await client.closed())[0] == 1006
            else:
                await client.receive_until("response.done")
    assert [upgrade.number for upgrade in simulator.desk.upgrades] == [0, 1, 2]


async def test_a_flood_of_orders_is_bounded(autojump_clock: MockClock, open_line: OpenLine) -> None:
    simulator = Simulator(SimulatorConfig())
    async with open_line(simulator) as client:
        await client.receive()
        (connection,) = simulator.desk.live.values()
        with pytest.raises(ValueError, match="too many orders"):
            connection.disturb((Drop(),) * 2000)

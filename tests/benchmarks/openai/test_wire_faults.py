"""What goes wrong on the wire: refused and delayed upgrades, silence, dropped connections, and that others go on."""

import base64
from contextlib import suppress

import msgspec
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair
from trio_websocket import ConnectionClosed, ConnectionRejected

from benchmarks import speech
from benchmarks.simulators.openai import (
    Close,
    Drop,
    Faults,
    Order,
    Reply,
    Script,
    SendOversized,
    SendText,
    Simulator,
    SimulatorConfig,
    Stall,
)
from proto import mulaw
from tests.benchmarks.openai.line import PHONE
from tests.benchmarks.openai.wire import KEY, OpenLine, dial

ALL_AT_ONCE = Faults(
    stray_deltas=2,
    late_done=True,
    duplicate_done=True,
    reordered_event=True,
    unknown_event=True,
    unknown_fields=True,
    malformed_json=True,
    stall_after_audio_ms=600,
    stall_s=0.7,
)


async def refused(simulator: Simulator) -> ConnectionRejected:
    """How an upgrade is refused."""
    ours, theirs = memory_stream_pair()
    with pytest.RaisesGroup(ConnectionRejected) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(simulator.serve_stream, theirs)
            await dial(nursery, ours)
    (rejected,) = caught.value.exceptions
    assert isinstance(rejected, ConnectionRejected)
    return rejected


@pytest.mark.parametrize("status", [403, 429, 500, 503])
async def test_point_10_an_upgrade_can_be_refused_with_any_status(autojump_clock: MockClock, status: int) -> None:
    simulator = Simulator(SimulatorConfig(faults=Faults(http_status=status)))
    rejected = await refused(simulator)
    assert rejected.status_code == status
    assert b"retry-after" not in dict(rejected.headers or ())
    assert msgspec.json.decode(rejected.body or b"")["error"]["message"]


async def test_point_10_a_refusal_can_say_when_to_come_back(autojump_clock: MockClock) -> None:
    rejected = await refused(Simulator(SimulatorConfig(faults=Faults(http_status=429, retry_after_s=7))))
    assert dict(rejected.headers or ())[b"retry-after"] == b"7"
    assert msgspec.json.decode(rejected.body or b"")["error"]["code"] == "rate_limit_exceeded"


async def test_point_10_the_first_upgrades_can_be_refused_and_the_next_accepted(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    simulator = Simulator(SimulatorConfig(faults=Faults(http_status=503, connections=2)))
    for _ in range(2):
        assert (await refused(simulator)).status_code == 503
    async with open_line(simulator) as client:
        assert (await client.receive())["type"] == "session.created"


async def test_point_10_an_upgrade_can_take_its_time(autojump_clock: MockClock, open_line: OpenLine) -> None:
    began = trio.current_time()
    async with open_line(SimulatorConfig(faults=Faults(upgrade_delay_s=12.0))) as client:
        assert (await client.receive())["type"] == "session.created"
        assert trio.current_time() - began == pytest.approx(12.0)


async def test_point_10_an_upgrade_can_be_followed_by_silence(autojump_clock: MockClock, open_line: OpenLine) -> None:
    async with open_line(SimulatorConfig(faults=Faults(silent=True))) as client:
        await client.send("session.update", session=PHONE)
        await client.socket.ping()  # it is there, it just says nothing
        with trio.move_on_after(600.0) as patience:
            await client.socket.get_message()
        assert patience.cancelled_caught


async def test_point_11_what_a_client_said_of_itself_is_recorded_and_its_keys_are_not(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    simulator = Simulator(SimulatorConfig())
    told = ((b"OpenAI-Organization", b"org_1"), (b"OpenAI-Project", b"proj_1"), (b"OpenAI-Safety-Identifier", b"u-1"))
    offered = ["realtime", "openai-insecure-api-key.sk-web"]
    target = "/v1/realtime?model=gpt-realtime&x=1"
    async with open_line(
        simulator,
        KEY,
        *told,
        (b"X-Colour", b"blue"),
        target=target,
        subprotocols=offered,
    ) as client:
        assert (await client.receive())["session"]["model"] == "gpt-realtime"
    (upgrade,) = simulator.desk.upgrades
    expected = {
        "openai-organization": "org_1",
        "openai-project": "proj_1",
        "openai-safety-identifier": "u-1",
        "x-colour": "blue",
    }
    assert expected.items() <= upgrade.headers.items()
    assert (upgrade.path, upgrade.query) == ("/v1/realtime", {"model": "gpt-realtime", "x": ""})
    assert "sk-" not in str(upgrade)


async def test_point_12_one_sessions_stall_delays_no_other(autojump_clock: MockClock, open_line: OpenLine) -> None:
    simulator = Simulator(SimulatorConfig())
    async with open_line(simulator) as stalled, open_line(simulator) as other:
        stalled_id = (await stalled.receive())["session"]["id"]
        simulator.desk.carry_out(Order(sessions=[stalled_id], now=(Stall(300.0),)))
        began = trio.current_time()
        await stalled.send("response.create")
        await other.receive()
        for _ in range(3):
            asked = trio.current_time()
            await other.send("response.create")
            await other.receive_until("response.output_audio.delta")
            assert trio.current_time() - asked == pytest.approx(0.35)
            await other.receive_until("rate_limits.updated")
        assert trio.current_time() - began < 10.0
        await stalled.receive_until("response.created")
        assert trio.current_time() - began == pytest.approx(300.0)


@pytest.mark.parametrize(
    ("ending", "code", "reason"),
    [
        (Drop(), 1006, None),
        (Close(1011), 1011, None),
        (Close(1012, "service restart"), 1012, "service restart"),
        (Close(1013, "try again later"), 1013, "try again later"),
    ],
)
async def test_point_58_a_client_sees_the_connection_end_as_the_script_says(
    autojump_clock: MockClock, open_line: OpenLine, ending: Drop | Close, code: int, reason: str | None
) -> None:
    script = Script(steps=(msgspec.structs.replace(ending, after_audio_ms=500), Reply("menu")))
    async with open_line(SimulatorConfig(script=script)) as client:
        await client.send("response.create")
        await client.receive_until("response.output_audio.delta")
        assert await client.closed() == (code, reason)


async def test_point_58_a_dropped_connection_ends_without_a_close_frame(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    simulator = Simulator(SimulatorConfig(faults=Faults(drop_after_audio_ms=0)))
    async with trio.open_nursery() as server_nursery:
        server_nursery.start_soon(simulator.serve_stream, theirs)
        async with trio.open_nursery() as nursery:
            socket = await dial(nursery, ours)
            await socket.send_message('{"type":"response.create"}')
            with suppress(ConnectionClosed):
                while True:
                    await socket.get_message()
            assert socket.closed is not None
            assert socket.closed.code == 1006
    assert simulator.desk.live == {}


async def test_point_58_twenty_mebibytes_arrive_in_one_frame(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    simulator = Simulator(SimulatorConfig(script=Script(steps=(SendOversized(), Reply("greeting")))))
    async with trio.open_nursery() as server_nursery:
        server_nursery.start_soon(simulator.serve_stream, theirs)
        async with trio.open_nursery() as nursery:
            socket = await dial(nursery, ours, max_message_size=32 * 2**20)
            await socket.send_message('{"type":"response.create"}')
            sizes = [len(await socket.get_message()) for _ in range(3)]
            await socket.aclose()
            nursery.cancel_scope.cancel()
    assert max(sizes) > 20 * 2**20


async def transcript_of_a_bad_day() -> list[str]:
    """Every frame of a call in which everything goes wrong that does not end it."""
    script = Script(
        steps=(Reply("menu"), SendText("{", after_audio_ms=300), Reply("vegetarian")),
        input_transcripts=("What do you have?",),
    )
    config = SimulatorConfig(script=script, faults=ALL_AT_ONCE, seed=7, pace=1.0, wall_clock=lambda: 1e9)
    ours, theirs = memory_stream_pair()
    frames: list[str] = []
    async with trio.open_nursery() as server_nursery:
        server_nursery.start_soon(Simulator(config).serve_stream, theirs)
        async with trio.open_nursery() as nursery:
            socket = await dial(nursery, ours)

            async def listen() -> None:
                with suppress(ConnectionClosed):
                    while True:
                        frames.append(f"{trio.current_time() - began:.6f} {await socket.get_message()!s}")

            async def speak(audio: bytes) -> None:
                for start in range(0, len(audio), mulaw.FRAME_BYTES):
                    await trio.sleep(0.020)
                    await socket.send_message(append(audio[start : start + mulaw.FRAME_BYTES]))

            began = trio.current_time()
            nursery.start_soon(listen)
            audio = {"input": {**PHONE["audio"]["input"], "transcription": {"model": "gpt-realtime-whisper"}}}
            audio["output"] = PHONE["audio"]["output"]
            await socket.send_message(as_text("session.update", session={"type": "realtime", "audio": audio}))
            await socket.send_message(as_text("response.create", response={"instructions": "Greet."}))
            await trio.sleep(1.0)
            await speak(speech.clip("ask_menu").mulaw + mulaw.silence(2500))
            await speak(speech.clip("interrupt_vegetarian").mulaw + mulaw.silence(4000))
            await socket.aclose()
            nursery.cancel_scope.cancel()
    return frames


def as_text(kind: str, **fields: object) -> str:
    return msgspec.json.encode({"type": kind, **fields}).decode()


def append(audio: bytes) -> str:
    return as_text("input_audio_buffer.append", audio=base64.b64encode(audio).decode())


async def test_point_61_the_same_seed_and_the_same_clock_give_the_same_bytes_even_on_a_bad_day(
    autojump_clock: MockClock,
) -> None:
    first, second = [await transcript_of_a_bad_day() for _ in range(2)]
    assert first == second
    said = "\n".join(first)
    for mark in ("turn_detected", "output_scent", "simulator_extra", "input_audio_transcription.completed"):
        assert mark in said


async def test_point_03_every_event_is_one_text_frame_of_json(autojump_clock: MockClock, open_line: OpenLine) -> None:
    async with open_line() as client:
        await client.send("response.create")
        kinds = []
        while "response.done" not in kinds:
            frame = await client.socket.get_message()
            assert isinstance(frame, str)
            event = msgspec.json.decode(frame)
            assert isinstance(event, dict)
            kinds.append(event["type"])

"""The simulator on the wire: a WebSocket client on a pair of memory streams, in virtual time."""

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock
from trio_websocket import ConnectionRejected

from benchmarks import speech
from benchmarks.simulators.openai import Reply, Script, SimulatorConfig, serve_stream
from proto import mulaw
from tests.benchmarks.openai.line import PHONE, Json
from tests.benchmarks.openai.wire import KEY, MODEL, OpenLine, dial


async def test_point_01_a_good_key_is_greeted_at_once_without_extensions(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    async with open_line() as client:
        began = trio.current_time()
        assert (await client.receive())["type"] == "session.created"
        assert trio.current_time() == began
        assert client.socket.subprotocol is None
        assert b"sec-websocket-extensions" not in dict(client.socket.handshake_headers)


async def test_point_02_a_browser_is_answered_in_its_subprotocol(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    offered = ["realtime", "openai-insecure-api-key.sk-web"]
    async with open_line(None, (b"X-Other", b"1"), subprotocols=offered) as client:
        assert (await client.receive())["type"] == "session.created"
        assert client.socket.subprotocol == "realtime"


async def test_point_06_no_key_gets_a_401_with_a_json_body(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    with pytest.RaisesGroup(ConnectionRejected) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, theirs, SimulatorConfig())
            await dial(nursery, ours, extra_headers=[])
    (rejected,) = caught.value.exceptions
    assert isinstance(rejected, ConnectionRejected)
    assert rejected.status_code == 401
    assert msgspec.json.decode(rejected.body or b"")["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("config", "headers", "target", "code", "reason"),
    [
        (SimulatorConfig(bad_keys=frozenset({"sk-test"})), (KEY,), MODEL, 3000, "invalid_api_key"),
        (SimulatorConfig(), (KEY, (b"OpenAI-Beta", b"realtime=v1")), MODEL, 4000, "beta_api_shape_disabled"),
        (SimulatorConfig(), (KEY,), "/v1/realtime", 4000, "missing_model"),
    ],
)
async def test_the_service_upgrades_first_and_then_says_why_not(
    autojump_clock: MockClock,
    open_line: OpenLine,
    config: SimulatorConfig,
    headers: tuple[tuple[bytes, bytes], ...],
    target: str,
    code: int,
    reason: str,
) -> None:
    async with open_line(config, *headers, target=target) as client:
        assert (await client.receive())["error"]["code"] == reason
        assert await client.closed() == (code, f"invalid_request_error.{reason}")


async def test_a_phone_call_from_greeting_to_barge_in_and_goodbye(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    script = Script(steps=(Reply("menu"), Reply("vegetarian")), input_transcripts=("What do you have?", "Vegetarian?"))
    async with open_line(SimulatorConfig(script=script, pace=1.0)) as client:
        await client.receive()
        session = {**PHONE["audio"], "input": {**PHONE["audio"]["input"], "transcription": {"model": "whisper-1"}}}
        await client.send("session.update", session={"type": "realtime", "audio": session})
        assert (await client.receive())["type"] == "session.updated"

        await client.send("response.create", response={"instructions": "Greet the caller."})
        greeting = (await client.receive_until("rate_limits.updated"))[-2]["response"]
        assert greeting["output"][0]["content"][0]["transcript"] == speech.clip("greeting").transcript

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.speak, speech.clip("ask_menu").mulaw + mulaw.silence(3000))
            events = await client.receive_until("response.output_audio.delta")
        item_id = events[-1]["item_id"]

        nursery_events: list[Json] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.speak, speech.clip("interrupt_vegetarian").mulaw + mulaw.silence(600))
            nursery_events += await client.receive_until("input_audio_buffer.speech_started")
            await client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=240)
            nursery_events += await client.receive_until("conversation.item.truncated")
            nursery_events += await client.receive_until("response.created")
        done = next(event["response"] for event in nursery_events if event["type"] == "response.done")
        assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}

        answer = (await client.receive_until("response.done"))[-1]["response"]
        assert answer["output"][0]["content"][0]["transcript"] == speech.clip("vegetarian").transcript


async def test_replies_keep_their_pace_on_the_wire(autojump_clock: MockClock, open_line: OpenLine) -> None:
    async with open_line(SimulatorConfig(script=Script(steps=(Reply("menu"),)))) as client:
        await client.receive()
        began = trio.current_time()
        await client.send("response.create")
        await client.receive_until("response.output_audio.delta")
        assert trio.current_time() - began == pytest.approx(0.35)
        await client.receive_until("response.done")
        spent_s = trio.current_time() - began
        assert spent_s == pytest.approx(0.35 + speech.clip("menu").duration_ms / 10_000 + 0.025)


async def test_point_04_pings_are_answered(autojump_clock: MockClock, open_line: OpenLine) -> None:
    async with open_line() as client:
        for _ in range(3):
            await trio.sleep(20.0)
            with trio.fail_after(1.0):
                await client.socket.ping()


async def test_nonsense_is_answered_and_the_line_stays_open(autojump_clock: MockClock, open_line: OpenLine) -> None:
    async with open_line() as client:
        await client.receive()
        for raw in ("{", "[]", '{"type": "response.sing"}', b"\xff\xfe"):
            await client.socket.send_message(raw)
            assert (await client.receive())["error"]["type"] == "invalid_request_error"
        await client.send("input_audio_buffer.clear")
        assert (await client.receive())["type"] == "input_audio_buffer.cleared"


async def test_point_57_at_the_end_of_its_time_a_session_says_so_and_closes(
    autojump_clock: MockClock, open_line: OpenLine
) -> None:
    async with open_line(SimulatorConfig(session_seconds=3600.0)) as client:
        created = await client.receive()
        began = trio.current_time()
        expired = await client.receive()
        assert trio.current_time() - began == pytest.approx(3600.0)
        assert expired["error"]["code"] == "session_expired"
        assert created["session"]["object"] == "realtime.session"
        assert await client.closed() == (1001, "Your session hit the maximum duration of 60 minutes.")

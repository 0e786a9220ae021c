"""The simulator on the wire: a WebSocket client on a pair of memory streams, in virtual time."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from benchmarks import speech
from benchmarks.simulators.openai import Fail, Reply, Script, SimulatorConfig, serve, serve_stream
from benchmarks.simulators.openai.connection import OUTBOX_BYTES, SEND_S
from proto import mulaw
from tests.benchmarks.openai.line import PHONE, Json, check_event

MODEL = "/v1/realtime?model=gpt-realtime-2.1"
KEY = (b"Authorization", b"Bearer sk-test")


class Client:
    """A WebSocket client that checks every event it receives."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_message(msgspec.json.encode({"type": kind, **fields}).decode())

    async def receive(self) -> Json:
        raw = await self.socket.get_message()
        assert isinstance(raw, str), "events are text frames"
        event: Json = msgspec.json.decode(raw)
        check_event(event)
        return event

    async def receive_until(self, kind: str) -> list[Json]:
        events = [await self.receive()]
        while events[-1]["type"] != kind:
            events.append(await self.receive())
        return events

    async def speak(self, audio: bytes) -> None:
        """μ-law in real time, 20 ms for each append."""
        for start in range(0, len(audio), mulaw.FRAME_BYTES):
            await trio.sleep(0.020)
            await self.append(audio[start : start + mulaw.FRAME_BYTES])

    async def append(self, audio: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())

    async def closed(self) -> tuple[int, str | None]:
        """The code and reason of the server's close, once everything before it was read."""
        with suppress(ConnectionClosed):
            while True:
                await self.receive()
        reason = self.socket.closed
        assert reason is not None
        return reason.code, reason.reason


async def dial(nursery: trio.Nursery, stream: Any, target: str = MODEL, **offered: Any) -> WebSocketConnection:
    """Upgrades a stream of any kind (the library's annotation knows only sockets)."""
    return await wrap_client_stream(nursery, stream, "simulator", target, **{"extra_headers": [KEY], **offered})


OpenLine = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def open_line() -> OpenLine:
    """Opens a connection to a simulator of its own; leaving it proves that the simulator's task ended too.

    Ask for `autojump_clock` beside it, or time will pass.
    """

    @asynccontextmanager
    async def connect(
        config: SimulatorConfig | None = None,
        *headers: tuple[bytes, bytes],
        target: str = MODEL,
        subprotocols: list[str] | None = None,
    ) -> AsyncIterator[Client]:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as server_nursery, trio.open_nursery() as nursery:
            server_nursery.start_soon(serve_stream, theirs, config or SimulatorConfig(wall_clock=lambda: 1e9))
            offered = {"subprotocols": subprotocols, "extra_headers": list(headers or (KEY,))}
            socket = await dial(nursery, ours, target, **offered)
            yield Client(socket)
            await socket.aclose()
            nursery.cancel_scope.cancel()

    return connect


async def test_a_good_key_is_greeted_at_once_without_extensions(autojump_clock: MockClock, open_line: OpenLine) -> None:
    async with open_line() as client:
        began = trio.current_time()
        assert (await client.receive())["type"] == "session.created"
        assert trio.current_time() == began
        assert client.socket.subprotocol is None
        assert b"sec-websocket-extensions" not in dict(client.socket.handshake_headers)


async def test_a_browser_is_answered_in_its_subprotocol(autojump_clock: MockClock, open_line: OpenLine) -> None:
    offered = ["realtime", "openai-insecure-api-key.sk-web"]
    async with open_line(None, (b"X-Other", b"1"), subprotocols=offered) as client:
        assert (await client.receive())["type"] == "session.created"
        assert client.socket.subprotocol == "realtime"


async def test_no_key_gets_a_401_with_a_json_body(autojump_clock: MockClock) -> None:
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


async def test_pings_are_answered(autojump_clock: MockClock, open_line: OpenLine) -> None:
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


async def test_at_the_end_of_its_time_a_session_says_so_and_closes(
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


async def test_a_client_that_hangs_up_mid_reply_leaves_nothing_behind(
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


async def test_a_client_that_vanishes_without_a_word_ends_the_session(autojump_clock: MockClock) -> None:
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


async def test_a_client_that_talks_but_never_listens_is_cut_off(autojump_clock: MockClock) -> None:
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


async def test_a_client_that_takes_nothing_for_long_is_cut_off(autojump_clock: MockClock) -> None:
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


async def test_a_simulator_that_fails_ends_only_that_session(
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


async def test_sessions_share_nothing(autojump_clock: MockClock, open_line: OpenLine) -> None:
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

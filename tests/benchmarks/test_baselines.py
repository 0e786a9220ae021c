"""The relays that ours is measured against: each carries calls, and is asked for what its docstring says."""

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, open_websocket_url, serve_websocket

from benchmarks import relays
from benchmarks.baselines import node_packages
from benchmarks.baselines import trio_websocket_relay as plain
from benchmarks.conformance.wire import dial
from benchmarks.load import Target, measure_level, open_far_end
from benchmarks.process_cpu import Relay, open_relay
from relay import Persona
from relay.persona import session_config
from relay.playout import MARK_EVERY_BYTES

BASELINES = {relay.name: relay for relay in relays.RELAYS if relay is not relays.OURS}
SPEAKING = [name for name in BASELINES if name != relays.FASTAPI_ASYNCIO.name]  # it differs from fastapi in its loop


@pytest.fixture(params=BASELINES)
def baseline(request: pytest.FixtureRequest) -> Relay:
    """Each in turn, as far as it can run here."""
    relay = BASELINES[request.param]
    if reason := relays.why_not(relay):
        pytest.skip(f"{relay.name}: {reason}")
    return relay


async def test_a_baseline_gives_every_frame_back_as_it_was(baseline: Relay) -> None:
    async with open_far_end() as far_end, open_relay(baseline, far_end.upstream_url) as running:
        target = Target(name=baseline.name, url=running.url)
        level = await measure_level(far_end, target, calls=3, seconds=0.3, warmup_s=0.1, with_direct=False)
        assert far_end.sessions == 3
    assert level.errors == ()
    assert (level.frames.sent, level.frames.lost, level.frames.altered) == (45, 0, 0)
    assert level.marks_echoed > 0


class Agent:
    """An upstream that speaks 400 ms when it first hears the caller, and has heard speech begin the second time."""

    def __init__(self) -> None:
        self.events: list[dict[str, object]] = []  # from the relay
        self.configured, self.told, self.ended = trio.Event(), trio.Event(), trio.Event()

    async def serve(self, request: WebSocketRequest) -> None:
        """One session."""
        openai = await request.accept()
        with suppress(ConnectionClosed):
            await self._hear(openai)
            self.configured.set()
            await self._hear(openai)
            for _ in range(2):
                audio = base64.b64encode(bytes(plain.MARK_EVERY_BYTES)).decode()
                await self._say(openai, {"type": "response.output_audio.delta", "item_id": "item_1", "delta": audio})
            await self._hear(openai)
            await self._say(openai, {"type": "input_audio_buffer.speech_started", "item_id": "item_2"})
            await self._hear(openai)  # how much of it was heard
            self.told.set()
            await self._hear(openai)
        self.ended.set()

    async def _hear(self, openai: WebSocketConnection) -> None:
        self.events.append(json.loads(await openai.get_message()))

    async def _say(self, openai: WebSocketConnection, event: dict[str, str]) -> None:
        await openai.send_message(json.dumps(event, separators=(",", ":")))


class Phone:
    """A caller, as Twilio carries it."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket

    async def ring(self) -> None:
        """Begin the stream."""
        await self.send({"event": "start", "streamSid": "MZ1", "start": {"streamSid": "MZ1"}})

    async def speak(self, timestamp_ms: int) -> None:
        """One frame."""
        media = {"track": "inbound", "timestamp": str(timestamp_ms), "payload": "/w=="}
        await self.send({"event": "media", "streamSid": "MZ1", "media": media})

    async def send(self, message: dict[str, object]) -> None:
        """Anything."""
        await self._socket.send_message(json.dumps(message, separators=(",", ":")))

    async def hear(self) -> dict[str, object]:
        """The next message."""
        message: dict[str, object] = json.loads(await self._socket.get_message())
        return message


@asynccontextmanager
async def called(baseline: Relay, agent: Agent) -> AsyncIterator[Phone]:
    """A call through the baseline as a process, once its session is open; afterwards the session has ended."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, agent.serve, "127.0.0.1", 0, ssl_context=None))
        async with open_relay(baseline, f"ws://127.0.0.1:{server.port}/v1/realtime") as running:
            async with dial(running.url, within_s=5) as (socket, _):
                phone = Phone(socket)
                await phone.ring()
                await agent.configured.wait()
                yield phone
            await agent.ended.wait()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("baseline", SPEAKING, indirect=True)
async def test_a_baseline_stops_the_agent_when_the_caller_speaks(baseline: Relay) -> None:
    """400 ms are sent, the first mark comes back, and 200 ms of the caller pass: by any rule 200 ms were heard."""
    agent = Agent()
    async with called(baseline, agent) as phone:
        await phone.speak(1000)
        heard = [await phone.hear() for _ in range(4)]
        await phone.send(heard[1])  # its mark
        await phone.speak(1200)
        heard.append(await phone.hear())
        await agent.told.wait()
        await phone.send({"event": "stop", "streamSid": "MZ1"})
        with pytest.raises(ConnectionClosed):
            await phone.hear()
    assert [message["event"] for message in heard] == ["media", "mark", "media", "mark", "clear"]
    assert {message["streamSid"] for message in heard} == {"MZ1"}
    append = {"type": "input_audio_buffer.append", "audio": "/w=="}
    assert agent.events[1:3] == [append, append]
    assert (agent.events[0]["type"], agent.events[3]["type"]) == ("session.update", "conversation.item.truncate")
    assert (agent.events[3]["item_id"], agent.events[3]["audio_end_ms"]) == ("item_1", 200)
    assert len(agent.events) == 4


@pytest.mark.parametrize("baseline", SPEAKING, indirect=True)
async def test_a_baseline_ends_its_session_when_the_caller_is_gone(baseline: Relay) -> None:
    agent = Agent()
    async with called(baseline, agent):
        assert not agent.ended.is_set()
    assert agent.ended.is_set()
    assert [event["type"] for event in agent.events] == ["session.update"]


def programs(folder: Path, **scripts: str) -> str:
    """A PATH of nothing but these."""
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_without_node_the_others_are_measured_and_it_is_said_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", programs(tmp_path, npm=""))
    choice = relays.choose([relays.OURS, relays.NODE, relays.TRIO_WEBSOCKET])
    assert choice.relays == (relays.OURS, relays.TRIO_WEBSOCKET)
    assert choice.left_out == {"node": "node not found; on Debian: apt-get install nodejs npm"}


def test_what_npm_said_is_passed_on_when_it_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", programs(tmp_path, node="", npm="echo no way to the registry >&2; exit 1"))
    monkeypatch.setattr(node_packages, "FOLDER", tmp_path)
    assert relays.why_not(relays.NODE) == "npm ci failed: no way to the registry"


def test_a_missing_python_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "find_spec", lambda name: None if name == "picows" else object())
    assert relays.why_not(relays.PICOWS) == "not installed: picows (dependency group `baselines`)"
    assert relays.why_not(relays.FASTAPI) is None


def test_the_node_packages_are_pinned_and_tied_to_no_registry() -> None:
    package = json.loads((node_packages.FOLDER / "package.json").read_text())
    lock = json.loads((node_packages.FOLDER / "package-lock.json").read_text())["packages"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["dependencies"].values())
    assert all("integrity" in entry and "resolved" not in entry for name, entry in lock.items() if name)


@asynccontextmanager
async def plain_relay(upstream_url: str) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(plain.serve, upstream_url)
        yield f"ws://127.0.0.1:{port}/media-stream"
        nursery.cancel_scope.cancel()


async def test_it_gives_every_frame_back_as_it_was() -> None:
    async with open_far_end() as far_end, plain_relay(far_end.upstream_url) as url:
        plainly = Target(name="plain", url=url)
        level = await measure_level(far_end, plainly, calls=3, seconds=0.3, warmup_s=0.1, with_direct=False)
    assert level.errors == ()
    assert (level.frames.sent, level.frames.lost, level.frames.altered) == (45, 0, 0)
    assert level.marks_echoed >= 6  # as many as ours asks for: one for each 200 ms, warm-up included


def test_it_asks_for_the_session_that_ours_asks_for() -> None:
    ours = session_config(Persona(instructions=plain.INSTRUCTIONS))
    assert msgspec.to_builtins(ours) == plain.SESSION


def test_it_marks_as_often_as_ours() -> None:
    assert plain.MARK_EVERY_BYTES == MARK_EVERY_BYTES


async def test_it_stops_the_agent_when_the_caller_speaks() -> None:
    """400 ms are sent and the first mark comes back: 200 ms were heard when the caller begins to speak."""
    from_relay: list[dict[str, object]] = []
    truncated, ended = trio.Event(), trio.Event()

    async def speak(request: WebSocketRequest) -> None:
        openai: WebSocketConnection = await request.accept()
        from_relay.append(json.loads(await openai.get_message()))
        for _ in range(2):
            audio = base64.b64encode(bytes(plain.MARK_EVERY_BYTES)).decode()
            delta = {"type": "response.output_audio.delta", "item_id": "item_1", "delta": audio}
            await openai.send_message(json.dumps(delta))
        from_relay.append(json.loads(await openai.get_message()))  # a caller's frame: the first mark is back by now
        await openai.send_message(json.dumps({"type": "input_audio_buffer.speech_started", "item_id": "item_2"}))
        from_relay.append(json.loads(await openai.get_message()))
        truncated.set()
        with suppress(ConnectionClosed):
            await openai.get_message()
        ended.set()

    async with trio.open_nursery() as nursery:
        upstream = await nursery.start(partial(serve_websocket, speak, "127.0.0.1", 0, ssl_context=None))
        async with plain_relay(f"ws://127.0.0.1:{upstream.port}") as url:
            async with open_websocket_url(url) as twilio:
                await twilio.send_message(json.dumps({"event": "start", "start": {"streamSid": "MZ1"}}))
                heard = [json.loads(await twilio.get_message()) for _ in range(4)]
                await twilio.send_message(json.dumps(heard[1]))  # its mark
                await twilio.send_message(json.dumps({"event": "media", "media": {"payload": "/w=="}}))
                heard.append(json.loads(await twilio.get_message()))
                await truncated.wait()
            await ended.wait()
        nursery.cancel_scope.cancel()
    assert [message["event"] for message in heard] == ["media", "mark", "media", "mark", "clear"]
    assert [event["type"] for event in from_relay] == [
        "session.update",
        "input_audio_buffer.append",
        "conversation.item.truncate",
    ]
    assert (from_relay[2]["item_id"], from_relay[2]["audio_end_ms"]) == ("item_1", 200)

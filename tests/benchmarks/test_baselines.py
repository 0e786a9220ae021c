"""The plain relay that ours is measured against: it works, and it is asked for the same as ours."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, open_websocket_url, serve_websocket

from benchmarks.baselines import trio_websocket_relay as plain
from benchmarks.echo_upstream import open_echo_upstream
from benchmarks.load import run_load
from relay import Persona
from relay.persona import session_config
from relay.playout import MARK_EVERY_BYTES


@asynccontextmanager
async def plain_relay(upstream_url: str) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(plain.serve, upstream_url)
        yield f"ws://127.0.0.1:{port}/media-stream"
        nursery.cancel_scope.cancel()


async def test_it_gives_every_frame_back_as_it_was() -> None:
    async with open_echo_upstream() as upstream, plain_relay(upstream.url) as url:
        report = await run_load(url, calls=3, seconds=0.3, warmup_s=0.1)
        assert upstream.errors == []
    assert report.errors == ()
    assert (report.frames_sent, report.frames_lost, report.frames_altered) == (45, 0, 0)
    assert report.marks_echoed == 6  # as many as ours asks for


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

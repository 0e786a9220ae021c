"""Peers for the load tool: our own relay as it is served, and one that does to each frame what a test wants."""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, open_websocket_url, serve_websocket

from benchmarks.pump import open_pump
from relay import Door, Entry, LogEvent, Persona, ReplayedStream, Switchboard, Totals, Upstream, open_upstream

ODD_NAME = 'my "payload": ü/'
Answer = Callable[[int, bytes], list[bytes]]


class _ForgetfulLog:
    def offer(self, call_sid: str, event: LogEvent) -> None:
        pass


async def _no_web(stream: ReplayedStream) -> None:
    raise AssertionError("nobody asked for a page")


@asynccontextmanager
async def our_relay(upstream_url: str, trusting: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The media plane as it is served, without the web app. trusting: whom it trusts upstream, if not the usual."""
    async with open_pump() as pump, trio.open_nursery() as nursery:
        totals = Totals()
        tls = trusting or ssl.create_default_context()
        connect = partial(open_upstream, Upstream(url=upstream_url, api_key="k"), pump, tls)
        switchboard = Switchboard(
            lambda _: Persona(instructions=""), connect=connect, call_log=_ForgetfulLog(), totals=totals
        )
        door = Door(Entry(carry=switchboard.carry, serve_web=_no_web, admit=lambda _: None), pump, totals)
        listeners = await nursery.start(partial(trio.serve_tcp, door.handle, 0, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/media-stream"
        await switchboard.drain()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def faulty_relay(answer: Answer, *, dumps: Callable[[object], str] = json.dumps) -> AsyncIterator[str]:
    """Not a relay: gives each frame back itself, as `answer` makes it from the frame's number and its bytes."""

    async def carry(request: WebSocketRequest) -> None:
        socket = await request.accept()
        try:
            number = 0
            while (message := json.loads(await socket.get_message()))["event"] != "stop":
                if message["event"] != "media":
                    continue
                for payload in answer(number, base64.b64decode(message["media"]["payload"])):
                    media = {"payload": base64.b64encode(payload).decode()}
                    play = {"event": "media", "streamSid": message["streamSid"], "media": media}
                    await socket.send_message(dumps(play))
                number += 1
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, carry, "127.0.0.1", 0, ssl_context=None))
        yield f"ws://127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def wordy_relay(upstream_url: str) -> AsyncIterator[str]:
    """A relay as people write them: json.dumps with its spaces, keys in another order, a ping now and then, marks."""

    async def carry(request: WebSocketRequest) -> None:
        twilio = await request.accept()
        sid = ""
        async with open_websocket_url(upstream_url) as openai, trio.open_nursery() as nursery:
            await openai.send_message(json.dumps({"session": {"type": "realtime"}, "type": "session.update"}, indent=1))

            async def back() -> None:
                while True:
                    event = json.loads(await openai.get_message())
                    if event["type"] == "input_audio_buffer.speech_started":
                        await twilio.send_message(json.dumps({"streamSid": sid, "event": "clear"}))
                    if event["type"] == "response.output_audio.delta":
                        play = {"media": {"payload": event["delta"]}, "streamSid": sid, "event": "media"}
                        await twilio.send_message(json.dumps(play))
                        name = 'my "payload": ü/'
                        await twilio.send_message(
                            json.dumps({"mark": {"name": name}, "event": "mark", "streamSid": sid})
                        )

            nursery.start_soon(back)
            try:
                while (message := json.loads(await twilio.get_message()))["event"] != "stop":
                    sid = message.get("streamSid", "")
                    if message["event"] == "media":
                        append = {"event_id": "e1", "audio": message["media"]["payload"]}
                        await openai.send_message(json.dumps(append | {"type": "input_audio_buffer.append"}))
                    if message["event"] == "mark":
                        assert message["mark"]["name"] == ODD_NAME
                        nursery.start_soon(twilio.ping)
            except ConnectionClosed:
                pass
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, carry, "127.0.0.1", 0, ssl_context=None))
        yield f"ws://127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()

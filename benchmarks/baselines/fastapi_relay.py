"""A relay on FastAPI, uvicorn and websockets, in the shape of Twilio's Python sample: what ours is measured against.

Two asyncio tasks a call, one for each socket, `json` for every message, `await send` for every answer. Run:
python -m benchmarks.baselines.fastapi_relay --port 5050 --upstream ws://127.0.0.1:8080/v1/realtime [--loop asyncio]
The loop is uvloop, which uvicorn[standard] brings along and takes by itself; `asyncio` is there to see what it gives.

On the wire it does as the sample does: the settings of the sample's session, an append for a frame, a media message
and a mark of one name for every delta, and at speech_started, while marks are out, a truncate at the time since the
item's first delta, then a clear. The payload of a delta is decoded and encoded anew, as there.

It does less than ours, to its advantage: caller audio is appended before the session is configured instead of held,
gaps are not filled, deltas are not cut to whole frames, and nothing is validated, counted, bounded beyond what the
packages bound or, unlike in the sample, printed. It does more, to its disadvantage: a mark for every delta where ours
marks every 200 ms; for the 20 ms deltas of an echo that is ten times as many, for the longer ones of a real answer
about as many. Beyond the sample, and outside of what is measured, it ends the call at `stop`, and its session when the
caller is gone, which the sample leaves to the service.
"""

import argparse
import asyncio
import base64
import json
from contextlib import suppress
from typing import Any, Final

import uvicorn
from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState
from websockets.asyncio.client import ClientConnection, connect

MARK: Final = "responsePart"
PCMU: Final = {"type": "audio/pcmu"}
SESSION: Final = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "You are a friendly assistant on the telephone. Answer in one or two short sentences.",
    "audio": {
        "input": {"format": PCMU, "turn_detection": {"type": "server_vad"}},
        "output": {"format": PCMU, "voice": "marin"},
    },
}


class SampleCall:
    """One call between its two sockets."""

    def __init__(self, twilio: WebSocket, openai: ClientConnection) -> None:
        self._twilio, self._openai = twilio, openai
        self._stream_sid = ""
        self._timestamp_ms = 0  # of the caller's latest frame
        self._item_id: str | None = None  # which the caller is hearing
        self._item_began_ms = 0  # at which timestamp
        self._marks: list[str] = []  # sent, not come back

    async def run(self) -> None:
        """Carry the call until either side ends it."""
        await self._to_openai({"type": "session.update", "session": SESSION})
        await asyncio.gather(self._read_twilio(), self._read_openai())

    async def _read_twilio(self) -> None:
        async for raw in self._twilio.iter_text():
            message = json.loads(raw)
            if message["event"] == "media":
                self._timestamp_ms = int(message["media"]["timestamp"])
                await self._to_openai({"type": "input_audio_buffer.append", "audio": message["media"]["payload"]})
            elif message["event"] == "mark":
                if self._marks:
                    self._marks.pop(0)
            elif message["event"] == "start":
                self._stream_sid = message["start"]["streamSid"]
            elif message["event"] == "stop":
                break
        await self._openai.close()

    async def _read_openai(self) -> None:
        async for raw in self._openai:
            event = json.loads(raw)
            if event["type"] == "response.output_audio.delta":
                await self._play(event["item_id"], event["delta"])
            elif event["type"] == "input_audio_buffer.speech_started":
                await self._barge_in()
        if self._twilio.client_state == WebSocketState.CONNECTED:
            await self._twilio.close()

    async def _play(self, item_id: str, delta: str) -> None:
        payload = base64.b64encode(base64.b64decode(delta)).decode()
        await self._twilio.send_json(
            {"event": "media", "streamSid": self._stream_sid, "media": {"payload": payload}},
        )
        if item_id != self._item_id:
            self._item_id, self._item_began_ms = item_id, self._timestamp_ms
        await self._twilio.send_json({"event": "mark", "streamSid": self._stream_sid, "mark": {"name": MARK}})
        self._marks.append(MARK)

    async def _barge_in(self) -> None:
        if not self._marks or self._item_id is None:
            return
        await self._to_openai(
            {
                "type": "conversation.item.truncate",
                "item_id": self._item_id,
                "content_index": 0,
                "audio_end_ms": self._timestamp_ms - self._item_began_ms,
            }
        )
        await self._twilio.send_json({"event": "clear", "streamSid": self._stream_sid})
        self._marks.clear()
        self._item_id = None

    async def _to_openai(self, event: dict[str, Any]) -> None:
        await self._openai.send(json.dumps(event))


def create_app(upstream_url: str) -> FastAPI:
    """The sample's app with its one media route."""
    app = FastAPI()

    @app.websocket("/media-stream")
    async def carry(twilio: WebSocket) -> None:
        await twilio.accept()
        async with connect(upstream_url) as openai:
            with suppress(WebSocketDisconnect):  # the caller may go while something is being said to it
                await SampleCall(twilio, openai).run()

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A relay on FastAPI and websockets, to measure against.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="ws:// address of the realtime service")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    arguments = parser.parse_args()
    uvicorn.run(create_app(arguments.upstream), host="127.0.0.1", port=arguments.port, loop=arguments.loop)

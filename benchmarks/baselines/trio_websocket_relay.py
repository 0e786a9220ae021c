"""The same relay, written plainly on trio-websocket: what ours is measured against.

One nursery per call, a task that reads each socket, `json` for every message, `await send_message` for every answer:
what one writes first, and what most would keep. Run: python -m benchmarks.baselines.trio_websocket_relay

It sends the messages that ours sends: the same session settings, one append for a frame, one media message for a
delta, a mark for every 200 ms of agent audio, and clear and truncate on barge-in. Twilio's sample marks every delta,
which for the 20 ms deltas of an echo would be ten times as many; that comparison would flatter us.

It does less than ours, each time to its own advantage: base64 passes through without being decoded, caller audio
before the session is configured is appended at once instead of held, gaps in the caller's audio are not filled, deltas
are not cut to whole frames, one estimate of the played ms stands in for the ledger, and nothing is validated, counted,
logged, or bounded beyond what trio-websocket bounds by itself.
"""

import argparse
import json
from collections import deque
from functools import partial
from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, open_websocket_url, serve_websocket

MARK_EVERY_BYTES = 1600  # 200 ms of μ-law
BYTES_PER_MS = 8
PCMU = {"type": "audio/pcmu"}
INSTRUCTIONS = "You are a friendly assistant on the telephone. Answer in one or two short sentences."
SESSION = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": INSTRUCTIONS,
    "audio": {
        "input": {
            "format": PCMU,
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 500,
                "create_response": True,
                "interrupt_response": True,
            },
            "transcription": {"model": "gpt-realtime-whisper"},
            "noise_reduction": None,
        },
        "output": {"format": PCMU, "voice": "marin"},
    },
}


class PlainCall:
    """One call between its two sockets."""

    def __init__(self, twilio: WebSocketConnection, openai: WebSocketConnection) -> None:
        self._twilio, self._openai = twilio, openai
        self._stream_sid = ""
        self._item_id = ""  # which the caller is hearing
        self._item_bytes = 0  # of it, sent so far
        self._unmarked_bytes = 0
        self._marks_made = 0
        self._marks: deque[str] = deque()  # sent, not come back

    async def run(self) -> None:
        """Carry the call until either side ends it."""
        try:
            await self._to_openai({"type": "session.update", "event_id": "configure-1", "session": SESSION})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_openai)
                await self._read_twilio()
                nursery.cancel_scope.cancel()
        except* ConnectionClosed:
            pass  # either side has gone, and the call with it

    async def _read_twilio(self) -> None:
        while True:
            message = json.loads(await self._twilio.get_message())
            match message["event"]:
                case "media":
                    await self._to_openai(
                        {"type": "input_audio_buffer.append", "audio": message["media"]["payload"]},
                    )
                case "mark":
                    if self._marks:
                        self._marks.popleft()
                case "start":
                    self._stream_sid = message["start"]["streamSid"]
                case "stop":
                    return

    async def _read_openai(self) -> None:
        while True:
            event = json.loads(await self._openai.get_message())
            match event["type"]:
                case "response.output_audio.delta":
                    await self._play(event["item_id"], event["delta"])
                case "input_audio_buffer.speech_started":
                    await self._barge_in()

    async def _play(self, item_id: str, payload: str) -> None:
        await self._to_twilio({"event": "media", "streamSid": self._stream_sid, "media": {"payload": payload}})
        nbytes = len(payload) // 4 * 3 - payload.count("=")
        if item_id != self._item_id:
            self._item_id, self._item_bytes = item_id, 0
        self._item_bytes += nbytes
        self._unmarked_bytes += nbytes
        if self._unmarked_bytes >= MARK_EVERY_BYTES:
            await self._mark()

    async def _mark(self) -> None:
        self._marks_made += 1
        self._unmarked_bytes = 0
        name = f"mark-{self._marks_made}"
        self._marks.append(name)
        await self._to_twilio({"event": "mark", "streamSid": self._stream_sid, "mark": {"name": name}})

    async def _barge_in(self) -> None:
        if not self._marks:
            return
        heard_bytes = max(0, self._item_bytes - self._unmarked_bytes - len(self._marks) * MARK_EVERY_BYTES)
        self._marks.clear()
        await self._to_twilio({"event": "clear", "streamSid": self._stream_sid})
        await self._to_openai(
            {
                "type": "conversation.item.truncate",
                "event_id": f"truncate-{self._marks_made}",
                "item_id": self._item_id,
                "content_index": 0,
                "audio_end_ms": heard_bytes // BYTES_PER_MS,
            }
        )

    async def _to_twilio(self, message: dict[str, Any]) -> None:
        await self._twilio.send_message(json.dumps(message))

    async def _to_openai(self, event: dict[str, Any]) -> None:
        await self._openai.send_message(json.dumps(event))


async def carry(upstream_url: str, request: WebSocketRequest) -> None:
    """Accept one media socket, open its realtime session, and carry the call."""
    async with await request.accept() as twilio, open_websocket_url(upstream_url) as openai:
        await PlainCall(twilio, openai).run()


async def serve(
    upstream_url: str, *, port: int = 0, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve calls on 127.0.0.1 until cancelled; started with the port, which is a free one for port 0."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve_websocket, partial(carry, upstream_url), "127.0.0.1", port, ssl_context=None)
        )
        task_status.started(server.port)


async def _main(upstream_url: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        listening_on = await nursery.start(partial(serve, upstream_url, port=port))
        print(listening_on, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A relay written plainly on trio-websocket, to measure against.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one; it is printed either way")
    parser.add_argument("--upstream", required=True, help="ws:// address of the realtime service")
    arguments = parser.parse_args()
    trio.run(_main, arguments.upstream, arguments.port)

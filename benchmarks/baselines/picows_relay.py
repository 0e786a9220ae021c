"""The thinnest relay on a WebSocket package written in C: a floor, to see what is left to gain.

picows (Cython) on uvloop, plain callbacks without a task per socket, and no JSON at all for audio: its payload is found
by searching the raw message and is put between prepared bytes. Run:
python -m benchmarks.baselines.picows_relay --port 5050 --upstream ws://127.0.0.1:8080/v1/realtime

On the wire it does as ours does: the same session settings, an append for a frame, a media message for a delta, a mark
for every 200 ms of agent audio, and at speech_started, while marks are out, a clear and a truncate.

It does less than ours, each time to its own advantage, and less than a service could: what the caller says before the
session is open is dropped, gaps are not filled, deltas are not cut to whole frames, a message is taken to be one frame,
one estimate of the played ms stands in for the ledger, strings are taken to be free of escapes, and nothing is
validated, counted, logged, timed or bounded. There is no back pressure: what a peer does not take waits in memory.
"""

import argparse
import asyncio
from typing import Final

import msgspec
import uvloop
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect, ws_create_server

from benchmarks.baselines.trio_websocket_relay import BYTES_PER_MS, MARK_EVERY_BYTES, SESSION

_TEXT: Final = WSMsgType.TEXT
_PAYLOAD, _DELTA, _ITEM_ID = b'"payload"', b'"delta"', b'"item_id"'
_IS_DELTA: Final = b'"response.output_audio.delta"'
_APPEND: Final = b'{"type":"input_audio_buffer.append","audio":"%s"}'
_PLAY: Final = b'{"event":"media","streamSid":"%s","media":{"payload":"%s"}}'
_MARK: Final = b'{"event":"mark","streamSid":"%s","mark":{"name":"mark-%d"}}'
_CLEAR: Final = b'{"event":"clear","streamSid":"%s"}'
_TRUNCATE: Final = (
    b'{"type":"conversation.item.truncate","event_id":"truncate-%d","item_id":"%s","content_index":0,"audio_end_ms":%d}'
)
_CONFIGURE: Final = msgspec.json.encode({"type": "session.update", "event_id": "configure-1", "session": SESSION})


class _Start(msgspec.Struct, rename="camel"):
    stream_sid: str


class _FromTwilio(msgspec.Struct):
    """What is read of a message without audio."""

    event: str
    start: _Start | None = None


class _FromOpenAI(msgspec.Struct):
    """What is read of an event that is not a delta."""

    type: str


_twilio_decoder = msgspec.json.Decoder(_FromTwilio)
_openai_decoder = msgspec.json.Decoder(_FromOpenAI)


class TwilioEnd(WSListener):
    """The caller's socket; owns the call."""

    def __init__(self, upstream_url: str) -> None:
        self._upstream_url = upstream_url
        self._openai: OpenAIEnd | None = None
        self.marks_out = 0  # sent, not come back
        self.stream_sid = b""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Open the realtime session."""
        self.transport = transport
        self._dialling = asyncio.ensure_future(self._dial())  # kept, or it could be collected

    async def _dial(self) -> None:
        try:
            await ws_connect(lambda: OpenAIEnd(self), self._upstream_url)
        except OSError as error:
            print("openai:", error)
            _close(self.transport)

    def take(self, openai: "OpenAIEnd") -> None:
        """The session is open: audio may flow, unless the caller has gone."""
        self._openai = openai
        if self.transport.is_disconnected:
            _close(openai.transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Pass audio on; count marks; end with the call."""
        if frame.msg_type is not _TEXT:
            _end_if_closed(transport, frame)
            return
        raw = frame.get_payload_as_bytes()
        if _PAYLOAD in raw:
            if self._openai is not None:
                self._openai.transport.send(_TEXT, _APPEND % _string_of(raw, _PAYLOAD))
            return
        message = _twilio_decoder.decode(raw)
        match message.event:
            case "mark":
                self.marks_out = max(0, self.marks_out - 1)
            case "start" if message.start is not None:
                self.stream_sid = message.start.stream_sid.encode()
            case "stop":
                _close(transport)

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """The session ends with the call."""
        if self._openai is not None:
            _close(self._openai.transport)


class OpenAIEnd(WSListener):
    """The session's socket, and what was said through it."""

    def __init__(self, twilio: TwilioEnd) -> None:
        self._twilio = twilio
        self._item_id = b""  # which the caller is hearing
        self._item_bytes = 0  # of it, sent so far
        self._unmarked_bytes = 0
        self._marks_made = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Configure the session."""
        self.transport = transport
        transport.send(_TEXT, _CONFIGURE)
        self._twilio.take(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Play deltas; stop the agent when the caller speaks."""
        if frame.msg_type is not _TEXT:
            _end_if_closed(transport, frame)
            return
        raw = frame.get_payload_as_bytes()
        if _IS_DELTA in raw:
            self._play(_string_of(raw, _ITEM_ID), _string_of(raw, _DELTA))
        elif _openai_decoder.decode(raw).type == "input_audio_buffer.speech_started":
            self._barge_in()

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """The call ends with the session."""
        _close(self._twilio.transport)

    def _play(self, item_id: bytes, payload: bytes) -> None:
        twilio = self._twilio
        twilio.transport.send(_TEXT, _PLAY % (twilio.stream_sid, payload))
        nbytes = len(payload) // 4 * 3 - payload.count(b"=")
        if item_id != self._item_id:
            self._item_id, self._item_bytes = item_id, 0
        self._item_bytes += nbytes
        self._unmarked_bytes += nbytes
        if self._unmarked_bytes >= MARK_EVERY_BYTES:
            self._marks_made += 1
            self._unmarked_bytes = 0
            twilio.marks_out += 1
            twilio.transport.send(_TEXT, _MARK % (twilio.stream_sid, self._marks_made))

    def _barge_in(self) -> None:
        twilio = self._twilio
        if not twilio.marks_out:
            return
        heard_bytes = max(0, self._item_bytes - self._unmarked_bytes - twilio.marks_out * MARK_EVERY_BYTES)
        twilio.marks_out = 0
        twilio.transport.send(_TEXT, _CLEAR % twilio.stream_sid)
        heard_ms = heard_bytes // BYTES_PER_MS
        self.transport.send(_TEXT, _TRUNCATE % (self._marks_made, self._item_id, heard_ms))


def _string_of(raw: bytes, key: bytes) -> bytes:
    """The string behind a key, found without decoding the rest."""
    begin = raw.index(b'"', raw.index(key) + len(key)) + 1
    return raw[begin : raw.index(b'"', begin)]


def _close(transport: WSTransport) -> None:
    """Say goodbye, once; the peer's answer ends the connection."""
    if not transport.is_close_frame_sent:
        transport.send_close(WSCloseCode.OK)


def _end_if_closed(transport: WSTransport, frame: WSFrame) -> None:
    """Pings have been answered by picows; a close is answered here."""
    if frame.msg_type is WSMsgType.CLOSE:
        _close(transport)
        transport.disconnect()


async def serve(upstream_url: str, port: int) -> None:
    """Serve calls on 127.0.0.1 until cancelled."""
    server = await ws_create_server(lambda _request: TwilioEnd(upstream_url), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The thinnest relay on picows and uvloop, to measure against.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="ws:// address of the realtime service")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.upstream, arguments.port))

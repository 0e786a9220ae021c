"""An OpenAI that answers with the caller's own voice: the far end of a load test.

Speaks as much of the Realtime protocol as a relay needs to carry audio: `session.created` on connect,
`session.updated` for a `session.update`, and each appended piece of audio comes straight back as a delta of one long
response. It models no speech, no turn and no time; it is there to cost little, so that the tool does not become what
it measures. Messages are made from prebuilt bytes, and audio is passed on without decoding it.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec
import trio

from benchmarks.load import open_pump
from proto.errors import HandshakeError
from proto.handshake import accept_upgrade, parse_request_head, refuse
from proto.websocket import Closed, Received
from relay import Pump
from relay.pump import PumpLine
from relay.sockets import MediaSocket

MAX_HEAD_BYTES: Final = 16 * 1024
HEAD_WITHIN_S: Final = 10.0
_END_OF_HEAD: Final = b"\r\n\r\n"

_APPEND: Final = b'"input_audio_buffer.append"'
_SESSION: Final = (
    b'{"type":"session.%s","event_id":"event_%015d","session":{"type":"realtime","object":"realtime.session",'
    b'"id":"sess_EchoEchoEchoEchoEcho1","audio":{"input":{"format":{"type":"audio/pcmu"}},'
    b'"output":{"format":{"type":"audio/pcmu"},"voice":"marin"}}}}'
)
_RESPONSE: Final = (
    b'{"type":"response.%s","event_id":"event_%015d","response":{"object":"realtime.response",'
    b'"id":"resp_Echo%017d","status":"%s","output":[],"usage":null}}'
)
_DELTA: Final = (
    b'{"type":"response.output_audio.delta","event_id":"event_%015d","response_id":"resp_Echo%017d",'
    b'"item_id":"item_Echo%017d","output_index":0,"content_index":0,"delta":"%s"}'
)


class _Tagged(msgspec.Struct):
    type: str


_tag_decoder = msgspec.json.Decoder(_Tagged)


class EchoUpstream:
    """What the upstream has seen. Open one with `open_echo_upstream`.

    Attributes: url, where a relay finds it; sessions, how many were opened; errors, what went wrong here, one line
    each.
    """

    def __init__(self, port: int) -> None:
        self.url = f"ws://127.0.0.1:{port}/v1/realtime"
        self.sessions = 0
        self.errors: list[str] = []


@asynccontextmanager
async def open_echo_upstream() -> AsyncIterator[EchoUpstream]:
    """Listen on a free port of this machine while the context lasts."""
    async with open_pump() as pump, trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        upstream = EchoUpstream(listeners[0].socket.getsockname()[1])
        await nursery.start(partial(trio.serve_listeners, partial(_serve, pump, upstream), listeners))
        try:
            yield upstream
        finally:
            nursery.cancel_scope.cancel()


async def _serve(pump: Pump, upstream: EchoUpstream, stream: trio.SocketStream) -> None:
    try:
        async with stream:
            received = await _shake_hands(stream)
            sock = socket.socket(fileno=stream.socket.detach())
            sock.setblocking(False)
            with sock:
                upstream.sessions += 1
                await _EchoSession(upstream.sessions).run(PumpLine(pump, sock, received))
    except (HandshakeError, trio.BrokenResourceError, trio.TooSlowError, OSError) as error:
        upstream.errors.append(f"upstream: {error}")


async def _shake_hands(stream: trio.SocketStream) -> bytes:
    """Accept the upgrade; returns what followed it.

    Raises: HandshakeError when this is no upgrade, TooSlowError when it takes too long.
    """
    raw = b""
    with trio.fail_after(HEAD_WITHIN_S):
        while _END_OF_HEAD not in raw:
            data = bytes(await stream.receive_some(MAX_HEAD_BYTES))
            raw += data
            if not data or len(raw) > MAX_HEAD_BYTES:
                raise HandshakeError("no request head")
        try:
            accepted = accept_upgrade(parse_request_head(raw))
        except HandshakeError as error:
            await stream.send_all(refuse(error.status or 400, error.detail))
            raise
        await stream.send_all(accepted)
    return raw.partition(_END_OF_HEAD)[2]


class _EchoSession:
    """One realtime session: its configuration, and one response at a time."""

    def __init__(self, number: int) -> None:
        # A MediaSocket takes its part from its peer: who talks to "twilio" is a server, and so are we.
        self._socket = MediaSocket("twilio", self._on_batch)
        self._ended = trio.Event()
        self._error: Exception | None = None
        self._number = number
        self._events_made = 0
        self._response = 0  # the response being generated, 0 for none
        self._responses_made = 0

    async def run(self, line: PumpLine) -> None:
        """Serve until the relay closes."""
        async with line.attach(self._socket, self._fail):
            self._socket.send(_SESSION % (b"created", self._event_number()))
            await self._ended.wait()
        if self._error:
            raise OSError(f"session {self._number} failed: {self._error!r}")

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._ended.set()

    def _on_batch(self, received: list[Received]) -> None:
        for message in received:
            if isinstance(message, bytes):
                self._on_text(message)
            elif isinstance(message, Closed):
                self._ended.set()

    def _on_text(self, raw: bytes) -> None:
        if _APPEND in raw:
            self._echo(_string_of(raw, b'"audio"'))
            return
        match _tag_decoder.decode(raw).type:
            case "session.update":
                self._socket.send(_SESSION % (b"updated", self._event_number()))
                self._begin_response()
            case "response.create":
                self._begin_response()
            case "response.cancel":
                self._end_response(b"cancelled")

    def _echo(self, payload: bytes) -> None:
        if not self._response:
            self._begin_response()
        self._socket.send(_DELTA % (self._event_number(), self._response, self._response, payload))

    def _begin_response(self) -> None:
        if self._response:
            return
        self._responses_made += 1
        self._response = self._responses_made
        self._socket.send(_RESPONSE % (b"created", self._event_number(), self._response, b"in_progress"))

    def _end_response(self, status: bytes) -> None:
        if self._response:
            self._socket.send(_RESPONSE % (b"done", self._event_number(), self._response, status))
            self._response = 0

    def _event_number(self) -> int:
        self._events_made += 1
        return self._events_made


def _string_of(raw: bytes, key: bytes) -> bytes:
    """The string behind a key, found without decoding the rest. Only for strings without escapes, like base64."""
    begin = raw.index(b'"', raw.index(key) + len(key)) + 1
    return raw[begin : raw.index(b'"', begin)]

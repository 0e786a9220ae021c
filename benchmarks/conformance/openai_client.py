"""A strict client of a Realtime server, raw as checks need it: it looks at each event's shape, and repairs nothing."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
import trio
from trio_websocket import WebSocketConnection

from benchmarks import speech
from benchmarks.conformance.check import NotShownError, expect
from benchmarks.conformance.openai_shapes import faults_of
from benchmarks.conformance.wire import Headers, Json, Peer, dial

DEFAULT_MODEL: Final = "gpt-realtime-2.1"
PCMU: Final = {"type": "audio/pcmu"}
BYTES_PER_MS: Final = 8
PREFIX_MS: Final = 300
SILENCE_MS: Final = 500
VAD: Final[Json] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": PREFIX_MS,
    "silence_duration_ms": SILENCE_MS,
    "create_response": True,
    "interrupt_response": True,
}
GREETING: Final[Json] = {"instructions": "Greet the caller in one sentence, and ask how you can help."}
_APPEND_MS: Final = 200
_TRIES: Final = 3


class Realtime(msgspec.Struct, frozen=True, kw_only=True):
    """The server under test. url: ws:// or wss://, with or without a model in its query."""

    url: str
    api_key: str
    patience_s: float = 5.0

    @property
    def authorization(self) -> Headers:
        return (("Authorization", f"Bearer {self.api_key}"),)

    def address(self, **query: str | None) -> str:
        """The URL with this query over its own; None takes a parameter out. Without a model it names our own."""
        parts = urlsplit(self.url)
        asked = {"model": DEFAULT_MODEL, **dict(parse_qsl(parts.query)), **query}
        named = {name: value for name, value in asked.items() if value is not None}
        return urlunsplit(parts._replace(query=urlencode(named)))

    @asynccontextmanager
    async def connect(
        self, url: str | None = None, *, headers: Headers | None = None, subprotocols: Sequence[str] = ()
    ) -> AsyncIterator["Client"]:
        """An open socket, and nothing said yet."""
        carried = self.authorization if headers is None else headers
        dialled = dial(url or self.address(), headers=carried, subprotocols=subprotocols, within_s=self.patience_s)
        async with dialled as (socket, transport), trio.open_nursery() as nursery:
            client = Client(socket, transport, patience_s=self.patience_s)
            nursery.start_soon(client.read)
            yield client
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def session(
        self, url: str | None = None, *, vad: Json | None = None, **fields: Any
    ) -> AsyncIterator["Client"]:
        """A session with μ-law both ways; vad: its turn detection, by default none. fields: of the session, too."""
        async with self.connect(url) as client:
            await client.next("session.created")
            heard = {"format": PCMU, "turn_detection": vad}
            await client.update(audio={"input": heard, "output": {"format": PCMU}}, **fields)
            yield client


class Client(Peer):
    """One realtime session's socket. shape_faults: what was wrong with events' shapes, however harmless."""

    def __init__(self, socket: WebSocketConnection, transport: trio.abc.Stream, *, patience_s: float) -> None:
        super().__init__(socket, transport, tag="type", patience_s=patience_s)
        self.shape_faults: list[str] = []
        self._event_ids: set[str] = set()
        self._asked = 0

    async def ask(self, kind: str, **fields: Any) -> str:
        """Send a client event; gives the id it was sent under."""
        self._asked += 1
        event_id = f"check-{self._asked}"
        await self.send({"type": kind, "event_id": event_id, **fields})
        return event_id

    async def update(self, **fields: Any) -> Json:
        """Update the session; gives it as it is afterwards."""
        await self.ask("session.update", session={"type": "realtime", **fields})
        session: Json = (await self.next("session.updated"))["session"]
        return session

    async def refused(self, kind: str, **fields: Any) -> Json:
        """Send a client event that must be refused; gives the error. It has to name the event."""
        event_id = await self.ask(kind, **fields)
        error: Json = (await self.next("error"))["error"]
        expect(error.get("event_id") == event_id, f"the error names the event {error.get('event_id')!r}")
        return error

    async def add_text(self, text: str, role: str = "user", **fields: Any) -> Json:
        """Add a written message to the conversation; gives the item."""
        content = [{"type": "output_text" if role == "assistant" else "input_text", "text": text}]
        await self.ask("conversation.item.create", item={"type": "message", "role": role, "content": content, **fields})
        item: Json = (await self.next("conversation.item.done"))["item"]
        return item

    async def respond(self, **options: Any) -> list[Json]:
        """Ask for a response; gives all events up to its `response.done`."""
        await self.ask("response.create", response=options or GREETING)
        return await self.collect("response.done")

    async def append(self, audio: bytes) -> None:
        """The caller's voice, as fast as it can be sent."""
        size = _APPEND_MS * BYTES_PER_MS
        for start in range(0, len(audio), size):
            encoded = base64.b64encode(audio[start : start + size]).decode()
            await self.send({"type": "input_audio_buffer.append", "audio": encoded})

    def describe(self, message: Json) -> str:
        if message.get("type") == "error" and isinstance(message.get("error"), dict):
            return f"error {message['error'].get('code')} ({message['error'].get('message')})"
        return super().describe(message)

    def _inspect(self, message: Json) -> None:
        self.shape_faults += faults_of(message)
        event_id = message.get("event_id")
        if isinstance(event_id, str):
            if event_id in self._event_ids:
                self.shape_faults.append(f"the event_id {event_id} twice")
            self._event_ids.add(event_id)


def silence(ms: int) -> bytes:
    return b"\xff" * (ms * BYTES_PER_MS)


def question() -> bytes:
    """A caller's sentence, and nothing around it."""
    return speech.clip("ask_hours").mulaw


def turn() -> bytes:
    """A caller's sentence, and the silence that ends the turn."""
    return question() + silence(SILENCE_MS + 300)


def of_kind(events: list[Json], kind: str) -> list[Json]:
    return [event for event in events if event["type"] == kind]


def only(events: list[Json], kind: str) -> Json:
    """The one event of this kind. Raises: UnmetError when there is none, or more than one."""
    found = of_kind(events, kind)
    expect(len(found) == 1, f"{kind} came {len(found)} times")
    return found[0]


def spoken(events: list[Json]) -> bytes:
    """The audio in these events."""
    return b"".join(base64.b64decode(event["delta"]) for event in of_kind(events, "response.output_audio.delta"))


async def until_shown(attempt: Callable[[], Awaitable[None]]) -> None:
    """Try again what is lost when the server is quicker than the check. Raises: NotShownError when it always is."""
    for _ in range(_TRIES - 1):
        is_shown = True
        try:
            await attempt()
        except* NotShownError:
            is_shown = False
        if is_shown:
            return
    await attempt()

"""The two outer ends of a relay, as a check holds them: Twilio's media stream, and OpenAI's realtime session."""

import base64
import time
from collections.abc import Iterator
from itertools import count
from typing import Final

import trio
from trio_websocket import WebSocketConnection

from benchmarks.conformance.check import UnmetError, shown
from benchmarks.conformance.wire import Json, Peer
from relay import TOKEN_PARAMETER, issue_stream_token

BYTES_PER_MS: Final = 8
FRAME_BYTES: Final = 160
_ACCOUNT: Final = f"AC{0:032x}"
_FIRST_TIMESTAMP_MS: Final = 120  # Twilio's streams do not begin at 0
_SESSION_S: Final = 3600


def voice(ms: int, first: int = 0) -> bytes:
    """Audio that is no silence, and whose every byte tells where it belongs."""
    return bytes((first + at) % 251 for at in range(ms * BYTES_PER_MS))


def encoded(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


def decoded(kind: str, payload: object) -> bytes:
    """The audio of a message. Raises: UnmetError when there is none to be had: the relay has passed on rubbish."""
    try:
        if isinstance(payload, str):
            return base64.b64decode(payload, validate=True)
    except ValueError:
        pass
    raise UnmetError(f"the relay sent {kind} with {shown(payload)} for audio")


class Phone(Peer):
    """Twilio's end: what the relay sends to the caller, and what Twilio sends.

    Attributes: stream_sid; call_sid; now_ms, the timestamp of the next frame; misshapen, what Twilio would warn about.
    """

    def __init__(
        self,
        socket: WebSocketConnection,
        transport: trio.abc.Stream,
        *,
        number: int,
        token_secret: str | None,
        patience_s: float,
    ) -> None:
        super().__init__(socket, transport, tag="event", patience_s=patience_s)
        self._token_secret = token_secret
        self.stream_sid = f"MZ{number:032x}"
        self.call_sid = f"CA{number:032x}"
        self.now_ms = _FIRST_TIMESTAMP_MS
        self.misshapen: list[str] = []
        self._sequence = count(2)
        self._chunks = count(1)

    def connected(self) -> Json:
        return {"event": "connected", "protocol": "Call", "version": "1.0.0"}

    def start(self, **fields: object) -> Json:
        """Twilio's `start`, with a token as from a webhook's answer; fields replace those of the inner object."""
        secret = self._token_secret
        token = {TOKEN_PARAMETER: issue_stream_token(secret, self.call_sid, at=time.time())} if secret else {}
        body = {
            "accountSid": _ACCOUNT,
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": token,
        }
        return {"event": "start", "sequenceNumber": "1", "streamSid": self.stream_sid, "start": {**body, **fields}}

    def stray(self, audio: bytes = b"", **fields: object) -> Json:
        """A frame that takes no time on the stream's clock; fields replace or join those of the inner object."""
        body = {
            "track": "inbound",
            "chunk": str(next(self._chunks)),
            "timestamp": str(self.now_ms),
            "payload": encoded(audio or voice(20)),
        }
        return self.numbered({"event": "media", "media": {**body, **fields}})

    def mark(self, name: object) -> Json:
        return self.numbered({"event": "mark", "mark": {"name": name}})

    def stop(self) -> Json:
        return self.numbered({"event": "stop", "stop": {"accountSid": _ACCOUNT, "callSid": self.call_sid}})

    def numbered(self, message: Json) -> Json:
        """A message of this stream, with its sequence number."""
        return {"sequenceNumber": str(next(self._sequence)), "streamSid": self.stream_sid, **message}

    async def speak(self, audio: bytes) -> None:
        """One frame of the caller's voice, of any length."""
        await self.send(self.stray(audio))
        self.now_ms += len(audio) // BYTES_PER_MS

    async def echo(self, *names: str) -> None:
        """What was sent up to these marks has been played."""
        await self.send(*(self.mark(name) for name in names))

    def of(self, kind: str) -> list[Json]:
        return [message for message in self.messages if message.get("event") == kind]

    def heard(self) -> bytes:
        """All audio that came for the caller."""
        return b"".join(_payload(message) for message in self.of("media"))

    def marks(self) -> list[str]:
        """The names of all marks that came, in order."""
        return [name for _, name in self.between_marks() if name is not None]

    def heard_since_clear(self) -> bytes:
        """The audio behind the last clear; all of it if there was none."""
        at = max((at for at, kind in enumerate(self.kinds()) if kind == "clear"), default=0)
        return b"".join(_payload(message) for message in self.messages[at:] if message.get("event") == "media")

    def between_marks(self) -> Iterator[tuple[int, str | None]]:
        """How many bytes of audio had come in all after each message, and the mark's name if it was one."""
        came = 0
        for message in self.messages:
            if message.get("event") == "media":
                came += len(_payload(message))
                yield came, None
            elif message.get("event") == "mark":
                body = message.get("mark")
                yield came, str(body.get("name") if isinstance(body, dict) else body)

    async def until_heard(self, nbytes: int) -> bytes:
        """All audio, once there is at least so much of it."""
        return await self.wait(lambda: _whole(nbytes, self.heard()), f"{nbytes} bytes of the agent's audio")

    async def until_marked(self, nbytes: int) -> str:
        """The first mark behind so many bytes of audio, once it has come."""

        def look() -> str | None:
            return next((name for came, name in self.between_marks() if name is not None and came >= nbytes), None)

        return await self.wait(look, f"a mark behind {nbytes} bytes of audio")

    def _inspect(self, message: Json) -> None:
        kind = str(message.get("event"))
        body = message.get(kind)
        inner = sorted(body) if isinstance(body, dict) else None
        is_known = (kind, inner) in (("media", ["payload"]), ("mark", ["name"]), ("clear", None))
        outer = {"event", "streamSid"} | (set() if inner is None else {kind})
        if not is_known or message.keys() != outer or message.get("streamSid") != self.stream_sid:
            self.misshapen.append(shown(message))


class Model(Peer):
    """OpenAI's end: one realtime session that the relay has opened."""

    def __init__(self, socket: WebSocketConnection, transport: trio.abc.Stream, *, patience_s: float) -> None:
        super().__init__(socket, transport, tag="type", patience_s=patience_s)
        self._event_ids = count(1)

    async def say(self, kind: str, **fields: object) -> None:
        """Send a server event."""
        await self.send({"type": kind, "event_id": f"event_{next(self._event_ids):021d}", **fields})

    async def set_up(self) -> None:
        """Greet the relay, and take its configuration as it is."""
        await self.say("session.created", session=_session())
        update = await self.next("session.update")
        await self.say("session.updated", session=_session(update.get("session")))

    async def complete_responses(self) -> None:
        """Answer each response that the relay asks for, its greeting at most, with one that has nothing to say."""
        answered = 0
        while self.close_code is None:
            if answered == len(self.of("response.create")):
                await self.changed()
                continue
            answered += 1
            await self.begin(f"resp_asked_{answered}", None)
            await self.say("response.done", response=_response(f"resp_asked_{answered}", "completed"))

    async def begin(self, response: str = "resp_1", item: str | None = "item_1") -> None:
        """A response begins, with an item that is to be spoken if it has one yet."""
        await self.say("response.created", response=_response(response, "in_progress"))
        if item is None:
            return
        message = {"id": item, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        await self.say("response.output_item.added", response_id=response, output_index=0, item=message)
        await self.say("conversation.item.added", previous_item_id=None, item=message)
        part = {"type": "audio", "transcript": ""}
        await self.say("response.content_part.added", **_where(response, item), part=part)

    async def speak(self, audio: bytes, response: str = "resp_1", item: str = "item_1") -> None:
        """Some of the agent's voice."""
        await self.say("response.output_audio.delta", **_where(response, item), delta=encoded(audio))

    async def finish_item(self, response: str = "resp_1", item: str = "item_1") -> None:
        """The item has no more audio."""
        await self.say("response.output_audio.done", **_where(response, item))

    async def finish(self, response: str = "resp_1", item: str = "item_1", status: str = "completed") -> None:
        """The item has no more audio, and the response is over."""
        await self.finish_item(response, item)
        await self.say("response.done", response=_response(response, status))

    async def hear_caller(self) -> None:
        """The caller begins to speak."""
        await self.say("input_audio_buffer.speech_started", audio_start_ms=1460, item_id="item_caller")

    def of(self, kind: str) -> list[Json]:
        return [event for event in self.messages if event.get("type") == kind]

    def heard(self) -> bytes:
        """All audio that was appended."""
        appends = self.of("input_audio_buffer.append")
        return b"".join(decoded("input_audio_buffer.append", event.get("audio")) for event in appends)

    def truncated(self) -> dict[str, list[object]]:
        """Where items were cut, by item."""
        cuts: dict[str, list[object]] = {}
        for event in self.of("conversation.item.truncate"):
            cuts.setdefault(str(event.get("item_id")), []).append(event.get("audio_end_ms"))
        return cuts


def _payload(message: Json) -> bytes:
    body = message.get("media")
    return decoded("media", body.get("payload") if isinstance(body, dict) else None)


def _whole(nbytes: int, audio: bytes) -> bytes | None:
    """The audio, once it is so long."""
    return audio if len(audio) >= nbytes else None


def _session(configured: Json | None = None) -> Json:
    """The session as the service would tell it: its defaults, under what the relay has configured."""
    pcm = {"type": "audio/pcm", "rate": 24000}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": f"sess_{0:021d}",
        "model": "gpt-realtime-2.1",
        "expires_at": int(time.time()) + _SESSION_S,
        "output_modalities": ["audio"],
        "audio": {"input": {"format": pcm}, "output": {"format": pcm, "voice": "marin"}},
        **(configured or {}),
    }


def _response(response: str, status: str) -> Json:
    usage = {"total_tokens": 140, "input_tokens": 90, "output_tokens": 50}
    return {
        "object": "realtime.response",
        "id": response,
        "status": status,
        "status_details": None,
        "output": [],
        "conversation_id": f"conv_{0:021d}",
        "usage": None if status == "in_progress" else usage,
        "metadata": None,
    }


def _where(response: str, item: str) -> Json:
    return {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}

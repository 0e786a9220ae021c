"""The upstream of the echo profile: each piece of audio comes straight back.

`RealtimeSession` speaks as much of the Realtime protocol as any relay needs to set up a session, and reads a text aloud
when it is asked to outside of a conversation (benchmarks.load.reading); `EchoSession` answers each append with a delta
of one long response. It models no speech, no turn and no time; it is there to cost little. An append's audio is passed
on as the JSON string it is, without decoding it.

`Reflector` is what the callers are connected to in a direct run, without a relay: it speaks the relay's side of Media
Streams and gives each frame back, or only notes that it arrived.
"""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Final

import msgspec

from benchmarks.load.ledger import FrameLedger, call_of
from benchmarks.load.reading import Wanted, read_aloud
from benchmarks.load.wire import Wire, header
from proto.websocket import Role

_SESSION: Final = (
    b'{"type":"session.%s","event_id":"event_%015d","session":{"type":"realtime","object":"realtime.session",'
    b'"id":"sess_%024d","audio":{"input":{"format":{"type":"audio/pcmu"}},'
    b'"output":{"format":{"type":"audio/pcmu"},"voice":"marin"}}}}'
)
_RESPONSE: Final = (
    b'{"type":"response.%s","event_id":"event_%015d","response":{"object":"realtime.response",'
    b'"id":"resp_%021d","status":"%s","output":[],"usage":null}}'
)
_DELTA_OPENING: Final = b'{"type":"response.output_audio.delta","event_id":"event_'
_DELTA_MIDDLE: Final = (
    b'","response_id":"resp_%021d","item_id":"item_%021d","output_index":0,"content_index":0,"delta":'
)
_EVENT_DIGITS: Final = 15


class _Event(msgspec.Struct, gc=False):
    """A client event. audio: an append's JSON string, quotes included; response: what a `response.create` wants."""

    type: str
    audio: msgspec.Raw = msgspec.Raw()
    response: Wanted = Wanted()


class _Media(msgspec.Struct, gc=False):
    payload: msgspec.Raw


class _FromTwilio(msgspec.Struct, rename="camel", gc=False):
    event: str
    stream_sid: str = ""
    media: _Media | None = None


_decode_event: Callable[[bytes], _Event] = msgspec.json.Decoder(_Event).decode
_decode_message: Callable[[bytes], _FromTwilio] = msgspec.json.Decoder(_FromTwilio).decode
decode_string: Callable[[bytes], str] = msgspec.json.Decoder(str).decode


class RealtimeSession:
    """One realtime session: its configuration, and what is common to all that may happen in it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._wire: Wire | None = None
        self._events_made = 0

    def begin(self, wire: Wire, received: bytes) -> None:
        """The relay has connected. received: bytes that followed the handshake."""
        self._wire = wire
        wire.begin(received)
        self._say(_SESSION % (b"created", self._event_number(), self._number))

    def on_text(self, raw: bytes) -> None:
        """The relay said something."""
        event = _decode_event(raw)
        if event.type == "input_audio_buffer.append":
            if not event.audio:
                raise ValueError("an append without audio")
            self._on_append(event.audio)
        elif event.type == "session.update":
            self._say(_SESSION % (b"updated", self._event_number(), self._number))
            self._on_configured()
        elif event.type == "response.create" and event.response.is_reading:
            for each in read_aloud(event.response, self._event_number):
                self._say(each)
        else:
            self._on_event(event.type, raw)

    def on_end(self, _why: str) -> None:
        """The relay has gone, in whatever way: whether that was right, the caller's side tells."""
        self._wire = None

    def _on_append(self, audio: msgspec.Raw) -> None:
        raise NotImplementedError

    def _on_configured(self) -> None:
        pass

    def _on_event(self, kind: str, raw: bytes, /) -> None:
        raise NotImplementedError

    def _say(self, raw: bytes) -> None:
        if self._wire is not None:
            self._wire.send_text(raw)

    def _event_number(self) -> int:
        self._events_made += 1
        return self._events_made


class EchoSession(RealtimeSession):
    """Gives back what is appended."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._response = 0  # the response being generated, 0 for none
        self._responses_made = 0
        self._opening, self._opening_for = b"", 0  # of a delta, with the header for audio of that length
        self._middle = b""

    def _on_append(self, audio: msgspec.Raw) -> None:
        if not self._response:
            self._begin_response()
        if self._wire is None:
            return
        if len(audio) != self._opening_for:
            length = len(_DELTA_OPENING) + _EVENT_DIGITS + len(self._middle) + len(audio) + 1
            self._opening, self._opening_for = header(length, Role.SERVER) + _DELTA_OPENING, len(audio)
        self._events_made += 1
        self._wire.write(b"".join((self._opening, b"%015d" % self._events_made, self._middle, audio, b"}")))

    def _on_configured(self) -> None:
        self._begin_response()

    def _on_event(self, kind: str, _raw: bytes) -> None:
        if kind == "response.create":
            self._begin_response()
        elif kind == "response.cancel":
            self._end_response(b"cancelled")

    def _begin_response(self) -> None:
        if self._response:
            return
        self._responses_made += 1
        self._response = self._responses_made
        self._middle = _DELTA_MIDDLE % (self._response, self._response)
        self._say(_RESPONSE % (b"created", self._event_number(), self._response, b"in_progress"))

    def _end_response(self, status: bytes) -> None:
        if self._response:
            self._say(_RESPONSE % (b"done", self._event_number(), self._response, status))
            self._response = 0


class Reflector:
    """Instead of a relay. ledgers: None to give frames back, else where to note that they arrived."""

    def __init__(self, ledgers: Mapping[int, FrameLedger] | None) -> None:
        self._ledgers = ledgers
        self._wire: Wire | None = None
        self._opening, self._opening_for = b"", 0

    def begin(self, wire: Wire, received: bytes) -> None:
        """A caller has connected. received: bytes that followed the handshake."""
        self._wire = wire
        wire.begin(received)

    def on_text(self, raw: bytes) -> None:
        """The caller said something."""
        now = perf_counter()
        message = _decode_message(raw)
        if message.media is None or self._wire is None:
            return
        payload = message.media.payload
        if self._ledgers is not None:
            text = decode_string(bytes(payload))
            self._ledgers[call_of(text)].arrive(text, now)
            return
        if len(payload) != self._opening_for:
            opening = b'{"event":"media","streamSid":"%s","media":{"payload":' % message.stream_sid.encode()
            length = len(opening) + len(payload) + 2
            self._opening, self._opening_for = header(length, Role.SERVER) + opening, len(payload)
        self._wire.write(b"".join((self._opening, payload, b"}}")))

    def on_end(self, _why: str) -> None:
        """The caller has hung up."""
        self._wire = None

"""Twilio Media Streams messages: what they look like, how they are read and written.

First and last station of a frame's way through the relay: Twilio's WebSocket text in, structs out, and back. Knows
nothing of sockets, calls or time. Facts from Twilio's "Media Streams - WebSocket Messages"; audio is raw μ-law, 8 kHz,
base64 on the wire and plain bytes in the structs, so that whoever handles it can count it.
"""

from collections.abc import Callable
from typing import Any, final

import msgspec

from proto.errors import RemoteProtocolError


class Message(msgspec.Struct, tag_field="event", rename="camel", frozen=True, gc=False):
    """What all Twilio messages share: `event` is the tag, names are camelCase on the wire."""


class Body(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """The inner object of a message."""


# What Twilio sends. Only fields that are read are declared; all others are skipped.


class Connected(Message, frozen=True, tag="connected"):
    """The socket is open. Carries nothing that could identify the call."""


class MediaFormat(Body, frozen=True):
    """How the audio is coded; documented as always these values."""

    encoding: str = "audio/x-mulaw"
    sample_rate: int = 8000
    channels: int = 1


class StartBody(Body, frozen=True):
    """Which call this stream belongs to. `custom_parameters` are the TwiML's `<Parameter>`s, always strings."""

    stream_sid: str
    call_sid: str
    account_sid: str = ""
    media_format: MediaFormat = MediaFormat()
    custom_parameters: dict[str, str] = {}


class Start(Message, frozen=True, tag="start"):
    """The stream begins; sent once, before any media."""

    stream_sid: str
    start: StartBody
    sequence_number: int | None = None


class MediaBody(Body, frozen=True):
    """payload: μ-law bytes, usually 160 (20 ms), any length allowed; timestamp: ms since the stream began."""

    payload: bytes
    track: str = "inbound"
    timestamp: int | None = None


@final
class Media(Message, frozen=True, tag="media"):
    """One frame of caller audio. Media Streams docs, "Media message"."""

    stream_sid: str
    media: MediaBody
    sequence_number: int | None = None


class MarkBody(Body, frozen=True):
    """name: exactly what was sent with the mark."""

    name: str


@final
class Mark(Message, frozen=True, tag="mark"):
    """A mark of ours comes back: what was queued before it has been played, or was cleared."""

    stream_sid: str
    mark: MarkBody
    sequence_number: int | None = None


class DtmfBody(Body, frozen=True):
    """digit: one key of the caller's phone."""

    digit: str


class Dtmf(Message, frozen=True, tag="dtmf"):
    """The caller pressed a key."""

    stream_sid: str
    dtmf: DtmfBody
    sequence_number: int | None = None


class Stop(Message, frozen=True, tag="stop"):
    """The stream is over: the caller hung up, or the call was redirected."""

    stream_sid: str
    sequence_number: int | None = None


class Unhandled(msgspec.Struct, frozen=True):
    """A well-formed message of a kind we do not know. Vendors add kinds without asking."""

    tag: str


Inbound = Connected | Start | Media | Mark | Dtmf | Stop

# What may be sent to Twilio: exactly these three, with exactly these keys (anything more is warning 31951).


class PlayBody(Body, frozen=True):
    """payload: μ-law bytes, any length, no header."""

    payload: bytes


@final
class Play(Message, frozen=True, tag="media"):
    """Queue audio at the far end; it is played in order, without pause."""

    stream_sid: str
    media: PlayBody


@final
class SendMark(Message, frozen=True, tag="mark"):
    """Ask for an echo when everything queued so far has been played."""

    stream_sid: str
    mark: MarkBody


class Clear(Message, frozen=True, tag="clear"):
    """Throw away what is queued at the far end; all outstanding marks are echoed."""

    stream_sid: str


Outbound = Play | SendMark | Clear

# Built once. strict=False because Twilio writes its numbers as strings.
_decoder: msgspec.json.Decoder[Inbound] = msgspec.json.Decoder(Inbound, strict=False)
encode: Callable[[Outbound], bytes] = msgspec.json.Encoder().encode  # one message as compact JSON
_TAGS = frozenset(str(kind.__struct_config__.tag) for kind in Inbound.__args__)


def decode(raw: bytes) -> Inbound | Unhandled:
    """Read one message.

    Args: raw, one WebSocket text message.
    Raises: RemoteProtocolError when it is no JSON object, has no `event`, or lacks what its kind must have.
    """
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_unusual(raw)


def _decode_unusual(raw: bytes) -> Inbound | Unhandled:
    """Tell an unknown kind from a broken message, and forgive counters that are not numbers."""
    try:
        message = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError("twilio", "", f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise RemoteProtocolError("twilio", "", "not a JSON object")
    tag = message.get("event")
    if not isinstance(tag, str):
        raise RemoteProtocolError("twilio", "", "no event")
    if tag not in _TAGS:
        return Unhandled(tag[:64])
    try:
        inbound: Inbound = msgspec.convert(_without_bad_counters(message), Inbound, strict=False)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise RemoteProtocolError("twilio", tag, str(error)) from None
    return inbound


def _without_bad_counters(message: dict[str, Any]) -> dict[str, Any]:
    """A frame is not lost for a sequence number or a timestamp that cannot be read."""
    message = _without_unless_integer(message, "sequenceNumber")
    media = message.get("media")
    if isinstance(media, dict):
        message = message | {"media": _without_unless_integer(media, "timestamp")}
    return message


def _without_unless_integer(fields: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        msgspec.convert(fields.get(name), int | None, strict=False)
    except msgspec.ValidationError:
        return {key: value for key, value in fields.items() if key != name}
    return fields

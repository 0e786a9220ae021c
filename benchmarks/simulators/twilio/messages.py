"""Media Streams messages as Twilio writes them, and as strictly as it reads them.

Pure. Written from Twilio's "Media Streams - WebSocket Messages" alone and not from the relay's own parser: a simulator
that shares the relay's mistakes proves nothing. Of what Twilio sends, sequence numbers, chunks and timestamps are
strings, the media format's numbers are numbers. Of what it receives, three shapes are valid and not one key more
(warning 31951).
"""

import base64
import binascii
from functools import lru_cache
from typing import Final

import msgspec

from proto import mulaw

INVALID_MESSAGE: Final = 31951


class InvalidMessageError(Exception):
    """The relay sent what Twilio does not accept. Says why, never what: it may be audio."""


class Wire(msgspec.Struct, tag_field="event", rename="camel", frozen=True, gc=False, forbid_unknown_fields=True):
    """What all messages share, in both directions: `event` is the tag, names are camelCase."""


class Connected(Wire, frozen=True, tag="connected"):
    """The first message; it names no call."""

    protocol: str = "Call"
    version: str = "1.0.0"


class MediaFormat(msgspec.Struct, rename="camel", frozen=True):
    """Always this one."""

    encoding: str = "audio/x-mulaw"
    sample_rate: int = mulaw.SAMPLE_RATE_HZ
    channels: int = 1


class StartBody(msgspec.Struct, rename="camel", frozen=True):
    """Whose stream this is. It does not name the caller's number: that is what parameters are for."""

    account_sid: str
    stream_sid: str
    call_sid: str
    custom_parameters: dict[str, str]
    tracks: list[str] = msgspec.field(default_factory=lambda: ["inbound"])
    media_format: MediaFormat = MediaFormat()


class Start(Wire, frozen=True, tag="start"):
    """Sent once, after `connected`."""

    sequence_number: str
    start: StartBody
    stream_sid: str


class MediaBody(msgspec.Struct, frozen=True):
    """20 ms of the caller."""

    chunk: str
    timestamp: str  # ms since the stream began
    payload: str  # base64 μ-law
    track: str = "inbound"


class Media(Wire, frozen=True, tag="media"):
    """One frame of caller audio."""

    sequence_number: str
    media: MediaBody
    stream_sid: str


class DtmfBody(msgspec.Struct, frozen=True):
    """One key."""

    digit: str
    track: str = "inbound_track"  # sic: `inbound` is only the media messages' name for it


class Dtmf(Wire, frozen=True, tag="dtmf"):
    """The caller pressed a key."""

    stream_sid: str
    sequence_number: str
    dtmf: DtmfBody


class MarkBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mark's name, in both directions."""

    name: str


class Mark(Wire, frozen=True, tag="mark"):
    """The echo of a mark."""

    sequence_number: str
    stream_sid: str
    mark: MarkBody


class StopBody(msgspec.Struct, rename="camel", frozen=True):
    """Which call ended. No reason is given."""

    account_sid: str
    call_sid: str


class Stop(Wire, frozen=True, tag="stop"):
    """The stream is over."""

    sequence_number: str
    stop: StopBody
    stream_sid: str


class PlayBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Audio to be played, of any length."""

    payload: str


class Play(Wire, frozen=True, tag="media"):
    """The relay wants audio played."""

    stream_sid: str
    media: PlayBody


class MarkRequest(Wire, frozen=True, tag="mark"):
    """The relay wants to know when all before this was played."""

    stream_sid: str
    mark: MarkBody


class Clear(Wire, frozen=True, tag="clear"):
    """The relay wants silence, now."""

    stream_sid: str


Outbound = Connected | Start | Media | Dtmf | Mark | Stop
Inbound = Play | MarkRequest | Clear

_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[Inbound]] = msgspec.json.Decoder(Play | MarkRequest | Clear)


def encode(message: Outbound) -> str:
    """One text frame, as Twilio would send it."""
    return _encoder.encode(message).decode()


def media_body(chunk: int, timestamp_ms: int, frame: bytes) -> MediaBody:
    """A frame with its numbers as strings, as documented."""
    return MediaBody(chunk=str(chunk), timestamp=str(timestamp_ms), payload=_payload(frame))


@lru_cache(maxsize=8192)  # as in `level.py`: silence, and what all callers say
def _payload(frame: bytes) -> str:
    return base64.b64encode(frame).decode()


def decode(raw: str | bytes, stream_sid: str) -> Inbound:
    """One of the three shapes, for this stream. Raises: InvalidMessageError for anything else."""
    if isinstance(raw, bytes):
        raise InvalidMessageError("a binary frame, not JSON text")
    try:
        message = _decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidMessageError(str(error)) from None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise InvalidMessageError("not JSON") from None
    if message.stream_sid != stream_sid:
        raise InvalidMessageError("the streamSid is not this stream's")
    return message


def audio_of(message: Play) -> bytes:
    """The μ-law bytes. Raises: InvalidMessageError unless the payload is base64, standard alphabet, padded."""
    try:
        return base64.b64decode(message.media.payload, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidMessageError("the payload is not base64 in its standard alphabet with padding") from None

"""The messages that nearly all traffic of a call is made of, as the two services send them, to be timed with.

Keys, their order and the length of identifiers are those of recorded calls; the audio is noise, for nothing on a
message's way looks at it.
"""

import binascii
from random import Random
from typing import Final

from proto import mulaw

STREAM_SID: Final = "MZ" + "0123456789abcdef" * 2
CALL_SID: Final = "CA" + "0123456789abcdef" * 2
RESPONSE_ID: Final = "resp_0123456789abcdefghijk"
ITEM_ID: Final = "item_0123456789abcdefghijk"
DELTA_MS: Final = 250  # of an answer of the model's; an echo gives back single frames

_MEDIA: Final = (
    '{"event":"media","sequenceNumber":"%d","media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%s"},'
    '"streamSid":"%s"}'
)
_DELTA: Final = (
    '{"type":"response.output_audio.delta","event_id":"event_%015d","response_id":"%s","item_id":"%s",'
    '"output_index":0,"content_index":0,"delta":"%s"}'
)
_noise = Random(1)


def audio(ms: int = mulaw.FRAME_MS) -> bytes:
    """Some μ-law."""
    return _noise.randbytes(ms * mulaw.BYTES_PER_MS)


def media(number: int = 1) -> bytes:
    """Twilio's message with the caller's frame of this number."""
    return (_MEDIA % (number + 1, number, number * mulaw.FRAME_MS, base64(audio()), STREAM_SID)).encode()


def audio_delta(ms: int = DELTA_MS) -> bytes:
    """OpenAI's message with so much of the agent's voice."""
    return (_DELTA % (1, RESPONSE_ID, ITEM_ID, base64(audio(ms)))).encode()


def base64(raw: bytes) -> str:
    """As JSON carries it."""
    return binascii.b2a_base64(raw, newline=False).decode()

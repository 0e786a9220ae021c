"""A text read aloud by the upstream, as a relay asks for it outside of a conversation: for a preview, for a greeting.

Pure. It costs little: silence as long as the words would take, sent in one burst. A model takes a second or two for it
and spreads it over that time; the work for the relay is the same, and comes at once.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from proto import mulaw

CHARACTERS_PER_S: Final = 15
DELTA_MS: Final = 400

_DELTA: Final = (
    b'{"type":"response.output_audio.delta","event_id":"event_%d","response_id":"resp_read","item_id":"item_read",'
    b'"output_index":0,"content_index":0,"delta":"%s"}'
)
_TRANSCRIPT: Final = (
    b'{"type":"response.output_audio_transcript.done","event_id":"event_%d","response_id":"resp_read",'
    b'"item_id":"item_read","output_index":0,"content_index":0,"transcript":%s}'
)
_DONE: Final = (
    b'{"type":"response.done","event_id":"event_%d","response":{"object":"realtime.response","id":"resp_read",'
    b'"status":"completed","output":[],"usage":null}}'
)
_SILENCE: Final = b64encode(mulaw.silence(DELTA_MS))


class Wanted(msgspec.Struct, frozen=True):
    """What a `response.create` asks for. conversation: "none" outside of the session's own."""

    conversation: str = ""
    instructions: str = ""

    @property
    def is_reading(self) -> bool:
        """Whether it is this: words to read, and not an answer in a call."""
        return self.conversation == "none" and bool(self.instructions)


def read_aloud(wanted: Wanted, event_number: Callable[[], int]) -> Iterator[bytes]:
    """The events of the response. The text to read is the last paragraph of what the model is told."""
    text = wanted.instructions.rpartition("\n\n")[2]
    for _ in range(0, len(text) * 1000 // CHARACTERS_PER_S, DELTA_MS):
        yield _DELTA % (event_number(), _SILENCE)
    yield _TRANSCRIPT % (event_number(), msgspec.json.encode(text))
    yield _DONE % event_number()

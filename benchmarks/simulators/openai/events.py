"""What the simulator's modules hand each other: events as plain JSON objects, pauses, and the end of the session.

Server events are dictionaries here, not typed structs: this program must be able to say anything the service says, and
later also what it should not. `event_id` is added where an event leaves the session.
"""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

Json = dict[str, Any]

Direction = Literal["client", "server"]

# What takes time is a track: pauses in seconds, and the events between them. Code between two yields runs exactly when
# the event after it is due, so a track may look at the conversation as it then is.
Track = Iterator[float | Json]


class Close(msgspec.Struct, frozen=True):
    """The server ends the session with a WebSocket close frame."""

    code: int
    reason: str

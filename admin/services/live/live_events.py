"""What happens in the calls right now, as it is told to who watches: events in order, and where one stands in them.

Each process that carries calls is a source, and numbers its events. A place is one position for each source that has
been heard of, so whoever was told up to a place in one process can go on from there in another. Pure.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from heapq import merge
from typing import Final, Literal
from uuid import UUID

import msgspec

from admin.services.calls.call_record import Speaker
from relay import Direction

RING_EVENTS: Final = 512  # kept of each source, for those who come back
MAX_SOURCES: Final = 64
MAX_PLACE_CHARACTERS: Final = 2048

LiveState = Literal["connecting", "listening", "caller_speaking", "thinking", "agent_speaking"]
LiveKind = Literal["call.started", "call.turn", "call.barged_in", "call.ended"]


class LiveCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call in progress.

    direction: None where nothing told of the call before its stream; since: when that began; last_words: of whom
    last_speaker says; None where the persona's privacy lets none be shown, or none were said.
    """

    call_sid: str
    direction: Direction | None
    caller: str
    called: str
    persona_id: UUID | None
    since: datetime
    state: LiveState
    last_speaker: Speaker | None = None
    last_words: str | None = None


class LiveEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something happened; call: how it stands since. Of the other fields an event has those that its kind knows.

    speaker, words: of a turn; heard_ms: of the agent's, and of a barge-in, which may be off by error_bound_ms; was_cut:
    more was due than was heard; reason, duration_ms: of a call's end.
    """

    kind: LiveKind
    at: datetime
    call: LiveCall
    speaker: Speaker | None = None
    words: str | None = None
    was_cut: bool = False
    heard_ms: int | None = None
    error_bound_ms: int | None = None
    reason: str = ""
    duration_ms: int | None = None


class Numbered(msgspec.Struct, frozen=True, kw_only=True):
    """An event at its place in its source. account_id: whose call it is, None for nobody's."""

    number: int
    account_id: UUID | None
    event: LiveEvent


class Position(msgspec.Struct, frozen=True):
    """Where one stands in a source. life: of the process, since one that was started again numbers anew."""

    life: str
    number: int


Place = Mapping[str, Position]


class Ring:
    """The latest events of one source."""

    def __init__(self, life: str, number: int = 0) -> None:
        self.life, self.number = life, number  # of the last event
        self._kept: deque[Numbered] = deque(maxlen=RING_EVENTS)

    def append(self, numbered: Numbered) -> None:
        """The next event."""
        self._kept.append(numbered)
        self.number = numbered.number

    def latest(self, count: int) -> list[Numbered]:
        """The last ones, in order."""
        return list(self._kept)[len(self._kept) - min(count, len(self._kept)) :]

    def since(self, position: Position | None) -> list[Numbered] | None:
        """What came behind that position; None if some of it is not kept any more. Of a life that is new: all."""
        number = position.number if position is not None and position.life == self.life else 0
        missed = self.number - number
        if not 0 <= missed <= len(self._kept):
            return None
        return self.latest(missed)


def place_text(place: Place) -> str:
    """A place as the id of an event: `1.3fa9.17` for each source, joined by `_`."""
    return "_".join(f"{source}.{at.life}.{at.number}" for source, at in sorted(place.items()))


def place_in(text: str) -> Place | None:
    """The place that an id stands for; None if it is no id of ours."""
    if len(text) > MAX_PLACE_CHARACTERS or not text.isascii():
        return None
    place = {}
    for part in text.split("_"):
        source, _, position = part.partition(".")
        life, _, number = position.partition(".")
        if not (source and life.isalnum() and number.isdecimal() and len(number) <= 15):
            return None
        place[source] = Position(life, int(number))
    return place if len(place) <= MAX_SOURCES else None


def frame(name: str, data: bytes, place: Place) -> bytes:
    """An event as Server-Sent Events have it."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (place_text(place).encode(), name.encode(), data)


def in_time_order(sources: Mapping[str, Iterable[Numbered]]) -> list[tuple[str, Numbered]]:
    """The events of several sources, each in its own order, as they happened."""
    marked = ([(source, numbered) for numbered in events] for source, events in sources.items())
    return list(merge(*marked, key=lambda each: each[1].event.at))

"""The stage: what the parts of one session share, above all its time and its way out.

The timeline holds what is still to happen; the stage plays it and lets every event pass one point, where it gets its id
and where faults change what leaves: held back, swapped, doubled, stretched, or not at all. It owns no clock: whoever
has one says what time it is, and may say so late.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final, assert_never

import msgspec

from benchmarks.simulators.openai.capture import redacted, scrubbed
from benchmarks.simulators.openai.checks import RequestError
from benchmarks.simulators.openai.config import Faults, Observer, SimulatorConfig
from benchmarks.simulators.openai.conversation import Conversation, Entry
from benchmarks.simulators.openai.events import (
    Close,
    Direction,
    Disturbance,
    Drop,
    Ending,
    Json,
    SendError,
    SendEvent,
    SendOversized,
    SendText,
    Stall,
    Track,
)
from benchmarks.simulators.openai.ids import Ids
from benchmarks.simulators.openai.script import Performance

Message = Json | str  # an event, or the text of a frame that is meant to be none

MOST_HELD: Final = 10_000  # messages while nothing may leave; further ones are lost
UNKNOWN_FIELD: Final = "simulator_extra"
_UNKNOWN_VALUE: Final[Json] = {"nested": [1, None, "two"]}
_AUDIO_DELTA: Final = "response.output_audio.delta"


def frame(message: Message) -> bytes:
    """The text of its frame."""
    return message.encode() if isinstance(message, str) else msgspec.json.encode(message)


class Timeline:
    """Tracks, played side by side.

    Who asks late for what is due gets it in the order and with the spacing it was meant to have: a busy machine delays
    a stream without slowing it down.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Track]] = []
        self._turns = count()  # who waited first plays first; tracks themselves have no order

    @property
    def deadline(self) -> float:
        """When something is due next; infinity when nothing is."""
        return self._waiting[0][0] if self._waiting else math.inf

    def start(self, track: Track, at: float) -> None:
        """From then on, this plays too."""
        heapq.heappush(self._waiting, (at, next(self._turns), track))

    def stop(self, track: Track) -> None:
        """Whatever this track still had in store will not happen."""
        self._waiting = [entry for entry in self._waiting if entry[2] is not track]
        heapq.heapify(self._waiting)

    def due(self, now: float) -> Iterator[Json | Disturbance]:
        """Plays everything up to now. A track is not touched before its time."""
        while self._waiting and self._waiting[0][0] <= now:
            at, _, track = heapq.heappop(self._waiting)
            for step in track:
                if not isinstance(step, int | float):
                    yield step
                elif step > 0:
                    self.start(track, at + step)
                    break


class Stage:
    """One session's.

    Args: number, which of the simulator's sessions this is: with the seed it settles all ids.

    Attributes: now, s; settings, the session object as `session.updated` shows it; closing, how the server ends the
    session, once it does.
    """

    def __init__(self, config: SimulatorConfig, *, number: int, now: float, observers: tuple[Observer, ...]) -> None:
        self.config = config
        self.now = now
        self.ids = Ids(f"{config.seed}/{number}")
        self.timeline = Timeline()
        self.conversation = Conversation(self.ids.new("conv"))
        self.performance = config.performance or Performance(config.script)
        self.settings: Json = {}
        self.closing: Ending | None = None
        self._observers = observers
        self._leaving: list[Message] = []
        self._held: list[Message] = []  # until a stall is over
        self._stalled_until = -math.inf
        self._late: Json | None = None  # what changes places with the next event
        self._reordered: str | None = None  # the response whose events changed places
        self._faults = Faults()
        self.faults = config.faults

    # Time

    @property
    def deadline(self) -> float:
        """When `play` wants to be called next."""
        return min(self.timeline.deadline, self._stalled_until) if self._held else self.timeline.deadline

    def play(self, now: float) -> None:
        """Everything up to now happens."""
        self.now = now
        if self.timeline.deadline > now:
            return  # as nearly always
        for step in self.timeline.due(now):
            if isinstance(step, dict):
                self.emit(step)
            else:
                self.disturb(step)

    # What leaves

    def emit(self, event: Json) -> None:
        """The service says this, unless the session is over; a fault may change how."""
        event = {"type": event["type"], "event_id": self.ids.new("event"), **event}
        if self._faults.unknown_fields:
            event = {**event, UNKNOWN_FIELD: _UNKNOWN_VALUE}
        if self._faults.reordered_event and event["type"] == _AUDIO_DELTA and event["response_id"] != self._reordered:
            self._late, self._reordered = event, event["response_id"]
            return
        late, self._late = self._late, None
        is_doubled = self._faults.duplicate_done and event["type"] == "response.done"
        for one in (event, event if is_doubled else None, late):
            if one is not None:
                self._put(one)

    def announce(self, item: Json, previous_item_id: str | None) -> None:
        """A finished item has joined the conversation."""
        for name in ("conversation.item.added", "conversation.item.done"):
            self.emit({"type": name, "previous_item_id": previous_item_id, "item": item})

    def add(self, entry: Entry, *, after: str | None = None) -> str | None:
        """Adds a finished item to the conversation; says what it follows. Raises: RequestError if it cannot."""
        previous = self.conversation.add(entry, after=after)
        self.announce(entry.item, previous)
        return previous

    def drain(self) -> list[Message]:
        """What may leave now."""
        if self._held and self.now >= self._stalled_until:
            self._release()
        if not self._leaving:
            return []
        messages, self._leaving = self._leaving, []
        for message in messages:
            self.observe("server", message)
        return messages

    def observe(self, direction: Direction, message: Message, *, times: Sequence[float] = ()) -> None:
        """Tells the observers. They see what leaves when it leaves; with `times`, that it came at each of these."""
        if not self._observers:
            return
        event = redacted(message) if isinstance(message, dict) else {"malformed": scrubbed(message)}
        for at in times or (self.now,):
            for observer in self._observers:
                observer(at, direction, event)

    def _put(self, message: Message) -> None:
        if self.closing is not None:
            return
        if self.now >= self._stalled_until:
            self._release()
            self._leaving.append(message)
        elif self._stalled_until < math.inf and len(self._held) < MOST_HELD:
            self._held.append(message)

    def _release(self) -> None:
        self._leaving += self._held
        self._held = []

    # What goes wrong

    @property
    def faults(self) -> Faults:
        """What goes wrong from now on; a session made silent stays so until it is told to speak."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        if faults.silent != self._faults.silent:
            self._stalled_until = math.inf if faults.silent else -math.inf
        self._faults = faults

    def disturb(self, disturbance: Disturbance) -> None:
        """Something goes wrong now."""
        match disturbance:
            case SendEvent(event):
                self._put({"event_id": self.ids.new("event"), **event})
            case SendText(text):
                self._put(text)
            case SendOversized(padding_bytes):
                self.emit({"type": "simulator.oversized", "padding": "x" * padding_bytes})
            case SendError(code, message, kind, param):
                self.emit(RequestError(code, message, param=param, kind=kind).event(None))
            case Stall(seconds):
                self._stalled_until = max(self._stalled_until, self.now + seconds)
            case Close() | Drop():
                self.end(disturbance)
            case _:
                assert_never(disturbance)

    def end(self, ending: Ending) -> None:
        """The session is over. What a stall still holds back is lost."""
        if self.closing is None:
            self.closing = ending
            if self.now < self._stalled_until:
                self._held.clear()

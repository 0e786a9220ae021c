"""Everything that was seen of one call, from both sides, on one clock."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import trio

from benchmarks.simulators import twilio
from relay import LogEvent

Side = Literal["phone", "relay"]
Kind = TypeVar("Kind")


class Seen(msgspec.Struct, frozen=True):
    """One event. at_ms counts from the call's answer; side tells who saw it."""

    at_ms: float
    side: Side
    event: LogEvent | twilio.Event

    def as_line(self) -> dict[str, Any]:
        """For call.jsonl."""
        fields: dict[str, Any] = msgspec.to_builtins(self.event)
        return {"at_ms": round(self.at_ms, 1), "side": self.side, **fields}


class Recorder:
    """A call log for the relay and an observer for the simulated phone; whoever watches is told at once."""

    def __init__(self, on_seen: Callable[[Seen], None]) -> None:
        self._on_seen = on_seen
        self._answered_at: float | None = None
        self.seen: list[Seen] = []

    def offer(self, call_sid: str, event: LogEvent) -> None:  # noqa: ARG002 - the demo has one call
        """See relay.CallLog."""
        self._add("relay", event)

    def observe(self, event: twilio.Event) -> None:
        """The simulated phone's observer."""
        if self._answered_at is None:
            self._answered_at = trio.current_time() - event.at_ms / 1000
        self._add("phone", event)

    def of(self, kind: type[Kind]) -> Iterator[tuple[float, Kind]]:
        """All events of one kind with their at_ms, in order."""
        return ((seen.at_ms, seen.event) for seen in self.seen if isinstance(seen.event, kind))

    def write(self, path: Path) -> None:
        """One JSON object a line, in order."""
        began = {"demo": "tautline", "written_at": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        lines = [began, *(seen.as_line() for seen in sorted(self.seen, key=lambda seen: seen.at_ms))]
        path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

    def _add(self, side: Side, event: LogEvent | twilio.Event) -> None:
        now = trio.current_time()
        since = self._answered_at if self._answered_at is not None else now
        # The phone knows some things only later (that a silence was one): its own time is the right one.
        at_ms = (now - since) * 1000 if isinstance(event, LogEvent) else float(event.at_ms)
        seen = Seen(at_ms, side, event)
        self.seen.append(seen)
        self._on_seen(seen)

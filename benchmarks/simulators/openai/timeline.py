"""The timeline: tracks of events and pauses, played side by side.

It owns no clock. Whoever has one asks for what is due, and may ask late: the events then come in the order and with the
spacing they were meant to have, so a busy machine delays a stream without slowing it down.
"""

import heapq
import math
from collections.abc import Iterator
from itertools import count

from benchmarks.simulators.openai.events import Json, Track


class Timeline:
    """What is still to happen in one session."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Track]] = []
        self._turns = count()  # who waited first plays first; tracks themselves have no order

    @property
    def deadline(self) -> float:
        """When something is due next; infinity when nothing is."""
        return self._waiting[0][0] if self._waiting else math.inf

    def start(self, track: Track, now: float) -> None:
        """From now on, this plays too."""
        self._wait(now, track)

    def stop(self, track: Track) -> None:
        """Whatever this track still had in store will not happen."""
        self._waiting = [entry for entry in self._waiting if entry[2] is not track]
        heapq.heapify(self._waiting)

    def due(self, now: float) -> Iterator[Json]:
        """Plays everything up to now. A track is not touched before its time."""
        while self._waiting and self._waiting[0][0] <= now:
            at, _, track = heapq.heappop(self._waiting)
            for step in track:
                if isinstance(step, dict):
                    yield step
                elif step > 0:
                    self._wait(at + step, track)
                    break

    def _wait(self, until: float, track: Track) -> None:
        heapq.heappush(self._waiting, (until, next(self._turns), track))

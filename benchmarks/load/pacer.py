"""The timetable of a load: each caller a frame every 20 ms, the callers spread evenly over those 20 ms.

Due times are absolute: being late moves nothing, and how late each frame was is kept, for that is the tool's own fault.
The selector waits in whole milliseconds, so what fell due meanwhile goes out together; the callers of one millisecond
are different ones, each still has its 20 ms.
"""

from array import array
from collections.abc import Sequence
from time import perf_counter
from typing import Final

import trio

from benchmarks.load.callers import Caller
from benchmarks.load.ledger import FRAME_S
from benchmarks.load.loop import Loop

TURN_S: Final = 0.005  # after so long the other Trio tasks get their turn
MAX_LATE_S: Final = 2.0  # more than this cannot be made up for


class Pacer:
    """Sends the frames of all callers. late_ms: of each frame of the last `run`."""

    def __init__(self, loop: Loop, callers: Sequence[Caller]) -> None:
        self._loop, self._callers = loop, callers
        self._spacing_s = FRAME_S / len(callers)
        self._began_at = 0.0
        self._next = 0  # frame of all callers together
        self.late_ms = array("d")
        self.gave_up = False  # the timetable was beyond this machine

    def begin(self) -> None:
        """The first frame is due now."""
        self._began_at = perf_counter()

    async def run(self, rounds: int) -> None:
        """Send so many frames of each caller, to the end of the last one's 20 ms."""
        self.late_ms = array("d")
        with self._loop.taken():
            await self._run_to(self._next + rounds * len(self._callers))

    async def _run_to(self, end: int) -> None:
        turn_ends_at = perf_counter() + TURN_S
        while not self.gave_up and not (self._next == end and self._due_at() <= perf_counter()):
            self._send_due(end)
            now = perf_counter()
            self._loop.turn(min(self._due_at() - now, TURN_S))
            if now >= turn_ends_at:
                await trio.lowlevel.checkpoint()
                turn_ends_at = perf_counter() + TURN_S

    def _due_at(self) -> float:
        return self._began_at + self._next * self._spacing_s

    def _send_due(self, end: int) -> None:
        """At most one frame of each caller before what came back is read."""
        for _ in range(min(len(self._callers), end - self._next)):
            now, due_at = perf_counter(), self._due_at()
            if due_at > now:
                return
            self.late_ms.append((now - due_at) * 1000)
            self._callers[self._next % len(self._callers)].send_frame(now)
            self._next += 1
            self.gave_up = self.gave_up or now - due_at > MAX_LATE_S

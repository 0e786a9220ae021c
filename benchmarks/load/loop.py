"""Where the far end waits: one selector for the sockets of both its sides, and a heap of timers.

The tool has to be much cheaper than what it measures, and at low load the price of a frame is the price of a wake-up.
So while frames are due (benchmarks.load.pacer), the thread waits in the selector itself and Trio gets its turn only
every few milliseconds; a task switch per frame would cost more than all the rest. Between two loads `run` waits as any
Trio task does.
"""

import heapq
import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from math import inf
from time import perf_counter
from typing import Final

import trio

TICK_S: Final = 0.005  # how late a timer may be while nobody paces

OnReady = Callable[[int], None]  # what is ready: EVENT_READ, EVENT_WRITE or both


class Loop:
    """Sockets and timers of the far end. All times are `time.perf_counter` seconds."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = count()  # so that the heap never compares two actions
        self._is_free = trio.Event()  # nobody takes the turns but `run`
        self._is_free.set()

    def add(self, sock: socket.socket, on_ready: OnReady) -> None:
        """Call whenever the socket can be read. What it calls must not raise."""
        self._selector.register(sock, selectors.EVENT_READ, on_ready)

    def want_write(self, sock: socket.socket, on_ready: OnReady, wants: bool) -> None:
        """Call also when it can be written, or no longer."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wants else 0)
        self._selector.modify(sock, events, on_ready)

    def remove(self, sock: socket.socket) -> None:
        """Forget the socket; nothing happens if that was done."""
        if sock.fileno() in self._selector.get_map():
            self._selector.unregister(sock)

    def call_at(self, due_s: float, action: Callable[[], None]) -> None:
        """Do this once, then."""
        heapq.heappush(self._timers, (due_s, next(self._timer_numbers), action))

    def turn(self, timeout_s: float) -> None:
        """Wait so long at most, then handle all that is ready and all that is due."""
        timers = self._timers
        if timers:
            timeout_s = min(timeout_s, timers[0][0] - perf_counter())
        for key, ready in self._selector.select(max(0, timeout_s)):
            key.data(ready)
        while timers and timers[0][0] <= perf_counter():
            heapq.heappop(timers)[2]()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """All turns are the caller's inside this context; `run` would only be woken for nothing."""
        self._is_free = trio.Event()
        try:
            yield
        finally:
            self._is_free.set()

    async def run(self) -> None:
        """Serve, until cancelled, whatever nobody else's turns have served."""
        try:
            while True:
                await self._is_free.wait()
                with trio.move_on_after(TICK_S if self._timers else inf):
                    await trio.lowlevel.wait_readable(self._selector)
                self.turn(0)
        finally:
            self._selector.close()

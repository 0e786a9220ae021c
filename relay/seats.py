"""How many media sockets may be open at once. Pure: a seat is taken before the 101 is sent, and left with the socket.

A socket that has upgraded costs memory and a file descriptor whether or not a call comes of it, so it is counted from
the upgrade on. Those that have not yet brought a valid `start` have a limit of their own, so that they never take all.
"""

from collections import Counter
from collections.abc import Callable
from typing import Literal

import msgspec

Limit = Literal["calls", "waiting", "address"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Open media sockets: all, those that wait for their `start`, those of one address. 0: no limit."""

    calls: int = 0
    waiting: int = 0
    per_address: int = 0


class Seats:
    """Who sits where. Args: limits; begun_calls, gives how many of the sockets are past their `start`."""

    def __init__(self, limits: Limits | None = None, begun_calls: Callable[[], int] = lambda: 0) -> None:
        self._limits = limits or Limits()
        self._begun_calls = begun_calls
        self._taken = 0
        self._by_address: Counter[str] = Counter()

    @property
    def reached(self) -> Limit | None:
        """The limit that keeps everybody out at this moment, whatever their address."""
        if self._limits.calls and self._taken >= self._limits.calls:
            return "calls"
        if self._limits.waiting and self._taken - self._begun_calls() >= self._limits.waiting:
            return "waiting"
        return None

    def take(self, address: str) -> Limit | None:
        """Take a seat, or learn which limit leaves none. address: "" when it is not known."""
        reached = self.reached
        if reached is None and 0 < self._limits.per_address <= self._by_address[address]:
            reached = "address"
        if reached is None:
            self._taken += 1
            self._by_address[address] += 1
        return reached

    def leave(self, address: str) -> None:
        """Give back the seat that was taken for this address."""
        self._taken -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

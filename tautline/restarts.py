"""When a worker that has died is started again, and when that is given up. Pure: told how long it lived."""

from typing import Final

QUICK_S: Final = 10.0  # who dies sooner has probably not carried a call
MAX_QUICK_DEATHS: Final = 5  # in a row: the next start would end like these
FIRST_PAUSE_S: Final = 0.5  # doubled with each quick death: 0.5, 1, 2, 4


class Restarts:
    """One worker's deaths. first_pause_s: before the start that follows a first quick death."""

    def __init__(self, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._first_pause_s = first_pause_s
        self._quick_deaths = 0

    def died(self, lived_s: float) -> float | None:
        """How many seconds to wait before it is started again; None to give up."""
        if lived_s >= QUICK_S:
            self._quick_deaths = 0
            return 0.0
        self._quick_deaths += 1
        if self._quick_deaths >= MAX_QUICK_DEATHS:
            return None
        return float(self._first_pause_s * 2 ** (self._quick_deaths - 1))

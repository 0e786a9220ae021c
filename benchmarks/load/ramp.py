"""How many calls a relay holds: up a list of numbers until it fails, then between the last two, closer and closer.

The search is a pure object that is asked what to try next and told how it went; `climb` carries it out.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from benchmarks.load.far_end import FarEnd
from benchmarks.load.level import WARMUP_S, LoadError, OnStep, Target, measure_level
from benchmarks.load.report import Level

NUMBERS: Final = (50, 100, 150, *range(200, 2001, 100))
PRECISION: Final = 0.05  # of the number found
TRIES: Final = 2  # a machine has bad moments: a number counts as failed when it failed so often

Limit = Literal["relay", "tool", "list"]


class Climb(msgspec.Struct, frozen=True, kw_only=True):
    """What a relay holds. levels: all that were measured, in that order.

    most_calls: the highest number that held, 0 when none did; limited_by: what failed above it, or "list" when the
    list of numbers ended first. When it is not the relay, the relay may hold more.
    """

    name: str
    most_calls: int
    limited_by: Limit
    levels: tuple[Level, ...]


class Search:
    """Which number of calls to try next. numbers: ascending, at least one.

    Raises: ValueError for a list that is empty or not ascending.
    """

    def __init__(self, numbers: Sequence[int], *, precision: float = PRECISION, tries: int = TRIES) -> None:
        if not numbers or list(numbers) != sorted(set(numbers)) or numbers[0] < 1:
            raise ValueError("the numbers of calls must rise, from 1 or more")
        self._numbers, self._precision, self._tries = numbers, precision, tries
        self._failures: dict[int, int] = {}
        self.most = 0  # the highest that held
        self.least_failed: int | None = None  # the lowest that did not

    @property
    def next(self) -> int | None:
        """The number to try; None when it is known."""
        if self.least_failed is None:
            return next((number for number in self._numbers if number > self.most), None)
        gap = self.least_failed - self.most
        if gap <= max(1, self.most * self._precision):
            return None
        return self.most + gap // 2

    def note(self, calls: int, *, holds: bool) -> None:
        """How it went."""
        if holds:
            self.most = max(self.most, calls)
            return
        self._failures[calls] = self._failures.get(calls, 0) + 1
        if self._failures[calls] >= self._tries:
            self.least_failed = calls if self.least_failed is None else min(calls, self.least_failed)


async def climb(
    far_end: FarEnd,
    target: Target,
    *,
    seconds: float,
    numbers: Sequence[int] = NUMBERS,
    warmup_s: float = WARMUP_S,
    tries: int = TRIES,
    with_direct: bool = True,
    on_step: OnStep = lambda _: None,
    on_level: Callable[[Level], None] = lambda _: None,
) -> Climb:
    """Find the highest number of calls with p99 <= 20 ms and no loss.

    Args: as for `measure_level`; on_level, gets each level as soon as it is measured.
    Raises: LoadError when there is nothing to report.
    """
    search = Search(numbers, tries=tries)
    levels: list[Level] = []
    while (calls := search.next) is not None:
        try:
            level = await measure_level(
                far_end,
                target,
                calls=calls,
                seconds=seconds,
                warmup_s=warmup_s,
                with_direct=with_direct,
                on_step=on_step,
            )
        except LoadError:
            if not search.most:
                raise
            search.note(calls, holds=False)  # it held fewer, so this is what too many did to it
            continue
        levels.append(level)
        on_level(level)
        search.note(calls, holds=level.holds)
    limit = limited_by(search, levels)
    return Climb(name=target.name, most_calls=search.most, limited_by=limit, levels=tuple(levels))


def limited_by(search: Search, levels: Sequence[Level]) -> Limit:
    """What stood in the way above the highest number that held: the tool only if every failure there was its own."""
    if search.least_failed is None:
        return "list"
    failed = [level for level in levels if level.calls == search.least_failed and not level.holds]
    return "tool" if failed and all(level.tool_limits for level in failed) else "relay"

"""What our relay is to reach, and whether it does: each goal beside what was measured. Pure.

Of the rounds' values the median counts; the lowest and the highest are the noise.
"""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final, Literal

import msgspec

from benchmarks.comparison.samples import Comparison, Figure

Sense = Literal["at most", "at least"]

_FIGURES: Final[dict[tuple[str, Figure], str]] = {
    ("echo", "cpu"): "CPU per frame and its echo",
    ("echo", "p99"): "round trip p99",
    ("conversation", "cpu"): "conversation: CPU per call",
    ("conversation", "p99"): "conversation: one way p99",
}


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of ours and its bound. unit: "" for a ratio."""

    what: str
    sense: Sense = "at most"
    bound: float
    unit: str = ""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A goal and what was measured: median, lowest and highest over so many rounds; None when nothing could be.

    is_open: it was measured, and says neither that the goal is met nor that it is missed; note: why, or what to know.
    """

    goal: Goal
    value: float | None
    low: float | None
    high: float | None
    rounds: int
    is_open: bool = False
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """None when that is not known."""
        if self.value is None or self.is_open:
            return None
        return self.value <= self.goal.bound if self.goal.sense == "at most" else self.value >= self.goal.bound


def judge(goal: Goal, values: Sequence[float], *, is_open: bool = False, note: str = "") -> Judged:
    """values: one for each round."""
    if not values:
        return Judged(goal=goal, value=None, low=None, high=None, rounds=0, note=note or "not measured")
    low, value, high = (round(each, 3) for each in (min(values), median(values), max(values)))
    return Judged(goal=goal, value=value, low=low, high=high, rounds=len(values), is_open=is_open, note=note)


def judged_ratios(comparison: Comparison, titles: dict[str, str]) -> list[Judged]:
    """The goals against other relays. titles: how to call each."""
    found = [
        Judged(
            goal=_goal(comparison, ratio.figure, ratio.calls, titles[ratio.other], ratio.goal),
            value=ratio.median,
            low=ratio.low,
            high=ratio.high,
            rounds=ratio.rounds,
        )
        for ratio in comparison.ratios
        if ratio.goal is not None
    ]
    for each in comparison.open_goals:
        goal = _goal(comparison, each.figure, each.calls, titles[each.other], each.most)
        found.append(judge(goal, (), note="one of the two fell behind"))
    return found


def figure_name(comparison: Comparison, figure: Figure) -> str:
    """What it is under this profile."""
    return _FIGURES[comparison.profile, figure]


def missed(judged: Iterable[Judged]) -> list[Judged]:
    """Those that are known not to be met."""
    return [each for each in judged if each.is_met is False]


def _goal(comparison: Comparison, figure: Figure, calls: int, title: str, bound: float) -> Goal:
    return Goal(what=f"{figure_name(comparison, figure)}, {calls} calls, by {title}", bound=bound)

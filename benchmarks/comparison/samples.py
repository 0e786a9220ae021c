"""What the samples of a comparison say: each relay's medians at each number of calls, and ours beside the others.

Pure. A ratio is taken within a round, where both relays met the same machine within seconds; of the rounds' ratios the
median counts, and the lowest and the highest are its noise. A relay that fell behind carries its frames in batches,
which makes each cheaper, and late: it has figures, but no ratio is taken of them.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final, Literal

import msgspec

from benchmarks.load import Profile
from proto import mulaw

BEHIND_MS: Final = mulaw.FRAME_MS  # who needs longer in the median is a frame behind
MAX_OTHERS: Final = 0.1  # of the relay's core; what else runs there makes it wait, and cools its caches
FRAMES_PER_S: Final = 1000 // mulaw.FRAME_MS

Figure = Literal["cpu", "p99"]
FIGURES: Final[tuple[Figure, ...]] = ("cpu", "p99")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One relay under one load in one round.

    us, user_us, system_us: its CPU for a frame carried; p50_ms, p99_ms: of a frame, in echo there and back, in
    conversation one way; direct_p99_ms: the same of the same callers without a relay, None when that was not measured;
    lost and altered: frames of those sent; rss_mib: its memory at the end; rss_per_call_kib: what that is above the
    memory before the first call, by the calls; tool_us, late_p99_ms: what the load tool spent on a frame, and how late
    it sent; others: share of the relay's core that went to other work; errors: of calls and of the upstream.
    """

    relay: str
    calls: int
    round: int
    us: float
    user_us: float
    system_us: float
    p50_ms: float
    p99_ms: float
    frames: int
    lost: int
    altered: int
    rss_mib: float
    rss_per_call_kib: float
    tool_us: float
    late_p99_ms: float
    others: float
    direct_p99_ms: float | None = None
    errors: tuple[str, ...] = ()

    @property
    def kept_up(self) -> bool:
        """Every frame came back as it was, and in the median within one."""
        return not (self.lost or self.altered or self.errors) and self.p50_ms <= BEHIND_MS

    @property
    def is_disturbed(self) -> bool:
        """Other work had the relay's core, or the tool's: what went wrong need not be the relay's doing."""
        return self.others > MAX_OTHERS or self.late_p99_ms > BEHIND_MS

    def doubts(self) -> list[str]:
        """What speaks against this sample, a line each."""
        found = [*self.errors[:1]]
        if self.late_p99_ms > BEHIND_MS:
            found.append(f"the tool was late, p99 {self.late_p99_ms:.0f} ms")
        if self.others > MAX_OTHERS:
            found.append(f"other work took {self.others:.0%} of the relay's core")
        return [f"round {self.round}, {self.relay} at {self.calls} calls: {each}" for each in found]


class RatioGoal(msgspec.Struct, frozen=True):
    """A ratio, ours to the other's, that is to be at most `most`."""

    figure: Figure
    other: str
    calls: int
    most: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One relay at one number of calls: medians over the rounds, as in `Sample`.

    us_low, us_high: over the rounds; core_percent: of one core, by one call; behind: in how many of the rounds.
    """

    relay: str
    calls: int
    rounds: int
    behind: int
    us: float
    us_low: float
    us_high: float
    user_us: float
    system_us: float
    core_percent: float
    p50_ms: float
    p99_ms: float
    frames: int
    lost: int
    altered: int
    rss_mib: float
    rss_per_call_kib: float


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Ours by another's, at one number of calls. median, low, high: over `rounds`; goal: None when there is none."""

    figure: Figure
    other: str
    calls: int
    median: float
    low: float
    high: float
    rounds: int
    goal: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is; None when there is none."""
        return None if self.goal is None else self.median <= self.goal


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What relays side by side gave under one profile. open_goals: measured, but there is no ratio to judge them by."""

    profile: Profile
    rows: tuple[Row, ...]
    ratios: tuple[Ratio, ...]
    open_goals: tuple[RatioGoal, ...]
    samples: tuple[Sample, ...]


def compare(
    profile: Profile,
    samples: Sequence[Sample],
    ours: str,
    goals: Sequence[RatioGoal],
    figures: Sequence[Figure] = FIGURES,
) -> Comparison:
    """All that follows from these samples. figures: of which ratios are taken."""
    ratios = ratios_of(samples, ours, goals, figures)
    return Comparison(
        profile=profile,
        rows=rows_of(samples),
        ratios=ratios,
        open_goals=open_goals(goals, samples, ratios),
        samples=tuple(samples),
    )


def rows_of(samples: Sequence[Sample]) -> tuple[Row, ...]:
    """A row for each number of calls and relay, in the order in which they first come, fewest calls first."""
    levels = sorted({sample.calls for sample in samples})
    relays = list(dict.fromkeys(sample.relay for sample in samples))
    cells = ([s for s in samples if (s.calls, s.relay) == (calls, relay)] for calls in levels for relay in relays)
    return tuple(_row(cell) for cell in cells if cell)


def _row(samples: Sequence[Sample]) -> Row:
    def middle(figure: Callable[[Sample], float], digits: int) -> float:
        return round(median(figure(sample) for sample in samples), digits)

    us = [sample.us for sample in samples]
    return Row(
        relay=samples[0].relay,
        calls=samples[0].calls,
        rounds=len(samples),
        behind=sum(not sample.kept_up for sample in samples),
        us=round(median(us), 1),
        us_low=round(min(us), 1),
        us_high=round(max(us), 1),
        user_us=middle(lambda sample: sample.user_us, 1),
        system_us=middle(lambda sample: sample.system_us, 1),
        core_percent=round(median(us) * FRAMES_PER_S / 1e4, 2),  # µs of a second, in hundredths
        p50_ms=middle(lambda sample: sample.p50_ms, 2),
        p99_ms=middle(lambda sample: sample.p99_ms, 2),
        frames=sum(sample.frames for sample in samples),
        lost=sum(sample.lost for sample in samples),
        altered=sum(sample.altered for sample in samples),
        rss_mib=middle(lambda sample: sample.rss_mib, 1),
        rss_per_call_kib=middle(lambda sample: sample.rss_per_call_kib, 1),
    )


def ratios_of(
    samples: Sequence[Sample], ours: str, goals: Iterable[RatioGoal], figures: Sequence[Figure] = FIGURES
) -> tuple[Ratio, ...]:
    """Ours by each other, for each figure and number of calls at which both kept up in some round."""
    wanted = {(goal.figure, goal.other, goal.calls): goal.most for goal in goals}
    sound = {(sample.relay, sample.calls, sample.round): sample for sample in samples if sample.kept_up}
    pairs: dict[tuple[Figure, str, int], list[float]] = {}
    for figure in figures:
        for (relay, calls, number), other in sound.items():
            own = sound.get((ours, calls, number))
            if relay != ours and own is not None:
                pairs.setdefault((figure, relay, calls), []).append(_value(own, figure) / _value(other, figure))
    return tuple(
        Ratio(
            figure=figure,
            other=other,
            calls=calls,
            median=round(median(found), 3),
            low=round(min(found), 3),
            high=round(max(found), 3),
            rounds=len(found),
            goal=wanted.get((figure, other, calls)),
        )
        for (figure, other, calls), found in sorted(pairs.items(), key=lambda pair: (pair[0][0], pair[0][2]))
    )


def open_goals(goals: Iterable[RatioGoal], samples: Sequence[Sample], ratios: Iterable[Ratio]) -> tuple[RatioGoal, ...]:
    """Goals against a relay that was asked for so many calls, or for fewer and fell behind, and got no ratio."""
    others, levels = {sample.relay for sample in samples}, {sample.calls for sample in samples}
    judged = {(ratio.figure, ratio.other, ratio.calls) for ratio in ratios}
    asked = (goal for goal in goals if goal.other in others and goal.calls in levels)
    return tuple(goal for goal in asked if (goal.figure, goal.other, goal.calls) not in judged)


def _value(sample: Sample, figure: Figure) -> float:
    return sample.us if figure == "cpu" else sample.p99_ms

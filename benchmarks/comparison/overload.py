"""Twice as many calls as our relay holds: a frame must cost less then, memory stay bounded, and the end be quick.

Nominal is the highest number of calls that it held, the dearest comparison: with fewer calls a frame costs more. After
the overload the calls above nominal stay on the line in silence.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from benchmarks.comparison.goals import Goal, Judged, judge
from benchmarks.comparison.most import most_of, take_climbs
from benchmarks.comparison.samples import BEHIND_MS
from benchmarks.comparison.stage import Stage
from benchmarks.load import open_far_end
from benchmarks.load.level import WARMUP_S
from benchmarks.load.overload import AFTER_S, FACTOR, Overload, measure_overload
from benchmarks.process_cpu import Relay
from benchmarks.relays import OURS

SECONDS: Final = 5.0
EXPECTED_S: Final = 2 * (SECONDS + WARMUP_S) + AFTER_S + 9  # of a round; so many calls need their time to begin and end
FULL: Final = 0.9  # of a core
COST: Final = Goal(what=f"CPU per frame at {FACTOR} times the most calls, by that at the most", bound=0.8)
RECOVERY: Final = Goal(what="in time again after the load has fallen", bound=1.0, unit="s")
# In that time a caller sends 125 frames. A relay that kept the half it cannot pass on would gather some 20 KiB.
MEMORY: Final = Goal(what="memory gathered by a call, second half of the overload", bound=8.0, unit="KiB")


class Overloaded(msgspec.Struct, frozen=True, kw_only=True):
    """One round. others: other work on the relay's core."""

    round: int
    figures: Overload
    others: float


async def take_overloads(
    stage: Stage,
    rounds: int,
    calls: int | None,
    *,
    seconds: float = SECONDS,
    warmup_s: float = WARMUP_S,
    after_s: float = AFTER_S,
    relay: Relay = OURS,
) -> list[Overloaded]:
    """Our relay, so many times. calls: the most it holds; None to find out first."""
    if calls is None:
        calls = most_of(await take_climbs(stage, [relay], 1), relay.name)
    if calls is None:
        return []
    found: list[Overloaded] = []
    for number in range(1, rounds + 1):
        measure = partial(_measure, stage, relay, number, calls, seconds, warmup_s, after_s)
        overloaded = await stage.attempt(f"round {number}, overload", measure)
        if overloaded is not None:
            found.append(overloaded)
            stage.tell(f"round {number}, overload: {line(overloaded)}")
    return found


async def _measure(
    stage: Stage, relay: Relay, number: int, calls: int, seconds: float, warmup_s: float, after_s: float
) -> Overloaded:
    async with open_far_end() as far_end, stage.open_target(relay, far_end) as (target, others):
        figures = await measure_overload(
            far_end, target, calls=calls, seconds=seconds, warmup_s=warmup_s, after_s=after_s
        )
        return Overloaded(round=number, figures=figures, others=others.share())


def judged_overloads(overloads: Sequence[Overloaded]) -> list[Judged]:
    """Cost, recovery, memory. A relay that did not recover while it was watched counts with all of that time."""
    figures = [each.figures for each in overloads]
    recoveries = [AFTER_S if each.recovered_after_s is None else each.recovered_after_s for each in figures]
    notes = sorted({limit for each in figures for limit in each.tool_limits})
    idle = [each for each in figures if not _is_overloaded(each)]
    if idle:
        notes.append(f"in {len(idle)} of {len(figures)} rounds that was no overload: frames in time, the core not full")
    return [
        judge(COST, [each.ratio for each in figures], is_open=bool(idle), note="; ".join(notes)),
        judge(RECOVERY, recoveries),
        judge(MEMORY, [each.rss_growth_kib for each in figures]),
    ]


def _is_overloaded(it: Overload) -> bool:
    is_late = it.latency_ms is None or it.latency_ms.p50 > BEHIND_MS
    return is_late or it.core_share >= FULL


def line(overloaded: Overloaded) -> str:
    """A round for who waits."""
    it = overloaded.figures
    p99 = f"p99 {it.latency_ms.p99:.0f} ms" if it.latency_ms else "nothing arrived"
    well = "not recovered" if it.recovered_after_s is None else f"recovered after {it.recovered_after_s:.1f} s"
    return (
        f"{it.calls} calls {it.us:.1f} µs/frame ({it.core_share:.0%} of the core), "
        f"{it.nominal.calls} calls {it.nominal_us:.1f} ({it.ratio:.2f}); "
        f"{it.carried} of {it.sent} frames in time, {it.lost} lost, {p99}; {it.rss_mib:.0f} MiB, "
        f"{it.rss_growth_kib:+.1f} KiB a call; {well}; others {overloaded.others:.0%}"
        + "".join(f"; {each}" for each in (*it.tool_limits, *it.errors[:1]))
    )

"""How many calls each relay holds on one core, with a round trip p99 of at most 20 ms and no frame lost.

In the first round every relay climbs the whole list; in the others only ours and Node's, from a little below what they
held before. Where the tool failed and not the relay, the relay may hold more: then a number is a lower bound.
"""

from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Final

import msgspec

from benchmarks.comparison.goals import Goal, Judged, judge
from benchmarks.comparison.stage import Stage
from benchmarks.load import Level, climb, open_far_end
from benchmarks.load.level import WARMUP_S
from benchmarks.load.ramp import Limit
from benchmarks.process_cpu import Relay
from benchmarks.relays import NODE, OURS

NUMBERS: Final = (50, 70, 100, 140, 200, 280, 400, 560, 800, 1100, 1600, 2200, 3000)
AGAIN: Final = (0.85, 1.0, 1.2, 1.45, 1.8, 2.5)  # of what was held before
SECONDS: Final = 3.0
EXPECTED_S: Final = 75.0  # of one climb, and of two that begin near the top
GOAL: Final = Goal(what="most calls with p99 <= 20 ms and no loss, by Node's", sense="at least", bound=1.6)


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """One number of calls. shares: of one core, the relay's and the tool's.

    failed_because, tool_limits: why it does not hold, and whether that was the tool.
    """

    calls: int
    p50_ms: float | None
    p99_ms: float | None
    core_share: float
    tool_share: float
    failed_because: tuple[str, ...]
    tool_limits: tuple[str, ...]


class Climbed(msgspec.Struct, frozen=True, kw_only=True):
    """What one relay held in one round. limited_by: what failed above it."""

    relay: str
    round: int
    most_calls: int
    limited_by: Limit
    tries: tuple[Try, ...]


async def take_climbs(
    stage: Stage,
    relays: Sequence[Relay],
    rounds: int,
    *,
    numbers: Sequence[int] = NUMBERS,
    seconds: float = SECONDS,
    warmup_s: float = WARMUP_S,
) -> list[Climbed]:
    """All climbs that could be made, each told as it is done."""
    found: list[Climbed] = []
    for number in range(1, rounds + 1):
        taking_part = [relay for relay in relays if number == 1 or relay in (OURS, NODE)]
        for relay in taking_part if number % 2 else reversed(taking_part):
            before = [each.most_calls for each in found if each.relay == relay.name and each.most_calls]
            tried = near(round(median(before))) if before else numbers
            measure = partial(_climb, stage, relay, number, tried, seconds, warmup_s)
            climbed = await stage.attempt(f"round {number}, most calls", measure)
            if climbed is not None:
                found.append(climbed)
                stage.tell(f"round {number}, {relay.name} holds {_told(climbed)}")
    return found


async def _climb(
    stage: Stage, relay: Relay, number: int, numbers: Sequence[int], seconds: float, warmup_s: float
) -> Climbed:
    async with open_far_end() as far_end, stage.open_target(relay, far_end) as (target, _):
        found = await climb(
            far_end,
            target,
            seconds=seconds,
            numbers=numbers,
            warmup_s=warmup_s,
            with_direct=False,
            on_level=lambda level: stage.tell(f"  {relay.name}: {_line(_try(level))}"),
        )
    return Climbed(
        relay=relay.name,
        round=number,
        most_calls=found.most_calls,
        limited_by=found.limited_by,
        tries=tuple(_try(level) for level in found.levels),
    )


def near(most_calls: int) -> tuple[int, ...]:
    """Where to look when it is known about where it ends."""
    return tuple(sorted({max(1, round(most_calls * each)) for each in AGAIN}))


def judged_climbs(climbs: Sequence[Climbed]) -> list[Judged]:
    """Ours by Node's within a round. When the tool failed below the goal, or failed Node, nothing is known."""
    held = {(each.relay, each.round): each for each in climbs if each.most_calls}
    pairs = [
        (own, held[NODE.name, number])
        for (name, number), own in held.items()
        if name == OURS.name and (NODE.name, number) in held
    ]
    ratios = [own.most_calls / other.most_calls for own, other in pairs]
    own_limited = any(own.limited_by != "relay" for own, _ in pairs)
    other_limited = any(other.limited_by != "relay" for _, other in pairs)
    note = "the tool or the list ended first, so ours holds more" if own_limited else ""
    if other_limited:
        note = "the tool or the list ended first, so the other holds more"
    is_open = other_limited or (own_limited and bool(ratios) and median(ratios) < GOAL.bound)
    return [judge(GOAL, ratios, is_open=is_open, note=note)]


def most_of(climbs: Sequence[Climbed], relay: str) -> int | None:
    """The median of what it held over the rounds."""
    held = [each.most_calls for each in climbs if each.relay == relay and each.most_calls]
    return round(median(held)) if held else None


def _try(level: Level) -> Try:
    return Try(
        calls=level.calls,
        p50_ms=level.latency_ms.p50 if level.latency_ms else None,
        p99_ms=level.latency_ms.p99 if level.latency_ms else None,
        core_share=level.relay.core_share if level.relay else 0.0,
        tool_share=level.tool.core_share,
        failed_because=level.failed_because,
        tool_limits=level.tool_limits,
    )


def _line(tried: Try) -> str:
    p99 = "-" if tried.p99_ms is None else f"{tried.p99_ms:.1f} ms"
    shares = f"core {tried.core_share:.0%}, tool {tried.tool_share:.0%}"
    why = "; ".join((*tried.failed_because, *tried.tool_limits))
    return f"{tried.calls} calls, p99 {p99}, {shares}" + (f": {why}" if why else "")


def _told(climbed: Climbed) -> str:
    more = {"relay": "", "tool": ", the tool was the limit", "list": ", more were not tried"}
    return f"{climbed.most_calls} calls{more[climbed.limited_by]}"

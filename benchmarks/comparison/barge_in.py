"""How soon a caller who speaks stops the agent, at 100 calls: `speech_started` to `clear`.

The tool's figure runs from its write of `speech_started` to its read of `clear`: it holds two ways through the kernel
and the tool's own delay in reading. The direct run, the same callers without a relay, holds one of those ways and that
delay; its p99 is taken off. What is left is the relay's share, one way through the kernel included.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from benchmarks.comparison.goals import Goal, Judged, judge
from benchmarks.comparison.stage import Stage
from benchmarks.load import Manner, measure_level, open_far_end
from benchmarks.process_cpu import Relay
from benchmarks.relays import OURS

CALLS: Final = 100
SECONDS: Final = 6.0
WARMUP_S: Final = 2.0
EXPECTED_S: Final = SECONDS + WARMUP_S + 6  # with the start and the direct run
# Callers who interrupt nearly always, and soon: a p99 wants hundreds of barge-ins, and more of them cost no less.
IMPATIENT: Final = Manner(first_s=(0.1, 1.5), speech_s=(0.5, 1.0), barge_in_share=0.9, barge_in_at=(0.2, 0.5))
GOAL: Final = Goal(
    what=f"`speech_started` to `clear` p99, {CALLS} calls, less the direct run's delay", bound=1.0, unit="ms"
)


class Clears(msgspec.Struct, frozen=True, kw_only=True):
    """One round. clears: how many of the barge-ins were answered; *_ms: as the tool saw it, and its direct run."""

    round: int
    calls: int
    barge_ins: int
    clears: int
    p50_ms: float
    p99_ms: float
    direct_p50_ms: float
    direct_p99_ms: float
    others: float

    @property
    def own_p99_ms(self) -> float:
        """The relay's share."""
        return self.p99_ms - self.direct_p99_ms


async def take_clears(
    stage: Stage, rounds: int, *, calls: int = CALLS, seconds: float = SECONDS, relay: Relay = OURS
) -> list[Clears]:
    """Our relay, so many times."""
    found = []
    for number in range(1, rounds + 1):
        measure = partial(_measure, stage, relay, number, calls, seconds)
        clears = await stage.attempt(f"round {number}, barge-ins", measure)
        if clears is not None:
            found.append(clears)
            stage.tell(
                f"round {number}, {calls} calls, {clears.clears} clears for {clears.barge_ins} barge-ins:"
                f" p50 {clears.p50_ms:.2f} p99 {clears.p99_ms:.2f} ms, directly {clears.direct_p99_ms:.2f} ms"
            )
    return found


async def _measure(stage: Stage, relay: Relay, number: int, calls: int, seconds: float) -> Clears | None:
    async with open_far_end("conversation", manner=IMPATIENT) as far_end, stage.open_target(relay, far_end) as opened:
        target, others = opened
        level = await measure_level(far_end, target, calls=calls, seconds=seconds, warmup_s=min(seconds, WARMUP_S))
        if level.talk is None or level.talk.clear_ms is None or level.direct_ms is None:
            return None
        return Clears(
            round=number,
            calls=calls,
            barge_ins=level.talk.barge_ins,
            clears=level.talk.clears,
            p50_ms=level.talk.clear_ms.p50,
            p99_ms=level.talk.clear_ms.p99,
            direct_p50_ms=level.direct_ms.p50,
            direct_p99_ms=level.direct_ms.p99,
            others=others.share(),
        )


def judged_clears(clears: Sequence[Clears]) -> list[Judged]:
    """The goal of this part."""
    answered = sum(each.clears for each in clears)
    return [judge(GOAL, [each.own_p99_ms for each in clears], note=f"{answered} clears" if clears else "")]

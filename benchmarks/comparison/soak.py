"""A day compressed: 2 million frames through our relay, in shifts of 300 calls each. Memory must not grow.

What is compared is the memory at the end of each shift, always with all calls on the line. The first shifts are the
warm-up: caches fill, and the allocator finds its shape.
"""

from functools import partial
from typing import Final

import msgspec

from benchmarks.comparison.goals import Goal, Judged, judge
from benchmarks.comparison.stage import Stage
from benchmarks.load import measure_level, open_far_end
from benchmarks.load.level import WARMUP_S
from benchmarks.process_cpu import Relay
from benchmarks.relays import OURS
from proto import mulaw

FRAMES: Final = 2_000_000  # after the warm-up
CALLS: Final = 300
SHIFTS: Final = 10
WARM_SHIFTS: Final = 2
GOAL: Final = Goal(what=f"memory growth over {FRAMES / 1e6:g} million frames, after warm-up", bound=2.0, unit="MiB")


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    """rss_mib: at the end of each shift, the warm ones first; frames, lost: after them."""

    calls: int
    frames: int
    lost: int
    warm_shifts: int
    rss_mib: tuple[float, ...]
    errors: tuple[str, ...]

    @property
    def growth_mib(self) -> float:
        """From the end of the warm-up to the highest of all later shifts."""
        return max(self.rss_mib[self.warm_shifts :]) - self.rss_mib[self.warm_shifts - 1]


def shift_s(frames: int, calls: int, shifts: int) -> float:
    """How long a shift lasts."""
    return frames / shifts / calls * mulaw.FRAME_MS / 1000


def expected_s() -> float:
    """How long all takes."""
    return (SHIFTS + WARM_SHIFTS) * (shift_s(FRAMES, CALLS, SHIFTS) + WARMUP_S + 1)


async def take_soak(
    stage: Stage,
    *,
    frames: int = FRAMES,
    calls: int = CALLS,
    shifts: int = SHIFTS,
    warmup_s: float = WARMUP_S,
    relay: Relay = OURS,
) -> Soak | None:
    """All shifts in one process; None when it failed."""
    return await stage.attempt("soak", partial(_measure, stage, relay, frames, calls, shifts, warmup_s))


async def _measure(stage: Stage, relay: Relay, frames: int, calls: int, shifts: int, warmup_s: float) -> Soak:
    rss_mib: list[float] = []
    errors: list[str] = []
    carried = lost = 0
    seconds = shift_s(frames, calls, shifts)
    async with open_far_end() as far_end, stage.open_target(relay, far_end) as (target, _):
        for number in range(WARM_SHIFTS + shifts):
            level = await measure_level(
                far_end, target, calls=calls, seconds=seconds, warmup_s=warmup_s, with_direct=False
            )
            rss_mib.append(level.relay.rss_mib if level.relay else 0.0)
            errors += level.errors
            if number >= WARM_SHIFTS:
                carried, lost = carried + level.frames.sent, lost + level.frames.lost
            stage.tell(f"soak, shift {number + 1}: {rss_mib[-1]:.1f} MiB, {carried} frames, {lost} lost")
    return Soak(
        calls=calls, frames=carried, lost=lost, warm_shifts=WARM_SHIFTS, rss_mib=tuple(rss_mib), errors=tuple(errors)
    )


def judged_soak(soak: Soak | None) -> list[Judged]:
    """The goal of this part."""
    if soak is None:
        return [judge(GOAL, [])]
    return [judge(GOAL, [soak.growth_mib], note=f"{soak.lost} of {soak.frames:,} frames lost" if soak.lost else "")]

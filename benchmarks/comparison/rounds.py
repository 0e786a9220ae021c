"""Relays in turns, under the same loads: the part that gives CPU per frame, round trips and losses.

In a round all relays take turns at the lowest number of calls, then at the next; every second round turns their order
around. Who has fallen behind is not asked for more calls in that round, unless other work was in the way.
"""

from functools import partial
from typing import Final

import msgspec

from benchmarks.comparison.samples import Sample
from benchmarks.comparison.stage import Stage
from benchmarks.load import Level, Profile, measure_level, open_far_end
from benchmarks.load.level import WARMUP_S
from benchmarks.process_cpu import Relay
from proto import mulaw

MIN_FRAMES: Final = 3000  # CPU is counted in ticks of 10 ms: of fewer frames one tick would be more than a twentieth
AROUND_S: Final = 2.5  # what a measurement takes besides its warm-up and its window


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured. seconds: of each window, longer for few calls; direct_for: whose name and how many
    calls, where a direct run stands beside."""

    profile: Profile
    calls: tuple[int, ...]
    rounds: int
    seconds: float
    warmup_s: float = WARMUP_S
    direct_for: tuple[str, int] | None = None

    def window_s(self, calls: int) -> float:
        """How long so many calls are measured."""
        return max(self.seconds, MIN_FRAMES * mulaw.FRAME_MS / 1000 / calls)

    def expected_s(self, relays: int) -> float:
        """How long it will take with so many relays."""
        each_s = sum(self.window_s(calls) + self.warmup_s + AROUND_S for calls in self.calls)
        return self.rounds * relays * each_s


async def take_rounds(stage: Stage, relays: tuple[Relay, ...], order: Order) -> list[Sample]:
    """All samples that could be taken, each told as it comes."""
    samples: list[Sample] = []
    for number in range(1, order.rounds + 1):
        behind: set[str] = set()
        for calls in order.calls:
            for relay in relays if number % 2 else reversed(relays):
                if relay.name in behind:
                    continue
                what = f"round {number}, {calls} calls"
                sample = await stage.attempt(what, partial(measure, stage, relay, order, calls, number))
                if sample is not None:
                    samples.append(sample)
                    stage.tell(line(sample))
                if sample is None or not (sample.kept_up or sample.is_disturbed):
                    behind.add(relay.name)
    return samples


async def measure(stage: Stage, relay: Relay, order: Order, calls: int, number: int) -> Sample:
    """Run one relay under one load. number: of the round.

    Raises: RelayFailedError, in a group, when it does not start, dies, or carries nothing.
    """
    async with open_far_end(order.profile) as far_end, stage.open_target(relay, far_end) as (target, others):
        level = await measure_level(
            far_end,
            target,
            calls=calls,
            seconds=order.window_s(calls),
            warmup_s=order.warmup_s,
            with_direct=order.direct_for == (relay.name, calls),
        )
        return sample_of(relay.name, number, level, others.share())


def sample_of(name: str, number: int, level: Level, others: float) -> Sample:
    """What a level says of a relay whose pid was known. Raises: ValueError when nothing was measured."""
    cost, latency, frames = level.relay, level.latency_ms, level.frames
    if cost is None or latency is None:
        raise ValueError("nothing was measured")
    lost_voice = level.talk.voice.lost if level.talk else 0
    return Sample(
        relay=name,
        calls=level.calls,
        round=number,
        us=cost.us,
        user_us=cost.user_us,
        system_us=cost.system_us,
        p50_ms=latency.p50,
        p99_ms=latency.p99,
        frames=frames.sent,
        lost=frames.lost,
        altered=frames.altered + frames.duplicated,
        rss_mib=cost.rss_mib,
        rss_per_call_kib=cost.rss_per_call_kib,
        tool_us=level.tool.user_us + level.tool.system_us,
        late_p99_ms=level.tool.late_ms.p99,
        others=others,
        direct_p99_ms=level.direct_ms.p99 if level.direct_ms else None,
        errors=(*level.errors, *([f"{lost_voice} bytes of the agent's voice were lost"] if lost_voice else ())),
    )


def line(sample: Sample) -> str:
    """A sample for who waits."""
    direct = "" if sample.direct_p99_ms is None else f" (directly {sample.direct_p99_ms:.2f})"
    return (
        f"round {sample.round}, {sample.calls:3} calls, {sample.relay:<15} {sample.us:6.1f} µs/frame"
        f" (user {sample.user_us:.1f}, system {sample.system_us:.1f})"
        f"  p50 {sample.p50_ms:.2f} p99 {sample.p99_ms:.2f} ms{direct}  lost {sample.lost} of {sample.frames}"
        f"  {sample.rss_per_call_kib:.0f} KiB/call  tool {sample.tool_us:.1f} µs, late {sample.late_p99_ms:.1f} ms"
        f"  others {sample.others:.0%}"
    )

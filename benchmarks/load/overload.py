"""More calls than a relay holds: what a frame costs it then, what it keeps in memory, how soon it is well again.

In one process of the relay: first as many calls as it holds, then a multiple of them, then, the others falling silent
on their lines, as many as before.
"""

from math import inf
from time import perf_counter
from typing import Final

import msgspec
import numpy as np

from benchmarks.load import report
from benchmarks.load.far_end import FarEnd
from benchmarks.load.level import WARMUP_S, LoadError, OnStep, Run, Target, measure_level, without_garbage_collection
from benchmarks.load.report import Level
from proto.timing import Percentiles

FACTOR: Final = 2
AFTER_S: Final = 3.0  # how long it is watched when the load has fallen
_US: Final = 1e6


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    """A relay with `calls`, several times as many as of the level `nominal`.

    us: its CPU for each frame carried; core_share: of one core, in all; sent and carried: frames in the window; lost:
    of those sent, never arrived, the last ones too; latency_ms: of those that arrived; rss_mib: at the window's end;
    rss_growth_kib: what it has grown in the window's second half, by the calls; recovered_after_s: as
    `report.recovered_after_s` has it.
    """

    calls: int
    nominal: Level
    nominal_us: float
    us: float
    core_share: float
    sent: int
    carried: int
    lost: int
    latency_ms: Percentiles | None
    rss_mib: float
    rss_growth_kib: float
    recovered_after_s: float | None
    errors: tuple[str, ...]
    tool_limits: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Cost per frame, by that of the nominal level; infinite when that was too short for its CPU to be read."""
        return self.us / self.nominal_us if self.nominal_us else inf


async def measure_overload(
    far_end: FarEnd,
    target: Target,
    *,
    calls: int,
    seconds: float,
    warmup_s: float = WARMUP_S,
    after_s: float = AFTER_S,
    on_step: OnStep = lambda _: None,
) -> Overload:
    """Make so many calls, then FACTOR times as many, then so many again.

    Args: target, with its pid; the others as for `measure_level`.
    Raises: LoadError when there is nothing to report.
    """
    nominal = await measure_level(
        far_end, target, calls=calls, seconds=seconds, warmup_s=warmup_s, with_direct=False, on_step=on_step
    )
    on_step(f"{FACTOR * calls} calls, more than it holds")
    run = Run(far_end, target, FACTOR * calls)
    try:
        await run.dial()
        with without_garbage_collection():
            await run.begin(warmup_s)
            await run.send(seconds / 2)
            await run.send(seconds / 2)
            fell_at = perf_counter()
            run.let_speak(calls)
            await run.send(after_s)
        await run.settle()
        return _overload(run, nominal, fell_at)
    finally:
        await run.hang_up()


def _overload(run: Run, nominal: Level, fell_at: float) -> Overload:
    before, half, end, _ = run.readings
    if nominal.relay is None or before.relay is None or end.relay is None:
        raise LoadError("the relay's process has to be known")
    times = [ledger.sent_and_arrived() for ledger in run.ledgers]
    sent_at, arrived_at = (np.concatenate(each) for each in zip(*times, strict=True))
    is_over = sent_at < fell_at
    carried, window_s = end.carried - before.carried, end.now - before.now
    spent_s, tool_share = end.relay.since(before.relay).total_s, end.own.since(before.own).total_s / window_s
    return Overload(
        calls=len(run.ledgers),
        nominal=nominal,
        nominal_us=nominal.relay.us,
        us=spent_s * _US / max(1, carried),
        core_share=spent_s / window_s,
        sent=int(np.count_nonzero(is_over)),
        carried=carried,
        lost=int(np.count_nonzero(arrived_at == 0)),
        latency_ms=report.spread_of([report.latencies_ms(sent_at[is_over], arrived_at[is_over])]),
        rss_mib=(end.rss_bytes or 0) / 1024**2,
        rss_growth_kib=((end.rss_bytes or 0) - (half.rss_bytes or 0)) / 1024 / len(run.ledgers),
        recovered_after_s=report.recovered_after_s(sent_at[~is_over], arrived_at[~is_over], fell_at),
        errors=run.errors(),
        tool_limits=(f"the tool took {tool_share:.0%} of a core",) if tool_share > report.MAX_TOOL_CORE else (),
    )

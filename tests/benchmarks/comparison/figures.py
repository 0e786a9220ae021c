"""Samples and reports of relays that nobody has measured."""

import msgspec

from benchmarks.comparison.barge_in import Clears
from benchmarks.comparison.most import Climbed, Try
from benchmarks.comparison.overload import Overloaded
from benchmarks.comparison.page import Report
from benchmarks.comparison.samples import Comparison, RatioGoal, Sample, compare
from benchmarks.comparison.secure import Leg
from benchmarks.comparison.soak import Soak
from benchmarks.load import Level
from benchmarks.load.overload import Overload
from benchmarks.load.ramp import Limit
from benchmarks.load.report import Frames, ToolCost
from proto.timing import Percentiles

GOALS = (RatioGoal("cpu", "node", 100, 0.65), RatioGoal("p99", "node", 100, 1.0), RatioGoal("cpu", "node", 300, 0.65))
TITLES = {"tautline": "Tautline", "node": "Node, as in the sample", "picows": "a floor"}


def sample(relay: str, number: int, us: float, *, calls: int = 100, p50_ms: float = 1.0, lost: int = 0) -> Sample:
    """One relay in one round."""
    return Sample(
        relay=relay,
        calls=calls,
        round=number,
        us=us,
        user_us=us / 2,
        system_us=us / 2,
        p50_ms=p50_ms,
        p99_ms=p50_ms * 4,
        frames=1000,
        lost=lost,
        altered=0,
        rss_mib=40,
        rss_per_call_kib=12,
        tool_us=20,
        late_p99_ms=1,
        others=0.01,
    )


def three_rounds() -> list[Sample]:
    """The machine slows down from round to round, for both."""
    ours = [sample("tautline", number, us) for number, us in enumerate((20, 40, 90), start=1)]
    return ours + [sample("node", number, us) for number, us in enumerate((40, 100, 100), start=1)]


def compared(samples: list[Sample]) -> Comparison:
    """As an echo part."""
    return compare("echo", samples, "tautline", GOALS)


def clears(number: int, p99_ms: float, direct_p99_ms: float) -> Clears:
    """One round of barge-ins."""
    return Clears(
        round=number,
        calls=100,
        barge_ins=200,
        clears=199,
        p50_ms=0.5,
        p99_ms=p99_ms,
        direct_p50_ms=0.1,
        direct_p99_ms=direct_p99_ms,
        others=0.0,
    )


def climbed(relay: str, number: int, most_calls: int, limited_by: Limit = "relay") -> Climbed:
    """Held so many, and not one tenth more."""
    return Climbed(
        relay=relay,
        round=number,
        most_calls=most_calls,
        limited_by=limited_by,
        tries=(
            Try(
                calls=most_calls, p50_ms=1, p99_ms=15, core_share=0.9, tool_share=0.5, failed_because=(), tool_limits=()
            ),
            Try(
                calls=most_calls * 11 // 10,
                p50_ms=9,
                p99_ms=30,
                core_share=0.95,
                tool_share=0.5,
                failed_because=("p99 30.0 ms",),
                tool_limits=(),
            ),
        ),
    )


def leg(number: int, us: float, rss_mib: tuple[float, float], *, is_tls: bool, kept_up: bool = True) -> Leg:
    """At 100 and 300 calls, a frame costs the same."""
    return Leg(
        is_tls=is_tls,
        round=number,
        calls=(100, 300),
        us=(us, us),
        p99_ms=(1.0, 2.0),
        kept_up=(kept_up, kept_up),
        rss_mib=rss_mib,
        others=0.0,
    )


def a_level() -> Level:
    """An unremarkable one."""
    spread = Percentiles(p50=1.0, p95=2.0, p99=3.0, max=4.0)
    return Level(
        profile="echo",
        calls=500,
        window_s=5.0,
        frames=Frames(sent=100, arrived=100, lost=0, duplicated=0, reordered=0, altered=0, carried=100),
        latency_ms=spread,
        direct_ms=None,
        jitter_ms=spread,
        marks_echoed=0,
        relay=None,
        tool=ToolCost(user_us=5.0, system_us=10.0, core_share=0.3, late_ms=spread),
        talk=None,
        errors=(),
    )


def overloaded(
    us: float,
    *,
    recovered_after_s: float | None = 0.3,
    rss_growth_kib: float = 1.0,
    core_share: float = 1.0,
    p50_ms: float = 15.0,
) -> Overloaded:
    """At 500 calls a frame cost 40 µs."""
    figures = Overload(
        calls=1000,
        nominal=a_level(),
        nominal_us=40.0,
        us=us,
        core_share=core_share,
        sent=1000,
        carried=950,
        lost=0,
        latency_ms=Percentiles(p50=p50_ms, p95=200.0, p99=300.0, max=400.0),
        rss_mib=120,
        rss_growth_kib=rss_growth_kib,
        recovered_after_s=recovered_after_s,
        errors=(),
        tool_limits=(),
    )
    return Overloaded(round=1, figures=figures, others=0.0)


def soak(*rss_mib: float) -> Soak:
    """After two shifts of warm-up."""
    return Soak(calls=300, frames=2_000_000, lost=0, warm_shifts=2, rss_mib=rss_mib, errors=())


def a_report(**more: object) -> Report:
    """Of an echo part, if nothing else is given."""
    report = Report(
        goals=(),
        echo=compared(three_rounds()),
        conversation=None,
        clears=(),
        climbs=(),
        legs=(),
        overloads=(),
        soak=None,
        seconds=4,
        rounds=3,
        left_out={},
        problems=(),
        took_s=600,
        at="2026-11-21T10:00+00:00",
        machine="a machine",
        versions={"python": "3.11"},
    )
    return msgspec.structs.replace(report, **more)

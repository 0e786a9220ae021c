"""What the benchmarks of single operations share: each timed one by one, its spread, and that beside a budget.

Knows nothing of what is timed. Where an operation has a peer, both take turns in one run and the budget is the ratio of
their medians: it holds on any machine. Where it has none, the budget is of its p99 in µs, with room for a slow machine.
"""

import gc
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns
from typing import Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import described_machine, now, versions
from proto import timing

PACKAGES: Final = ("tautline", "trio", "wsproto", "msgspec", "numpy")
BLOCK: Final = 100  # operations in a row before it is the peer's turn: long enough to be warm, short for the machine
_WARMUP_SHARE: Final = 10  # the first tenth is not counted

Nanoseconds = NDArray[np.int64]
Given = TypeVar("Given")


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How long an operation took, in µs. count: how often it was timed."""

    p50_us: float
    p95_us: float
    p99_us: float
    max_us: float
    count: int


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One operation beside its budget.

    peer: what it is compared with, "" for nothing; ratio: of the medians, None without a peer. budget: of the ratio if
    there is a peer, else of the p99 in µs. budget_us: what that is on this machine, of the median or of the p99.
    """

    what: str
    spread: Spread
    peer: str = ""
    peer_spread: Spread | None = None
    ratio: float | None = None
    budget: float
    budget_us: float
    within_budget: bool


Figures = tuple[Figure, ...]


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """A claim and what shows it. measure takes how often each operation is timed; count is how often it should be."""

    name: str
    claim: str
    measure: Callable[[int], Figures]
    count: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a benchmark prints. clock_us: what timing nothing takes; it is in every figure."""

    name: str
    claim: str
    figures: Figures
    within_budget: bool
    clock_us: float
    at: str
    machine: str
    versions: dict[str, str]


def report(benchmark: Benchmark) -> None:
    """Measure, and print one JSON line. A budget that is not kept is told there, and is no error."""
    print(msgspec.json.encode(report_of(benchmark)).decode())


def report_of(benchmark: Benchmark, count: int | None = None) -> Report:
    """Measure. count: how often each operation is timed, if not as often as the benchmark wants."""
    figures = benchmark.measure(benchmark.count if count is None else count)
    return Report(
        name=benchmark.name,
        claim=benchmark.claim,
        figures=figures,
        within_budget=all(figure.within_budget for figure in figures),
        clock_us=spread_of(times_ns(lambda _: None, range(1000))).p50_us,
        at=now(),
        machine=described_machine(),
        versions=versions(PACKAGES),
    )


def times_ns(run: Callable[[Given], object], given: Iterable[Given]) -> Nanoseconds:
    """How long `run` took for each, one by one: a mean would hide the tail. The first tenth is left out."""
    (spent_ns,) = times_in_turns(list(given), run)
    return spent_ns


def times_in_turns(given: Sequence[Given], *runs: Callable[[Given], object]) -> list[Nanoseconds]:
    """Each of `runs` for all that is given, in turns, so that what disturbs the machine disturbs all alike."""
    gc.collect()  # of what came before
    spent_ns = [np.empty(len(given), np.int64) for _ in runs]
    for start in range(0, len(given), BLOCK):
        for run, spent in zip(runs, spent_ns, strict=True):
            for index, each in enumerate(given[start : start + BLOCK], start):
                began = perf_counter_ns()
                run(each)
                spent[index] = perf_counter_ns() - began
    return [spent[len(given) // _WARMUP_SHARE :] for spent in spent_ns]


def spread_of(spent_ns: Nanoseconds) -> Spread:
    """The spread of (n,) times. Raises: ValueError if there are none."""
    spread = timing.percentiles(spent_ns / 1000)
    return Spread(
        p50_us=round(spread.p50, 3),
        p95_us=round(spread.p95, 3),
        p99_us=round(spread.p99, 3),
        max_us=round(spread.max, 3),
        count=spent_ns.size,
    )


def alone(what: str, spent_ns: Nanoseconds, *, budget_us: float) -> Figure:
    """An operation without a peer. budget_us: of its p99."""
    spread = spread_of(spent_ns)
    is_kept = spread.p99_us <= budget_us
    return Figure(what=what, spread=spread, budget=budget_us, budget_us=budget_us, within_budget=is_kept)


def beside(what: str, spent_ns: Nanoseconds, peer: str, peer_ns: Nanoseconds, *, budget: float) -> Figure:
    """An operation and its peer, timed in turns. budget: of the ratio of their medians."""
    spread, peer_spread = spread_of(spent_ns), spread_of(peer_ns)
    ratio = spread.p50_us / peer_spread.p50_us
    return Figure(
        what=what,
        spread=spread,
        peer=peer,
        peer_spread=peer_spread,
        ratio=round(ratio, 3),
        budget=budget,
        budget_us=round(budget * peer_spread.p50_us, 3),
        within_budget=ratio <= budget,
    )

"""The short suite: every single operation beside its budget, and a short load on the relay; under 3 minutes.

Run: python -m benchmarks.bench [--folder bench]

Prints a table; writes bench.json and bench.png into the folder. The operations come first, while nothing else runs and
this process may use every core; for the relay's load it is pinned to one. A budget that is not kept is shown, and is no
error: the exit code is 1 when a relay did not run, or when the tool itself lost frames.
"""

import argparse
import sys
import time
from pathlib import Path

import msgspec

from benchmarks import (
    bench_call_step,
    bench_codec,
    bench_decode,
    bench_encode,
    bench_ledger,
    bench_mulaw,
    bench_pump,
    bench_relay,
    bench_resampling,
)
from benchmarks.measuring import Benchmark, Figure, Report, report_of

OPERATIONS: tuple[Benchmark, ...] = (
    bench_decode.BENCHMARK,
    bench_encode.BENCHMARK,
    bench_codec.BENCHMARK,
    bench_call_step.BENCHMARK,
    bench_ledger.BENCHMARK,
    bench_mulaw.BENCHMARK,
    bench_resampling.BENCHMARK,
    bench_pump.BENCHMARK,
)
CALLS, SECONDS, ROUNDS = 50, 8.0, 3  # of the relay's load; with the starts and the warm-ups 75 s
HEADING = f"{'':<34}{'p50 µs':>10}{'p99 µs':>10}   budget"


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """What is written as JSON. took_s: all of it, in seconds."""

    relay: bench_relay.Result
    operations: tuple[Report, ...]
    took_s: float


class Options(argparse.Namespace):
    """The command line."""

    folder: Path


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit code."""
    options = _parse(arguments)
    began_s = time.monotonic()
    reports = measure_operations()
    rounds = bench_relay.take_turns(CALLS, SECONDS, ROUNDS)
    if not rounds:
        return 1
    relay = bench_relay.result_of(CALLS, SECONDS, rounds)
    print(bench_relay.describe(relay))
    took_s = round(time.monotonic() - began_s, 1)
    write(Suite(relay=relay, operations=reports, took_s=took_s), options.folder)
    return 1 if any(each.is_spoilt for each in rounds) else 0


def measure_operations(count: int | None = None) -> tuple[Report, ...]:
    """All of them, one line each as soon as it is known. count: how often, if not as often as each wants."""
    print(HEADING)
    reports = []
    for benchmark in OPERATIONS:
        report = report_of(benchmark, count)
        print(*(describe(figure) for figure in report.figures), sep="\n", flush=True)
        reports.append(report)
    return tuple(reports)


def describe(figure: Figure) -> str:
    """An operation, for a person."""
    verdict = "" if figure.within_budget else "  OVER"
    if figure.ratio is None:
        kept = f"p99 at most {figure.budget:g} µs"
    else:
        kept = f"{figure.ratio:.2f} of {figure.peer}, at most {figure.budget:.3g}"
    return f"{figure.what:<34}{figure.spread.p50_us:>10,.2f}{figure.spread.p99_us:>10,.2f}   {kept}{verdict}"


def write(suite: Suite, folder: Path) -> None:
    """bench.json and bench.png."""
    from benchmarks.plots import draw_bench  # matplotlib takes a second, and memory that the operations would share

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_bytes(msgspec.json.format(msgspec.json.encode(suite)) + b"\n")
    draw_bench(suite.relay, suite.operations, folder / "bench.png")
    print(f"{folder / 'bench.json'} and {folder / 'bench.png'}; it took {suite.took_s:.0f} s")


def _parse(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(description="Every single operation, and a short load on the relay.")
    parser.add_argument("--folder", type=Path, default=Path("bench"), help="where the JSON and the picture go")
    return parser.parse_args(arguments, namespace=Options())


if __name__ == "__main__":
    sys.exit(main())

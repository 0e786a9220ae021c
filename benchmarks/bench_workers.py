"""What a second worker costs: CPU per frame and echo of two workers with twice the calls, by that of one alone.

Budget: 1.1, so that two workers on two cores carry at least 1.8 times as much. Run: python -m benchmarks.bench_workers
[--calls 40 --seconds 5 --rounds 5]. Prints one JSON line.

Two cores cannot show it directly: the load tool needs a good part of one. So neither relay is filled, nobody is kept on
a core, and CPU is what is compared: whatever workers share (the port, the files, the kernel) would show in it. They
take turns, and a ratio is taken within a round.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from statistics import median

import msgspec
import trio

from benchmarks import arguments
from benchmarks.comparison.stage import Stage
from benchmarks.load import Level, measure_level, open_far_end
from benchmarks.machine import described_machine, now, versions
from benchmarks.process_cpu import Relay
from benchmarks.relays import OURS

CLAIM = "two workers with twice the calls need at most 1.1 of one worker's CPU for a frame"
BUDGET = 1.1
PACKAGES = ("tautline", "trio", "msgspec")


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One round. *_us: CPU of a frame and its echo; *_p99_ms: round trip; lost: frames, of both."""

    one_us: float
    two_us: float
    one_p99_ms: float
    two_p99_ms: float
    lost: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed. calls: of one worker; ratio, low, high: over the rounds; problems: what went wrong."""

    claim: str
    ratio: float
    low: float
    high: float
    budget: float
    within_budget: bool
    calls: int
    rounds: tuple[Pair, ...]
    problems: tuple[str, ...]
    at: str
    machine: str
    versions: dict[str, str]


class Options(argparse.Namespace):
    """The command line."""

    calls: int
    seconds: float
    rounds: int


def main(words: list[str] | None = None) -> int:
    """The command. Returns 1 when nothing could be measured."""
    options = _parsed(words)
    stage = Stage(core=None)
    pairs = trio.run(_take, stage, options)
    if not pairs:
        return 1
    print(msgspec.json.encode(_result(pairs, options, stage.problems)).decode())
    return 0


async def _take(stage: Stage, options: Options) -> list[Pair]:
    found: list[Pair] = []
    for number in range(options.rounds):
        levels: dict[int, Level] = {}
        for workers in (1, 2) if number % 2 else (2, 1):
            level = await stage.attempt(f"{workers} workers", partial(_measure, stage, workers, options))
            if level is not None:
                levels[workers] = level
        if len(levels) == 2:
            found.append(_pair(levels[1], levels[2]))
            stage.tell(str(found[-1]))
    return found


async def _measure(stage: Stage, workers: int, options: Options) -> Level:
    async with open_far_end() as far_end, stage.open_target(with_workers(workers), far_end) as (target, _):
        return await measure_level(
            far_end, target, calls=workers * options.calls, seconds=options.seconds, with_direct=False
        )


def with_workers(workers: int) -> Relay:
    """Our relay as so many processes."""

    def environment(port: int, upstream: str) -> dict[str, str]:
        return OURS.environment(port, upstream) | {"WORKERS": str(workers)}

    return msgspec.structs.replace(OURS, name=f"{workers} workers", environment=environment)


def _pair(one: Level, two: Level) -> Pair:
    def us(level: Level) -> float:
        return level.relay.us if level.relay else 0.0

    def p99_ms(level: Level) -> float:
        return level.latency_ms.p99 if level.latency_ms else 0.0

    return Pair(
        one_us=us(one),
        two_us=us(two),
        one_p99_ms=p99_ms(one),
        two_p99_ms=p99_ms(two),
        lost=one.frames.lost + two.frames.lost,
    )


def _result(pairs: Sequence[Pair], options: Options, problems: Sequence[str]) -> Result:
    ratios = [pair.two_us / pair.one_us for pair in pairs]
    ratio = median(ratios)
    return Result(
        claim=CLAIM,
        ratio=round(ratio, 3),
        low=round(min(ratios), 3),
        high=round(max(ratios), 3),
        budget=BUDGET,
        within_budget=ratio <= BUDGET,
        calls=options.calls,
        rounds=tuple(pairs),
        problems=tuple(problems),
        at=now(),
        machine=described_machine(),
        versions=versions(PACKAGES),
    )


def _parsed(words: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=arguments.count, default=40, help="of one worker")
    parser.add_argument("--seconds", type=arguments.seconds, default=5.0)
    parser.add_argument("--rounds", type=arguments.count, default=5)
    return parser.parse_args(words, namespace=Options())


if __name__ == "__main__":
    raise SystemExit(main())

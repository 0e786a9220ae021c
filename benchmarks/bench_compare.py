"""Our relay beside the ones its users would write instead, under the same load: CPU, round trip, losses, memory.

Goals, ours by theirs: at most 0.65 of the CPU per frame of Twilio's Node sample, 0.20 of plain trio-websocket, 1.30 of
the thinnest relay on a C package; and at 100 calls a round trip p99 no longer than the Node sample's. Run:
python -m benchmarks.bench_compare [--relays tautline node … --calls 10 50 100 300 --rounds 5 --seconds 5 --into DIR]

Each relay is a process of its own, begun anew for each measurement and kept on one core; the calls, and the upstream
that echoes, run here, on another. In a round all relays take turns at 10 calls, then at 50, and so on; every second
round turns their order around. Who has fallen behind is not asked for more calls in that round, unless other work was
in the way. The defaults take a quarter of an hour.
"""

import argparse
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import trio

from benchmarks.comparison import Comparison, Goal, Sample, as_markdown, open_goals, ratios_of, rows_of
from benchmarks.load import Level, LoadError, Target, measure_level, open_far_end
from benchmarks.machine import described_machine, now
from benchmarks.process_cpu import Relay, RelayFailedError, core_busy_s, cpu_of, open_relay, pin, two_cores
from benchmarks.relays import FASTAPI, NODE, OURS, PICOWS, RELAYS, TITLES, TRIO_WEBSOCKET, Choice, choose, versions
from proto import mulaw

GOALS: Final = (
    *(Goal("cpu", NODE.name, calls, 0.65) for calls in (100, 300)),
    *(Goal("cpu", PICOWS.name, calls, 1.30) for calls in (100, 300)),
    *(Goal("cpu", TRIO_WEBSOCKET.name, calls, 0.20) for calls in (100, 300)),
    Goal("p99", NODE.name, 100, 1.0),
)
CALLS: Final = (10, 50, 100, 300)
USUAL: Final = (OURS, NODE, FASTAPI, TRIO_WEBSOCKET, PICOWS)
BY_NAME: Final = {relay.name: relay for relay in RELAYS}
MIN_FRAMES: Final = 5000  # CPU is counted in ticks of 10 ms: with fewer frames one tick would be more than a twentieth


class Options(argparse.Namespace):
    """The command line."""

    relays: list[str]
    calls: list[int]
    rounds: int
    seconds: float
    json: bool
    into: Path | None


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns 1 when a relay did not run, or lost frames while other work was in the way."""
    options = _parse(arguments)
    choice = choose(BY_NAME[name] for name in dict.fromkeys(options.relays))
    for name, why in choice.left_out.items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    samples, problems = trio.run(_take_samples, choice.relays, options)
    if not samples:
        print(*problems, sep="\n", file=sys.stderr)
        return 1
    comparison = _comparison(choice, options, samples, problems)
    if options.into:
        write(comparison, options.into)
    encoded = msgspec.json.encode(comparison).decode()
    print(encoded if options.json else as_markdown(comparison, TITLES))
    return 1 if problems or any(_is_spoilt(sample) for sample in samples) else 0


async def _take_samples(relays: tuple[Relay, ...], options: Options) -> tuple[list[Sample], list[str]]:
    """All samples, and, a line each, which could not be taken; both are told as they come."""
    cores = two_cores()
    if cores:
        pin(0, cores[1])
    samples: list[Sample] = []
    problems: list[str] = []
    async for outcome in _rounds(relays, options, cores[0] if cores else None):
        if isinstance(outcome, Sample):
            samples.append(outcome)
        else:
            problems.append(outcome)
        told = _line(outcome) if isinstance(outcome, Sample) else outcome
        print(told, file=sys.stderr, flush=True)
    return samples, problems


async def _rounds(relays: tuple[Relay, ...], options: Options, core: int | None) -> AsyncIterator[Sample | str]:
    for number in range(1, options.rounds + 1):
        behind: set[str] = set()
        for calls in sorted(set(options.calls)):
            for relay in relays if number % 2 else reversed(relays):
                if relay.name in behind:
                    continue
                outcome = await _try(relay, calls, number, options.seconds, core)
                if isinstance(outcome, str) or not (outcome.kept_up or outcome.is_disturbed):
                    behind.add(relay.name)
                yield outcome


async def _try(relay: Relay, calls: int, number: int, seconds: float, core: int | None) -> Sample | str:
    """A sample, or why there is none."""
    outcome: Sample | str = ""
    try:
        outcome = await measure(relay, calls=calls, number=number, seconds=seconds, core=core)
    except* (RelayFailedError, OSError) as group:
        outcome = f"round {number}, {calls} calls: " + "; ".join(str(leaf) for leaf in _leaves(group))
    return outcome


async def measure(relay: Relay, *, calls: int, number: int, seconds: float, core: int | None) -> Sample:
    """Run one relay under one load. The only place that knows the load tool.

    Args: number, of the round; seconds, how long at least; core, on which the relay is kept.
    Raises: RelayFailedError, in a group, when it does not start, dies, or carries nothing.
    """
    seconds = max(seconds, MIN_FRAMES * mulaw.FRAME_MS / 1000 / calls)
    async with open_far_end() as far_end, open_relay(relay, far_end.upstream_url, core=core) as running:
        others_s, began_at = _others_s(core, running.pid), time.monotonic()
        target = Target(name=relay.name, url=running.url, pid=running.pid)
        try:
            level = await measure_level(far_end, target, calls=calls, seconds=seconds, with_direct=False)
            others = (_others_s(core, running.pid) - others_s) / (time.monotonic() - began_at)
        except* (LoadError, ProcessLookupError) as group:
            raise RelayFailedError(relay.name, str(_leaves(group)[0]), running.said()) from None
        return _sample(relay.name, number, level, max(0.0, others))


def _sample(name: str, number: int, level: Level, others: float) -> Sample:
    cost, round_trip, frames = level.relay, level.latency_ms, level.frames
    if cost is None or round_trip is None:
        raise ValueError("nothing was measured")
    return Sample(
        relay=name,
        calls=level.calls,
        round=number,
        us=cost.us,
        user_us=cost.user_us,
        system_us=cost.system_us,
        p50_ms=round_trip.p50,
        p99_ms=round_trip.p99,
        frames=frames.sent,
        lost=frames.lost,
        altered=frames.altered + frames.duplicated,
        rss_mib=cost.rss_mib,
        rss_per_call_kib=cost.rss_per_call_kib,
        tool_us=level.tool.user_us + level.tool.system_us,
        late_p99_ms=level.tool.late_ms.p99,
        others=others,
        errors=level.errors,
    )


def _others_s(core: int | None, relay_pid: int) -> float:
    """What other work has had of the relay's core so far; 0 when it has none of its own that could be watched."""
    return 0.0 if core is None else core_busy_s(core) - cpu_of(relay_pid).total_s


def _comparison(choice: Choice, options: Options, samples: list[Sample], problems: list[str]) -> Comparison:
    ratios = ratios_of(samples, OURS.name, GOALS)
    return Comparison(
        rows=rows_of(samples),
        ratios=ratios,
        open_goals=open_goals(GOALS, samples, ratios),
        samples=tuple(samples),
        seconds=options.seconds,
        rounds=options.rounds,
        left_out=choice.left_out,
        problems=(*problems, *(found for sample in samples for found in sample.doubts())),
        at=now(),
        machine=described_machine(),
        versions=versions(choice.relays),
    )


def _is_spoilt(sample: Sample) -> bool:
    """Frames were lost, and it need not have been the relay."""
    return sample.lost > 0 and sample.is_disturbed


def write(comparison: Comparison, folder: Path) -> None:
    """Leave the run in a folder: `compare.md` with its picture, and `compare.json` with every sample."""
    from benchmarks.plots import draw_comparison  # only who asks for a picture loads matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    draw_comparison(comparison, TITLES, folder / "compare.png")
    (folder / "compare.json").write_bytes(msgspec.json.format(msgspec.json.encode(comparison), indent=1) + b"\n")
    (folder / "compare.md").write_text(
        "# Tautline beside other relays\n\n"
        "Written by `make bench-compare`, which repeats it. Every 20 ms each caller sends a frame, and an upstream\n"
        "sends it straight back; what a relay spends on that is its CPU per frame. Each relay has one core, the load\n"
        "another. Figures are medians over the rounds; memory is that of the end, per call above the start.\n\n"
        "![CPU and round trip against calls](compare.png)\n\n" + as_markdown(comparison, TITLES) + "\n"
    )


def _line(sample: Sample) -> str:
    return (
        f"round {sample.round}, {sample.calls:3} calls, {sample.relay:<15} {sample.us:6.1f} µs/frame"
        f" (user {sample.user_us:.1f}, system {sample.system_us:.1f})"
        f"  p50 {sample.p50_ms:.2f} p99 {sample.p99_ms:.2f} ms  lost {sample.lost} of {sample.frames}"
        f"  {sample.rss_per_call_kib:.0f} KiB/call  tool {sample.tool_us:.1f} µs, late {sample.late_p99_ms:.1f} ms"
        f"  others {sample.others:.0%}"
    )


def _leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group of groups: each nursery on the way has added one."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _parse(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(description="Our relay beside the ones its users would write instead.")
    usual = [relay.name for relay in USUAL]
    parser.add_argument("--relays", nargs="+", choices=list(BY_NAME), default=usual, metavar="NAME")
    parser.add_argument("--calls", type=_count, nargs="+", default=list(CALLS))
    parser.add_argument("--rounds", type=_count, default=5)
    parser.add_argument("--seconds", type=_seconds, default=5.0, help="of each measurement; longer for few calls")
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of tables")
    parser.add_argument("--into", type=Path, help="also leave tables, picture and JSON in this folder")
    return parser.parse_args(arguments, namespace=Options())


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _seconds(text: str) -> float:
    if not 1 <= (number := float(text)) <= 3600:
        raise argparse.ArgumentTypeError("from 1 to 3600")
    return number


if __name__ == "__main__":
    sys.exit(main())

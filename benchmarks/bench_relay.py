"""CPU of the relay per 20 ms caller frame with its echo, at 50 calls, beside a relay written plainly on trio-websocket.

Budget: at most a quarter of the plain relay's, in the same run. Prints both.
Run: python -m benchmarks.bench_relay [--calls 50 --seconds 8 --rounds 3 --json --plot PATH]

Each relay runs as a process of its own on one core; the calls, and the upstream that echoes, run here, on another. The
relays take turns; of each, the round with the median cost stands for it. Only the steady window counts: starting,
connecting and the warm-up are outside. The ratio is the claim; microseconds are one machine's on one day.
"""

import argparse
import sys
from pathlib import Path

import msgspec
import trio

from benchmarks import arguments
from benchmarks.errors import leaves
from benchmarks.load import Level, LoadError, Target, measure_level, open_far_end
from benchmarks.machine import described_machine, now, versions
from benchmarks.process_cpu import OtherWork, Relay, RelayFailedError, open_relay, pin, two_cores
from benchmarks.relays import OURS
from benchmarks.relays import TRIO_WEBSOCKET as BASELINE
from proto import mulaw

CLAIM = "CPU per 20 ms caller frame with its echo is at most a quarter of a plain trio-websocket relay's"
BUDGET = 0.25
MAX_OTHERS = 0.1  # of the core; what else runs there cools the caches, and each wake-up costs more
PACKAGES = ("tautline", "trio", "trio-websocket", "wsproto", "msgspec", "numpy")


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One relay in one round. *_us: CPU per frame and echo, tool_us the tool's own; p*_ms: round trip.

    others: share of the relay's core that went to other work; late_p99_ms: how late the tool was to send. Both say
    whether the machine had time for this.
    """

    relay: str
    us: float
    user_us: float
    system_us: float
    tool_us: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    others: float
    late_p99_ms: float
    frames: int
    frames_lost: int
    frames_altered: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed as JSON. ours and baseline are each relay's median round."""

    claim: str
    ours_us: float
    baseline_us: float
    ratio: float
    budget: float
    within_budget: bool
    calls: int
    window_s: float
    ours: Cost
    baseline: Cost
    rounds: tuple[Cost, ...]
    problems: tuple[str, ...]
    at: str
    machine: str
    versions: dict[str, str]


class Round(msgspec.Struct, frozen=True):
    """What one relay did in one round."""

    cost: Cost
    problems: tuple[str, ...]
    is_spoilt: bool  # frames were lost, and the tool had not kept time


class Options(argparse.Namespace):
    """The command line."""

    calls: int
    seconds: float
    rounds: int
    json: bool
    plot: Path | None


def main(words: list[str] | None = None) -> int:
    """The command. Returns its exit code: 1 when a relay did not run, or when the tool itself lost frames."""
    options = _parse(words)
    rounds = take_turns(options.calls, options.seconds, options.rounds)
    if not rounds:
        return 1
    result = result_of(options.calls, options.seconds, rounds)
    print(msgspec.json.encode(result).decode() if options.json else describe(result))
    if options.plot:
        from benchmarks.plots import draw_relay_costs  # only who asks for a picture loads matplotlib

        draw_relay_costs(result, options.plot)
    return 1 if any(each.is_spoilt for each in rounds) else 0


def take_turns(calls: int, seconds: float, rounds: int) -> list[Round]:
    """`measure`; none, and the reasons on stderr, when a relay did not run."""
    measured: list[Round] = []
    try:
        measured = trio.run(measure, calls, seconds, rounds)
    except* (RelayFailedError, OSError) as group:
        print(*leaves(group), sep="\n", file=sys.stderr)
    return measured


async def measure(calls: int, seconds: float, rounds: int) -> list[Round]:
    """Let both relays take turns under the same load; ours, baseline, ours, baseline …

    Raises: RelayFailedError, in a group, when one does not start or carries nothing.
    """
    cores = two_cores()
    if cores:
        pin(0, cores[1])
    measured: list[Round] = []
    for number in range(1, rounds + 1):
        for relay in (OURS, BASELINE):
            cost, errors = await _measure_once(relay, calls, seconds, cores[0] if cores else None)
            measured.append(_round(number, cost, errors))
            print(f"round {number} of {rounds}: {_line(cost)}", file=sys.stderr, flush=True)
    return measured


async def _measure_once(relay: Relay, calls: int, seconds: float, core: int | None) -> tuple[Cost, list[str]]:
    """What the relay cost, and what went wrong on either side."""
    async with open_far_end() as far_end, open_relay(relay, far_end.upstream_url, core=core) as running:
        others = OtherWork(core, running.pid)
        target = Target(name=relay.name, url=running.url, pid=running.pid)
        try:
            level = await measure_level(far_end, target, calls=calls, seconds=seconds, with_direct=False)
            share = others.share()
        except* (LoadError, ProcessLookupError) as group:
            raise RelayFailedError(relay.name, str(leaves(group)[0]), running.said()) from None
        return _cost(relay.name, level, share), list(level.errors)


def _round(number: int, cost: Cost, errors: list[str]) -> Round:
    found = [*errors]
    if cost.frames_lost or cost.frames_altered:
        found.append(f"{cost.frames_lost} frames were lost, {cost.frames_altered} altered")
    if cost.late_p99_ms > mulaw.FRAME_MS:
        found.append(f"the tool was late: p99 {cost.late_p99_ms:.0f} ms")
    if cost.others > MAX_OTHERS:
        found.append(f"other work took {cost.others:.0%} of the relay's core")
    if cost.p50_ms > mulaw.FRAME_MS:
        found.append("the relay fell behind; it carried its frames in batches, so one alone costs more than this")
    problems = tuple(f"round {number}, {cost.relay}: {each}" for each in found)
    return Round(cost, problems, is_spoilt=cost.frames_lost > 0 and cost.late_p99_ms > mulaw.FRAME_MS)


def _cost(name: str, level: Level, others: float) -> Cost:
    relay, tool, round_trip = level.relay, level.tool, level.latency_ms
    if relay is None or round_trip is None:
        raise ValueError("nothing was measured")
    return Cost(
        relay=name,
        us=round(relay.us, 1),
        user_us=round(relay.user_us, 1),
        system_us=round(relay.system_us, 1),
        tool_us=round(tool.user_us + tool.system_us, 1),
        p50_ms=round(round_trip.p50, 2),
        p95_ms=round(round_trip.p95, 2),
        p99_ms=round(round_trip.p99, 2),
        others=round(others, 2),
        late_p99_ms=round(tool.late_ms.p99, 2),
        frames=level.frames.sent,
        frames_lost=level.frames.lost,
        frames_altered=level.frames.altered + level.frames.duplicated,
    )


def result_of(calls: int, seconds: float, rounds: list[Round]) -> Result:
    """What these rounds come to."""
    costs = [each.cost for each in rounds]
    ours, baseline = _median(costs, OURS.name), _median(costs, BASELINE.name)
    ratio = ours.us / baseline.us
    return Result(
        claim=CLAIM,
        ours_us=ours.us,
        baseline_us=baseline.us,
        ratio=round(ratio, 3),
        budget=BUDGET,
        within_budget=ratio <= BUDGET,
        calls=calls,
        window_s=seconds,
        ours=ours,
        baseline=baseline,
        rounds=tuple(costs),
        problems=tuple(problem for each in rounds for problem in each.problems),
        at=now(),
        machine=described_machine(),
        versions=versions(PACKAGES),
    )


def _median(costs: list[Cost], name: str) -> Cost:
    """The round in the middle; of an even number, the one of the two that is worse for us."""
    ordered = sorted((cost for cost in costs if cost.relay == name), key=lambda cost: cost.us)
    return ordered[(len(ordered) - (name == BASELINE.name)) // 2]


def describe(result: Result) -> str:
    """The result for a person."""
    lost = sum(cost.frames_lost for cost in result.rounds)
    verdict = "within" if result.within_budget else "OVER"
    return "\n".join(
        (
            f"{result.calls} calls, {result.window_s:g} s a round, {result.machine}, {result.at}",
            _line(result.ours),
            _line(result.baseline),
            f"ratio {result.ratio:.3f}, {verdict} the budget of {result.budget}; frames lost: {lost}",
            *(f"! {problem}" for problem in result.problems),
            ", ".join(f"{name} {number}" for name, number in result.versions.items()),
        )
    )


def _line(cost: Cost) -> str:
    return (
        f"{cost.relay:<20} {cost.us:6.1f} µs/frame (user {cost.user_us:.1f}, system {cost.system_us:.1f})"
        f"  round trip p50 {cost.p50_ms:.2f} p99 {cost.p99_ms:.2f} ms"
        f"  lost {cost.frames_lost} of {cost.frames}  tool {cost.tool_us:.1f} µs"
        f"  others {cost.others:.0%}"
    )


def _parse(words: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(description="The relay's CPU per frame, beside a plain trio-websocket relay's.")
    parser.add_argument("--calls", type=arguments.count, default=50)
    parser.add_argument("--seconds", type=arguments.seconds, default=8.0, help="of each round, after its warm-up")
    parser.add_argument("--rounds", type=arguments.count, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of text")
    parser.add_argument("--plot", type=Path, help="draw the result into this PNG")
    return parser.parse_args(words, namespace=Options())


if __name__ == "__main__":
    sys.exit(main())

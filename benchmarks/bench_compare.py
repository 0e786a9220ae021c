"""Our relay beside the ones its users would write instead, under the same loads, and beside its goals.

Run: python -m benchmarks.bench_compare [--parts echo,conversation,most,tls,overload,soak --relays tautline node …
--calls 10 50 100 300 --rounds 5 --seconds 3 --soak --into DIR]

Each relay is a process of its own, begun anew for each measurement and kept on one core; the calls, and the upstream,
run here, on another. All ratios are taken within a round, in which the relays take turns. The parts, each a module of
benchmarks.comparison, where its method is told:

echo          every frame comes back: CPU, round trip and losses at 10 to 300 calls, of all relays
conversation  the upstream speaks as a model does: CPU per call at 50 and 200; and how soon a barge-in clears
most          how many calls each relay holds on one core
tls           TLS towards the upstream beside our plain figure; memory of an additional call with either
overload      twice as many calls as ours holds: cost of a frame, memory, recovery
soak          2 million frames through ours: memory; only with --soak, or when it is named

How long that takes is said beforehand; the defaults take less than half an hour.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import trio

from benchmarks import arguments
from benchmarks.comparison import barge_in, most, overload, secure, side_by_side, soak
from benchmarks.comparison.goals import Judged
from benchmarks.comparison.page import Report, as_markdown
from benchmarks.comparison.rounds import take_rounds
from benchmarks.comparison.samples import Comparison, Sample
from benchmarks.comparison.stage import Stage
from benchmarks.machine import described_machine, now
from benchmarks.process_cpu import Relay, pin, two_cores
from benchmarks.relays import FASTAPI, NODE, OURS, PICOWS, RELAYS, TITLES, TRIO_WEBSOCKET, Choice, choose, versions

PARTS: Final = ("echo", "conversation", "most", "tls", "overload", "soak")
USUAL_PARTS: Final = PARTS[:-1]
USUAL: Final = (OURS, NODE, FASTAPI, TRIO_WEBSOCKET, PICOWS)
BY_NAME: Final = {relay.name: relay for relay in RELAYS}
FEW_ROUNDS: Final = 3  # of what takes long, or is a matter of ours alone


class Options(argparse.Namespace):
    """The command line."""

    parts: tuple[str, ...]
    relays: list[str]
    calls: list[int]
    rounds: int
    seconds: float
    soak: bool
    json: bool
    into: Path | None


def main(words: list[str] | None = None) -> int:
    """The command. Returns 1 when a relay did not run, or lost frames while other work was in the way."""
    options = parsed(words)
    choice = choose(BY_NAME[name] for name in dict.fromkeys(options.relays))
    for name, why in choice.left_out.items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    minutes = expected_s(options, choice.relays) / 60
    print(f"{', '.join(options.parts)}: about {minutes:.0f} minutes", file=sys.stderr, flush=True)
    report = take(choice, options)
    if not _has_figures(report):
        print(*report.problems, sep="\n", file=sys.stderr)
        return 1
    if options.into:
        write(report, options.into)
    print(msgspec.json.encode(report).decode() if options.json else as_markdown(report, TITLES))
    return 1 if report.problems else 0


def take(choice: Choice, options: Options) -> Report:
    """Measure all that was asked for."""
    cores = two_cores()
    if cores:
        pin(0, cores[1])
    return trio.run(_take, choice, options, Stage(cores[0] if cores else None))


async def _take(choice: Choice, options: Options, stage: Stage) -> Report:
    began_s = time.monotonic()
    parts, relays = options.parts, choice.relays
    few = min(options.rounds, FEW_ROUNDS)
    echo, conversation = await _take_side_by_side(stage, relays, options)
    clears = await barge_in.take_clears(stage, options.rounds) if "conversation" in parts and OURS in relays else []
    climbs = await most.take_climbs(stage, relays, few) if "most" in parts else []
    legs = await secure.take_legs(stage, options.rounds) if "tls" in parts else []
    held = most.most_of(climbs, OURS.name)
    overloads = await overload.take_overloads(stage, few, held) if "overload" in parts else []
    soaked = await soak.take_soak(stage) if "soak" in parts else None
    goals: list[Judged] = [
        *(side_by_side.judged_echo(echo) if echo else ()),
        *(side_by_side.judged_conversation(conversation) if conversation else ()),
        *(barge_in.judged_clears(clears) if "conversation" in parts else ()),
        *(most.judged_climbs(climbs) if "most" in parts else ()),
        *(secure.judged_legs(legs) if "tls" in parts else ()),
        *(overload.judged_overloads(overloads) if "overload" in parts else ()),
        *(soak.judged_soak(soaked) if "soak" in parts else ()),
    ]
    samples = [sample for each in (echo, conversation) if each for sample in each.samples]
    return Report(
        goals=tuple(goals),
        echo=echo,
        conversation=conversation,
        clears=tuple(clears),
        climbs=tuple(climbs),
        legs=tuple(legs),
        overloads=tuple(overloads),
        soak=soaked,
        seconds=options.seconds,
        rounds=options.rounds,
        left_out=choice.left_out,
        problems=(*stage.problems, *(found for sample in samples for found in sample.doubts())),
        took_s=round(time.monotonic() - began_s, 1),
        at=now(),
        machine=described_machine(),
        versions=versions(relays),
    )


async def _take_side_by_side(
    stage: Stage, relays: tuple[Relay, ...], options: Options
) -> tuple[Comparison | None, Comparison | None]:
    """Echo and conversation, each None when it was not asked for or gave nothing."""
    echo: list[Sample] = []
    talk: list[Sample] = []
    if "echo" in options.parts:
        order = side_by_side.echo_order(options.calls, options.rounds, options.seconds)
        echo = await take_rounds(stage, relays, order)
    if "conversation" in options.parts:
        order = side_by_side.conversation_order(options.rounds, options.seconds)
        talk = await take_rounds(stage, _who_talk(relays), order)
    return (
        side_by_side.compared_echo(echo) if echo else None,
        side_by_side.compared_conversation(talk) if talk else None,
    )


def _who_talk(relays: tuple[Relay, ...]) -> tuple[Relay, ...]:
    return tuple(relay for relay in relays if relay in side_by_side.CONVERSATION_RELAYS)


def expected_s(options: Options, relays: tuple[Relay, ...]) -> float:
    """About how long it will take: who falls behind, and is asked no more, makes it shorter."""
    few = min(options.rounds, FEW_ROUNDS)
    talk = side_by_side.conversation_order(options.rounds, options.seconds)
    each_s = {
        "echo": side_by_side.echo_order(options.calls, options.rounds, options.seconds).expected_s(len(relays)),
        "conversation": talk.expected_s(len(_who_talk(relays))) + options.rounds * barge_in.EXPECTED_S,
        "most": most.EXPECTED_S * (len(relays) + (few - 1)),
        "tls": options.rounds * secure.EXPECTED_S,
        "overload": few * overload.EXPECTED_S + (0 if "most" in options.parts else most.EXPECTED_S),
        "soak": soak.expected_s(),
    }
    return sum(each_s[part] for part in options.parts)


def _has_figures(report: Report) -> bool:
    parts = (report.echo, report.conversation, report.clears, report.climbs, report.legs, report.overloads, report.soak)
    return any(parts)


def write(report: Report, folder: Path) -> None:
    """Leave the run in a folder: `compare.md` with its picture, and `compare.json` with every sample."""
    from benchmarks.plots import draw_comparison  # only who asks for a picture loads matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    draw_comparison(report, TITLES, folder / "compare.png")
    (folder / "compare.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    (folder / "compare.md").write_text(
        "# Tautline beside other relays\n\n"
        "Written by `make bench-compare`, which repeats it. Every 20 ms each caller sends a frame, and an upstream\n"
        "sends it straight back; what a relay spends on that is its CPU per frame. Each relay has one core, the load\n"
        "another. Figures are medians over the rounds; memory is that of the end, per call above the start.\n\n"
        "![CPU and round trip against calls](compare.png)\n\n" + as_markdown(report, TITLES) + "\n"
    )


def parsed(words: list[str] | None) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description="Our relay beside the ones its users would write instead.")
    usual = [relay.name for relay in USUAL]
    parser.add_argument("--parts", type=_parts, default=USUAL_PARTS, metavar="PART,…", help=", ".join(PARTS))
    parser.add_argument("--relays", nargs="+", choices=list(BY_NAME), default=usual, metavar="NAME")
    parser.add_argument(
        "--calls", type=arguments.count, nargs="+", default=list(side_by_side.ECHO_CALLS), help="of echo"
    )
    parser.add_argument("--rounds", type=arguments.count, default=5, help=f"of most and overload {FEW_ROUNDS} at most")
    parser.add_argument("--seconds", type=arguments.seconds, default=3.0, help="of each window; longer for few calls")
    parser.add_argument("--soak", action="store_true", help="add that part; three minutes more")
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of tables")
    parser.add_argument("--into", type=Path, help="also leave tables, picture and JSON in this folder")
    options = parser.parse_args(words, namespace=Options())
    if options.soak and "soak" not in options.parts:
        options.parts = (*options.parts, "soak")
    return options


def _parts(text: str) -> tuple[str, ...]:
    named = text.split(",")
    if unknown := set(named) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in named)


if __name__ == "__main__":
    sys.exit(main())

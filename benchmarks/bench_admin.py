"""What a busy admin side costs the calls beside it, and how soon it answers the telephone.

Budgets: p99 of /incoming-call 50 ms; the calls' media p99 at most 1.5 times that with an idle admin side. Run:
python -m benchmarks.bench_admin [--calls 100 --seconds 5 --rounds 3 --profile echo]. Prints one JSON line.

Busy is: 50 requests/s, half of them webhooks and half the persona API (one in five a change, of the very persona that
answers the webhooks), five who watch /api/live/events, and each second a preview of a text that nobody has heard. The
relay is served as anywhere, on SQLite; the limits of how often one may ask are raised, and webhooks carry no signature.
In a round one relay is measured idle and busy, in turns who is first; ratios are taken within a round, and their median
is judged. Whoever asks is a process of its own (benchmarks.admin_visitors); the load tool plays the callers and OpenAI,
and reads the previews' texts aloud. direct_p99_ms, without the relay in between, tells what three processes on few
cores cost already. An echo has hardly an event to watch: --profile conversation has them; its media time is one way.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import Final, get_args

import msgspec
import numpy as np
import trio

from benchmarks import arguments
from benchmarks.admin_stage import (
    PREVIEWS_PER_S,
    REQUESTS_PER_S,
    WATCHERS,
    VisitorsError,
    new_premises,
    set_up,
    visited,
)
from benchmarks.admin_visitors import Visits, What
from benchmarks.comparison.stage import Stage
from benchmarks.load import FarEnd, Level, Profile, Target, measure_level, open_far_end
from benchmarks.load.level import WARMUP_S
from benchmarks.machine import described_machine, now, versions
from proto import timing

CLAIM: Final = "with a busy admin side webhooks are answered within 50 ms and media takes at most 1.5 times as long"
WEBHOOK_BUDGET_MS: Final = 50.0
MEDIA_BUDGET: Final = 1.5
PACKAGES: Final = ("tautline", "trio", "msgspec", "quart-trio", "sqlalchemy", "httpx")


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one window. cpu_us: of the whole relay by a frame and its echo; tool_limits: why not to trust it."""

    p50_ms: float
    p99_ms: float
    direct_p99_ms: float
    cpu_us: float
    core_share: float
    lost: int
    tool_limits: tuple[str, ...]


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the requests of one kind. asked and wrong: all of them; the others are of those due in the window.

    late_p99_ms: how late the visitors themselves were; it is in the others, and is none of the relay's.
    """

    asked: int
    wrong: int
    late_p99_ms: float
    p50_ms: float
    p99_ms: float
    max_ms: float


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One relay with its admin side idle, and busy."""

    idle: Media
    busy: Media
    webhook: Answers
    persona: Answers
    preview: Answers
    live_events: int
    streams_ended: int

    @property
    def media_ratio(self) -> float:
        """p99 busy by p99 idle."""
        return self.busy.p99_ms / self.idle.p99_ms

    @property
    def cpu_ratio(self) -> float:
        """CPU for a frame, the same way."""
        return self.busy.cpu_us / self.idle.cpu_us


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed. media_*: the rounds' ratios; problems: what went wrong."""

    claim: str
    webhook_p99_ms: float
    webhook_budget_ms: float
    media_ratio: float
    media_low: float
    media_high: float
    media_budget: float
    cpu_ratio: float
    within_budget: bool
    profile: Profile
    calls: int
    requests_per_s: float
    previews_per_s: float
    watchers: int
    rounds: tuple[Round, ...]
    problems: tuple[str, ...]
    at: str
    machine: str
    versions: dict[str, str]


class Options(argparse.Namespace):
    """The command line."""

    calls: int
    seconds: float
    rounds: int
    profile: Profile


def main(words: list[str] | None = None) -> int:
    """The command. Returns 1 when nothing could be measured."""
    options = _parsed(words)
    stage = Stage(core=None)
    rounds = trio.run(_take, stage, options)
    if not rounds:
        return 1
    print(msgspec.json.encode(_result(rounds, options, stage.problems)).decode())
    return 0


async def _take(stage: Stage, options: Options) -> list[Round]:
    found: list[Round] = []
    for number in range(options.rounds):
        is_busy_first = bool(number % 2)
        taken = await stage.attempt(f"round {number + 1}", partial(_take_round, stage, options, is_busy_first))
        if taken is not None:
            found.append(taken)
            stage.tell(_line(taken))
    return found


async def _take_round(stage: Stage, options: Options, is_busy_first: bool) -> Round:
    with new_premises() as premises:
        async with (
            open_far_end(options.profile) as far_end,
            stage.open_target(premises.relay, far_end) as (target, _),
        ):
            order = await set_up(target.url, premises.key)
            measure = partial(_measure, far_end, target, options)
            if is_busy_first:
                (busy, began_at), visits = await visited(order, measure)
            idle, _ = await measure()
            if not is_busy_first:
                (busy, began_at), visits = await visited(order, measure)
            return _round(idle, busy, visits, began_at)


async def _measure(far_end: FarEnd, target: Target, options: Options) -> tuple[Level, float]:
    """Returns: the level, and when its window opened, by `perf_counter`."""
    steps: list[float] = []
    level = await measure_level(
        far_end,
        target,
        calls=options.calls,
        seconds=options.seconds,
        on_step=lambda _: steps.append(perf_counter()),
    )
    return level, steps[-1] + WARMUP_S


def _round(idle: Level, busy: Level, visits: Visits, began_at: float) -> Round:
    def answers(what: What) -> Answers:
        return _answers(visits, what, began_at, began_at + busy.window_s)

    return Round(
        idle=_media(idle),
        busy=_media(busy),
        webhook=answers("webhook"),
        persona=answers("persona"),
        preview=answers("preview"),
        live_events=visits.live_events,
        streams_ended=visits.streams_ended,
    )


def _media(level: Level) -> Media:
    return Media(
        p50_ms=round(level.latency_ms.p50, 3) if level.latency_ms else 0.0,
        p99_ms=round(level.latency_ms.p99, 3) if level.latency_ms else 0.0,
        direct_p99_ms=round(level.direct_ms.p99, 3) if level.direct_ms else 0.0,
        cpu_us=round(level.relay.us, 1) if level.relay else 0.0,
        core_share=round(level.relay.core_share, 3) if level.relay else 0.0,
        lost=level.frames.lost,
        tool_limits=level.tool_limits,
    )


def _answers(visits: Visits, what: What, began_at: float, ended_at: float) -> Answers:
    of_kind = [visit for visit in visits.visits if visit.what == what]
    in_window = [visit for visit in of_kind if began_at <= visit.due_at < ended_at]
    if not in_window:
        raise VisitorsError(f"the visitors fell so far behind that no {what} of the window was asked for")
    spread = timing.percentiles(np.asarray([visit.took_ms for visit in in_window]))
    return Answers(
        asked=len(of_kind),
        wrong=sum(not visit.is_right for visit in of_kind),
        late_p99_ms=round(timing.percentiles(np.asarray([visit.late_ms for visit in in_window])).p99, 2),
        p50_ms=round(spread.p50, 2),
        p99_ms=round(spread.p99, 2),
        max_ms=round(spread.max, 2),
    )


def _line(taken: Round) -> str:
    idle, busy = taken.idle, taken.busy
    asked = "  ".join(
        f"{name} p99 {answers.p99_ms:.0f} ms (late {answers.late_p99_ms:.0f}, {answers.wrong} of {answers.asked} wrong)"
        for name, answers in (("webhook", taken.webhook), ("persona", taken.persona), ("preview", taken.preview))
    )
    return (
        f"media p99 {idle.p99_ms:.2f} -> {busy.p99_ms:.2f} ms x{taken.media_ratio:.2f}  "
        f"direct {idle.direct_p99_ms:.2f} -> {busy.direct_p99_ms:.2f} ms  "
        f"core {idle.core_share:.0%} -> {busy.core_share:.0%}  {asked}"
    )


def _result(rounds: Sequence[Round], options: Options, problems: Sequence[str]) -> Result:
    ratios = [taken.media_ratio for taken in rounds]
    media_ratio, webhook_p99_ms = median(ratios), median(taken.webhook.p99_ms for taken in rounds)
    return Result(
        claim=CLAIM,
        webhook_p99_ms=webhook_p99_ms,
        webhook_budget_ms=WEBHOOK_BUDGET_MS,
        media_ratio=round(media_ratio, 3),
        media_low=round(min(ratios), 3),
        media_high=round(max(ratios), 3),
        media_budget=MEDIA_BUDGET,
        cpu_ratio=round(median(taken.cpu_ratio for taken in rounds), 3),
        within_budget=media_ratio <= MEDIA_BUDGET and webhook_p99_ms <= WEBHOOK_BUDGET_MS,
        profile=options.profile,
        calls=options.calls,
        requests_per_s=REQUESTS_PER_S,
        previews_per_s=PREVIEWS_PER_S,
        watchers=WATCHERS,
        rounds=tuple(rounds),
        problems=tuple(problems),
        at=now(),
        machine=described_machine(),
        versions=versions(PACKAGES),
    )


def _parsed(words: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=arguments.count, default=100)
    parser.add_argument("--seconds", type=arguments.seconds, default=5.0, help="of each window")
    parser.add_argument("--rounds", type=arguments.count, default=3)
    parser.add_argument("--profile", choices=get_args(Profile), default="echo")
    return parser.parse_args(words, namespace=Options())


if __name__ == "__main__":
    raise SystemExit(main())

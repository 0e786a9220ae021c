"""A whole run of the comparison, and the page that tells it: goals first, then each part's figures."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median

import msgspec

from benchmarks.comparison.barge_in import Clears
from benchmarks.comparison.goals import Judged, figure_name
from benchmarks.comparison.most import Climbed, Try
from benchmarks.comparison.overload import Overloaded, line
from benchmarks.comparison.samples import Comparison, Ratio, RatioGoal, Row
from benchmarks.comparison.secure import Leg
from benchmarks.comparison.soak import Soak


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run gives, and where it ran; a part that was not asked for is None or empty.

    left_out: reason by relay; problems: what went wrong; took_s: all of it; seconds: of a window, or longer.
    """

    goals: tuple[Judged, ...]
    echo: Comparison | None
    conversation: Comparison | None
    clears: tuple[Clears, ...]
    climbs: tuple[Climbed, ...]
    legs: tuple[Leg, ...]
    overloads: tuple[Overloaded, ...]
    soak: Soak | None
    seconds: float
    rounds: int
    left_out: dict[str, str]
    problems: tuple[str, ...]
    took_s: float
    at: str
    machine: str
    versions: dict[str, str]


def as_markdown(report: Report, titles: dict[str, str]) -> str:
    """The page below its title. titles: how to call each relay."""
    parts = ["## Goals", goal_table(report.goals)]
    if report.echo:
        parts += _side_by_side("Echo: every frame comes back", report.echo, titles)
    if report.conversation:
        parts += _side_by_side("Conversation: the upstream speaks as a model does", report.conversation, titles)
    if report.clears:
        parts += ["## Barge-in", _clear_table(report.clears)]
    if report.climbs:
        parts += ["## Most calls on one core, p99 at most 20 ms, no loss", _climb_table(report.climbs, titles)]
    if report.legs:
        parts += ["## TLS towards the upstream, and memory", _leg_table(report.legs)]
    if report.overloads:
        lines = (f"- Round {each.round}: {line(each)}." for each in report.overloads)
        parts += ["## Twice the most calls", "\n".join(lines)]
    if report.soak:
        parts += ["## Soak", _soak_line(report.soak)]
    return "\n\n".join((*parts, *_remarks(report, titles)))


def goal_table(goals: Iterable[Judged]) -> str:
    """Met, missed, or not known, a line each."""
    head = "| Goal | bound | measured (low to high) | |\n|---|---|---|---|"
    return "\n".join((head, *(_goal_line(each) for each in goals)))


def _goal_line(judged: Judged) -> str:
    goal, note = judged.goal, f" ({judged.note})" if judged.note else ""
    bound = f"{goal.sense} {goal.bound:g}{' ' * bool(goal.unit)}{goal.unit}"
    if judged.value is None:
        return f"| {goal.what} | {bound} | - | open{note} |"
    span = f" ({judged.low:.2f} to {judged.high:.2f})" if judged.rounds > 1 else ""
    verdict = {True: "met", False: "**missed**", None: "open"}[judged.is_met]
    return f"| {goal.what} | {bound} | {judged.value:.2f}{span} | {verdict}{note} |"


def _side_by_side(title: str, comparison: Comparison, titles: dict[str, str]) -> list[str]:
    return [f"## {title}", _row_table(comparison, titles), _ratio_table(comparison, titles)]


def _row_table(comparison: Comparison, titles: dict[str, str]) -> str:
    way = "round trip" if comparison.profile == "echo" else "one way"
    head = (
        "| Calls | Relay | CPU per frame, µs (low to high) | user, system | of a core, per call"
        f" | {way} p50, p99, ms | frames lost | memory, MiB | per call, KiB |"
        "\n|---:|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    return "\n".join((head, *(_row_line(row, titles[row.relay]) for row in comparison.rows)))


def _row_line(row: Row, title: str) -> str:
    behind = f"; behind in {row.behind} of {row.rounds} rounds" if row.behind else ""
    lost = f"{row.lost:,} of {row.frames:,}" if row.lost else "0"
    return (
        f"| {row.calls} | {title}{behind} | {row.us:.1f} ({row.us_low:.1f} to {row.us_high:.1f}) "
        f"| {row.user_us:.1f}, {row.system_us:.1f} | {row.core_percent:.2f} % | {row.p50_ms:.2f}, {row.p99_ms:.2f} "
        f"| {lost} | {row.rss_mib:.0f} | {row.rss_per_call_kib:.0f} |"
    )


def _ratio_table(comparison: Comparison, titles: dict[str, str]) -> str:
    head = "| Ours by | Figure | Calls | ratio (low to high) | goal |\n|---|---|---:|---:|---|"

    def ratio_line(ratio: Ratio) -> str:
        goal = "" if ratio.goal is None else f"at most {ratio.goal:.2f}: {'met' if ratio.is_met else '**missed**'}"
        span = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        figure = figure_name(comparison, ratio.figure)
        return f"| {titles[ratio.other]} | {figure} | {ratio.calls} | {span} | {goal} |"

    def open_line(goal: RatioGoal) -> str:
        figure = figure_name(comparison, goal.figure)
        why = "one of the two fell behind"
        return f"| {titles[goal.other]} | {figure} | {goal.calls} | {why} | at most {goal.most:.2f} |"

    return "\n".join((head, *map(ratio_line, comparison.ratios), *map(open_line, comparison.open_goals)))


def _clear_table(clears: Iterable[Clears]) -> str:
    head = (
        "`speech_started` written by the upstream to `clear` read by the caller; the direct run is one way, without a "
        "relay.\n\n| Round | clears of barge-ins | p50, p99, ms | direct p50, p99, ms | p99 less the direct p99, ms |"
        "\n|---:|---:|---:|---:|---:|"
    )
    lines = (
        f"| {each.round} | {each.clears} of {each.barge_ins} | {each.p50_ms:.2f}, {each.p99_ms:.2f} "
        f"| {each.direct_p50_ms:.2f}, {each.direct_p99_ms:.2f} | {each.own_p99_ms:.2f} |"
        for each in clears
    )
    return "\n".join((head, *lines))


def _climb_table(climbs: Sequence[Climbed], titles: dict[str, str]) -> str:
    head = (
        "| Relay | most calls (low to high) | its core there | the tool's core | above it |\n|---|---:|---:|---:|---|"
    )
    relays = dict.fromkeys(each.relay for each in climbs)
    cells = ([each for each in climbs if each.relay == relay] for relay in relays)
    return "\n".join((head, *(_climb_line(cell, titles[cell[0].relay]) for cell in cells)))


def _climb_line(climbs: Sequence[Climbed], title: str) -> str:
    held = [each.most_calls for each in climbs]
    at_most = [tried for each in climbs for tried in each.tries if _is_the_most(tried, each)]
    span = f" ({min(held)} to {max(held)})" if len(held) > 1 else ""
    limits = {"relay": "the relay failed", "tool": "**the tool was the limit**", "list": "not tried"}
    above = ", ".join(dict.fromkeys(limits[each.limited_by] for each in climbs))

    def share(of: Callable[[Try], float]) -> str:
        return f"{median(of(tried) for tried in at_most):.0%}" if at_most else "-"

    shares = f"{share(lambda tried: tried.core_share)} | {share(lambda tried: tried.tool_share)}"
    return f"| {title} | {median(held):.0f}{span} | {shares} | {above} |"


def _is_the_most(tried: Try, climbed: Climbed) -> bool:
    return tried.calls == climbed.most_calls and not tried.failed_because


def _leg_table(legs: Iterable[Leg]) -> str:
    head = (
        "Memory of an additional call: growth from the first number of calls to the last, in one process, by the calls "
        "between.\n\n| Round | upstream | calls | CPU per frame, µs | p99, ms | memory, MiB | an additional call, KiB |"
        "\n|---:|---|---:|---:|---:|---:|---:|"
    )

    def row(values: Iterable[float], digits: int) -> str:
        return ", ".join(f"{value:.{digits}f}" for value in values)

    lines = (
        f"| {leg.round} | {'TLS' if leg.is_tls else 'plain'} | {row(leg.calls, 0)} | {row(leg.us, 1)} "
        f"| {row(leg.p99_ms, 1)} | {row(leg.rss_mib, 1)} | {leg.additional_call_kib:.1f} |"
        for leg in legs
    )
    return "\n".join((head, *lines))


def _soak_line(soak: Soak) -> str:
    memory = ", ".join(f"{each:.1f}" for each in soak.rss_mib)
    return (
        f"{soak.frames:,} frames in shifts of {soak.calls} calls, {soak.lost} lost. Memory in MiB at each shift's end, "
        f"the first {soak.warm_shifts} being the warm-up: {memory}."
    )


def _remarks(report: Report, titles: dict[str, str]) -> list[str]:
    remarks = ["## The run"]
    if report.left_out:
        remarks.append("\n".join(f"Left out, {titles[name]}: {why}." for name, why in report.left_out.items()))
    if report.problems:
        remarks.append("\n".join(f"- {problem}" for problem in report.problems))
    remarks.append(
        f"{report.at}, {report.machine}; rounds: {report.rounds}, of {report.seconds:g} s or longer; "
        f"{report.took_s / 60:.0f} minutes. "
        + ", ".join(f"{name} {number}" for name, number in report.versions.items())
        + "."
    )
    return remarks

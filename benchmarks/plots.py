"""Pictures of benchmark results: what a number means beside another one, readable from across the room.

The only module that knows matplotlib; it is drawn off screen, into files.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import NullLocator

if TYPE_CHECKING:
    from benchmarks.bench_relay import Cost, Result
    from benchmarks.bench_truncation import Figures
    from benchmarks.bench_truncation import Results as TruncationResults
    from benchmarks.comparison import Comparison, Row
    from benchmarks.load import Level
    from benchmarks.measuring import Figure as Operation
    from benchmarks.measuring import Report

OURS_COLOURS: Final = ("#0f6e84", "#4fa3b5", "#9bd0da")  # dark to light; also who sees no red or green tells them apart
BASELINE_COLOURS: Final = ("#b4582a", "#d4895f", "#efc3a5")
# Of several relays beside each other, ours first; they differ in lightness, too.
SERIES_COLOURS: Final = ("#0f6e84", "#b4582a", "#6a4c93", "#c99a2e", "#5b8c5a", "#8a8f94")
SERIES_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
INK: Final = "#1d2b33"
FAINT: Final = "#6b7a83"
GRID: Final = "#e3e8eb"
PERCENTILES: Final = ("p50", "p95", "p99")
TRIP_TICKS_MS: Final = (0.5, 1, 2, 5, 10, 20, 50, 100, 200)
BAR_HEIGHT: Final = 0.62
RELAY_INCHES: Final = 4.9  # of both panels about the relay
ROW_INCHES: Final = 0.27  # of one operation


def draw_relay_costs(result: "Result", path: Path) -> None:
    """CPU per frame of both relays, split into user and system, and the round trips of their frames; a PNG."""
    figure = Figure(figsize=(11, RELAY_INCHES), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    _draw_relay_panels(figure, result)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def draw_bench(result: "Result", reports: Sequence["Report"], path: Path) -> None:
    """The relay's cost and round trips, and below them every operation beside its budget; a PNG."""
    operations = [operation for report in reports for operation in report.figures]
    operations_inches = 1.1 + ROW_INCHES * len(operations)
    figure = Figure(figsize=(11, RELAY_INCHES + operations_inches), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    heights = (RELAY_INCHES, operations_inches)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    _draw_relay_panels(upper, result)
    axes = lower.subplots()
    lower.subplots_adjust(left=0.235, right=0.79, top=1 - 0.5 / operations_inches, bottom=0.06)
    _draw_operations(axes, operations)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_relay_panels(figure: FigureBase, result: "Result") -> None:
    costs_axes, trips_axes = figure.subplots(1, 2, width_ratios=(1.25, 1))
    figure.subplots_adjust(left=0.125, right=0.975, top=0.74, bottom=0.14, wspace=0.34)
    _draw_titles(figure, result)
    _draw_costs(costs_axes, result)
    _draw_round_trips(trips_axes, result)


def _draw_operations(axes: Axes, operations: Sequence["Operation"]) -> None:
    """From the median to the p99 of each, and the budget of one of the two."""
    for row, operation in enumerate(operations):
        spread = operation.spread
        dark, _, light = OURS_COLOURS if operation.within_budget else BASELINE_COLOURS
        axes.barh(row, spread.p99_us - spread.p50_us, 0.34, left=spread.p50_us, color=light)
        axes.plot(spread.p50_us, row, "o", color=dark, markersize=6)
        axes.vlines(operation.budget_us, row - 0.36, row + 0.36, color=INK, linewidth=1.4)
        label = f"{_us(spread.p50_us)}, {_us(spread.p99_us)} µs · {_verdict(operation)}"
        axes.annotate(label, (1.01, row), xycoords=("axes fraction", "data"), va="center", size=8, color=INK)
    _tidy(axes, "Single operations: median (dot) to p99 (bar), and the budget (line) of the one or the other", "µs")
    axes.set_xscale("log")
    axes.set_xlim(left=0.7 * min(operation.spread.p50_us for operation in operations))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(operations)), [operation.what for operation in operations], size=9, color=INK)
    axes.set_ylim(len(operations) - 0.4, -0.6)


def _verdict(operation: "Operation") -> str:
    if operation.ratio is None:
        return f"p99 at most {_us(operation.budget)}"
    return f"{operation.ratio:.2f} of {operation.peer}"


def _us(value_us: float) -> str:
    return f"{value_us:,.{2 if value_us < 10 else 0}f}"


def _draw_titles(figure: FigureBase, result: "Result") -> None:
    at = datetime.fromisoformat(result.at)
    share = f"{result.ratio:.0%} of a plain trio-websocket relay's CPU per frame"
    verdict = "within the budget" if result.within_budget else "over the budget"
    figure.text(0.025, 0.925, f"Tautline takes {share}", size=16, weight="bold", color=INK)
    setting = f"{result.calls} calls · {at:%d %B %Y, %H:%M} UTC · {result.machine}"
    measure = f"one 20 ms caller frame and its echo · {verdict} of {result.budget:.0%}"
    figure.text(0.025, 0.865, f"{setting} · {measure}", size=9.5, color=FAINT)
    if result.problems:
        disturbed = f"Not a clean run, {len(result.problems)} remarks; the first: {result.problems[0]}"
        figure.text(0.025, 0.025, disturbed, size=8.5, color=BASELINE_COLOURS[0])


def _draw_costs(axes: Axes, result: "Result") -> None:
    for row, (cost, colours) in enumerate(_in_colour(result)):
        axes.barh(row, cost.user_us, BAR_HEIGHT, color=colours[0])
        axes.barh(row, cost.system_us, BAR_HEIGHT, left=cost.user_us, color=colours[2])
        axes.annotate(
            f"{cost.us:.0f} µs", (cost.us, row), (6, 0), textcoords="offset points", va="center", size=13,
            weight="bold", color=INK,
        )  # fmt: skip
    _draw_budget(axes, result.budget * result.baseline_us)
    axes.set_xlim(0, max(result.ours_us, result.baseline_us) * 1.18)
    _tidy(axes, "CPU per frame: user (dark), system (light)", "µs of one core")


def _draw_budget(axes: Axes, budget_us: float) -> None:
    axes.axvline(budget_us, color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
    axes.annotate(
        f"budget {budget_us:.0f} µs", (budget_us, 0.5), (5, 0), textcoords="offset points", va="center", size=9,
        color=INK,
    )  # fmt: skip


def _draw_round_trips(axes: Axes, result: "Result") -> None:
    height = BAR_HEIGHT / len(PERCENTILES)
    for row, (cost, colours) in enumerate(_in_colour(result)):
        for place, (name, value_ms) in enumerate(zip(PERCENTILES, _trips_ms(cost), strict=True)):
            y = row + (place - 1) * height
            axes.barh(y, value_ms, height * 0.86, color=colours[place])
            label = f"{name}  {value_ms:,.{2 if value_ms < 10 else 0}f} ms"
            axes.annotate(
                label, (value_ms, y), (5, 0), textcoords="offset points", va="center", size=9, color=INK
            )  # fmt: skip
    longest_ms = max(*_trips_ms(result.ours), *_trips_ms(result.baseline))
    axes.set_xlim(0, longest_ms * 1.36)
    _tidy(axes, "Round trip, caller to echo and back", "ms")


def _in_colour(result: "Result") -> list[tuple["Cost", tuple[str, str, str]]]:
    return [(result.ours, OURS_COLOURS), (result.baseline, BASELINE_COLOURS)]


def _trips_ms(cost: "Cost") -> tuple[float, float, float]:
    return cost.p50_ms, cost.p95_ms, cost.p99_ms


def _tidy(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", size=11, color=INK, pad=10)
    axes.set_xlabel(unit, size=9, color=FAINT, loc="right")
    axes.set_yticks([0, 1], ["Tautline", "plain\ntrio-websocket"], size=10.5, color=INK)
    axes.set_ylim(1.55, -0.55)  # ours above
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=FAINT, length=0)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def draw_truncation(
    results: "TruncationResults", cases: dict[str, str], rules: dict[str, str], runs: int, path: Path
) -> None:
    """How far off each rule was in each case, median and worst, and the bound that ours stated; a PNG.

    Args: cases and rules, how to call them, in the order in which they are drawn.
    """
    figure = Figure(figsize=(11, 1.5 + 0.95 * len(cases)), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.27, right=0.975, top=1 - 1.0 / figure.get_figheight(), bottom=0.07)
    headline = "How far off the model is about what the caller heard"
    figure.text(0.025, 1 - 0.45 / figure.get_figheight(), headline, size=16, weight="bold", color=INK)
    for row, letter in enumerate(cases):
        for place, rule in enumerate(rules):
            _draw_error(axes, results[letter][rule], row, place, len(rules))
    _draw_rule_names(axes, list(rules.values()))
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(0, 20_000)
    axes.set_xticks([0, 10, 100, 1000, 10_000], ["0", "10", "100", "1,000", "10,000"])
    _tidy(axes, f"Median (dark) and worst (light) of {runs} runs; the line is the bound stated, at its median", "ms")
    axes.set_yticks(range(len(cases)), [f"{letter}  {title}" for letter, title in cases.items()], size=9, color=INK)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_error(axes: Axes, figures: "Figures", row: int, place: int, places: int) -> None:
    height = 0.84 / places
    y = row + (place - (places - 1) / 2) * height
    dark, _, light = OURS_COLOURS if place == 0 else BASELINE_COLOURS
    axes.barh(y, figures.max_ms, height * 0.86, color=light)
    axes.barh(y, figures.median_ms, height * 0.86, color=dark)
    if figures.bound_median_ms is not None:
        axes.vlines(figures.bound_median_ms, y - height / 2, y + height / 2, color=INK, linewidth=1.4)


def _draw_rule_names(axes: Axes, names: list[str]) -> None:
    """Beside the bars of the first case: they stand in the same order in all."""
    height = 0.84 / len(names)
    for place, name in enumerate(names):
        y = (place - (len(names) - 1) / 2) * height
        axes.text(19_000, y, name, size=7.5, color=FAINT, ha="right", va="center")


def draw_comparison(comparison: "Comparison", titles: dict[str, str], path: Path) -> None:
    """CPU by call, and the round trip's p99, of each relay against the number of calls; a PNG.

    Args: titles, how to call each relay; the first in the rows is ours. No point where it fell behind in most rounds.
    """
    figure = Figure(figsize=(11, 5.6), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    cpu_axes, trip_axes = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.06, right=0.975, top=0.78, bottom=0.24, wspace=0.16)
    figure.text(0.025, 0.93, "Tautline beside other relays, one core each", size=16, weight="bold", color=INK)
    at = datetime.fromisoformat(comparison.at)
    setting = (
        f"{at:%d %B %Y, %H:%M} UTC · {comparison.machine} · medians of {comparison.rounds} rounds, with their span"
    )
    figure.text(0.025, 0.875, setting, size=9.5, color=FAINT)
    relays = list(dict.fromkeys(row.relay for row in comparison.rows))
    for relay, colour in zip(relays, SERIES_COLOURS, strict=False):
        rows = [row for row in comparison.rows if row.relay == relay and row.behind * 2 <= row.rounds]
        _draw_relay(cpu_axes, trip_axes, rows, colour, titles[relay])
    levels = sorted({row.calls for row in comparison.rows})
    _tidy_lines(cpu_axes, "CPU per call", "% of a core", levels)
    _tidy_lines(trip_axes, "Round trip p99, caller to echo and back", "ms", levels)
    cpu_axes.set_ylim(bottom=0)
    trip_axes.set_yscale("log")
    trip_axes.set_yticks(TRIP_TICKS_MS, [f"{tick:g}" for tick in TRIP_TICKS_MS])
    trip_axes.minorticks_off()
    figure.legend(
        *cpu_axes.get_legend_handles_labels(),
        loc="lower left",
        bbox_to_anchor=(0.02, 0.0),
        ncols=2,
        frameon=False,
        fontsize=9,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def draw_loads(relays: "Sequence[tuple[str, Sequence[Level]]]", path: Path) -> None:
    """Latency (p99 solid, p50 dotted) and CPU per call, both against the number of calls; a PNG.

    Args: relays, the name of each with its levels in any order; the first is drawn strongest. Levels that do not hold
    are hollow. Of several at the same number of calls the last one counts.
    """
    figure = Figure(figsize=(11, 4.9), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    latency_axes, cpu_axes = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.975, top=0.86, bottom=0.13, wspace=0.2)
    for place, (name, levels) in enumerate(relays):
        rising = sorted({level.calls: level for level in levels}.values(), key=lambda level: level.calls)
        style = (SERIES_COLOURS[place % len(SERIES_COLOURS)], SERIES_MARKERS[place % len(SERIES_MARKERS)])
        _draw_latencies(latency_axes, name, rising, style)
        _draw_cpu_per_call(cpu_axes, name, rising, style)
    _tidy_load(latency_axes, "Latency of a frame: p99 (solid) and p50 (dotted)", "ms")
    latency_axes.set_yscale("log")
    latency_axes.axhline(20, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    _tidy_load(cpu_axes, "CPU of the relay for each call", "% of a core")
    cpu_axes.set_ylim(bottom=0)
    if len(relays) > 1:
        latency_axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_relay(cpu_axes: Axes, trip_axes: Axes, rows: list["Row"], colour: str, title: str) -> None:
    calls = [row.calls for row in rows]
    shares = [row.core_percent for row in rows]
    spans = [
        [row.core_percent * (1 - row.us_low / row.us) for row in rows],
        [row.core_percent * (row.us_high / row.us - 1) for row in rows],
    ]
    cpu_axes.errorbar(calls, shares, yerr=spans, color=colour, marker="o", capsize=3, linewidth=1.6, label=title)
    trip_axes.plot(calls, [row.p99_ms for row in rows], color=colour, marker="o", linewidth=1.6)


def _tidy_lines(axes: Axes, title: str, unit: str, levels: list[int]) -> None:
    axes.set_title(f"{title}, {unit}", loc="left", size=11, color=INK, pad=10)
    axes.set_xlabel("calls", size=9, color=FAINT, loc="right")
    axes.set_xscale("log")
    axes.set_xticks(levels, [str(level) for level in levels])
    axes.minorticks_off()
    axes.tick_params(labelsize=8.5, labelcolor=FAINT, length=0)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _draw_latencies(axes: Axes, name: str, levels: "Sequence[Level]", style: tuple[str, str]) -> None:
    measured = [(level.calls, level.latency_ms, level.holds) for level in levels if level.latency_ms]
    calls = [each for each, _, _ in measured]
    axes.plot(calls, [spread.p99 for _, spread, _ in measured], color=style[0], linewidth=1.8, label=name)
    axes.plot(calls, [spread.p50 for _, spread, _ in measured], color=style[0], linewidth=1.2, linestyle=":")
    for number, spread, holds in measured:
        axes.plot(number, spread.p99, style[1], color=style[0], markerfacecolor=style[0] if holds else "white")


def _draw_cpu_per_call(axes: Axes, name: str, levels: "Sequence[Level]", style: tuple[str, str]) -> None:
    measured = [(level.calls, level.relay.core_share_per_call * 100) for level in levels if level.relay]
    axes.plot(
        [calls for calls, _ in measured], [share for _, share in measured], color=style[0], marker=style[1], label=name
    )


def _tidy_load(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", size=11, color=INK, pad=10)
    axes.set_xlabel("calls at once", size=9, color=FAINT, loc="right")
    axes.set_ylabel(unit, size=9, color=FAINT)
    axes.set_xlim(left=0)
    axes.tick_params(labelsize=8.5, labelcolor=FAINT, length=0)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)

"""Pictures of benchmark results: what a number means beside another one, readable from across the room.

The only module that knows matplotlib; it is drawn off screen, into files.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from benchmarks.bench_relay import Cost, Result
    from benchmarks.bench_truncation import Figures
    from benchmarks.bench_truncation import Results as TruncationResults

OURS_COLOURS: Final = ("#0f6e84", "#4fa3b5", "#9bd0da")  # dark to light; also who sees no red or green tells them apart
BASELINE_COLOURS: Final = ("#b4582a", "#d4895f", "#efc3a5")
INK: Final = "#1d2b33"
FAINT: Final = "#6b7a83"
GRID: Final = "#e3e8eb"
PERCENTILES: Final = ("p50", "p95", "p99")
BAR_HEIGHT: Final = 0.62


def draw_relay_costs(result: "Result", path: Path) -> None:
    """CPU per frame of both relays, split into user and system, and the round trips of their frames; a PNG."""
    figure = Figure(figsize=(11, 4.9), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    costs_axes, trips_axes = figure.subplots(1, 2, width_ratios=(1.25, 1))
    figure.subplots_adjust(left=0.125, right=0.975, top=0.74, bottom=0.14, wspace=0.34)
    _draw_titles(figure, result)
    _draw_costs(costs_axes, result)
    _draw_round_trips(trips_axes, result)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw_titles(figure: Figure, result: "Result") -> None:
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

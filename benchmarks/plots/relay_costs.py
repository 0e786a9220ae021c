"""Our relay beside the plain one: CPU per frame, and the round trips of the frames."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from benchmarks.plots.style import (
    BASELINE_COLOURS,
    DASHES,
    INK,
    LEFT,
    OURS_COLOURS,
    label,
    new_figure,
    save,
    tidy_bars,
    write_setting,
    write_title,
)

if TYPE_CHECKING:
    from benchmarks.bench_relay import Cost, Result

PERCENTILES: Final = ("p50", "p95", "p99")
BAR_HEIGHT: Final = 0.62
HEIGHT_INCHES: Final = 4.9  # of both panels


def draw_relay_costs(result: "Result", path: Path) -> None:
    """CPU per frame of both relays, split into user and system, and the round trips of their frames; a PNG."""
    figure = new_figure(HEIGHT_INCHES)
    draw_relay_panels(figure, result)
    save(figure, path)


def draw_relay_panels(figure: FigureBase, result: "Result") -> None:
    """The same into a figure, or a part of one, that is as high."""
    costs_axes, trips_axes = figure.subplots(1, 2, width_ratios=(1.25, 1))
    figure.subplots_adjust(left=0.125, right=0.975, top=0.74, bottom=0.14, wspace=0.34)
    _draw_titles(figure, result)
    _draw_costs(costs_axes, result)
    _draw_round_trips(trips_axes, result)


def _draw_titles(figure: FigureBase, result: "Result") -> None:
    at = datetime.fromisoformat(result.at)
    share = f"{result.ratio:.0%} of a plain trio-websocket relay's CPU per frame"
    verdict = "within the budget" if result.within_budget else "over the budget"
    write_title(figure, f"Tautline takes {share}", 0.925)
    setting = f"{result.calls} calls · {at:%d %B %Y, %H:%M} UTC · {result.machine}"
    measure = f"one 20 ms caller frame and its echo · {verdict} of {result.budget:.0%}"
    write_setting(figure, f"{setting} · {measure}", 0.865)
    if result.problems:
        disturbed = f"Not a clean run, {len(result.problems)} remarks; the first: {result.problems[0]}"
        figure.text(LEFT, 0.025, disturbed, size=8.5, color=BASELINE_COLOURS[0])


def _draw_costs(axes: Axes, result: "Result") -> None:
    for row, (cost, colours) in enumerate(_in_colour(result)):
        axes.barh(row, cost.user_us, BAR_HEIGHT, color=colours[0])
        axes.barh(row, cost.system_us, BAR_HEIGHT, left=cost.user_us, color=colours[2])
        label(axes, f"{cost.us:.0f} µs", (cost.us, row), points=6, size=13, weight="bold")
    budget_us = result.budget * result.baseline_us
    axes.axvline(budget_us, color=INK, linewidth=1.1, linestyle=DASHES)
    label(axes, f"budget {budget_us:.0f} µs", (budget_us, 0.5), points=5, size=9)
    axes.set_xlim(0, max(result.ours_us, result.baseline_us) * 1.18)
    tidy_bars(axes, "CPU per frame: user (dark), system (light)", "µs of one core")
    _name_rows(axes)


def _draw_round_trips(axes: Axes, result: "Result") -> None:
    height = BAR_HEIGHT / len(PERCENTILES)
    for row, (cost, colours) in enumerate(_in_colour(result)):
        for place, (name, value_ms) in enumerate(zip(PERCENTILES, _trips_ms(cost), strict=True)):
            y = row + (place - 1) * height
            axes.barh(y, value_ms, height * 0.86, color=colours[place])
            text = f"{name}  {value_ms:,.{2 if value_ms < 10 else 0}f} ms"
            label(axes, text, (value_ms, y), points=5, size=9)
    longest_ms = max(*_trips_ms(result.ours), *_trips_ms(result.baseline))
    axes.set_xlim(0, longest_ms * 1.36)
    tidy_bars(axes, "Round trip, caller to echo and back", "ms")
    _name_rows(axes)


def _in_colour(result: "Result") -> list[tuple["Cost", tuple[str, str, str]]]:
    return [(result.ours, OURS_COLOURS), (result.baseline, BASELINE_COLOURS)]


def _trips_ms(cost: "Cost") -> tuple[float, float, float]:
    return cost.p50_ms, cost.p95_ms, cost.p99_ms


def _name_rows(axes: Axes) -> None:
    axes.set_yticks([0, 1], ["Tautline", "plain\ntrio-websocket"], size=10.5, color=INK)
    axes.set_ylim(1.55, -0.55)  # ours above

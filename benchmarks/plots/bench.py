"""The short suite in one picture: the relay's cost, and below it every single operation beside its budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from benchmarks.plots.relay_costs import HEIGHT_INCHES, draw_relay_panels
from benchmarks.plots.style import BASELINE_COLOURS, INK, OURS_COLOURS, new_figure, save, tidy_bars

if TYPE_CHECKING:
    from benchmarks.bench_relay import Result
    from benchmarks.measuring import Figure as Operation
    from benchmarks.measuring import Report

ROW_INCHES: Final = 0.27  # of one operation


def draw_bench(result: "Result", reports: Sequence["Report"], path: Path) -> None:
    """The relay's cost and round trips, and below them every operation beside its budget; a PNG."""
    operations = [operation for report in reports for operation in report.figures]
    operations_inches = 1.1 + ROW_INCHES * len(operations)
    figure = new_figure(HEIGHT_INCHES + operations_inches)
    heights = (HEIGHT_INCHES, operations_inches)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    draw_relay_panels(upper, result)
    axes = lower.subplots()
    lower.subplots_adjust(left=0.235, right=0.79, top=1 - 0.5 / operations_inches, bottom=0.06)
    _draw_operations(axes, operations)
    save(figure, path)


def _draw_operations(axes: Axes, operations: Sequence["Operation"]) -> None:
    """From the median to the p99 of each, and the budget of one of the two."""
    for row, operation in enumerate(operations):
        spread = operation.spread
        dark, _, light = OURS_COLOURS if operation.within_budget else BASELINE_COLOURS
        axes.barh(row, spread.p99_us - spread.p50_us, 0.34, left=spread.p50_us, color=light)
        axes.plot(spread.p50_us, row, "o", color=dark, markersize=6)
        axes.vlines(operation.budget_us, row - 0.36, row + 0.36, color=INK, linewidth=1.4)
        text = f"{_us(spread.p50_us)}, {_us(spread.p99_us)} µs · {_verdict(operation)}"
        axes.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), va="center", size=8, color=INK)
    tidy_bars(axes, "Single operations: median (dot) to p99 (bar), and the budget (line) of the one or the other", "µs")
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

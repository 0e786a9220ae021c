"""How far off each rule of truncation was, case by case."""

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from benchmarks.plots.style import (
    BASELINE_COLOURS,
    FAINT,
    INK,
    OURS_COLOURS,
    new_figure,
    save,
    tidy_bars,
    write_title,
)

if TYPE_CHECKING:
    from benchmarks.bench_truncation import Figures, Results


def draw_truncation(results: "Results", cases: dict[str, str], rules: dict[str, str], runs: int, path: Path) -> None:
    """How far off each rule was in each case, median and worst, and the bound that ours stated; a PNG.

    Args: cases and rules, how to call them, in the order in which they are drawn.
    """
    height_inches = 1.5 + 0.95 * len(cases)
    figure = new_figure(height_inches)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.27, right=0.975, top=1 - 1.0 / height_inches, bottom=0.07)
    write_title(figure, "How far off the model is about what the caller heard", 1 - 0.45 / height_inches)
    for row, letter in enumerate(cases):
        for place, rule in enumerate(rules):
            _draw_error(axes, results[letter][rule], row, place, len(rules))
    _draw_rule_names(axes, list(rules.values()))
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(0, 20_000)
    axes.set_xticks([0, 10, 100, 1000, 10_000], ["0", "10", "100", "1,000", "10,000"])
    spans = f"Median (dark) and worst (light) of {runs} runs; the line is the bound stated, at its median"
    tidy_bars(axes, spans, "ms")
    axes.set_yticks(range(len(cases)), [f"{letter}  {title}" for letter, title in cases.items()], size=9, color=INK)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    save(figure, path)


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

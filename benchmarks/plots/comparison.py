"""Relays side by side: CPU by call, and the round trip's p99, against the number of calls."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes

from benchmarks.plots.style import SERIES_COLOURS, new_figure, save, tidy_lines, write_setting, write_title

if TYPE_CHECKING:
    from benchmarks.comparison import Comparison, Row

TRIP_TICKS_MS: Final = (0.5, 1, 2, 5, 10, 20, 50, 100, 200)


def draw_comparison(comparison: "Comparison", titles: dict[str, str], path: Path) -> None:
    """CPU by call, and the round trip's p99, of each relay against the number of calls; a PNG.

    Args: titles, how to call each relay; the first in the rows is ours. No point where it fell behind in most rounds.
    """
    figure = new_figure(5.6)
    cpu_axes, trip_axes = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.06, right=0.975, top=0.78, bottom=0.24, wspace=0.16)
    write_title(figure, "Tautline beside other relays, one core each", 0.93)
    at = datetime.fromisoformat(comparison.at)
    rounds = f"medians of {comparison.rounds} rounds, with their span"
    write_setting(figure, f"{at:%d %B %Y, %H:%M} UTC · {comparison.machine} · {rounds}", 0.875)
    relays = list(dict.fromkeys(row.relay for row in comparison.rows))
    for relay, colour in zip(relays, SERIES_COLOURS, strict=False):
        rows = [row for row in comparison.rows if row.relay == relay and row.behind * 2 <= row.rounds]
        _draw_relay(cpu_axes, trip_axes, rows, colour, titles[relay])
    levels = sorted({row.calls for row in comparison.rows})
    _tidy(cpu_axes, "CPU per call, % of a core", levels)
    _tidy(trip_axes, "Round trip p99, caller to echo and back, ms", levels)
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
    save(figure, path)


def _draw_relay(cpu_axes: Axes, trip_axes: Axes, rows: list["Row"], colour: str, title: str) -> None:
    calls = [row.calls for row in rows]
    shares = [row.core_percent for row in rows]
    spans = [
        [row.core_percent * (1 - row.us_low / row.us) for row in rows],
        [row.core_percent * (row.us_high / row.us - 1) for row in rows],
    ]
    cpu_axes.errorbar(calls, shares, yerr=spans, color=colour, marker="o", capsize=3, linewidth=1.6, label=title)
    trip_axes.plot(calls, [row.p99_ms for row in rows], color=colour, marker="o", linewidth=1.6)


def _tidy(axes: Axes, title: str, levels: list[int]) -> None:
    tidy_lines(axes, title, "calls")
    axes.set_xscale("log")
    axes.set_xticks(levels, [str(level) for level in levels])
    axes.minorticks_off()

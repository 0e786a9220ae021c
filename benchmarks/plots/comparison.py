"""Relays side by side: CPU and round trip against calls, the cost of a conversation, and the most calls on one core."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmarks.plots.style import (
    INK,
    SERIES_COLOURS,
    label,
    new_figure,
    save,
    tidy_bars,
    tidy_lines,
    write_setting,
    write_title,
)

if TYPE_CHECKING:
    from benchmarks.comparison.most import Climbed
    from benchmarks.comparison.page import Report
    from benchmarks.comparison.samples import Comparison, Row

TRIP_TICKS_MS: Final = (0.5, 1, 2, 5, 10, 20, 50, 100, 200)
ROW_INCHES: Final = 3.4  # of two panels
HEAD_INCHES: Final = 1.2  # titles
FOOT_INCHES: Final = 1.3  # the relays' names
BAR_HEIGHT: Final = 0.62

Colours = dict[str, str]  # by relay


def draw_comparison(report: "Report", titles: dict[str, str], path: Path) -> None:
    """Above echo; below conversation, and how many calls each relay holds. A part that is missing stays empty. A PNG.

    Args: titles, how to call each relay, ours first.
    """
    has_lower = report.conversation is not None or bool(report.climbs)
    rows = 2 if has_lower else 1
    height_inches = HEAD_INCHES + rows * ROW_INCHES + FOOT_INCHES
    figure = new_figure(height_inches)
    write_title(figure, "Tautline beside other relays, one core each", 1 - 0.4 / height_inches)
    at = datetime.fromisoformat(report.at)
    rounds = f"medians of {report.rounds} rounds, with their span"
    write_setting(figure, f"{at:%d %B %Y, %H:%M} UTC · {report.machine} · {rounds}", 1 - 0.7 / height_inches)
    panels = figure.subplots(rows, 2, squeeze=False)
    figure.subplots_adjust(
        left=0.06, right=0.975, top=1 - HEAD_INCHES / height_inches, bottom=FOOT_INCHES / height_inches, wspace=0.27,
        hspace=0.42,
    )  # fmt: skip
    colours = dict(zip(titles, SERIES_COLOURS, strict=False))
    _draw_cpu(panels[0, 0], report.echo, "CPU per call, % of a core", colours)
    _draw_round_trips(panels[0, 1], report.echo, colours)
    if has_lower:
        _draw_cpu(panels[1, 0], report.conversation, "CPU per call in conversation, % of a core", colours)
        _draw_most(panels[1, 1], report.climbs, colours)
    shown = [relay for relay in titles if relay in _measured(report)]
    handles = [Line2D([], [], color=colours[relay], marker="o", linewidth=1.6) for relay in shown]
    names = [titles[relay] for relay in shown]
    figure.legend(
        handles, names, loc="lower left", bbox_to_anchor=(0.02, 0.0), ncols=2, frameon=False, fontsize=9
    )  # fmt: skip
    save(figure, path)


def _measured(report: "Report") -> set[str]:
    rows = [row.relay for each in (report.echo, report.conversation) if each for row in each.rows]
    return {*rows, *(each.relay for each in report.climbs)}


def _draw_cpu(axes: Axes, comparison: "Comparison | None", title: str, colours: Colours) -> None:
    if comparison is None:
        axes.set_visible(False)
        return
    for relay, rows in _lines(comparison):
        shares = [row.core_percent for row in rows]
        spans = [
            [row.core_percent * (1 - row.us_low / row.us) for row in rows],
            [row.core_percent * (row.us_high / row.us - 1) for row in rows],
        ]
        calls = [row.calls for row in rows]
        axes.errorbar(calls, shares, yerr=spans, color=colours[relay], marker="o", capsize=3, linewidth=1.6)
    _tidy(axes, title, comparison)
    axes.set_ylim(bottom=0)


def _draw_round_trips(axes: Axes, comparison: "Comparison | None", colours: Colours) -> None:
    if comparison is None:
        axes.set_visible(False)
        return
    for relay, rows in _lines(comparison):
        calls, trips_ms = [row.calls for row in rows], [row.p99_ms for row in rows]
        axes.plot(calls, trips_ms, color=colours[relay], marker="o", linewidth=1.6)
    _tidy(axes, "Round trip p99, caller to echo and back, ms", comparison)
    axes.set_yscale("log")
    axes.set_yticks(TRIP_TICKS_MS, [f"{tick:g}" for tick in TRIP_TICKS_MS])
    axes.minorticks_off()


def _draw_most(axes: Axes, climbs: "Sequence[Climbed]", colours: Colours) -> None:
    relays = list(dict.fromkeys(each.relay for each in climbs))
    for place, relay in enumerate(relays):
        own = [each for each in climbs if each.relay == relay]
        most = median(each.most_calls for each in own)
        axes.barh(place, most, BAR_HEIGHT, color=colours[relay])
        more = "" if all(each.limited_by == "relay" for each in own) else " or more"
        label(axes, f"{most:.0f}{more}", (most, place), points=5, size=10.5, weight="bold")
    if not relays:
        axes.set_visible(False)
        return
    tidy_bars(axes, "Most calls with p99 at most 20 ms and no loss", "calls")
    axes.set_yticks(range(len(relays)), relays, size=9, color=INK)
    axes.set_ylim(len(relays) - 0.45, -0.55)
    axes.set_xlim(0, max(each.most_calls for each in climbs) * 1.32 or 1)


def _lines(comparison: "Comparison") -> "list[tuple[str, list[Row]]]":
    """By relay; no point where it fell behind in most rounds."""
    relays = dict.fromkeys(row.relay for row in comparison.rows)
    sound = [row for row in comparison.rows if row.behind * 2 <= row.rounds]
    return [(relay, [row for row in sound if row.relay == relay]) for relay in relays]


def _tidy(axes: Axes, title: str, comparison: "Comparison") -> None:
    tidy_lines(axes, title, "calls")
    axes.set_xscale("log")
    levels = sorted({row.calls for row in comparison.rows})
    axes.set_xticks(levels, [str(level) for level in levels])
    axes.minorticks_off()

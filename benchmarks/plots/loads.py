"""How a relay bears more and more calls: latency and CPU by call."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from benchmarks.plots.style import (
    DASHES,
    FAINT,
    INK,
    SERIES_COLOURS,
    SERIES_MARKERS,
    new_figure,
    save,
    tidy_lines,
)

if TYPE_CHECKING:
    from benchmarks.load import Level


def draw_loads(relays: "Sequence[tuple[str, Sequence[Level]]]", path: Path) -> None:
    """Latency (p99 solid, p50 dotted) and CPU per call, both against the number of calls; a PNG.

    Args: relays, the name of each with its levels in any order; the first is drawn strongest. Levels that do not hold
    are hollow. Of several at the same number of calls the last one counts.
    """
    figure = new_figure(4.9)
    latency_axes, cpu_axes = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.975, top=0.86, bottom=0.13, wspace=0.2)
    for place, (name, levels) in enumerate(relays):
        rising = sorted({level.calls: level for level in levels}.values(), key=lambda level: level.calls)
        style = (SERIES_COLOURS[place % len(SERIES_COLOURS)], SERIES_MARKERS[place % len(SERIES_MARKERS)])
        _draw_latencies(latency_axes, name, rising, style)
        _draw_cpu_per_call(cpu_axes, name, rising, style)
    _tidy(latency_axes, "Latency of a frame: p99 (solid) and p50 (dotted)", "ms")
    latency_axes.set_yscale("log")
    latency_axes.axhline(20, color=INK, linewidth=1.0, linestyle=DASHES)
    _tidy(cpu_axes, "CPU of the relay for each call", "% of a core")
    cpu_axes.set_ylim(bottom=0)
    if len(relays) > 1:
        latency_axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    save(figure, path)


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


def _tidy(axes: Axes, title: str, unit: str) -> None:
    tidy_lines(axes, title, "calls at once")
    axes.set_ylabel(unit, size=9, color=FAINT)
    axes.set_xlim(left=0)

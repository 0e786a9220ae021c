"""What all pictures share: paper, ink, colours, and how axes look."""

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase

OURS_COLOURS: Final = ("#0f6e84", "#4fa3b5", "#9bd0da")  # dark to light; also who sees no red or green tells them apart
BASELINE_COLOURS: Final = ("#b4582a", "#d4895f", "#efc3a5")
# Of several relays beside each other, ours first; they differ in lightness, too.
SERIES_COLOURS: Final = ("#0f6e84", "#b4582a", "#6a4c93", "#c99a2e", "#5b8c5a", "#8a8f94")
SERIES_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
INK: Final = "#1d2b33"
FAINT: Final = "#6b7a83"
GRID: Final = "#e3e8eb"
DASHES: Final = (0, (4, 3))  # of a line that is a limit
WIDTH_INCHES: Final = 11
LEFT: Final = 0.025  # where titles begin
TITLE_SIZE: Final = 16


def new_figure(height_inches: float) -> Figure:
    """White paper of the usual width."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the PNG, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def write_title(figure: FigureBase, text: str, y: float) -> None:
    """What the picture says, in one line. y: a part of its height."""
    figure.text(LEFT, y, text, size=TITLE_SIZE, weight="bold", color=INK)


def write_setting(figure: FigureBase, text: str, y: float) -> None:
    """When and where, below the title."""
    figure.text(LEFT, y, text, size=9.5, color=FAINT)


def label(axes: Axes, text: str, at: tuple[float, float], *, points: int, size: float, weight: str = "normal") -> None:
    """To the right of a place. at: in the axes' units; points: how far off."""
    axes.annotate(
        text, at, (points, 0), textcoords="offset points", va="center", size=size, weight=weight, color=INK
    )  # fmt: skip


def tidy_bars(axes: Axes, title: str, unit: str) -> None:
    """Axes of horizontal bars: the value runs to the right."""
    _tidy(axes, title, unit)
    axes.tick_params(axis="x", labelsize=8.5, labelcolor=FAINT, length=0)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(visible=True, color=GRID, linewidth=0.8)


def tidy_lines(axes: Axes, title: str, unit: str) -> None:
    """Axes of lines over a number, whose unit this is."""
    _tidy(axes, title, unit)
    axes.tick_params(labelsize=8.5, labelcolor=FAINT, length=0)
    axes.grid(visible=True, color=GRID, linewidth=0.8)


def _tidy(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", size=11, color=INK, pad=10)
    axes.set_xlabel(unit, size=9, color=FAINT, loc="right")
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)

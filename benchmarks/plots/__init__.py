"""Pictures of benchmark results: what a number means beside another one, readable from across the room.

The only package that knows matplotlib; each module draws one picture, off screen, into a PNG.
"""

from benchmarks.plots.bench import draw_bench
from benchmarks.plots.comparison import draw_comparison
from benchmarks.plots.loads import draw_loads
from benchmarks.plots.relay_costs import draw_relay_costs
from benchmarks.plots.truncation import draw_truncation

__all__ = ["draw_bench", "draw_comparison", "draw_loads", "draw_relay_costs", "draw_truncation"]

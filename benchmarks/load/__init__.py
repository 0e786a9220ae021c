"""The load tool: calls on one side of a relay, an upstream on the other, and what passes between them measured."""

from benchmarks.load.far_end import FarEnd, Profile, open_far_end
from benchmarks.load.level import LoadError, Target, measure_level
from benchmarks.load.ramp import Climb, climb
from benchmarks.load.report import Level
from benchmarks.load.script import Manner

__all__ = [
    "Climb",
    "FarEnd",
    "Level",
    "LoadError",
    "Manner",
    "Profile",
    "Target",
    "climb",
    "measure_level",
    "open_far_end",
]

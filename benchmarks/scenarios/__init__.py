"""Calls told as stories: who says what when, what breaks when, what must be true at the end.

One `Scenario` is played on three stages, which cost ever more and prove ever more: `pure` steps three machines (phone,
call, model) through virtual time without a task or a socket; `memory` runs the whole stack over memory streams under a
virtual clock; `sockets` runs it in real time over loopback. `stories` holds ours; docs/testing-your-agent.md shows how
to tell your own.
"""

from benchmarks.scenarios.expectations import (
    clears,
    cut,
    ended,
    heard,
    keys,
    nothing_heard,
    transcript,
)
from benchmarks.scenarios.scenario import Expectation, Outcome, Scenario, failures, hearing, says, silence

__all__ = [
    "Expectation",
    "Outcome",
    "Scenario",
    "clears",
    "cut",
    "ended",
    "failures",
    "heard",
    "hearing",
    "keys",
    "nothing_heard",
    "says",
    "silence",
    "transcript",
]

"""Calls told as stories: who says what when, what breaks when, what must be true at the end.

One `Scenario` is played on three stages, which cost ever more and prove ever more: `pure` steps three machines (phone,
call, model) through virtual time without a task or a socket; `memory` runs the whole stack over memory streams under a
virtual clock; `sockets` runs it in real time over loopback. `stories` holds ours; docs/testing-your-agent.md shows how
to tell your own.
"""

from benchmarks.scenarios.expectations import (
    broken_off,
    clears,
    cut,
    ended,
    ended_within,
    heard,
    heard_exactly,
    keys,
    left_for,
    nothing_heard,
    silence_at_most,
    stopped,
    transcript,
)
from benchmarks.scenarios.expectations_model import (
    asked_for,
    heard_all_of_caller,
    prompted,
    responses,
    retold,
    sessions,
    tool_outputs,
    typed,
)
from benchmarks.scenarios.scenario import (
    Break,
    Expectation,
    Outcome,
    Scenario,
    ScriptedTool,
    Stage,
    failures,
    hearing,
    says,
    silence,
)

__all__ = [
    "Break",
    "Expectation",
    "Outcome",
    "Scenario",
    "ScriptedTool",
    "Stage",
    "asked_for",
    "broken_off",
    "clears",
    "cut",
    "ended",
    "ended_within",
    "failures",
    "heard",
    "heard_all_of_caller",
    "heard_exactly",
    "hearing",
    "keys",
    "left_for",
    "nothing_heard",
    "prompted",
    "responses",
    "retold",
    "says",
    "sessions",
    "silence",
    "silence_at_most",
    "stopped",
    "tool_outputs",
    "transcript",
    "typed",
]

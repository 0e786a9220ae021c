"""CPU of whole calls in virtual time. Budget: an hour of 200 turns under 3 s, a day of idle line under 1 s.

Run: python -m benchmarks.bench_virtual_time. Prints one JSON line.

Both are played on the pure stage (`benchmarks/scenarios/pure.py`), three times each, and the cheapest counts: a shared
machine can only make them dearer. The day is one whose carrier suppresses silence: no frame comes.
"""

import time

import msgspec

from benchmarks.machine import described_machine, now, versions
from benchmarks.scenarios import Scenario, failures, pure
from benchmarks.scenarios.long_calls import HOUR, IDLE_DAY

CLAIM = (
    "in virtual time an hour with 200 turns and 40 interruptions costs under 3 s of CPU, 24 h of idle line under 1 s"
)
HOUR_BUDGET_S = 3.0
IDLE_DAY_BUDGET_S = 1.0
ROUNDS = 3
PACKAGES = ("tautline", "msgspec", "numpy")


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One call. call_s: how long it lasted, in its own time; cpu_s: the cheapest round's; failures: the story's."""

    scenario: str
    call_s: float
    cpu_s: float
    budget_s: float
    within_budget: bool
    failures: tuple[str, ...]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed."""

    claim: str
    costs: tuple[Cost, ...]
    rounds: int
    at: str
    machine: str
    versions: dict[str, str]


def main() -> None:
    """The command."""
    result = Result(
        claim=CLAIM,
        costs=(
            cost_of(HOUR, HOUR_BUDGET_S),
            cost_of(IDLE_DAY, IDLE_DAY_BUDGET_S),
        ),
        rounds=ROUNDS,
        at=now(),
        machine=described_machine(),
        versions=versions(PACKAGES),
    )
    print(msgspec.json.encode(result).decode())


def cost_of(scenario: Scenario, budget_s: float) -> Cost:
    """What playing this scenario costs, its world's making included."""
    spent_s = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        outcome = pure.play(scenario)
        spent_s.append(time.process_time() - began_s)
    return Cost(
        scenario=scenario.name,
        call_s=outcome.report.duration_ms / 1000,
        cpu_s=round(min(spent_s), 3),
        budget_s=budget_s,
        within_budget=min(spent_s) <= budget_s,
        failures=tuple(failures(scenario, outcome)),
    )


if __name__ == "__main__":
    main()

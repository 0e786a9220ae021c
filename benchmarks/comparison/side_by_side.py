"""The two parts that set our relay beside others at equal numbers of calls: echo and conversation, with their goals."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.comparison.goals import Goal, Judged, judge, judged_ratios
from benchmarks.comparison.rounds import Order
from benchmarks.comparison.samples import Comparison, RatioGoal, Sample, compare
from benchmarks.relays import NODE, OURS, PICOWS, TITLES, TRIO_WEBSOCKET

ECHO_CALLS: Final = (10, 50, 100, 300)
ECHO_GOALS: Final = (
    *(RatioGoal("cpu", NODE.name, calls, 0.65) for calls in (100, 300)),
    *(RatioGoal("cpu", PICOWS.name, calls, 1.30) for calls in (100, 300)),
    *(RatioGoal("cpu", TRIO_WEBSOCKET.name, calls, 0.20) for calls in (100, 300)),
    RatioGoal("p99", NODE.name, 100, 1.0),
)
DIRECT_CALLS: Final = 100
ABOVE_DIRECT: Final = Goal(what=f"round trip p99 above the direct run's, {DIRECT_CALLS} calls", bound=1.5, unit="ms")
CONVERSATION_CALLS: Final = (50, 200)
CONVERSATION_RELAYS: Final = (OURS, NODE, PICOWS)
CONVERSATION_GOALS: Final = (
    *(RatioGoal("cpu", NODE.name, calls, 0.60) for calls in CONVERSATION_CALLS),
    *(RatioGoal("cpu", PICOWS.name, calls, 1.25) for calls in CONVERSATION_CALLS),
)
TALKING_AFTER_S: Final = 3.0  # by then every call is in its first turn


def echo_order(calls: Sequence[int], rounds: int, seconds: float) -> Order:
    """Every frame comes back."""
    rising = tuple(sorted(set(calls)))
    return Order(
        profile="echo", calls=rising, rounds=rounds, seconds=seconds, direct_for=(OURS.name, DIRECT_CALLS)
    )  # fmt: skip


def conversation_order(rounds: int, seconds: float) -> Order:
    """The upstream speaks as a model does."""
    return Order(
        profile="conversation",
        calls=CONVERSATION_CALLS,
        rounds=rounds,
        seconds=seconds,
        warmup_s=TALKING_AFTER_S,
    )


def compared_echo(samples: Sequence[Sample]) -> Comparison:
    """What the echo part gave."""
    return compare("echo", samples, OURS.name, ECHO_GOALS)


def compared_conversation(samples: Sequence[Sample]) -> Comparison:
    """What the conversation part gave: its frames go one way, so only their cost is a ratio."""
    return compare("conversation", samples, OURS.name, CONVERSATION_GOALS, ("cpu",))


def judged_echo(comparison: Comparison) -> list[Judged]:
    """Against the others, and against no relay at all."""
    own = [each for each in comparison.samples if each.relay == OURS.name and each.kept_up]
    pairs = [(each.p99_ms, each.direct_p99_ms) for each in own if each.direct_p99_ms is not None]
    note = f"directly {median(direct_ms for _, direct_ms in pairs):.2f} ms" if pairs else ""
    above = judge(ABOVE_DIRECT, [p99_ms - direct_ms for p99_ms, direct_ms in pairs], note=note)
    return [*judged_ratios(comparison, TITLES), above]


def judged_conversation(comparison: Comparison) -> list[Judged]:
    """Against the others."""
    return judged_ratios(comparison, TITLES)

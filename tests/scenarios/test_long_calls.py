"""An hour of conversation between pure machines, and the same hour twice."""

from benchmarks.scenarios import Outcome, failures, pure
from benchmarks.scenarios.long_calls import HOUR, INTERRUPTIONS, TURNS
from relay.log import AgentHeard, BargedIn, CallerFellSilent


def fingerprint(outcome: Outcome) -> tuple[object, ...]:
    return outcome.log, outcome.events, outcome.report, outcome.report.heard_track, outcome.report.sent_track


def test_an_hour_with_two_hundred_turns_and_forty_interruptions_and_the_same_hour_again() -> None:
    outcome = pure.play(HOUR)
    assert failures(HOUR, outcome) == []
    assert 58 * 60_000 < outcome.report.duration_ms < 60 * 60_000
    assert len(outcome.of(CallerFellSilent)) == TURNS
    assert len(outcome.of(BargedIn)) == INTERRUPTIONS
    assert len(outcome.of(AgentHeard)) == TURNS + 1  # the greeting, too
    assert fingerprint(pure.play(HOUR)) == fingerprint(outcome)

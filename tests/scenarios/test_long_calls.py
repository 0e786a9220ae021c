"""Between pure machines: an hour of conversation, a day of silence, the same twice, and sessions that last no hour."""

import pytest

from benchmarks.scenarios import Outcome, Scenario, failures, pure
from benchmarks.scenarios.long_calls import DAY_S, HOUR, IDLE_DAY, INTERRUPTIONS, ROLL_OVERS, TURNS
from benchmarks.speech import clip
from proto import mulaw
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


def test_a_day_on_which_nobody_speaks_and_then_a_question_and_the_same_day_again() -> None:
    outcome = pure.play(IDLE_DAY)
    assert failures(IDLE_DAY, outcome) == []
    report = outcome.report
    assert report.duration_ms > DAY_S * 1000
    assert report.frames_lost > DAY_S * 1000 / mulaw.FRAME_MS  # suppressed, and not one of them was sent
    assert report.frames_sent < clip("ask_hours").duration_ms / mulaw.FRAME_MS + 20  # with the carrier's hangover
    again = pure.play(IDLE_DAY)
    assert (again.log, again.events, again.report) == (outcome.log, outcome.events, report)


@pytest.mark.parametrize("scenario", ROLL_OVERS, ids=[story.name for story in ROLL_OVERS])
def test_a_session_is_replaced_before_its_hour_is_over(scenario: Scenario) -> None:
    assert failures(scenario, pure.play(scenario)) == []

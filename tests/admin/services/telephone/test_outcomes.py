"""What is remembered of calls that have ended: the end, for a while, and nothing else."""

import pytest

from admin.services.telephone.outcomes import Ending, Outcomes
from relay import CallEnded
from relay.log import KeyPressed


def ended(reason: str = "agent_ended", outcome: str = "") -> CallEnded:
    return CallEnded(
        reason=reason,
        outcome=outcome,
        duration_ms=0,
        frames_from_caller=0,
        audio_ms_to_caller=0,
        barge_ins=0,
        total_tokens=0,
    )


@pytest.mark.parametrize(
    ("reason", "outcome", "needs_staff"),
    [
        ("agent_ended", "staff", True),
        ("twilio_closed", "staff", True),
        ("openai_unreachable", "", True),
        ("openai_refused", "", True),
        ("agent_ended", "", False),
        ("agent_ended", "voicemail", False),
        ("caller_hung_up", "", False),
        ("caller_silent", "", False),
        ("max_duration", "", False),
        ("internal_error", "", False),
    ],
)
def test_a_person_takes_over_when_asked_for_or_when_there_was_no_model(
    reason: str, outcome: str, needs_staff: bool
) -> None:
    assert Ending(reason, outcome).needs_staff == needs_staff


def test_an_ending_can_be_read_again_because_twilio_may_ask_again() -> None:
    outcomes = Outcomes()
    outcomes.offer("CA1", ended(outcome="staff"))
    assert outcomes.find("CA1") == outcomes.find("CA1") == Ending("agent_ended", "staff")


def test_only_the_end_of_a_call_is_remembered() -> None:
    outcomes = Outcomes()
    outcomes.offer("CA1", KeyPressed(digit="0"))
    assert outcomes.find("CA1") is None


def test_a_stream_that_was_not_let_in_says_nothing_about_any_call() -> None:
    outcomes = Outcomes()
    outcomes.offer("", ended("not_admitted"))
    assert outcomes.find("") is None


def test_the_oldest_endings_make_room() -> None:
    outcomes = Outcomes(size=2)
    for call_sid in ("CA1", "CA2", "CA3"):
        outcomes.offer(call_sid, ended())
    assert [outcomes.find(call_sid) is not None for call_sid in ("CA1", "CA2", "CA3")] == [False, True, True]


def test_the_last_stream_of_a_call_decides_and_makes_it_the_youngest() -> None:
    outcomes = Outcomes(size=2)
    outcomes.offer("CA1", ended("openai_refused"))
    outcomes.offer("CA2", ended())
    outcomes.offer("CA1", ended("caller_hung_up"))
    outcomes.offer("CA3", ended())
    assert outcomes.find("CA1") == Ending("caller_hung_up", "")
    assert outcomes.find("CA2") is None

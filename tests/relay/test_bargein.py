"""When the caller's speech stops the agent, and when it must not."""

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay.bargein import (
    REST_AFTER_FALSE_HOLD_S,
    BargeIn,
    BargeInPolicy,
    Decision,
    interrupts_by_itself,
    needs_detector,
)

LOCAL = BargeInPolicy(local_detection=True)


def started(barge_in: BargeIn, now: float, *, is_sounding: bool = True, is_greeting: bool = False) -> Decision:
    return barge_in.speech_started(now, is_sounding=is_sounding, is_greeting=is_greeting)


def voice(
    barge_in: BargeIn, is_speaking: bool, now: float, *, is_sounding: bool = True, is_greeting: bool = False
) -> Decision:
    return barge_in.voice(is_speaking, now, is_sounding=is_sounding, is_greeting=is_greeting)


# OpenAI's word alone


def test_speech_over_the_agent_interrupts_at_once() -> None:
    barge_in = BargeIn(BargeInPolicy())
    assert started(barge_in, 1.0) == "interrupt"
    assert barge_in.deadline == float("inf")


def test_speech_into_silence_interrupts_nothing() -> None:
    assert started(BargeIn(BargeInPolicy()), 1.0, is_sounding=False) == "none"


def test_a_persona_may_not_be_interrupted_at_all() -> None:
    barge_in = BargeIn(BargeInPolicy(enabled=False, local_detection=True))
    assert [voice(barge_in, True, 1.0), started(barge_in, 1.1), barge_in.timeout(9.0)] == ["none"] * 3


def test_a_protected_greeting_is_spoken_to_its_end() -> None:
    barge_in = BargeIn(BargeInPolicy(protect_greeting=True, local_detection=True))
    heard = [voice(barge_in, True, 1.0, is_greeting=True), started(barge_in, 1.1, is_greeting=True)]
    assert [*heard, barge_in.timeout(9.0), barge_in.speech_stopped()] == ["none"] * 4


def test_after_a_protected_greeting_speech_interrupts_again() -> None:
    barge_in = BargeIn(BargeInPolicy(protect_greeting=True))
    started(barge_in, 1.0, is_greeting=True)
    barge_in.speech_stopped()
    assert started(barge_in, 5.0) == "interrupt"


def test_an_unprotected_greeting_is_interrupted() -> None:
    assert started(BargeIn(BargeInPolicy()), 1.0, is_greeting=True) == "interrupt"


# Minimum speech


def test_speech_interrupts_once_it_has_lasted_long_enough() -> None:
    barge_in = BargeIn(BargeInPolicy(min_speech_ms=300))
    assert started(barge_in, 1.0) == "none"
    assert barge_in.deadline == pytest.approx(1.3)
    assert barge_in.timeout(1.2) == "none"
    assert barge_in.timeout(barge_in.deadline) == "interrupt"
    assert barge_in.timeout(2.0) == "none"


def test_speech_that_ends_before_interrupts_nothing() -> None:
    barge_in = BargeIn(BargeInPolicy(min_speech_ms=700))
    started(barge_in, 1.0)
    assert barge_in.speech_stopped() == "none"
    assert (barge_in.deadline, barge_in.timeout(9.0)) == (float("inf"), "none")


def test_a_short_yes_interrupts_nothing_though_openai_still_waits_for_its_silence() -> None:
    barge_in = BargeIn(BargeInPolicy(min_speech_ms=400))
    voice(barge_in, True, 1.00)
    started(barge_in, 1.10)
    voice(barge_in, False, 1.35)
    assert barge_in.timeout(1.50) == barge_in.speech_stopped() == "none"


def test_speech_counts_from_when_the_local_detector_heard_it() -> None:
    barge_in = BargeIn(BargeInPolicy(min_speech_ms=300))
    voice(barge_in, True, 1.0)
    assert started(barge_in, 1.2) == "none"
    assert barge_in.deadline == pytest.approx(1.3)


def test_speech_that_was_long_enough_when_openai_told_of_it_interrupts_at_once() -> None:
    barge_in = BargeIn(BargeInPolicy(min_speech_ms=300))
    voice(barge_in, True, 1.0)
    assert started(barge_in, 1.4) == "interrupt"


def test_after_a_pause_in_it_speech_counts_anew() -> None:
    barge_in = BargeIn(BargeInPolicy(min_speech_ms=300))
    started(barge_in, 1.0)
    voice(barge_in, True, 1.0)
    voice(barge_in, False, 1.2)
    assert barge_in.deadline == float("inf")
    voice(barge_in, True, 1.4)
    assert barge_in.timeout(1.5) == "none"
    assert barge_in.timeout(1.71) == "interrupt"


# The local detector holds, OpenAI decides


def test_a_voice_holds_the_agent_and_openai_confirms_it() -> None:
    barge_in = BargeIn(LOCAL)
    assert voice(barge_in, True, 1.0) == "hold"
    assert barge_in.deadline == pytest.approx(1.4)
    assert started(barge_in, 1.2) == "interrupt"
    assert barge_in.deadline == float("inf")


def test_unconfirmed_the_agent_goes_on() -> None:
    barge_in = BargeIn(LOCAL)
    voice(barge_in, True, 1.0)
    assert barge_in.timeout(1.3) == "none"
    assert barge_in.timeout(barge_in.deadline) == "resume"
    assert barge_in.timeout(9.0) == "none"


def test_a_noise_that_ends_lets_the_agent_go_on_before_that() -> None:
    barge_in = BargeIn(LOCAL)
    voice(barge_in, True, 1.0)
    assert voice(barge_in, False, 1.16) == "resume"
    assert barge_in.deadline == float("inf")


def test_openai_may_still_interrupt_after_the_agent_went_on() -> None:
    barge_in = BargeIn(LOCAL)
    voice(barge_in, True, 1.0)
    barge_in.timeout(1.4)
    assert started(barge_in, 1.5) == "interrupt"


def test_the_frames_of_one_voice_hold_once() -> None:
    barge_in = BargeIn(LOCAL)
    assert [voice(barge_in, True, 1.0 + frame * 0.02) for frame in range(3)] == ["hold", "none", "none"]


def test_a_voice_into_silence_holds_nothing() -> None:
    assert voice(BargeIn(LOCAL), True, 1.0, is_sounding=False) == "none"


def test_without_local_detection_a_voice_holds_nothing() -> None:
    assert voice(BargeIn(BargeInPolicy(min_speech_ms=300)), True, 1.0) == "none"


def test_after_a_false_hold_the_agent_does_not_stutter() -> None:
    barge_in = BargeIn(LOCAL)
    voice(barge_in, True, 1.0)
    voice(barge_in, False, 1.2)
    assert voice(barge_in, True, 1.3) == "none"
    voice(barge_in, False, 1.5)
    assert voice(barge_in, True, 1.2 + REST_AFTER_FALSE_HOLD_S) == "hold"


def test_held_speech_that_is_too_short_lets_the_agent_go_on() -> None:
    policy = BargeInPolicy(local_detection=True, min_speech_ms=600)
    barge_in = BargeIn(policy)
    voice(barge_in, True, 1.0)
    assert started(barge_in, 1.2) == "none"
    assert barge_in.deadline == pytest.approx(1.6)  # confirmed: only its length is still open
    assert voice(barge_in, False, 1.5) == "resume"
    assert voice(barge_in, True, 1.6) == "hold"  # it was speech, so the detector is heeded
    assert barge_in.timeout(2.21) == "interrupt"


def test_a_hold_ends_when_openai_confirms_that_nobody_is_interrupted() -> None:
    barge_in = BargeIn(LOCAL)
    voice(barge_in, True, 1.0)
    assert started(barge_in, 1.2, is_sounding=False) == "resume"


def test_the_end_of_earlier_speech_does_not_end_a_hold() -> None:
    barge_in = BargeIn(LOCAL)
    voice(barge_in, True, 1.0)
    assert barge_in.speech_stopped() == "none"
    assert started(barge_in, 1.2) == "interrupt"


# What follows from the policy elsewhere


@pytest.mark.parametrize(
    ("policy", "by_itself", "detector"),
    [
        (BargeInPolicy(), True, False),
        (LOCAL, True, True),
        (BargeInPolicy(enabled=False, local_detection=True), False, False),
        (BargeInPolicy(min_speech_ms=1), False, True),
        (BargeInPolicy(protect_greeting=True), False, False),
    ],
)
def test_openai_cancels_by_itself_only_where_all_speech_interrupts(
    policy: BargeInPolicy, by_itself: bool, detector: bool
) -> None:
    assert (interrupts_by_itself(policy), needs_detector(policy)) == (by_itself, detector)


@pytest.mark.parametrize("settings_", [{"min_speech_ms": -1}, {"confirm_within_ms": 0}, {"lead_ms": 20}])
def test_a_policy_from_outside_has_its_bounds(settings_: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(settings_, BargeInPolicy)


class AnyConversation(RuleBasedStateMachine):
    """Whatever is heard: holds end in time, and no decision contradicts the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.barge_in = BargeIn(BargeInPolicy(local_detection=True, min_speech_ms=300, protect_greeting=True))
        self.now = 0.0
        self.held_since: float | None = None

    def follow(self, decision: Decision, *, is_protected: bool = False) -> None:
        if decision == "hold":
            assert self.held_since is None
            self.held_since = self.now
        elif decision == "resume":
            assert self.held_since is not None
            self.held_since = None
        elif decision == "interrupt":
            assert not is_protected
            self.held_since = None

    @rule(ms=st.integers(0, 700))
    def time_passes(self, ms: int) -> None:
        until = self.now + ms / 1000
        while self.barge_in.deadline <= until:
            self.now = max(self.now, self.barge_in.deadline)
            self.follow(self.barge_in.timeout(self.now))
        self.now = until

    @rule(is_sounding=st.booleans(), is_greeting=st.booleans())
    def openai_hears_speech(self, is_sounding: bool, is_greeting: bool) -> None:
        decision = started(self.barge_in, self.now, is_sounding=is_sounding, is_greeting=is_greeting)
        self.follow(decision, is_protected=is_greeting or not is_sounding)

    @rule()
    def openai_hears_its_end(self) -> None:
        self.follow(self.barge_in.speech_stopped())

    @rule(is_speaking=st.booleans(), is_sounding=st.booleans(), is_greeting=st.booleans())
    def the_detector_hears(self, is_speaking: bool, is_sounding: bool, is_greeting: bool) -> None:
        decision = voice(self.barge_in, is_speaking, self.now, is_sounding=is_sounding, is_greeting=is_greeting)
        self.follow(decision, is_protected=True)

    @invariant()
    def a_hold_has_its_end(self) -> None:
        if self.held_since is not None:
            assert self.barge_in.deadline <= self.now + 0.4
            assert self.now <= self.held_since + 0.4 + 0.3 + 1e-9


TestAnyConversation = AnyConversation.TestCase
TestAnyConversation.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

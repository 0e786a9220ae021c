"""A silent caller is asked, asked again, and let go; and no call lasts for ever."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.patience import (
    GOODBYE_WITHIN_S,
    LINGER_S,
    Decision,
    End,
    Limits,
    Patience,
    Prompt,
    SayGoodbye,
    SilencePolicy,
    WrapUp,
)

ASKING_TWICE = SilencePolicy(prompt_after_s=10.0, prompts=("Are you there?", "Hello?"), end_after_prompts=2)
NO_LIMIT = Limits(max_duration_s=None)
TEN_MINUTES = Limits(max_duration_s=600.0, wrap_up_before_s=30.0)
NEVER_ASKING = SilencePolicy(prompt_after_s=None)


def quiet(silence: SilencePolicy = ASKING_TWICE, limits: Limits = NO_LIMIT) -> Patience:
    """A call that began at 0 s, in which nobody has spoken yet."""
    patience = Patience(silence, limits, 0.0)
    patience.observe(is_busy=False, now=0.0)
    return patience


def spoken(patience: Patience, began_s: float, ended_s: float) -> None:
    patience.observe(is_busy=True, now=began_s)
    patience.observe(is_busy=False, now=ended_s)


def test_a_silent_caller_is_asked_then_asked_again_then_let_go() -> None:
    patience = quiet()
    assert patience.deadline == 10.0
    assert patience.timeout(10.0) == [Prompt("Are you there?")]
    spoken(patience, 10.0, 12.0)
    assert patience.deadline == 22.0
    assert patience.timeout(22.0) == [Prompt("Hello?")]
    spoken(patience, 22.0, 23.0)
    assert patience.timeout(33.0) == [SayGoodbye("caller_silent")]
    patience.observe(is_busy=True, now=33.0)
    assert patience.timeout(36.0) == []
    patience.observe(is_busy=False, now=37.0)
    assert patience.deadline == 37.0
    assert patience.timeout(37.0) == [End("caller_silent")]
    assert patience.deadline == inf
    assert patience.timeout(1e9) == []


def test_the_last_prompt_is_asked_again_if_there_are_not_enough() -> None:
    patience = quiet(SilencePolicy(prompt_after_s=1.0, prompts=("Hello?",), end_after_prompts=3))
    assert [patience.timeout(now) for now in (1.0, 2.0, 3.0)] == [[Prompt("Hello?")]] * 3
    assert patience.timeout(4.0) == [SayGoodbye("caller_silent")]


def test_before_the_call_is_under_way_nobody_is_silent() -> None:
    patience = Patience(ASKING_TWICE, NO_LIMIT, 0.0)
    assert patience.deadline == inf
    assert patience.timeout(1000.0) == []


def test_while_anybody_is_busy_silence_does_not_count() -> None:
    patience = quiet()
    patience.observe(is_busy=True, now=9.0)
    assert patience.deadline == inf
    assert patience.timeout(500.0) == []
    patience.observe(is_busy=False, now=500.0)
    assert patience.deadline == 510.0


def test_being_told_again_that_nobody_speaks_does_not_begin_the_silence_anew() -> None:
    patience = quiet()
    patience.observe(is_busy=False, now=9.0)
    assert patience.deadline == 10.0


def test_a_key_pressed_is_a_sign_of_life() -> None:
    patience = quiet()
    patience.caller_active(9.0)
    assert patience.deadline == 19.0


def test_a_caller_who_answers_a_prompt_is_asked_as_often_the_next_time() -> None:
    patience = quiet()
    patience.timeout(10.0)
    patience.timeout(20.0)
    patience.caller_active(25.0)
    spoken(patience, 25.0, 30.0)
    assert patience.timeout(40.0) == [Prompt("Are you there?")]


def test_a_caller_who_speaks_into_the_goodbye_stays() -> None:
    patience = quiet(SilencePolicy(prompt_after_s=10.0, end_after_prompts=0))
    assert patience.timeout(10.0) == [SayGoodbye("caller_silent")]
    patience.observe(is_busy=True, now=10.0)
    patience.caller_active(11.0)
    patience.observe(is_busy=False, now=15.0)
    assert patience.timeout(20.0) == []
    assert patience.deadline == 25.0


def test_a_goodbye_that_never_comes_does_not_hold_the_call() -> None:
    patience = quiet(SilencePolicy(prompt_after_s=10.0, end_after_prompts=0))
    patience.timeout(10.0)
    patience.observe(is_busy=True, now=10.1)
    assert patience.deadline == 10.0 + GOODBYE_WITHIN_S
    assert patience.timeout(10.0 + GOODBYE_WITHIN_S) == [End("caller_silent")]


def test_a_persona_that_waits_for_ever_never_asks() -> None:
    assert quiet(NEVER_ASKING).deadline == inf


def test_near_the_limit_the_model_is_told_and_at_the_limit_the_call_ends() -> None:
    patience = quiet(NEVER_ASKING, TEN_MINUTES)
    assert patience.deadline == 570.0
    assert patience.timeout(570.0) == [WrapUp()]
    spoken(patience, 570.0, 580.0)
    assert patience.deadline == 600.0
    assert patience.timeout(600.0) == [End("max_duration")]


def test_what_sounds_at_the_limit_sounds_to_its_end_but_not_for_long() -> None:
    patience = quiet(NEVER_ASKING, TEN_MINUTES)
    patience.timeout(570.0)
    patience.observe(is_busy=True, now=598.0)
    assert patience.timeout(600.0) == []
    assert patience.deadline == 600.0 + LINGER_S
    patience.observe(is_busy=False, now=602.0)
    assert patience.deadline <= 602.0
    assert patience.timeout(602.0) == [End("max_duration")]


def test_who_speaks_past_the_limit_is_cut_off() -> None:
    patience = quiet(NEVER_ASKING, TEN_MINUTES)
    patience.observe(is_busy=True, now=590.0)
    patience.caller_active(604.0)
    assert patience.timeout(600.0 + LINGER_S) == [End("max_duration")]


def test_a_call_that_is_coming_to_its_end_is_not_asked_for_more() -> None:
    patience = quiet(ASKING_TWICE, Limits(max_duration_s=60.0, wrap_up_before_s=30.0))
    patience.caller_active(29.0)
    assert patience.timeout(30.0) == [WrapUp()]
    assert patience.timeout(45.0) == []
    assert patience.deadline == 60.0


def test_a_call_that_says_goodbye_is_not_told_to_wrap_up() -> None:
    patience = quiet(SilencePolicy(prompt_after_s=10.0, end_after_prompts=0), Limits(max_duration_s=50.0))
    assert patience.timeout(10.0) == [SayGoodbye("caller_silent")]
    assert patience.timeout(20.0) == []


def test_without_time_to_wrap_up_the_call_just_ends() -> None:
    patience = quiet(NEVER_ASKING, Limits(max_duration_s=60.0, wrap_up_before_s=0.0))
    assert patience.deadline == 60.0
    assert patience.timeout(60.0) == [End("max_duration")]


@pytest.mark.parametrize("prompt_after_s", [0.0, -1.0, inf, float("nan")])
def test_a_silence_of_no_length_is_refused(prompt_after_s: float) -> None:
    with pytest.raises(ValueError, match="prompt_after_s"):
        SilencePolicy(prompt_after_s=prompt_after_s)


def test_prompts_that_cannot_be_given_are_refused() -> None:
    with pytest.raises(ValueError, match="prompts must not be empty"):
        SilencePolicy(prompts=())
    with pytest.raises(ValueError, match="end_after_prompts"):
        SilencePolicy(end_after_prompts=-1)


@pytest.mark.parametrize(("max_s", "before_s"), [(30.0, 30.0), (10.0, 30.0), (inf, 30.0), (60.0, -1.0), (60.0, inf)])
def test_a_limit_that_leaves_no_call_is_refused(max_s: float, before_s: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Limits(max_duration_s=max_s, wrap_up_before_s=before_s)


# Laws.

DOINGS = st.lists(
    st.tuples(st.sampled_from(["busy", "idle", "active"]), st.sampled_from([0.0, 0.5, 3.0, 9.9, 10.0, 14.0, 40.0])),
    max_size=40,
)


def lived(patience: Patience, doings: list[tuple[str, float]]) -> list[tuple[float, bool, Decision]]:
    """All decisions of a punctual call, each with its time and whether anybody was busy. Then nobody does anything."""
    decisions: list[tuple[float, bool, Decision]] = []
    now, is_busy = 0.0, True
    for doing, pause_s in [*doings, ("idle", 0.0), ("idle", 10_000.0)]:
        until = now + pause_s
        while patience.deadline <= until:
            now = max(now, patience.deadline)
            decisions += [(now, is_busy, decision) for decision in patience.timeout(now)]
            assert patience.deadline > now, "one timeout is enough"
        now = until
        if doing == "active":
            patience.caller_active(now)
        else:
            is_busy = doing == "busy"
            patience.observe(is_busy=is_busy, now=now)
    return decisions


@settings(max_examples=200, deadline=None)
@given(doings=DOINGS)
def test_whatever_happens_nobody_is_interrupted_and_the_call_ends(doings: list[tuple[str, float]]) -> None:
    limits = Limits(max_duration_s=200.0, wrap_up_before_s=30.0)
    decisions = lived(Patience(ASKING_TWICE, limits, 0.0), doings)
    assert [decision for _, _, decision in decisions if isinstance(decision, End)] == [decisions[-1][2]]
    assert decisions[-1][0] <= 200.0 + LINGER_S
    assert not any(is_busy for _, is_busy, decision in decisions if isinstance(decision, Prompt | SayGoodbye))
    told = [decision for _, _, decision in decisions if isinstance(decision, WrapUp)]
    assert len(told) <= 1
    if decisions[-1][2] == End("max_duration"):
        assert told
    if told:
        later = decisions[[decision for _, _, decision in decisions].index(WrapUp()) + 1 :]
        assert [decision for _, _, decision in later] == [End("max_duration")]


@settings(max_examples=100, deadline=None)
@given(doings=DOINGS, prompts=st.integers(0, 4))
def test_a_caller_who_is_gone_is_let_go_in_bounded_time(doings: list[tuple[str, float]], prompts: int) -> None:
    silence = SilencePolicy(prompt_after_s=10.0, end_after_prompts=prompts)
    decisions = lived(Patience(silence, NO_LIMIT, 0.0), doings)
    done_s = sum(pause_s for _, pause_s in doings)
    assert decisions[-1][2] == End("caller_silent")
    assert decisions[-1][0] <= done_s + 10.0 * (prompts + 1) + GOODBYE_WITHIN_S

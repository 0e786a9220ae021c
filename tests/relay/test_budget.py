"""The token budget: what the service says counts, what responses use is taken off, a rush of calls is not let in."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.realtime import RateLimit, RateLimitsUpdated, Usage
from relay.budget import FIRST_GUESS_TOKENS, RESPONSES_IN_FIRST_MINUTE, TokenBudget

NEEDED = RESPONSES_IN_FIRST_MINUTE * FIRST_GUESS_TOKENS


def tokens(limit: int, remaining: int, reset_seconds: float) -> RateLimitsUpdated:
    return RateLimitsUpdated([RateLimit("tokens", limit, remaining, reset_seconds)])


def requests(limit: int, remaining: int, reset_seconds: float) -> RateLimitsUpdated:
    return RateLimitsUpdated([RateLimit("requests", limit, remaining, reset_seconds)])


def told(*updates: RateLimitsUpdated) -> TokenBudget:
    """A budget that was told these at second 0."""
    budget = TokenBudget()
    for update in updates:
        budget.limits_updated(update, now=0.0)
    return budget


@pytest.mark.parametrize(
    "updates",
    [
        (),
        (RateLimitsUpdated(),),
        (tokens(0, 0, 0.0),),  # a field that was not sent
        (RateLimitsUpdated([RateLimit("images", 10, 0, 60.0)]),),
    ],
)
def test_what_is_not_told_is_not_limited(updates: tuple[RateLimitsUpdated, ...]) -> None:
    budget = told(*updates)
    budget.response_done(Usage(total_tokens=1_000_000), now=1.0)
    for _ in range(1000):
        budget.call_admitted(now=1.0)
    assert budget.available_tokens(1.0) == inf
    assert budget.has_room(1.0)


def test_a_recorded_account_is_full_again_within_milliseconds() -> None:
    budget = told(tokens(15_000_000, 14_999_371, 0.002))
    assert budget.available_tokens(0.0) == 14_999_371
    assert budget.available_tokens(0.01) == 15_000_000
    assert budget.has_room(0.0)


def test_the_allowance_refills_by_the_second_until_it_is_full() -> None:
    budget = told(tokens(60_000, 0, 60.0))
    assert [budget.available_tokens(now) for now in (0.0, 1.0, 30.0, 60.0, 600.0)] == [0, 1000, 30_000, 60_000, 60_000]
    assert (budget.has_room(4.7), budget.has_room(4.9)) == (False, True)  # 4,800 are needed


def test_a_limit_of_a_day_is_not_taken_for_one_of_a_minute() -> None:
    budget = told(requests(1000, 0, 86_400.0))
    assert not budget.has_room(500.0)  # five have come back, six are needed
    assert budget.has_room(520.0)


def test_requests_are_needed_as_well_as_tokens() -> None:
    plenty = tokens(1_000_000, 1_000_000, 0.0)
    assert told(plenty, requests(100, 6, 56.4)).has_room(0.0)
    assert not told(plenty, requests(100, 5, 57.0)).has_room(0.0)
    assert not told(tokens(1_000_000, 100, 60.0), requests(100, 100, 0.0)).has_room(0.0)


def test_what_a_response_uses_is_taken_off_until_the_service_speaks_again() -> None:
    budget = told(tokens(60_000, 60_000, 0.0), requests(600, 600, 0.0))
    budget.response_done(Usage(total_tokens=10_000), now=0.0)
    assert budget.available_tokens(0.0) == 50_000
    assert budget.available_tokens(5.0) == 55_000  # a minute's limit refills in a minute
    budget.limits_updated(tokens(60_000, 52_000, 8.0), now=5.0)
    assert budget.available_tokens(5.0) == 52_000


def test_responses_use_up_requests_too() -> None:
    budget = told(requests(60, 6, 54.0))
    assert budget.has_room(0.0)
    budget.response_done(None, now=0.0)
    assert not budget.has_room(0.0)
    assert budget.has_room(1.0)


def test_the_refill_that_was_seen_is_kept_when_nearly_full_tells_nothing() -> None:
    budget = told(tokens(60_000, 30_000, 60.0))  # 500 a second, not 1,000
    budget.limits_updated(tokens(60_000, 59_990, 0.02), now=60.0)
    budget.response_done(Usage(total_tokens=9_990), now=60.0)
    assert budget.available_tokens(70.0) == 55_000


def test_a_rush_of_calls_does_not_find_the_same_tokens() -> None:
    budget, admitted = told(tokens(60_000, 60_000, 0.0)), 0
    while budget.has_room(0.0):
        budget.call_admitted(0.0)
        admitted += 1
    assert admitted == 60_000 // NEEDED == 12
    assert budget.available_tokens(0.0) == 60_000 - 12 * NEEDED


def test_what_a_call_holds_back_is_given_free_within_its_first_minute() -> None:
    budget = told(tokens(60_000, 60_000, 0.0))
    budget.call_admitted(0.0)
    assert budget.available_tokens(0.0) == 60_000 - NEEDED
    assert budget.available_tokens(30.0) == 60_000 - NEEDED / 2
    assert budget.available_tokens(60.0) == budget.available_tokens(100.0) == 60_000


def test_the_need_follows_what_responses_use() -> None:
    budget = TokenBudget()
    for _ in range(100):
        budget.response_done(Usage(total_tokens=5_000), now=0.0)
    assert budget.needed_tokens == pytest.approx(RESPONSES_IN_FIRST_MINUTE * 5_000, rel=0.01)
    budget.limits_updated(tokens(60_000, 20_000, 40.0), now=1.0)
    assert not budget.has_room(1.0)


def test_a_response_without_usage_teaches_nothing() -> None:
    budget = told(tokens(60_000, 60_000, 0.0))
    budget.response_done(None, now=0.0)
    budget.response_done(Usage(), now=0.0)
    assert (budget.needed_tokens, budget.available_tokens(0.0)) == (NEEDED, 60_000)


def test_a_small_account_carries_a_call_when_all_of_its_allowance_is_there() -> None:
    budget = told(tokens(1_000, 1_000, 0.0))
    assert budget.has_room(0.0)
    budget.call_admitted(0.0)
    assert not budget.has_room(0.0)
    assert budget.has_room(60.0)


limits = st.builds(
    RateLimit,
    name=st.sampled_from(["tokens", "requests", "other"]),
    limit=st.integers(-10, 1_000_000),
    remaining=st.integers(-10, 2_000_000),
    reset_seconds=st.floats(-1, 100_000),
)
happenings = st.one_of(
    st.builds(RateLimitsUpdated, st.lists(limits, max_size=3)),
    st.builds(Usage, total_tokens=st.integers(-10, 100_000)),
    st.none(),  # a call is let in
)


@given(story=st.lists(st.tuples(happenings, st.floats(0, 100)), max_size=30), waited_s=st.floats(0, 1000))
@settings(deadline=None)
def test_whatever_is_told_the_budget_stays_within_its_limit_and_only_grows_by_waiting(
    story: list[tuple[RateLimitsUpdated | Usage | None, float]], waited_s: float
) -> None:
    budget, now, limit = TokenBudget(), 0.0, inf
    for happening, passed_s in story:
        now += passed_s
        before = budget.available_tokens(now)
        match happening:
            case RateLimitsUpdated(rate_limits=updated):
                limit = next((one.limit for one in reversed(updated) if one.name == "tokens" and one.limit > 0), limit)
                budget.limits_updated(happening, now)
            case Usage():
                budget.response_done(happening, now)
            case None:
                budget.call_admitted(now)
                assert budget.available_tokens(now) <= before
        assert 0 <= budget.available_tokens(now) <= limit
        assert budget.available_tokens(now + waited_s) >= budget.available_tokens(now)
        assert budget.has_room(now + waited_s) or not budget.has_room(now)

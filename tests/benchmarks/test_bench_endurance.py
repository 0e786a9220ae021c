"""Short calls with all the trouble that can be drawn: each ends once, and nothing of any stays."""

import msgspec

from benchmarks.bench_endurance import Endured, endure


def test_of_150_troubled_calls_each_ends_once_and_leaves_nothing_behind() -> None:
    endured = endure(150, seed=7)
    assert (endured.calls, endured.ended_once, endured.left) == (150, 150, {})
    assert endured.troubles > 100
    assert set(endured.reasons) == {"caller_hung_up", "twilio_closed", "openai_unreachable", "openai_refused"}


def test_the_budget_is_kept_by_calls_that_end_once_and_leave_nothing() -> None:
    good = Endured(
        calls=200,
        ended_once=200,
        reasons={"caller_hung_up": 200},
        troubles=300,
        left={},
        blocks=(350_000, 350_090),
        rss_mb=(80.0, 81.0),
    )
    assert good.is_within_budget
    for broken in (
        {"ended_once": 199},
        {"left": {"tasks": 1}},
        {"reasons": {"internal_error": 1}},
        {"blocks": (350_000, 350_200)},
        {"rss_mb": (80.0, 105.0)},
    ):
        assert not msgspec.structs.replace(good, **broken).is_within_budget

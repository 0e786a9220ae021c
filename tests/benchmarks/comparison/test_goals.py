"""The goals of the comparison: what counts as met, as missed, and as not known."""

import msgspec
import pytest

from benchmarks.comparison.barge_in import judged_clears
from benchmarks.comparison.goals import Goal, judge, judged_ratios, missed
from benchmarks.comparison.most import judged_climbs, most_of, near
from benchmarks.comparison.overload import judged_overloads
from benchmarks.comparison.secure import judged_legs
from benchmarks.comparison.side_by_side import judged_echo
from benchmarks.comparison.soak import judged_soak
from benchmarks.load.ramp import Limit
from tests.benchmarks.comparison.figures import (
    TITLES,
    clears,
    climbed,
    compared,
    leg,
    overloaded,
    sample,
    soak,
    three_rounds,
)

LOW = Goal(what="cost", bound=0.65)
HIGH = Goal(what="calls", sense="at least", bound=1.6)


@pytest.mark.parametrize(
    ("goal", "values", "is_met"),
    [(LOW, [0.65], True), (LOW, [0.66], False), (HIGH, [1.6], True), (HIGH, [1.59], False), (LOW, [], None)],
)
def test_a_goal_is_met_at_its_bound_and_not_known_without_a_figure(
    goal: Goal, values: list[float], is_met: bool | None
) -> None:
    assert judge(goal, values).is_met is is_met


def test_the_median_of_the_rounds_counts() -> None:
    judged = judge(LOW, [0.9, 0.5, 0.6])
    assert (judged.value, judged.low, judged.high, judged.rounds, judged.is_met) == (0.6, 0.5, 0.9, 3, True)


def test_ratios_with_a_goal_are_judged_and_those_that_could_not_be_taken_stay_open() -> None:
    samples = [*three_rounds(), sample("tautline", 1, 20, calls=300)]
    judged = judged_ratios(compared(samples), TITLES)
    assert [(each.goal.what.partition(",")[0], each.is_met) for each in judged] == [
        ("CPU per frame and its echo", True),
        ("round trip p99", True),
        ("CPU per frame and its echo", None),
    ]
    assert judged[-1].note == "one of the two fell behind"


def test_the_direct_run_is_taken_off_the_round_trip() -> None:
    direct = [msgspec.structs.replace(each, direct_p99_ms=1.0) for each in three_rounds()[:3]]  # p99 is 4 ms
    above = judged_echo(compared(direct))[-1]
    assert (above.value, above.rounds, above.is_met) == (3.0, 3, False)


def test_one_way_without_a_relay_is_taken_off_the_clear() -> None:
    (judged,) = judged_clears([clears(1, 1.5, 0.6), clears(2, 3.0, 0.5), clears(3, 1.4, 0.5)])
    assert (judged.value, judged.high, judged.is_met) == (0.9, 2.5, True)


@pytest.mark.parametrize(
    ("ours", "ours_by", "node_by", "is_met"),
    [
        (480, "relay", "relay", True),
        (470, "relay", "relay", False),
        (480, "tool", "relay", True),  # it holds these at least
        (470, "tool", "relay", None),
        (480, "relay", "tool", None),  # so does Node
    ],
)
def test_who_was_stopped_by_the_tool_may_hold_more(
    ours: int, ours_by: Limit, node_by: Limit, is_met: bool | None
) -> None:
    (judged,) = judged_climbs([climbed("tautline", 1, ours, ours_by), climbed("node", 1, 300, node_by)])
    assert judged.is_met is is_met


def test_calls_held_are_compared_within_a_round() -> None:
    climbs = [climbed("tautline", 1, 600), climbed("node", 1, 300), climbed("tautline", 2, 100), climbed("node", 2, 50)]
    (judged,) = judged_climbs([*climbs, climbed("tautline", 3, 10)])
    assert (judged.value, judged.rounds) == (2.0, 2)
    assert most_of(climbs, "tautline") == 350
    assert most_of(climbs, "picows") is None


def test_a_second_climb_begins_below_what_was_held() -> None:
    assert near(400)[:3] == (340, 400, 480)
    assert near(1) == (1, 2)


def test_tls_is_compared_with_the_plain_figure_of_its_round() -> None:
    legs = [
        leg(1, 30, (80, 88), is_tls=False),
        leg(1, 39, (82, 106), is_tls=True),
        leg(2, 90, (80, 88), is_tls=False),  # a slower minute
        leg(2, 117, (82, 106), is_tls=True),
        leg(3, 10, (80, 88), is_tls=False, kept_up=False),  # cheap, because late
        leg(3, 40, (82, 106), is_tls=True),
    ]
    at_100, at_300, plain, secure = judged_legs(legs)
    assert (at_100.value, at_100.rounds, at_300.rounds, at_100.is_met) == (1.3, 2, 2, True)
    assert (plain.value, plain.is_met) == (40.96, False)  # 8 MiB for 200 calls
    assert (secure.value, secure.is_met) == (122.88, True)


def test_in_overload_a_frame_must_cost_less_and_memory_stay() -> None:
    cost, recovery, memory = judged_overloads([overloaded(28), overloaded(30, recovered_after_s=0.7)])
    assert (cost.value, cost.is_met) == (0.725, True)
    assert (recovery.high, recovery.is_met) == (0.7, True)
    assert memory.is_met


def test_who_does_not_recover_or_gathers_frames_misses_the_goal() -> None:
    judged = judged_overloads([overloaded(28, recovered_after_s=None, rss_growth_kib=40)])
    assert [each.goal.unit for each in missed(judged)] == ["s", "KiB"]


def test_a_relay_with_time_to_spare_was_not_overloaded() -> None:
    cost = judged_overloads([overloaded(50, core_share=0.5)])[0]
    assert cost.is_met is None
    assert "no overload" in cost.note


def test_a_relay_that_is_late_was_overloaded_though_others_had_its_core() -> None:
    assert judged_overloads([overloaded(28, core_share=0.7, p50_ms=40)])[0].is_met


def test_memory_is_compared_with_the_end_of_the_warm_up() -> None:
    (judged,) = judged_soak(soak(80, 90, 90.5, 91.9, 91))
    assert (judged.value, judged.is_met) == (1.9, True)
    assert judged_soak(None)[0].is_met is None

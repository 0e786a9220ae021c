"""The samples of a comparison: what is taken for a ratio, what is not, and what is said of a disturbed machine."""

import msgspec
import pytest

from benchmarks.comparison.samples import ratios_of, rows_of
from tests.benchmarks.comparison.figures import GOALS, compared, sample, three_rounds


def test_a_ratio_is_taken_within_each_round_and_then_the_median() -> None:
    cpu = next(ratio for ratio in ratios_of(three_rounds(), "tautline", GOALS) if ratio.figure == "cpu")
    assert (cpu.low, cpu.median, cpu.high, cpu.rounds) == (0.4, 0.5, 0.9, 3)
    assert (cpu.goal, cpu.is_met) == (0.65, True)


def test_a_goal_is_missed_just_above_it() -> None:
    ratios = ratios_of([sample("tautline", 1, 66), sample("node", 1, 100)], "tautline", GOALS)
    assert [(ratio.figure, ratio.is_met) for ratio in ratios] == [("cpu", False), ("p99", True)]


def test_without_a_goal_nothing_is_met_or_missed() -> None:
    ratios = ratios_of([sample("tautline", 1, 66), sample("picows", 1, 60)], "tautline", GOALS)
    assert {ratio.is_met for ratio in ratios} == {None}


@pytest.mark.parametrize("trouble", [{"lost": 1}, {"p50_ms": 20.1}])
def test_a_relay_that_fell_behind_has_figures_but_no_ratio(trouble: dict[str, float]) -> None:
    behind = msgspec.structs.replace(sample("node", 1, 10), **trouble)
    ratios = ratios_of([sample("tautline", 1, 20), behind], "tautline", GOALS)
    assert ratios == ()
    assert [(row.relay, row.us, row.behind) for row in rows_of([behind])] == [("node", 10, 1)]


@pytest.mark.parametrize(
    ("trouble", "doubt"),
    [
        ({"others": 0.5}, "round 1, node at 100 calls: other work took 50% of the relay's core"),
        ({"late_p99_ms": 30}, "round 1, node at 100 calls: the tool was late, p99 30 ms"),
    ],
)
def test_a_machine_that_was_not_ours_is_said(trouble: dict[str, float], doubt: str) -> None:
    disturbed = msgspec.structs.replace(sample("node", 1, 10), **trouble)
    assert (disturbed.is_disturbed, disturbed.doubts()) == (True, [doubt])
    assert (sample("node", 1, 10).is_disturbed, sample("node", 1, 10).doubts()) == (False, [])


def test_only_rounds_in_which_both_kept_up_count() -> None:
    samples = [*three_rounds(), sample("tautline", 4, 500), sample("node", 4, 50, lost=3), sample("node", 5, 50)]
    assert {ratio.rounds for ratio in ratios_of(samples, "tautline", GOALS)} == {3}


def test_a_goal_that_could_not_be_judged_is_not_forgotten() -> None:
    samples = [*three_rounds(), sample("tautline", 1, 20, calls=300)]  # the other fell behind at 100, and was let be
    assert compared(samples).open_goals == (GOALS[2],)


def test_a_row_gives_medians_with_their_span_and_a_calls_share_of_a_core() -> None:
    (row,) = rows_of(three_rounds()[:3])
    assert (row.us_low, row.us, row.us_high) == (20, 40, 90)
    assert row.core_percent == 0.2  # 50 frames of 40 µs are 2 ms of a second


def test_rows_come_by_calls_and_ours_first() -> None:
    samples = [sample("tautline", 1, 1), sample("node", 1, 1), sample("tautline", 1, 1, calls=10)]
    assert [(row.calls, row.relay) for row in rows_of(samples)] == [(10, "tautline"), (100, "tautline"), (100, "node")]

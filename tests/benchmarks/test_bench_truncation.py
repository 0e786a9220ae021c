"""The benchmark of truncation: its judge sees what is wrong, and what ships keeps its budget in a few runs."""

import json
from pathlib import Path
from random import Random

import pytest

from benchmarks.bench_truncation import (
    BUDGET_MS,
    CASES,
    WITHIN_BUDGET,
    Figures,
    Results,
    is_within_budget,
    main,
    measure,
)
from benchmarks.truncation_rules import RULES, BytesSent, Interpolated
from benchmarks.truncation_stage import Claim, Conditions, Story, answers, judge

RUNS = 6
IDEAL = Conditions(one_way_s=0.0, jitter_s=0.0)


@pytest.fixture(scope="module")
def results() -> Results:
    return measure(RUNS, seed=7)


def two_items(cut_at: float) -> Story:
    return Story(answers(Random(1), 1.0, {"item_1": 2.0, "item_2": 2.0}), cut_at)


class Says(BytesSent):
    """A rule that says the same, whatever happens."""

    def __init__(self, claim: Claim) -> None:
        super().__init__()
        self._claim = claim

    def interrupted(self, _now: float) -> Claim:
        return self._claim


@pytest.mark.parametrize(
    ("claim", "error_ms", "is_wrong_item", "is_beyond_bound"),
    [
        (Claim({"item_1": 1500, "item_2": 0}, "item_1", bound_ms=0), 0, False, False),
        (Claim({"item_1": 1480, "item_2": 0}, "item_1", bound_ms=20), 20, False, False),
        (Claim({"item_1": 1520, "item_2": 0}, "item_1", bound_ms=19), 20, False, True),
        (Claim({"item_2": 0}, "item_2"), 500, True, False),
        (Claim({}), 2500, True, False),
    ],
)
def test_a_claim_is_compared_with_what_sounded(
    claim: Claim, error_ms: int, is_wrong_item: bool, is_beyond_bound: bool
) -> None:
    verdict = judge(two_items(2.5), Says(claim), IDEAL, seed=1)
    assert (verdict.error_ms, verdict.is_wrong_item) == (error_ms, is_wrong_item)
    assert verdict.is_beyond_bound == is_beyond_bound


def test_the_clear_takes_its_time_and_the_caller_goes_on_listening() -> None:
    """What is right on a line without length is too little on a long one."""
    errors_ms = [
        judge(two_items(2.5), Interpolated(), Conditions(one_way_s=one_way_s, jitter_s=0.0), seed=1).error_ms
        for one_way_s in (0.0, 0.1)
    ]
    assert errors_ms == [0, 200]


def test_the_same_seed_tells_the_same_story(results: Results) -> None:
    assert measure(RUNS, seed=7) == results


def test_what_ships_is_exact_and_names_the_right_item(results: Results) -> None:
    ours = {letter: results[letter]["ours"] for letter in WITHIN_BUDGET}
    assert all(each.max_ms <= BUDGET_MS for each in ours.values())
    assert all(each.wrong_item == 0 for each in ours.values())
    assert is_within_budget(results)


@pytest.mark.parametrize("letter", CASES)
def test_what_ships_is_never_further_off_than_it_says(letter: str, results: Results) -> None:
    ours = results[letter]["ours"]
    assert ours.bound_violations == 0
    assert ours.bound_median_ms is not None
    assert ours.bound_median_ms > 0


@pytest.mark.parametrize("letter", ["B", "C"])
def test_the_plain_rules_are_worse_when_items_are_queued(letter: str, results: Results) -> None:
    plain = {name: figures for name, figures in results[letter].items() if name != "ours"}
    assert set(plain) == set(RULES) - {"ours"}
    assert all(each.median_ms > 2 * results[letter]["ours"].max_ms for each in plain.values())


def test_a_figure_over_the_budget_is_seen(results: Results) -> None:
    off = Figures(median_ms=5.0, p99_ms=41.0, max_ms=41.0, wrong_item=0, bound_violations=0)
    assert not is_within_budget(results | {"A": {"ours": off}})
    dishonest = Figures(median_ms=5.0, p99_ms=9.0, max_ms=9.0, wrong_item=0, bound_violations=1)
    assert not is_within_budget(results | {"G": {"ours": dishonest}})


def test_the_command_prints_a_json_line_for_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "1", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["case"] for line in lines] == list(CASES)
    assert all(set(line) == {"case", *RULES} for line in lines)
    assert set(lines[0]["bytes_sent"]) == {"median_ms", "p99_ms", "max_ms", "wrong_item"}
    assert {"bound_violations", "bound_median_ms"} < set(lines[0]["ours"])


def test_the_command_shows_a_table_and_draws_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["--runs", "1", "--plot", str(tmp_path / "truncation.png")]) == 0
    assert "kept" in capsys.readouterr().out
    assert (tmp_path / "truncation.png").read_bytes().startswith(b"\x89PNG")

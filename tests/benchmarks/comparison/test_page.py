"""The page, the picture and the data that a comparison leaves."""

from pathlib import Path

import msgspec

from benchmarks import bench_compare
from benchmarks.comparison.goals import Goal, judge
from benchmarks.comparison.page import Report, as_markdown
from benchmarks.plots import draw_comparison
from tests.benchmarks.comparison.figures import (
    TITLES,
    a_report,
    clears,
    climbed,
    compared,
    leg,
    overloaded,
    sample,
    soak,
    three_rounds,
)


def full_report() -> Report:
    return a_report(
        goals=(judge(Goal(what="cost", bound=0.65), [0.5, 0.7, 0.6]), judge(Goal(what="memory", bound=2.0), [2.5])),
        conversation=msgspec.structs.replace(compared(three_rounds()), profile="conversation"),
        clears=(clears(1, 1.5, 0.6),),
        climbs=(climbed("tautline", 1, 500, "tool"), climbed("node", 1, 300), climbed("node", 2, 320)),
        legs=(leg(1, 30, (80, 88), is_tls=False), leg(1, 39, (82, 106), is_tls=True)),
        overloads=(overloaded(28),),
        soak=soak(80, 90, 91),
    )


def test_goals_come_first_and_say_what_was_measured() -> None:
    lines = as_markdown(full_report(), TITLES).splitlines()
    assert lines[0] == "## Goals"
    assert "| cost | at most 0.65 | 0.60 (0.50 to 0.70) | met |" in lines
    assert "| memory | at most 2 | 2.50 | **missed** |" in lines


def test_a_goal_that_was_not_measured_is_open() -> None:
    page = as_markdown(a_report(goals=(judge(Goal(what="cost", bound=0.65), []),)), TITLES)
    assert "| cost | at most 0.65 | - | open (not measured) |" in page


def test_the_tables_say_what_was_lost_left_out_and_wrong() -> None:
    samples = [*three_rounds(), sample("node", 4, 50, lost=3), sample("tautline", 1, 20, calls=300)]
    report = a_report(
        echo=compared(samples), left_out={"picows": "not installed"}, problems=("round 1: the tool was late",)
    )
    lines = as_markdown(report, TITLES).splitlines()
    assert "| 100 | Tautline | 40.0 (20.0 to 90.0) | 20.0, 20.0 | 0.20 % | 1.00, 4.00 | 0 | 40 | 12 |" in lines
    assert any("Node, as in the sample; behind in 1 of 4 rounds" in line and "3 of 4,000" in line for line in lines)
    ratio = "| Node, as in the sample | CPU per frame and its echo | 100 | 0.50 (0.40 to 0.90) | at most 0.65: met |"
    assert ratio in lines
    assert any(line.endswith("| 300 | one of the two fell behind | at most 0.65 |") for line in lines)
    assert "Left out, a floor: not installed." in lines
    assert "- round 1: the tool was late" in lines


def test_each_part_has_its_figures() -> None:
    page = as_markdown(full_report(), TITLES)
    for told in (
        "| 1 | 199 of 200 | 0.50, 1.50 | 0.10, 0.60 | 0.90 |",
        "| Tautline | 500 | 90% | 50% | **the tool was the limit** |",
        "| Node, as in the sample | 310 (300 to 320) | 90% | 50% | the relay failed |",
        "| 1 | TLS | 100, 300 | 39.0, 39.0 | 1.0, 2.0 | 82.0, 106.0 | 122.9 |",
        "- Round 1: 1000 calls 28.0 µs/frame (100% of the core), 500 calls 40.0 (0.70);",
        "2,000,000 frames in shifts of 300 calls, 0 lost.",
        "one way p50, p99, ms",
    ):
        assert told in page


def test_a_run_is_left_as_page_picture_and_data(tmp_path: Path) -> None:
    report = full_report()
    bench_compare.write(report, tmp_path / "benchmarks")
    assert (tmp_path / "benchmarks/compare.png").read_bytes().startswith(b"\x89PNG")
    assert "| cost | at most 0.65 |" in (tmp_path / "benchmarks/compare.md").read_text()
    kept = msgspec.json.decode((tmp_path / "benchmarks/compare.json").read_bytes(), type=Report)
    assert kept == report


def test_a_picture_needs_no_part(tmp_path: Path) -> None:
    draw_comparison(a_report(echo=None, climbs=(climbed("node", 1, 300),)), TITLES, tmp_path / "most.png")
    draw_comparison(a_report(echo=None), TITLES, tmp_path / "none.png")
    assert (tmp_path / "most.png").stat().st_size > (tmp_path / "none.png").stat().st_size > 0

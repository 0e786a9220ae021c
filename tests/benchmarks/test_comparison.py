"""The comparison of relays: what is taken for a ratio, what is not, and how a person is told."""

from pathlib import Path

import msgspec
import pytest

from benchmarks import bench_compare
from benchmarks.comparison import Comparison, Goal, Sample, as_markdown, open_goals, ratios_of, rows_of
from benchmarks.process_cpu import Relay, RelayFailedError
from benchmarks.relays import Choice

GOALS = (Goal("cpu", "node", 100, 0.65), Goal("p99", "node", 100, 1.0), Goal("cpu", "node", 300, 0.65))
TITLES = {"tautline": "Tautline", "node": "Node, as in the sample", "picows": "a floor"}


def sample(relay: str, number: int, us: float, *, calls: int = 100, p50_ms: float = 1.0, lost: int = 0) -> Sample:
    return Sample(
        relay=relay,
        calls=calls,
        round=number,
        us=us,
        user_us=us / 2,
        system_us=us / 2,
        p50_ms=p50_ms,
        p99_ms=p50_ms * 4,
        frames=1000,
        lost=lost,
        altered=0,
        rss_mib=40,
        rss_per_call_kib=12,
        tool_us=20,
        late_p99_ms=1,
        others=0.01,
    )


def three_rounds() -> list[Sample]:
    """The machine slows down from round to round, for both."""
    ours = [sample("tautline", number, us) for number, us in enumerate((20, 40, 90), start=1)]
    return ours + [sample("node", number, us) for number, us in enumerate((40, 100, 100), start=1)]


def told(samples: list[Sample], **more: object) -> Comparison:
    ratios = ratios_of(samples, "tautline", GOALS)
    comparison = Comparison(
        rows=rows_of(samples),
        ratios=ratios,
        open_goals=open_goals(GOALS, samples, ratios),
        samples=tuple(samples),
        seconds=4,
        rounds=3,
        left_out={},
        problems=(),
        at="2026-11-21T10:00+00:00",
        machine="a machine",
        versions={"python": "3.11"},
    )
    return msgspec.structs.replace(comparison, **more)


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
    assert told(samples).open_goals == (GOALS[2],)
    assert "| Node, as in the sample | CPU per frame | 300 | one of the two fell behind |" in as_markdown(
        told(samples), TITLES
    )


def test_a_row_gives_medians_with_their_span_and_a_calls_share_of_a_core() -> None:
    (row,) = rows_of(three_rounds()[:3])
    assert (row.us_low, row.us, row.us_high) == (20, 40, 90)
    assert row.core_percent == 0.2  # 50 frames of 40 µs are 2 ms of a second


def test_rows_come_by_calls_and_ours_first() -> None:
    samples = [sample("tautline", 1, 1), sample("node", 1, 1), sample("tautline", 1, 1, calls=10)]
    assert [(row.calls, row.relay) for row in rows_of(samples)] == [(10, "tautline"), (100, "tautline"), (100, "node")]


def test_the_tables_say_what_was_lost_left_out_and_wrong() -> None:
    samples = [*three_rounds(), sample("node", 4, 50, lost=3)]
    lines = as_markdown(
        told(samples, left_out={"picows": "not installed"}, problems=("round 1: the tool was late",)), TITLES
    ).splitlines()
    assert (
        "| 100 | Tautline | 40.0 (20.0 to 90.0) | 20.0, 20.0 | 0.20 % | 1.00, 4.00 | 0 | 40 | 12 |" in lines
    )  # fmt: skip
    assert any("Node, as in the sample; behind in 1 of 4 rounds" in line and "3 of 4,000" in line for line in lines)
    assert "| Node, as in the sample | CPU per frame | 100 | 0.50 (0.40 to 0.90) | at most 0.65: met |" in lines
    assert "Left out, a floor: not installed." in lines
    assert "- round 1: the tool was late" in lines


def test_a_run_is_left_as_page_picture_and_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_compare, "TITLES", TITLES)
    comparison = told(three_rounds())
    bench_compare.write(comparison, tmp_path / "benchmarks")
    assert (tmp_path / "benchmarks/compare.png").read_bytes().startswith(b"\x89PNG")
    assert as_markdown(comparison, TITLES) in (tmp_path / "benchmarks/compare.md").read_text()
    kept = msgspec.json.decode((tmp_path / "benchmarks/compare.json").read_bytes(), type=Comparison)
    assert kept == comparison


def fake_measure(samples: list[tuple[str, int, int]]) -> object:
    """Node falls behind at 100 calls, FastAPI too, but not by its own doing; the floor never starts."""

    async def measure(relay: Relay, *, calls: int, number: int, seconds: float, core: int | None) -> Sample:
        samples.append((relay.name, calls, number))
        if relay.name == "picows":
            raise ExceptionGroup("", [RelayFailedError("picows", "it did not start", "")])
        taken = sample(relay.name, number, 10, calls=calls, lost=int(relay.name != "tautline" and calls == 100))
        return msgspec.structs.replace(taken, others=0.5) if relay.name == "fastapi" else taken

    return measure


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """What was measured: relay, calls, round."""
    asked: list[tuple[str, int, int]] = []
    monkeypatch.setattr(bench_compare, "measure", fake_measure(asked))
    monkeypatch.setattr(bench_compare, "two_cores", lambda: None)  # the tests keep the cores they have
    monkeypatch.setattr(bench_compare, "choose", lambda relays: Choice(tuple(relays), {}))
    monkeypatch.setattr(bench_compare, "versions", lambda _: {})
    return asked


def test_relays_take_turns_and_every_second_round_turns_them_around(asked: list[tuple[str, int, int]]) -> None:
    assert bench_compare.main(["--relays", "tautline", "node", "--calls", "50", "10", "--rounds", "2"]) == 0
    assert [(relay, calls) for relay, calls, _ in asked] == [
        *[("tautline", 10), ("node", 10), ("tautline", 50), ("node", 50)],
        *[("node", 10), ("tautline", 10), ("node", 50), ("tautline", 50)],
    ]


def test_who_has_fallen_behind_is_not_asked_for_more_in_that_round(asked: list[tuple[str, int, int]]) -> None:
    bench_compare.main(["--relays", "tautline", "node", "fastapi", "--calls", "100", "300", "--rounds", "2"])
    assert [calls for relay, calls, _ in asked if relay == "node"] == [100, 100]
    assert [calls for relay, calls, _ in asked if relay == "tautline"] == [100, 300, 100, 300]
    assert [calls for relay, calls, _ in asked if relay == "fastapi"] == [100, 300, 100, 300]  # the machine's fault


def test_a_relay_that_does_not_start_is_a_problem_and_the_others_are_measured(
    asked: list[tuple[str, int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_compare.main(["--relays", "picows", "tautline", "--calls", "10", "--rounds", "1", "--json"]) == 1
    told = msgspec.json.decode(capsys.readouterr().out, type=Comparison)
    assert [row.relay for row in told.rows] == ["tautline"]
    assert told.problems == ("round 1, 10 calls: picows: it did not start",)


@pytest.mark.parametrize("arguments", [["--calls", "0"], ["--seconds", "0.5"], ["--relays", "nginx"]])
def test_senseless_numbers_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_compare.main(arguments)
    assert "error: argument" in capsys.readouterr().err

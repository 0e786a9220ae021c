"""The benchmarks of single operations: each measures what it names, says so in one line, and the suite draws all."""

from pathlib import Path
from struct import unpack

import msgspec
import numpy as np
import pytest

from benchmarks import bench
from benchmarks.bench_relay import Cost, Result
from benchmarks.measuring import Benchmark, Figure, Report, Spread, alone, beside, report, report_of, times_in_turns

FEW = 100  # so many that a mark comes back; a block, for the pump, is more than one exchange
FEW_BLOCKS = 2


def few(benchmark: Benchmark) -> int:
    return FEW_BLOCKS if benchmark.name == "pump" else FEW


@pytest.fixture(scope="module")
def reports() -> tuple[Report, ...]:
    return tuple(report_of(benchmark, few(benchmark)) for benchmark in bench.OPERATIONS)


def is_ordered(spread: Spread) -> bool:
    return 0 < spread.p50_us <= spread.p95_us <= spread.p99_us <= spread.max_us and spread.count > 0


def test_every_operation_has_a_spread_and_a_budget(reports: tuple[Report, ...]) -> None:
    figures = [figure for each in reports for figure in each.figures]
    assert len({figure.what for figure in figures}) == len(figures) >= len(bench.OPERATIONS)
    for figure in figures:
        assert is_ordered(figure.spread), figure
        assert figure.budget > 0
        assert figure.budget_us > 0


def test_who_has_a_peer_is_compared_with_it(reports: tuple[Report, ...]) -> None:
    for figure in (figure for each in reports for figure in each.figures):
        assert bool(figure.peer) == (figure.peer_spread is not None) == (figure.ratio is not None), figure
        if figure.peer_spread is not None and figure.ratio is not None:
            assert is_ordered(figure.peer_spread)
            assert figure.within_budget == (figure.spread.p50_us / figure.peer_spread.p50_us <= figure.budget)


def test_an_operation_is_timed_as_often_as_asked_but_for_the_warm_up(reports: tuple[Report, ...]) -> None:
    decode = next(each for each in reports if each.name == "decode")
    assert [figure.spread.count for figure in decode.figures] == [FEW - FEW // 10] * 3


@pytest.mark.parametrize("benchmark", bench.OPERATIONS, ids=lambda benchmark: benchmark.name)
def test_it_prints_one_line_of_json(benchmark: Benchmark, capsys: pytest.CaptureFixture[str]) -> None:
    report(msgspec.structs.replace(benchmark, count=few(benchmark)))
    (line,) = capsys.readouterr().out.splitlines()
    told = msgspec.json.decode(line, type=Report)
    assert (told.name, told.claim) == (benchmark.name, benchmark.claim)
    assert told.within_budget == all(figure.within_budget for figure in told.figures)
    assert told.clock_us > 0
    assert {"python", "msgspec", "trio"} <= told.versions.keys()
    assert "cores" in told.machine


def test_a_budget_alone_is_of_the_p99() -> None:
    spent_ns = np.array([1000] * 98 + [9000] * 2, np.int64)
    assert alone("it", spent_ns, budget_us=9.0).within_budget
    assert not alone("it", spent_ns, budget_us=8.0).within_budget


def test_a_budget_beside_a_peer_is_of_the_medians() -> None:
    spent_ns, peer_ns = np.array([1000, 1000, 90_000], np.int64), np.array([4000, 4000, 4000], np.int64)
    figure = beside("it", spent_ns, "the other", peer_ns, budget=0.5)
    assert (figure.ratio, figure.budget_us, figure.within_budget) == (0.25, 2.0, True)
    assert not beside("it", spent_ns, "the other", peer_ns, budget=0.2).within_budget


def test_peers_are_given_the_same_in_turns() -> None:
    seen: list[tuple[str, int]] = []
    ours, theirs = times_in_turns(range(250), lambda n: seen.append(("ours", n)), lambda n: seen.append(("theirs", n)))
    assert ours.size == theirs.size == 225
    assert [n for who, n in seen if who == "ours"] == [n for who, n in seen if who == "theirs"] == list(range(250))
    turns = [who for who, _ in seen[::50]]
    assert turns == ["ours", "ours", "theirs", "theirs"] * 2 + ["ours", "theirs"]


def a_cost(relay: str, us: float) -> Cost:
    return Cost(
        relay=relay,
        us=us,
        user_us=us - 10,
        system_us=10,
        tool_us=50,
        p50_ms=0.5,
        p95_ms=0.9,
        p99_ms=1.5,
        others=0.0,
        late_p99_ms=0.1,
        frames=1000,
        frames_lost=0,
        frames_altered=0,
    )


def a_result() -> Result:
    ours, baseline = a_cost("tautline", 40.0), a_cost("plain trio-websocket", 200.0)
    return Result(
        claim="it is cheap",
        ours_us=ours.us,
        baseline_us=baseline.us,
        ratio=0.2,
        budget=0.25,
        within_budget=True,
        calls=50,
        window_s=1.0,
        ours=ours,
        baseline=baseline,
        rounds=(ours, baseline),
        problems=(),
        at="2026-11-21T12:00+00:00",
        machine="a machine",
        versions={},
    )


def test_the_suite_writes_its_figures_and_one_picture(reports: tuple[Report, ...], tmp_path: Path) -> None:
    suite = bench.Suite(relay=a_result(), operations=reports, took_s=1.0)
    bench.write(suite, tmp_path / "bench")
    assert msgspec.json.decode((tmp_path / "bench" / "bench.json").read_bytes(), type=bench.Suite) == suite
    picture = (tmp_path / "bench" / "bench.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    width, height = unpack("!II", picture[16:24])
    assert width > 1000
    assert height > 1000  # the operations have got their rows below the relay


@pytest.mark.parametrize(
    ("figure", "told"),
    [
        (alone("a step", np.array([2000], np.int64), budget_us=1.0), "p99 at most 1 µs  OVER"),
        (
            beside("a step", np.array([2000], np.int64), "wsproto", np.array([8000], np.int64), budget=0.5),
            "0.25 of wsproto, at most 0.5",
        ),
    ],
)
def test_the_table_says_whether_the_budget_is_kept(figure: Figure, told: str) -> None:
    line = bench.describe(figure)
    assert line.startswith("a step")
    assert line.endswith(told)

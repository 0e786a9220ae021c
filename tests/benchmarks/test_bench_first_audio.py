"""The first-audio benchmark: each way to begin is what it says, and only the cached greeting waits for nobody."""

import msgspec
import pytest

from benchmarks.bench_first_audio import BUDGET_MS, WAYS, Result, Row, is_within_budget, main, measure


async def test_only_the_cached_greeting_waits_for_nothing_that_openai_says() -> None:
    rows = await measure(2, 0.0, 0.0)
    assert [(row.way, row.waited) for row in rows] == [("cold", 2), ("spare", 2), ("cached", 0)]


@pytest.mark.parametrize(("p50_ms", "waited", "kept"), [(1.0, 0, True), (BUDGET_MS + 1, 0, False), (1.0, 1, False)])
def test_the_budget_is_about_time_and_about_waiting(p50_ms: float, waited: int, kept: bool) -> None:
    cold = Row(way="cold", p50_ms=500.0, p95_ms=550.0, p99_ms=600.0, waited=8)
    cached = Row(way="cached", p50_ms=p50_ms, p95_ms=9.0, p99_ms=9.0, waited=waited)
    assert is_within_budget((cold, cached)) == kept


def test_it_prints_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--calls", "1", "--handshake-ms", "0", "--first-audio-ms", "0"])
    (line,) = capsys.readouterr().out.splitlines()
    assert [row.way for row in msgspec.json.decode(line, type=Result).rows] == list(WAYS)


@pytest.mark.parametrize("arguments", [["--calls", "0"], ["--handshake-ms", "-1"], ["--first-audio-ms", "60000"]])
def test_it_refuses_what_it_cannot_measure(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)

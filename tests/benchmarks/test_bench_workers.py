"""The benchmark of workers measures what it says: both carry their calls, and the ratio is of what they spent."""

import msgspec
import pytest

from benchmarks import bench_workers


def test_one_and_two_workers_carry_their_calls_and_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_workers.main(["--calls", "2", "--seconds", "1", "--rounds", "1"]) == 0
    result = msgspec.json.decode(capsys.readouterr().out, type=bench_workers.Result)
    (pair,) = result.rounds
    assert pair.lost == 0
    assert result.ratio == pytest.approx(pair.two_us / pair.one_us, abs=0.001)
    assert result.problems == ()

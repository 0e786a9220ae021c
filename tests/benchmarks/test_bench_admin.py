"""The benchmark of a busy admin side measures what it says: all are answered, and the calls are carried meanwhile."""

import msgspec
import pytest

from benchmarks import bench_admin


def test_a_relay_is_compared_with_itself_while_its_admin_side_is_busy(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_admin.main(["--calls", "2", "--seconds", "1", "--rounds", "1"]) == 0
    result = msgspec.json.decode(capsys.readouterr().out, type=bench_admin.Result)
    assert result.problems == ()
    (taken,) = result.rounds
    assert (taken.idle.lost, taken.busy.lost) == (0, 0)
    assert result.media_ratio == pytest.approx(taken.busy.p99_ms / taken.idle.p99_ms, abs=0.001)
    for answers in (taken.webhook, taken.persona, taken.preview):
        assert answers.asked > 0
        assert answers.wrong == 0
    assert taken.live_events > 0  # the calls that began
    assert taken.streams_ended == 0

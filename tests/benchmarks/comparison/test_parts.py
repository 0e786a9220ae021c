"""Each part of the comparison once, with hardly any calls, on a relay that starts quickly: do its figures come?"""

import sys

import msgspec
import pytest

from benchmarks.comparison import barge_in, most, overload, secure, soak
from benchmarks.comparison.rounds import Order, take_rounds
from benchmarks.comparison.stage import Stage
from benchmarks.load import Manner
from benchmarks.relays import TRIO_WEBSOCKET as QUICK

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the CPU of another process is read from /proc")


@pytest.fixture
def stage() -> Stage:
    return Stage(None, lambda _: None)


async def test_echo_beside_a_direct_run(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.comparison.rounds.MIN_FRAMES", 1)
    order = Order(profile="echo", calls=(2,), rounds=1, seconds=0.2, warmup_s=0.1, direct_for=(QUICK.name, 2))
    (sample,) = await take_rounds(stage, (QUICK,), order)
    assert (sample.relay, sample.frames, sample.lost, sample.errors) == (QUICK.name, 20, 0, ())
    assert sample.direct_p99_ms is not None


async def test_barge_ins_are_answered(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    brisk = Manner(
        first_s=(0.0, 0.05), speech_s=(0.02, 0.04), think_s=(0.01, 0.02), answer_s=(0.4, 0.5), barge_in_share=1.0,
        barge_in_at=(0.1, 0.2),
    )  # fmt: skip
    monkeypatch.setattr(barge_in, "IMPATIENT", brisk)
    (clears,) = await barge_in.take_clears(stage, 1, calls=2, seconds=0.4, relay=QUICK)
    assert 0 < clears.clears <= clears.barge_ins
    assert clears.own_p99_ms < clears.p99_ms


async def test_calls_are_counted_until_the_list_ends(stage: Stage) -> None:
    (climbed,) = await most.take_climbs(stage, [QUICK], 1, numbers=(1,), seconds=0.2, warmup_s=0.1)
    assert [each.calls for each in climbed.tries][:1] == [1]
    assert climbed.relay == QUICK.name


async def test_the_upstream_is_spoken_to_plainly_and_in_tls(stage: Stage) -> None:
    legs = await secure.take_legs(stage, 1, calls=(1, 2), seconds=0.1, warmup_s=0.1, relay=QUICK)
    assert stage.problems == []
    assert [leg.is_tls for leg in legs] == [False, True]
    assert all(0 not in leg.rss_mib and len(leg.us) == 2 for leg in legs)


async def test_more_calls_than_nominal(stage: Stage) -> None:
    (overloaded,) = await overload.take_overloads(
        stage, 1, 1, seconds=0.2, warmup_s=0.1, after_s=0.2, relay=QUICK
    )  # fmt: skip
    assert (overloaded.figures.calls, overloaded.figures.sent, overloaded.figures.lost) == (2, 20, 0)


async def test_shift_follows_shift(stage: Stage) -> None:
    soaked = await soak.take_soak(stage, frames=10, calls=1, shifts=2, warmup_s=0.1, relay=QUICK)
    assert soaked is not None
    assert (soaked.frames, len(soaked.rss_mib), soaked.errors) == (10, soak.WARM_SHIFTS + 2, ())


async def test_what_cannot_be_measured_is_said(stage: Stage) -> None:
    broken = msgspec.structs.replace(QUICK, command=lambda _port, _upstream: [sys.executable, "-c", "1/0"])
    assert await soak.take_soak(stage, frames=30, calls=1, shifts=1, relay=broken) is None
    assert "ZeroDivisionError" in stage.problems[0]

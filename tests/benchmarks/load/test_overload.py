"""More calls than nominal: what is told of it, and when a relay counts as well again."""

import os
import sys

import numpy as np
import pytest

from benchmarks.load import LoadError, Target, open_far_end
from benchmarks.load.ledger import Floats
from benchmarks.load.overload import FACTOR, Overload, measure_overload
from benchmarks.load.report import recovered_after_s
from tests.benchmarks.load.relays import our_relay

SENT_AT = np.arange(100.0, 101.0, 0.01)


def test_a_relay_that_was_never_late_has_recovered_at_once() -> None:
    assert recovered_after_s(SENT_AT, SENT_AT + 0.005, 100.0) == 0.0


def test_it_has_recovered_when_the_backlog_is_gone() -> None:
    arrived_at = SENT_AT + np.where(SENT_AT < 100.32, 0.5, 0.005)
    assert recovered_after_s(SENT_AT, arrived_at, 100.0) == pytest.approx(0.3)


def test_one_late_frame_is_no_backlog() -> None:
    arrived_at = SENT_AT + 0.005
    arrived_at[50] += 1
    assert recovered_after_s(SENT_AT, arrived_at, 100.0) == 0.0


@pytest.mark.parametrize("arrived_at", [SENT_AT + 0.5, np.zeros_like(SENT_AT)])
def test_it_has_not_recovered_while_frames_come_late_or_never(
    arrived_at: Floats,
) -> None:
    assert recovered_after_s(SENT_AT, arrived_at, 100.0) is None


def test_without_frames_nothing_is_known() -> None:
    assert recovered_after_s(np.empty(0), np.empty(0), 100.0) is None


async def overloaded(pid: int | None) -> Overload:
    async with open_far_end() as far_end, our_relay(far_end.upstream_url) as url:
        target = Target(name="relay", url=url, pid=pid)
        return await measure_overload(far_end, target, calls=2, seconds=0.2, warmup_s=0.1, after_s=0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="the CPU of another process is read from /proc")
async def test_all_that_was_sent_is_accounted_for() -> None:
    told = await overloaded(os.getpid())  # the relay's own process here: only the counting is looked at
    assert (told.nominal.calls, told.calls) == (2, 2 * FACTOR)
    assert (told.sent, told.lost, told.errors) == (2 * FACTOR * 10, 0, ())
    assert told.latency_ms is not None
    assert told.rss_mib > 1


async def test_without_the_process_there_is_no_cost_to_compare() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await overloaded(None)
    assert caught.group_contains(LoadError)

"""The search for the highest number of calls, and the verdicts, as pure decisions."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.ramp import NUMBERS, Search, limited_by
from benchmarks.load.report import Frames, Level, TalkFigures, ToolCost, why_not_held, why_tool_limits
from benchmarks.load.talk import Voice
from proto.timing import Percentiles


def spread(p99: float) -> Percentiles:
    return Percentiles(p50=1.0, p95=2.0, p99=p99, max=p99)


FINE = Level(
    profile="echo",
    calls=100,
    window_s=5.0,
    frames=Frames(sent=100, arrived=100, lost=0, duplicated=0, reordered=0, altered=0, carried=100),
    latency_ms=spread(3.0),
    direct_ms=spread(1.0),
    jitter_ms=spread(1.0),
    marks_echoed=0,
    relay=None,
    tool=ToolCost(user_us=5.0, system_us=10.0, core_share=0.3, late_ms=spread(1.0)),
    talk=None,
    errors=(),
)
TALK = TalkFigures(
    voice=Voice(sent=100, heard=90, cleared=10, lost=0, extra=0, padding=5),
    first_audio_ms=spread(1.0),
    barge_ins=3,
    clears=3,
    clear_ms=spread(1.0),
)


def climbed(capacity: int, numbers: tuple[int, ...] = NUMBERS, tries: int = 1) -> tuple[Search, list[int]]:
    """A search on a relay that holds exactly so many calls, and what it tried."""
    search, tried = Search(numbers, tries=tries), []
    while (calls := search.next) is not None:
        tried.append(calls)
        search.note(calls, holds=calls <= capacity)
    return search, tried


@given(capacity=st.integers(1, 1999))
def test_the_search_ends_close_below_what_a_relay_holds(capacity: int) -> None:
    search, tried = climbed(capacity)
    assert search.most <= capacity
    assert search.least_failed is not None
    assert capacity < search.least_failed
    assert search.least_failed - search.most <= max(1, search.most * 0.05)
    assert len(tried) < 35


def test_it_goes_up_the_list_and_then_halves_the_gap() -> None:
    search, tried = climbed(330)
    assert tried == [50, 100, 150, 200, 300, 400, 350, 325, 337]
    assert search.most == 325


def test_one_bad_moment_is_no_failure() -> None:
    search = Search((50, 100), tries=2)
    search.note(50, holds=False)
    assert search.next == 50
    search.note(50, holds=True)
    assert search.next == 100
    search.note(100, holds=False)
    search.note(100, holds=False)
    assert search.next == 75


def test_a_relay_that_holds_the_whole_list_is_limited_by_the_list() -> None:
    search, tried = climbed(10_000, (5, 10))
    assert (search.most, tried) == (10, [5, 10])
    assert limited_by(search, []) == "list"


def test_a_relay_that_holds_nothing_is_found_out() -> None:
    search, tried = climbed(0, (8,))
    assert search.most == 0
    assert tried == [8, 4, 2, 1]


@pytest.mark.parametrize("numbers", [(), (0, 1), (5, 5), (9, 3)])
def test_numbers_must_rise(numbers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        Search(numbers)


def test_a_failure_that_was_the_tools_own_does_not_count_against_the_relay() -> None:
    search, _ = climbed(100, (100, 104))
    bad = msgspec.structs.replace(FINE, calls=104, failed_because=("p99 30 ms",))
    assert limited_by(search, [FINE, bad]) == "relay"
    own_fault = msgspec.structs.replace(bad, tool_limits=("the tool was late",))
    assert limited_by(search, [FINE, own_fault]) == "tool"
    assert limited_by(search, [FINE, own_fault, bad]) == "relay"


def test_a_fine_level_holds() -> None:
    assert why_not_held(FINE) == ()
    assert why_not_held(msgspec.structs.replace(FINE, talk=TALK)) == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"latency_ms": None}, "no frame arrived"),
        ({"latency_ms": spread(20.1)}, "p99 20.1 ms"),
        ({"frames": msgspec.structs.replace(FINE.frames, lost=2)}, "2 of 100 frames lost"),
        ({"frames": msgspec.structs.replace(FINE.frames, duplicated=1)}, "1 frames duplicated, 0 altered"),
        ({"errors": ("call 3: refused",)}, "1 errors, the first: call 3: refused"),
        (
            {"talk": msgspec.structs.replace(TALK, voice=msgspec.structs.replace(TALK.voice, lost=7))},
            "7 bytes of the agent's voice lost",
        ),
        ({"talk": msgspec.structs.replace(TALK, clear_ms=spread(21.0))}, "clear p99 21.0 ms"),
    ],
)
def test_why_a_level_does_not_hold(changes: dict[str, object], why: str) -> None:
    assert why_not_held(msgspec.structs.replace(FINE, **changes)) == (why,)


@pytest.mark.parametrize(
    ("share", "late_p99_ms", "why"),
    [
        (0.85, 5.0, ()),
        (0.86, 1.0, ("the tool took 86% of a core",)),
        (0.3, 5.1, ("the tool was late: p99 5.1 ms",)),
    ],
)
def test_the_tool_says_when_it_was_the_bottleneck(share: float, late_p99_ms: float, why: tuple[str, ...]) -> None:
    tool = ToolCost(user_us=1.0, system_us=1.0, core_share=share, late_ms=spread(late_p99_ms))
    assert why_tool_limits(msgspec.structs.replace(FINE, tool=tool)) == why


def test_what_a_relay_adds_is_told_beside_the_direct_run() -> None:
    assert (FINE.added_p50_ms, FINE.added_p99_ms) == (0.0, 2.0)
    assert msgspec.structs.replace(FINE, direct_ms=None).added_p99_ms is None

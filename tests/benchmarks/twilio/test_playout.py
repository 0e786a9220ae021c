"""The far playback buffer keeps its laws, whatever a relay sends and whenever it sends it."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulators.twilio.playout import MAX_MARKS, MAX_QUEUED_S, Playout, PlayoutOverflowError
from proto import mulaw


def numbered(first: int, count: int) -> bytes:
    """Bytes that tell their place: 0 to 250, over and over."""
    return bytes(n % 251 for n in range(first, first + count))


def names(playout: Playout, now: float) -> list[str]:
    return [echo.name for echo in playout.advance(now)]


def test_audio_plays_at_eight_bytes_per_ms_from_its_arrival() -> None:
    playout = Playout()
    playout.queue(numbered(0, 1600), 10.0)
    assert playout.heard_bytes(10.0) == 0
    assert playout.heard_bytes(10.0501) == 400
    assert playout.heard_bytes(99.0) == 1600


def test_a_mark_comes_back_when_what_was_before_it_has_sounded() -> None:
    playout = Playout()
    playout.queue(numbered(0, 800), 1.0)
    playout.mark("middle", 1.0)
    playout.queue(numbered(0, 800), 1.0)
    playout.mark("end", 1.0)
    assert playout.next_echo_at() == 1.1
    assert names(playout, 1.0999) == []
    assert names(playout, 1.1) == ["middle"]
    assert names(playout, 1.2) == ["end"]
    assert playout.next_echo_at() is None


def test_a_mark_in_silence_comes_back_at_once() -> None:
    playout = Playout()
    playout.mark("now", 5.0)
    assert [(echo.name, echo.due_s) for echo in playout.advance(5.0)] == [("now", 5.0)]


def test_clear_cuts_at_the_sample_and_returns_all_marks_in_order() -> None:
    playout = Playout()
    playout.queue(numbered(0, 800), 1.0)
    playout.mark("a", 1.0)
    playout.queue(numbered(800, 800), 1.0)
    playout.mark("b", 1.0)
    clearing = playout.clear(1.05)
    assert (clearing.dropped_bytes, clearing.heard_bytes) == (1200, 400)
    playout.mark("barrier", 1.05)
    assert names(playout, 1.05) == ["a", "b", "barrier"]
    assert playout.heard(2.0)[-1].audio == numbered(0, 400)


def test_a_clear_in_silence_drops_nothing() -> None:
    playout = Playout()
    playout.queue(numbered(0, 80), 1.0)
    clearing = playout.clear(2.0)
    assert (clearing.dropped_bytes, clearing.heard_bytes) == (0, 0)


def test_the_track_is_silent_where_nothing_played() -> None:
    playout = Playout()
    playout.queue(numbered(0, 80), 100.01)
    playout.queue(numbered(80, 80), 100.04)
    track = playout.heard_track(0.06, zero_s=100.0)
    silent = mulaw.silence(10)
    assert track == silent + numbered(0, 80) + silent * 2 + numbered(80, 80) + silent


def test_a_track_may_begin_in_the_middle_of_a_word() -> None:
    playout = Playout()
    playout.queue(numbered(0, 160), 1.0)
    assert playout.heard_track(0.005, zero_s=1.01) == numbered(80, 40)


def test_what_sounds_now_reaches_back_over_gaps() -> None:
    playout = Playout()
    playout.queue(numbered(0, 40), 1.0)
    playout.queue(numbered(40, 40), 1.0075)
    assert playout.sounding(1.0125, 0.010) == numbered(20, 60)
    assert playout.sounding(2.0, 0.010) == b""


def test_time_cannot_run_backwards() -> None:
    playout = Playout()
    playout.queue(b"\x00", 2.0)
    with pytest.raises(ValueError, match="back"):
        playout.advance(1.0)


def test_a_relay_gone_wild_is_stopped() -> None:
    playout = Playout()
    playout.queue(mulaw.silence(int(MAX_QUEUED_S * 1000)), 0.0)
    with pytest.raises(PlayoutOverflowError):
        playout.queue(b"\xff" * 80, 0.0)
    for n in range(MAX_MARKS):
        playout.mark(str(n), 0.0)
    with pytest.raises(PlayoutOverflowError):
        playout.mark("one more", 0.0)


# An hour into the process, at odd instants: what floats do to sample counts must not show.
instants = st.integers(0, 400).map(lambda ms: ms / 1000) | st.floats(0, 0.4, allow_nan=False)
steps = st.lists(
    st.tuples(instants, st.sampled_from(["queue", "queue", "mark", "clear", "advance"]), st.integers(0, 4000)),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(steps, st.floats(0, 1e6))
def test_what_is_heard_is_what_was_queued_less_what_was_cleared(
    script: list[tuple[float, str, int]], begins_s: float
) -> None:
    playout, now, queued, dropped, kept = Playout(), begins_s, 0, 0, bytearray()
    waiting: list[tuple[str, int]] = []  # marks and how much must have been heard before them
    for number, (pause_s, what, size) in enumerate(script):
        now += pause_s
        match what:
            case "queue":
                playout.queue(numbered(queued, size), now)
                kept += numbered(queued, size)
                queued += size
            case "mark":
                playout.mark(str(number), now)
                waiting.append((str(number), len(kept)))
            case "clear":
                clearing = playout.clear(now)
                dropped += clearing.dropped_bytes
                del kept[len(kept) - clearing.dropped_bytes :]
                waiting = [(name, min(before, len(kept))) for name, before in waiting]
                assert names(playout, now) == [name for name, _ in waiting]
                waiting.clear()
            case _:
                for echo in playout.advance(now):
                    name, before = waiting.pop(0)
                    assert echo.name == name
                    assert playout.heard_bytes(echo.due_s) >= before
                    assert echo.due_s <= now
    late = now + 1000.0
    assert names(playout, late) == [name for name, _ in waiting]
    assert playout.heard_bytes(late) == queued - dropped
    runs = playout.heard(late)
    assert b"".join(run.audio for run in runs) == kept
    for run, following in pairwise(runs):
        assert run.end_s <= following.start_s or math.isclose(run.end_s, following.start_s)


@settings(deadline=None, max_examples=50)
@given(steps)
def test_no_byte_of_the_track_is_lost_or_doubled(script: list[tuple[float, str, int]]) -> None:
    playout, now = Playout(), 0.0
    for pause_s, what, size in script:
        now += pause_s
        if what == "clear":
            playout.clear(now)
        else:
            playout.queue(b"\x11" * (size % 400), now)
    track = playout.heard_track(now + 10.0)
    assert len(track) == round((now + 10.0) * 8000)
    assert track.count(b"\x11") == playout.heard_bytes(now + 10.0)
    assert set(track) <= {0x11, 0xFF}

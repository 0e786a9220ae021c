"""Timing maths against its definitions, step by step, and against the laws that every call obeys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.timing import Floats, Percentiles, jitter_ms, percentiles, playout_start_ms, underrun_ms

EPSILON_MS = 1e-6

chunk = st.tuples(st.floats(0, 500), st.floats(0, 1000))  # ms since the last arrival; ms of sound


def row(*values: float) -> Floats:
    return np.array(values, np.float64)


def media_clock_ms(frames: int) -> Floats:
    return np.arange(frames, dtype=np.float64) * 20


def arrivals_and_durations(chunks: list[tuple[float, float]]) -> tuple[Floats, Floats]:
    pairs = np.array(chunks, np.float64).reshape(-1, 2)
    return np.cumsum(pairs[:, 0]), pairs[:, 1]


def test_a_burst_is_played_one_after_the_other() -> None:
    assert playout_start_ms(row(5, 6, 7), row(20, 20, 20)).tolist() == [5, 25, 45]
    assert underrun_ms(row(5, 6, 7), row(20, 20, 20)).tolist() == [0, 0, 0]


def test_a_late_chunk_is_played_on_arrival_and_the_gap_is_heard() -> None:
    assert playout_start_ms(row(0, 50, 55), row(20, 20, 20)).tolist() == [0, 50, 70]
    assert underrun_ms(row(0, 50, 55), row(20, 20, 20)).tolist() == [0, 30, 0]


@given(st.lists(chunk))
@settings(deadline=None)
def test_playout_follows_its_definition_step_by_step(chunks: list[tuple[float, float]]) -> None:
    arrival, duration = arrivals_and_durations(chunks)
    expected, free_ms = [], 0.0
    for arrived, lasts in zip(arrival, duration, strict=True):
        expected.append(max(arrived, free_ms))
        free_ms = expected[-1] + lasts
    np.testing.assert_allclose(playout_start_ms(arrival, duration), expected, atol=EPSILON_MS)


@given(st.lists(chunk))
@settings(deadline=None)
def test_playout_never_runs_ahead_of_arrival_never_overlaps_and_never_pauses_with_sound_in_hand(
    chunks: list[tuple[float, float]],
) -> None:
    arrival, duration = arrivals_and_durations(chunks)
    start = playout_start_ms(arrival, duration)
    free = (start + duration)[:-1]
    assert np.all(start >= arrival - EPSILON_MS)
    assert np.all(start[1:] >= free - EPSILON_MS)
    assert np.all(np.diff(start) >= -EPSILON_MS)
    np.testing.assert_allclose(np.minimum(start[1:] - free, start[1:] - arrival[1:]), 0, atol=EPSILON_MS)


@given(st.lists(chunk, min_size=1))
@settings(deadline=None)
def test_sound_and_gaps_together_fill_the_time(chunks: list[tuple[float, float]]) -> None:
    arrival, duration = arrivals_and_durations(chunks)
    start, gaps = playout_start_ms(arrival, duration), underrun_ms(arrival, duration)
    assert gaps.min() >= 0
    assert gaps[0] == 0
    assert start[-1] - start[0] == pytest.approx(duration[:-1].sum() + gaps.sum(), abs=EPSILON_MS)


@given(st.lists(chunk, min_size=1), st.floats(0, 1000))
@settings(deadline=None)
def test_arriving_earlier_never_sounds_later(chunks: list[tuple[float, float]], sooner_ms: float) -> None:
    arrival, duration = arrivals_and_durations(chunks)
    sooner = playout_start_ms(np.maximum(arrival - sooner_ms, 0), duration)
    assert np.all(sooner <= playout_start_ms(arrival, duration) + EPSILON_MS)


def test_an_even_stream_has_no_jitter_however_late_it_is() -> None:
    media = media_clock_ms(100)
    assert not jitter_ms(media + 1234.0, media).any()


def test_one_late_frame_counts_twice_and_fades() -> None:
    media = media_clock_ms(4)
    late = media + row(0, 16, 0, 0)
    assert jitter_ms(late, media).tolist() == [0, 1, 1 + 15 / 16, (1 + 15 / 16) * 15 / 16]


def test_steady_unevenness_settles_at_its_mean_change() -> None:
    media = media_clock_ms(1000)
    assert jitter_ms(media + np.tile(row(0, 8), 500), media)[-1] == pytest.approx(8)


@given(st.lists(st.floats(0, 500), min_size=1), st.floats(-1e6, 1e6))
@settings(deadline=None)
def test_jitter_is_bounded_by_the_worst_change_and_blind_to_clock_offset(delays: list[float], offset_ms: float) -> None:
    media = media_clock_ms(len(delays))
    arrival = media + np.array(delays)
    jitter = jitter_ms(arrival, media)
    assert jitter.min() >= 0
    assert jitter.max() <= np.abs(np.diff(delays)).max(initial=0) + EPSILON_MS
    np.testing.assert_allclose(jitter, jitter_ms(arrival, media + offset_ms), atol=EPSILON_MS)


def test_a_call_without_audio_has_no_timings() -> None:
    for timings in (playout_start_ms, underrun_ms, jitter_ms):
        assert timings(row(), row()).shape == (0,)


def test_rows_of_different_length_are_refused() -> None:
    for timings in (playout_start_ms, underrun_ms, jitter_ms):
        with pytest.raises(ValueError, match="equal length"):
            timings(row(1, 2), row(1))


def test_percentiles_of_known_values() -> None:
    spread = percentiles(np.arange(101, dtype=np.float64)[::-1])
    assert spread == Percentiles(p50=50, p95=95, p99=99, max=100)
    assert percentiles(row(7)) == Percentiles(p50=7, p95=7, p99=7, max=7)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1))
@settings(deadline=None)
def test_percentiles_are_in_order_and_within_the_values(values: list[float]) -> None:
    spread = percentiles(np.array(values))
    assert min(values) <= spread.p50 <= spread.p95 <= spread.p99 <= spread.max == max(values)


def test_nothing_measured_has_no_percentiles() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentiles(row())

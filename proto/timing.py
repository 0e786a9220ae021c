"""When audio arrives and when it sounds: timing maths over a whole call's timestamps at once.

Pure numbers, for reports, recordings and benchmarks; a live call keeps its own ledger, one chunk at a time. All times
are ms as float64 arrays. Which clock they belong to is the caller's business, as long as one array keeps to one clock.
"""

from itertools import accumulate
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_JITTER_GAIN: Final = 1 / 16  # RFC 3550 section 6.4.1: quick enough to follow, slow enough not to follow noise


class Percentiles(msgspec.Struct, frozen=True):
    """How a set of measured values is spread, in the values' own unit."""

    p50: float
    p95: float
    p99: float
    max: float


def playout_start_ms(arrival_ms: Floats, duration_ms: Floats) -> Floats:
    """When each chunk starts to sound, if the far buffer plays in order without pause.

    Args: arrival_ms, (n,) monotonic ms at the far buffer; duration_ms, (n,) ms.
    Returns: (n,) ms; start[i] = max(arrival[i], start[i-1] + duration[i-1]).
    Raises: ValueError if the shapes differ.
    Source: Lindley's recursion (1952), solved with a running maximum.
    """
    _require_same_shape(arrival_ms, duration_ms)
    queued_ms = np.cumsum(duration_ms) - duration_ms
    return np.asarray(queued_ms + np.maximum.accumulate(arrival_ms - queued_ms), np.float64)


def underrun_ms(arrival_ms: Floats, duration_ms: Floats) -> Floats:
    """The silence heard just before each chunk, because the buffer had run dry.

    Args: as for `playout_start_ms`.
    Returns: (n,) ms, never negative; 0 for the first chunk, before which nothing was owed.
    Raises: ValueError if the shapes differ.
    """
    start_ms = playout_start_ms(arrival_ms, duration_ms)
    gaps_ms = np.zeros_like(start_ms)
    # What is left of a gap of nothing is rounding, and may be just below zero.
    gaps_ms[1:] = np.maximum(0.0, start_ms[1:] - (start_ms[:-1] + duration_ms[:-1]))
    return gaps_ms


def jitter_ms(arrival_ms: Floats, media_ms: Floats) -> Floats:
    """Interarrival jitter as it stood after each packet: how unevenly packets arrive, not how late.

    Args: arrival_ms, (n,) ms by the receiver's clock; media_ms, (n,) ms by the sender's, any constant offset allowed.
    Returns: (n,) ms, the first 0; the last is what a report would say.
    Raises: ValueError if the shapes differ.
    Source: RFC 3550 section 6.4.1 and appendix A.8, without the integer rounding.
    """
    _require_same_shape(arrival_ms, media_ms)
    transit_ms = arrival_ms - media_ms
    changes_ms = np.abs(np.diff(transit_ms, prepend=transit_ms[:1]))
    # A recursion with no stable closed form; plain floats make it some 30 ms for an hour of frames.
    smoothed_ms = accumulate(changes_ms.tolist(), lambda jitter, change: jitter + (change - jitter) * _JITTER_GAIN)
    return np.fromiter(smoothed_ms, np.float64, count=changes_ms.size)


def percentiles(values: Floats) -> Percentiles:
    """The spread of (n,) values, linearly interpolated between neighbours.

    Raises: ValueError if there are none: nothing measured is not the same as zero.
    """
    if values.size == 0:
        raise ValueError("no values, so no percentiles")
    p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
    return Percentiles(p50=p50, p95=p95, p99=p99, max=float(values.max()))


def _require_same_shape(first: Floats, second: Floats) -> None:
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"expected two rows of equal length, got {first.shape} and {second.shape}")

"""Cost of resampling a second of sound between the telephone's 8 kHz and the 24 kHz of recordings and clips.

Budget: p99 under 50 ms either way, a twentieth of the sound's own length.
Run: python -m benchmarks.bench_resampling. Prints one JSON line.

A whole clip at once, as `proto.mulaw.resample` takes it; nothing of this is on a frame's way.
"""

from functools import partial
from typing import Final

import numpy as np

from benchmarks.measuring import Benchmark, Figures, alone, report, times_ns
from proto import mulaw

CLAIM: Final = "a second of sound is resampled between 8 and 24 kHz within 50 ms at p99"
BUDGET_US: Final = 50_000.0
COUNT: Final = 200
WIDE_HZ: Final = 24_000


def measure(count: int) -> Figures:
    """A second each way, `count` times; the filters are made in the warm-up."""
    rng = np.random.default_rng(1)
    narrow, wide = (rng.integers(-8000, 8000, hz).astype(np.int16) for hz in (mulaw.SAMPLE_RATE_HZ, WIDE_HZ))
    up = partial(mulaw.resample, from_hz=mulaw.SAMPLE_RATE_HZ, to_hz=WIDE_HZ)
    down = partial(mulaw.resample, from_hz=WIDE_HZ, to_hz=mulaw.SAMPLE_RATE_HZ)
    return (
        alone("resample 8 to 24 kHz, 1 s", times_ns(up, [narrow] * count), budget_us=BUDGET_US),
        alone("resample 24 to 8 kHz, 1 s", times_ns(down, [wide] * count), budget_us=BUDGET_US),
    )


BENCHMARK: Final = Benchmark(name="resampling", claim=CLAIM, measure=measure, count=COUNT)

if __name__ == "__main__":
    report(BENCHMARK)

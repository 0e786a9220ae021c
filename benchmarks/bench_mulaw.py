"""Cost of turning a second of μ-law into samples, and back.

Budget: p99 under 500 µs each way, some ten times the median; a second of audio is 1,000,000 µs.
Run: python -m benchmarks.bench_mulaw. Prints one JSON line.

Nothing of this is on a frame's way: audio passes the relay as it came. Recordings and local detection want samples.
"""

from typing import Final

import numpy as np

from benchmarks import samples
from benchmarks.measuring import Benchmark, Figures, alone, report, times_ns
from proto import mulaw

CLAIM: Final = "a second of μ-law is samples, and a second of samples is μ-law, within 500 µs at p99"
BUDGET_US: Final = 500.0
COUNT: Final = 5000


def measure(count: int) -> Figures:
    """A second each way, `count` times."""
    audio = samples.audio(1000)
    sound = np.ascontiguousarray(mulaw.decode(audio))
    return (
        alone("μ-law to samples, 1 s", times_ns(mulaw.decode, [audio] * count), budget_us=BUDGET_US),
        alone("samples to μ-law, 1 s", times_ns(mulaw.encode, [sound] * count), budget_us=BUDGET_US),
    )


BENCHMARK: Final = Benchmark(name="mulaw", claim=CLAIM, measure=measure, count=COUNT)

if __name__ == "__main__":
    report(BENCHMARK)

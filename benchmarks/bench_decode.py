"""Decode cost of one message: a caller's frame, a delta of 20 ms and one of 250 ms.

Budget: at most half of what the standard library takes for the JSON and the base64 (ratio of the medians, in turns).
Run: python -m benchmarks.bench_decode. Prints one JSON line.

Ours gives a typed and validated message; the standard library's is a dict and the audio's bytes, no more.
"""

import json
from base64 import b64decode
from typing import Final

from benchmarks import samples
from benchmarks.measuring import Benchmark, Figures, beside, report, times_in_turns
from proto import mulaw, realtime, twilio

CLAIM: Final = "reading a message costs at most half of what json and base64 of the standard library take for it"
BUDGET: Final = 0.5
COUNT: Final = 20_000
PEER: Final = "json + base64"


def measure(count: int) -> Figures:
    """Each kind of message, `count` times."""
    media = times_in_turns([samples.media()] * count, twilio.decode, _plain_media)
    echo = times_in_turns([samples.audio_delta(mulaw.FRAME_MS)] * count, realtime.decode, _plain_delta)
    delta = times_in_turns([samples.audio_delta()] * count, realtime.decode, _plain_delta)
    return (
        beside("decode a caller's frame", media[0], PEER, media[1], budget=BUDGET),
        beside("decode a delta, 20 ms", echo[0], PEER, echo[1], budget=BUDGET),
        beside(f"decode a delta, {samples.DELTA_MS} ms", delta[0], PEER, delta[1], budget=BUDGET),
    )


def _plain_media(raw: bytes) -> bytes:
    return b64decode(json.loads(raw)["media"]["payload"])


def _plain_delta(raw: bytes) -> bytes:
    return b64decode(json.loads(raw)["delta"])


BENCHMARK: Final = Benchmark(name="decode", claim=CLAIM, measure=measure, count=COUNT)

if __name__ == "__main__":
    report(BENCHMARK)

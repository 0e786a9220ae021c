"""Encode cost of one message: the append of a caller's frame, a play of 20 ms, a mark.

Budget: at most a third of what the standard library takes for the JSON and the base64 (the ratio of the medians, in
turns). Run: python -m benchmarks.bench_encode. Prints one JSON line.

Each is made from its audio or its name, as on its way through the relay: building the struct is part of the cost.
"""

import json
from base64 import b64encode
from typing import Final

from benchmarks import samples
from benchmarks.measuring import Benchmark, Figures, beside, report, times_in_turns
from proto import realtime, twilio

CLAIM: Final = "writing a message costs at most a third of what json and base64 of the standard library take for it"
BUDGET: Final = 1 / 3
COUNT: Final = 20_000
PEER: Final = "json + base64"


def measure(count: int) -> Figures:
    """Each kind of message, `count` times."""
    frames = [samples.audio()] * count
    append = times_in_turns(frames, _append, _plain_append)
    play = times_in_turns(frames, _play, _plain_play)
    mark = times_in_turns([f"g0.{number}" for number in range(count)], _mark, _plain_mark)
    return (
        beside("encode an append", append[0], PEER, append[1], budget=BUDGET),
        beside("encode a play", play[0], PEER, play[1], budget=BUDGET),
        beside("encode a mark", mark[0], PEER, mark[1], budget=BUDGET),
    )


def _append(audio: bytes) -> bytes:
    return realtime.encode(realtime.AppendAudio(audio))


def _play(audio: bytes) -> bytes:
    return twilio.encode(twilio.Play(samples.STREAM_SID, twilio.PlayBody(audio)))


def _mark(name: str) -> bytes:
    return twilio.encode(twilio.SendMark(samples.STREAM_SID, twilio.MarkBody(name)))


def _plain_append(audio: bytes) -> bytes:
    append = {"type": "input_audio_buffer.append", "audio": b64encode(audio).decode()}
    return json.dumps(append).encode()


def _plain_play(audio: bytes) -> bytes:
    media = {"payload": b64encode(audio).decode()}
    return json.dumps({"event": "media", "streamSid": samples.STREAM_SID, "media": media}).encode()


def _plain_mark(name: str) -> bytes:
    return json.dumps({"event": "mark", "streamSid": samples.STREAM_SID, "mark": {"name": name}}).encode()


BENCHMARK: Final = Benchmark(name="encode", claim=CLAIM, measure=measure, count=COUNT)

if __name__ == "__main__":
    report(BENCHMARK)

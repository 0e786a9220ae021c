"""A session told of a long silence at once is as if it had been told frame by frame."""

import base64

import msgspec
import pytest

from benchmarks import speech
from benchmarks.simulators.openai import Direction, Json, Reply, Script, SimulatorConfig
from proto import mulaw
from tests.benchmarks.openai.line import PHONE, Line

FRAME = mulaw.silence(20)
APPEND = msgspec.json.encode({"type": "input_audio_buffer.append", "audio": base64.b64encode(FRAME).decode()})
Watched = list[tuple[float, Direction, Json]]


def watched_line(watched: Watched) -> Line:
    def watch(at: float, direction: Direction, event: Json) -> None:
        watched.append((at, direction, event))

    script = Script(steps=(Reply("opening_hours"),) * 3, greeting=None)
    line = Line(SimulatorConfig(script=script, wall_clock=lambda: 1e9, observer=watch))
    detection = {"type": "server_vad", "prefix_padding_ms": 40_000}  # it shows how much silence was kept
    audio = {"input": {**PHONE["audio"]["input"], "turn_detection": detection}, "output": PHONE["audio"]["output"]}
    line.send("session.update", session={"type": "realtime", "audio": audio})
    return line


def one_by_one(line: Line, frames: int) -> None:
    line.speak(FRAME * frames)


def at_once(line: Line, frames: int) -> None:
    assert line.session.is_idle
    times = []
    for _ in range(frames):
        line.now += 0.020  # as `speak` counts, to the last bit
        times.append(line.now)
    line.session.receive_silence(APPEND, times)


@pytest.mark.parametrize("frames", [1, 100, 1499, 1501, 3001, 4600])  # 30 s are kept, from 60 s on
def test_speech_after_it_is_heard_answered_and_watched_alike(frames: int) -> None:
    seen: list[Watched] = [[], []]
    for watched, be_silent in zip(seen, (one_by_one, at_once), strict=True):
        line = watched_line(watched)
        for _ in range(2):
            be_silent(line, frames)
            line.speak(speech.clip("ask_hours").mulaw + mulaw.silence(600))
            line.wait_for("response.done")
            line.wait(1.0)
    assert seen[0] == seen[1]
    assert [event["type"] for _, _, event in seen[0]].count("response.done") == 2


def test_a_session_that_hears_speech_is_not_idle_until_it_is_over() -> None:
    line = watched_line([])
    line.speak(speech.clip("ask_hours").mulaw)
    assert not line.session.is_idle
    line.speak(mulaw.silence(600))
    assert line.session.is_idle

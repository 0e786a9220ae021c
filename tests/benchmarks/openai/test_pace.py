"""The pace of a response, and that two runs are alike."""

import base64
import math
from itertools import pairwise

import pytest

from benchmarks.simulators.openai import Reply, SimulatorConfig
from tests.benchmarks.openai.line import Json, Line, arrivals, kinds, phone_line

AUDIO = "response.output_audio.delta"


def respond(line: Line) -> list[Json]:
    """Everything of one response, from its creation on."""
    return [*line.send("response.create"), *line.wait(30.0)]


def audio_times(line: Line) -> list[tuple[float, int]]:
    """(seconds, milliseconds of audio) of each delta."""
    heard = arrivals(line)
    return [(at, len(base64.b64decode(event["delta"])) // 8) for at, event in heard if event["type"] == AUDIO]


def test_point_38_audio_comes_in_a_burst_ten_times_faster_than_it_sounds() -> None:
    times = audio_times(phone_line(Reply("menu")))
    assert times[0][0] == pytest.approx(0.35)
    assert [ms for _, ms in times[:4]] == [100, 150, 250, 250]
    spent_s = times[-1][0] - times[0][0]
    sounding_s = sum(ms for _, ms in times[:-1]) / 1000
    assert spent_s == pytest.approx(sounding_s / 10)


def test_point_38_the_pace_can_be_real_time_or_one_burst() -> None:
    in_time = audio_times(phone_line(Reply("greeting"), pace=1.0, first_audio_delay_s=0.5))
    assert in_time[0][0] == pytest.approx(0.5)
    assert in_time[-1][0] - in_time[0][0] == pytest.approx(sum(ms for _, ms in in_time[:-1]) / 1000)
    burst = audio_times(phone_line(Reply("greeting"), pace=math.inf))
    assert {at for at, _ in burst} == {burst[0][0]}


def test_a_driver_that_comes_late_gets_all_of_it_in_order() -> None:
    punctual, late = phone_line(Reply("menu")), phone_line(Reply("menu"))
    late.send("response.create")
    late.now += 60.0
    all_at_once = late.advance()
    assert kinds(all_at_once) == kinds(respond(punctual)[1:])


def test_point_49_rate_limits_come_once_shortly_after_the_response() -> None:
    heard = arrivals(phone_line(Reply("greeting")))
    (ended,) = [at for at, event in heard if event["type"] == "response.done"]
    (limits,) = [(at, event) for at, event in heard if event["type"] == "rate_limits.updated"]
    assert limits[0] - ended == pytest.approx(0.030)
    assert [entry["name"] for entry in limits[1]["rate_limits"]] == ["tokens"]


def test_point_61_equal_seeds_give_equal_sessions_and_others_differ() -> None:
    def story(seed: int) -> list[Json]:
        line = Line(SimulatorConfig(seed=seed, wall_clock=lambda: 1e9))
        line.send("response.create", response={"instructions": "Greet."})
        line.wait(10.0)
        return line.events

    assert story(1) == story(1)
    assert story(1)[0]["event_id"] != story(2)[0]["event_id"]


def test_time_never_runs_backwards_in_a_reply() -> None:
    times = [at for at, _ in arrivals(phone_line(Reply("menu")))]
    assert all(earlier <= later for earlier, later in pairwise(times))


@pytest.mark.parametrize(("when", "place"), [("after", -1), ("start", 1), ("absent", None)])
def test_point_49_rate_limits_can_come_at_the_start_or_not_at_all(when: str, place: int | None) -> None:
    line = phone_line(Reply("greeting"), Reply("menu"), rate_limits=when)
    told = kinds(respond(line))
    assert told.count("rate_limits.updated") == (place is not None)
    if place is not None:
        assert told[place] == "rate_limits.updated"
    line.send("response.create")
    assert ("rate_limits.updated" in kinds(line.send("response.cancel"))) is (when == "after")

"""What goes wrong inside a session: by a script, by a fault of every response, at a moment."""

import base64
import math

import msgspec
import pytest

from benchmarks import speech
from benchmarks.simulators.openai import (
    Bill,
    Close,
    Drop,
    Faults,
    Incident,
    Reply,
    SendError,
    SendEvent,
    SendOversized,
    SendText,
    SimulatorConfig,
    Stall,
    ToolCall,
)
from benchmarks.simulators.openai.responding import LATE_DONE_S
from benchmarks.simulators.openai.stage import MOST_HELD
from tests.benchmarks.openai.line import Json, Line, audio_of, error, kinds, of_kind, phone_line, the

AUDIO = "response.output_audio.delta"


def say(line: Line, seconds: float = 30.0) -> list[Json]:
    """Everything of the next response, and a while more."""
    return [*line.send("response.create"), *line.wait(seconds)]


def cut_off(line: Line, said_s: float = 1.0) -> list[Json]:
    """What is said when a reply in real time is cancelled after so long."""
    line.send("response.create")
    line.wait(said_s)
    return line.send("response.cancel")


# Endings


def test_a_session_meets_an_incident_at_its_age_whatever_is_being_said() -> None:
    incidents = (Incident(1.0, SendError("odd", "Something is odd.")), Incident(2.0, Drop()))
    line = Line(SimulatorConfig(incidents=incidents))
    assert "error" not in kinds(line.wait(0.9))
    assert "error" in kinds(line.wait(0.2))
    assert line.session.closing is None
    line.wait(1.0)
    assert line.session.closing == Drop()


@pytest.mark.parametrize("ending", [Drop(), Close(1011), Close(1012, "restarting"), Close(1013, "try later")])
def test_point_58_the_script_ends_the_session_in_the_middle_of_a_reply(ending: Drop | Close) -> None:
    moment = msgspec.structs.replace(ending, after_audio_ms=1000)
    line = phone_line(Reply("greeting"), moment, Reply("menu"), Reply("goodbye"))
    assert "response.done" in kinds(say(line))
    assert line.session.closing is None
    said = say(line)
    assert line.session.closing == moment
    assert 1000 <= len(audio_of(said)) // 8 <= 1250
    assert kinds(said)[-1] == AUDIO
    assert line.send("input_audio_buffer.clear") == []


@pytest.mark.parametrize(
    ("faults", "ending"),
    [
        (Faults(drop_after_audio_ms=500), Drop(after_audio_ms=500)),
        (Faults(close_after_audio_ms=500, close_code=1013, close_reason="later"), Close(1013, "later")),
    ],
)
def test_point_58_a_fault_ends_the_session_in_its_first_reply(faults: Faults, ending: Drop | Close) -> None:
    line = phone_line(Reply("menu"), faults=faults)
    assert len(audio_of(say(line))) // 8 == 500
    assert line.session.closing == msgspec.structs.replace(ending, after_audio_ms=500)


def test_a_moment_beyond_the_audio_comes_at_the_end_and_one_without_audio_at_the_start() -> None:
    said = say(phone_line(SendError("late", "Late.", after_audio_ms=60_000), Reply("greeting")))
    assert kinds(said)[-3:] == ["error", "response.done", "rate_limits.updated"]
    said = say(phone_line(SendError("soon", "Soon."), ToolCall("find")))
    assert kinds(said)[:2] == ["response.created", "error"]
    said = say(phone_line(SendError("late", "Late.", after_audio_ms=1), ToolCall("find")))
    assert kinds(said)[-3:] == ["error", "response.done", "rate_limits.updated"]


def test_what_a_script_ends_with_belongs_to_the_next_reply() -> None:
    line = phone_line(Reply("greeting"), Drop())
    say(line)
    assert line.session.closing is None
    assert kinds(say(line)) == ["response.created"]
    assert line.session.closing == Drop()


# Stalls


def test_point_58_a_stall_holds_everything_back_and_then_lets_it_come_at_once() -> None:
    line = phone_line(Stall(5.0, after_audio_ms=500), Reply("greeting"))
    line.send("response.create")
    line.wait(1.0)
    stalled_at_ms = len(audio_of(line.events)) // 8
    assert stalled_at_ms == 500
    assert line.send("input_audio_buffer.clear") == []
    assert line.wait(3.9) == []
    burst = line.wait(0.6)
    assert {"response.done", "input_audio_buffer.cleared"} <= set(kinds(burst))
    assert len(audio_of(line.events)) == len(speech.clip("greeting").mulaw)
    assert kinds(line.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]


def test_a_stall_ends_at_its_time_even_if_nothing_else_is_due() -> None:
    line = phone_line()
    line.disturb(Stall(7.0))
    assert line.send("input_audio_buffer.clear") == []
    began = line.now
    assert line.wait_for("input_audio_buffer.cleared")
    assert line.now - began == 7.0


def test_a_stall_without_end_keeps_nothing_and_a_long_one_keeps_a_bounded_amount() -> None:
    silent, slow = phone_line(), phone_line()
    silent.disturb(Stall(math.inf))
    slow.disturb(Stall(60.0))
    for _ in range(MOST_HELD + 10):
        silent.session.receive('{"type":"input_audio_buffer.clear"}', silent.now)
        slow.session.receive('{"type":"input_audio_buffer.clear"}', slow.now)
    assert silent.session.deadline == 100.0 + 3600.0
    slow.now += 60.0
    assert len(slow.session.advance(slow.now)) == MOST_HELD


def test_a_silent_session_speaks_once_the_fault_is_gone() -> None:
    line = phone_line(faults=Faults(silent=True))
    assert line.events == []
    line.session.faults = Faults()
    assert kinds(line.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]


def test_an_end_ends_a_stall() -> None:
    line = phone_line()
    line.disturb(Stall(60.0))
    line.send("input_audio_buffer.clear")
    assert line.disturb(Drop()) == []
    assert line.session.closing == Drop()


# What no client should trip over


def test_point_58_an_event_of_a_type_that_nobody_knows() -> None:
    said = say(phone_line(Reply("greeting"), faults=Faults(unknown_event=True), is_strange=True))
    stranger = the(said, "response.output_scent.delta")
    assert stranger["event_id"].startswith("event_")
    assert kinds(said)[-2] == "response.done"
    scripted = phone_line(SendEvent({"type": "weather.updated", "sky": "blue"}), Reply("greeting"), is_strange=True)
    assert the(say(scripted), "weather.updated")["sky"] == "blue"


def test_point_58_events_with_fields_that_nobody_knows() -> None:
    line = phone_line(Reply("greeting"), faults=Faults(unknown_fields=True), is_strange=True)
    say(line)
    assert line.events
    assert all("simulator_extra" in event for event in line.events)


def test_point_58_text_that_is_no_json() -> None:
    line = phone_line(Reply("greeting"), faults=Faults(malformed_json=True))
    assert the(say(line), "response.done")
    (text,) = line.texts
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(text)
    scripted = phone_line(SendText("hello"), Reply("greeting"))
    say(scripted)
    assert scripted.texts == ["hello"]


def test_point_58_a_done_that_comes_twice_is_the_same_to_the_letter() -> None:
    said = say(phone_line(Reply("greeting"), faults=Faults(duplicate_done=True)))
    first, second = of_kind(said, "response.done")
    assert first == second
    assert kinds(said).count("response.created") == 1


def test_point_58_an_event_out_of_its_order() -> None:
    usual = say(phone_line(Reply("menu")))
    swapped = say(phone_line(Reply("menu"), faults=Faults(reordered_event=True)))
    ids = [event["event_id"] for event in usual]
    moved = [event["event_id"] for event in swapped]
    first_audio = kinds(usual).index(AUDIO)
    ids[first_audio], ids[first_audio + 1] = ids[first_audio + 1], ids[first_audio]
    assert moved == ids


def test_point_58_an_event_of_twenty_mebibytes() -> None:
    line = phone_line(SendOversized(), Reply("greeting"), is_strange=True)
    giant = the(say(line), "simulator.oversized")
    assert len(msgspec.json.encode(giant)) > 20 * 2**20
    small = phone_line(Reply("greeting"), faults=Faults(oversized_bytes=1000), is_strange=True)
    assert len(the(say(small), "simulator.oversized")["padding"]) == 1000


def test_an_error_that_nobody_caused_names_no_event_of_the_client() -> None:
    line = phone_line(SendError("server_error", "The server had an error.", after_audio_ms=300), Reply("greeting"))
    said = say(line)
    told = the(said, "error")["error"]
    assert (told["code"], told["type"], told["event_id"]) == ("server_error", "server_error", None)
    assert the(said, "response.done")["response"]["status"] == "completed"
    assert error(line.disturb(SendError(None, "Again."))) == {
        "type": "server_error",
        "code": None,
        "message": "Again.",
        "param": None,
        "event_id": None,
    }


# After a cancel


def test_point_45_a_cancelled_reply_still_says_a_few_deltas() -> None:
    line = phone_line(Reply("menu"), pace=1.0, faults=Faults(stray_deltas=3))
    said = cut_off(line)
    assert all(kind.endswith("_transcript.delta") or kind == AUDIO for kind in kinds(said)[:3])
    assert not [kind for kind in kinds(said)[3:] if kind.endswith(".delta")]
    response = the(said, "response.done")["response"]
    assert response["status"] == "cancelled"
    transcript = "".join(event["delta"] for event in of_kind(line.events, "response.output_audio_transcript.delta"))
    assert response["output"][0]["content"][0]["transcript"] == transcript
    item = line.send("conversation.item.retrieve", item_id=response["output"][0]["id"])[0]["item"]
    assert base64.b64decode(item["content"][0]["audio"]) == audio_of(line.events)


def test_point_45_a_reply_cancelled_before_its_first_delta_has_none_to_say() -> None:
    line = phone_line(Reply("menu"), faults=Faults(stray_deltas=3))
    assert kinds(cut_off(line, said_s=0.0)) == ["response.done", "rate_limits.updated"]


def test_point_45_a_reply_that_was_said_to_its_end_strays_no_further() -> None:
    line = phone_line(Reply("greeting"), faults=Faults(stray_deltas=1000), pace=1.0)
    said = cut_off(line)
    assert len(audio_of(line.events)) == len(speech.clip("greeting").mulaw)
    assert kinds(said)[-2:] == ["response.done", "rate_limits.updated"]
    assert line.wait(10.0) == []


def test_point_45_the_end_of_a_cancelled_reply_comes_after_the_next_has_begun() -> None:
    line = phone_line(Reply("menu"), Reply("greeting"), pace=1.0, faults=Faults(late_done=True))
    said = cut_off(line)
    assert kinds(said)[-1] == "response.output_item.done"
    second = line.send("response.create")
    assert kinds(second) == ["response.created", "response.done", "rate_limits.updated"]
    assert second[1]["response"]["status"] == "cancelled"
    assert second[1]["response"]["id"] != second[0]["response"]["id"]
    assert the(line.wait(20.0), "response.done")["response"]["id"] == second[0]["response"]["id"]


def test_point_45_without_a_next_reply_it_comes_after_a_while() -> None:
    line = phone_line(Reply("menu"), pace=1.0, faults=Faults(late_done=True))
    cut_off(line)
    assert line.wait(LATE_DONE_S - 0.1) == []
    assert kinds(line.wait(0.2)) == ["response.done", "rate_limits.updated"]
    assert line.wait(20.0) == []


# The bill


@pytest.mark.parametrize("usage", [None, {"total_tokens": 3, "input_tokens": 1, "output_tokens": 2}])
def test_point_48_a_script_can_name_its_own_usage(usage: Json | None) -> None:
    line = phone_line(Bill(usage), Reply("greeting"), Reply("greeting"))
    assert the(say(line), "response.done")["response"]["usage"] == usage
    assert the(say(line), "response.done")["response"]["usage"]["total_tokens"] > 3

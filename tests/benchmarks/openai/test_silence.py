"""The idle timeout: what the model does about a caller who stays silent after a reply."""

import base64
from typing import Any

import pytest

from benchmarks import speech
from benchmarks.simulators.openai import Reply
from proto import mulaw
from tests.benchmarks.openai.line import Line, kinds, of_kind, phone_line, the

TIMEOUT_MS = 5000
WOKEN = [
    "input_audio_buffer.timeout_triggered",
    "conversation.item.added",
    "conversation.item.done",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
]


def patient_line(**settings: Any) -> Line:
    """A session that minds 5 s of silence, in which a greeting was said completely."""
    line = phone_line(Reply("greeting"), Reply("anything_else"), Reply("anything_else"), **settings)
    detection = {"type": "server_vad", "idle_timeout_ms": TIMEOUT_MS}
    audio = {"input": {"turn_detection": detection, "transcription": {"model": "gpt-realtime-whisper"}}}
    line.send("session.update", session={"type": "realtime", "audio": audio})
    line.send("response.create")
    line.wait_for("response.done")
    return line


def silence_until_woken(line: Line) -> float:
    """Seconds of silence until the model speaks up."""
    began = line.now
    while "response.created" not in kinds(line.speak(mulaw.silence(100))):
        assert line.now < began + 60, "it never did"
    return line.now - began


def test_point_33_a_long_silence_after_a_reply_makes_the_model_speak_up() -> None:
    line = patient_line()
    line.events.clear()
    waited_s = silence_until_woken(line)
    played_s = speech.clip("greeting").duration_ms / 1000
    assert waited_s == pytest.approx(played_s + TIMEOUT_MS / 1000, abs=0.2)
    assert [kind for kind in kinds(line.events) if kind != "rate_limits.updated"][: len(WOKEN)] == WOKEN
    asked, heard = of_kind(line.events, "conversation.item.done")
    assert asked["item"]["role"] == "system"
    assert heard["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert heard["previous_item_id"] == asked["item"]["id"]


def test_point_33_the_silence_is_committed_billed_and_transcribed_as_nothing() -> None:
    line = patient_line()
    silence_until_woken(line)
    line.wait(5.0)
    stretch = the(line.events, "input_audio_buffer.timeout_triggered")
    assert stretch["audio_end_ms"] - stretch["audio_start_ms"] == TIMEOUT_MS
    item_id = stretch["item_id"]
    assert the(line.events, "input_audio_buffer.committed")["item_id"] == item_id
    item = line.send("conversation.item.retrieve", item_id=item_id)[0]["item"]
    assert len(base64.b64decode(item["content"][0]["audio"])) == TIMEOUT_MS * 8
    transcribed = the(line.events, "conversation.item.input_audio_transcription.completed")
    assert (transcribed["item_id"], transcribed["transcript"]) == (item_id, "")
    assert of_kind(line.events, "response.done")[-1]["response"]["usage"]["input_token_details"]["audio_tokens"] >= 50


def test_point_33_a_caller_who_speaks_is_not_silent() -> None:
    line = patient_line()
    line.speak(mulaw.silence(1000))
    line.say("ask_hours")
    assert "input_audio_buffer.timeout_triggered" not in kinds(line.events)


def test_point_33_an_ear_that_is_given_nothing_hears_no_silence() -> None:
    line = patient_line()
    heard = line.wait(60.0)
    assert "input_audio_buffer.timeout_triggered" not in kinds(heard)
    assert "input_audio_buffer.timeout_triggered" in kinds(line.speak(mulaw.silence(200)))


@pytest.mark.parametrize(("repeats", "times"), [(True, 2), (False, 1)])
def test_point_33_it_happens_once_in_a_silence_or_after_every_reply(repeats: bool, times: int) -> None:
    line = patient_line(idle_timeout_repeats=repeats)
    line.speak(mulaw.silence(22_000))
    assert kinds(line.events).count("input_audio_buffer.timeout_triggered") == times


def test_point_33_turning_it_off_in_the_middle_of_the_silence_is_heeded() -> None:
    line = patient_line()
    line.speak(mulaw.silence(3000))
    detection = {"type": "server_vad", "idle_timeout_ms": None}
    line.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    line.speak(mulaw.silence(20_000))
    assert "input_audio_buffer.timeout_triggered" not in kinds(line.events)


def test_a_session_that_waits_for_a_silence_to_show_is_not_idle() -> None:
    line = patient_line()
    assert line.session.is_idle
    line.wait(20.0)  # long enough, but the client appended nothing
    assert not line.session.is_idle
    assert "response.created" in kinds(line.speak(mulaw.silence(100)))

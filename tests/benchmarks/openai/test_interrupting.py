"""Cutting a response short: by the caller's voice, and by the client."""

import base64
import math

from benchmarks import speech
from benchmarks.simulators.openai import Reply
from tests.benchmarks.openai.line import Json, Line, audio_of, error, kinds, of_kind, phone_line, the

MESSAGE_OPENS = ["response.output_item.added", "conversation.item.added", "response.content_part.added"]
MESSAGE_CLOSES = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
]
TRANSCRIPT = "response.output_audio_transcript.delta"
AUDIO = "response.output_audio.delta"


def respond(line: Line, **response: object) -> list[Json]:
    """Everything of one response, from its creation on."""
    return [*line.send("response.create", response=response), *line.wait(30.0)]


def done(events: list[Json]) -> Json:
    response: Json = the(events, "response.done")["response"]
    return response


def test_point_44_a_caller_who_speaks_up_stops_the_reply() -> None:
    line = phone_line(Reply("menu"), pace=1.0)
    line.send("response.create")
    line.wait(2.0)
    heard = line.speak(speech.clip("interrupt_vegetarian").mulaw)
    order = kinds(heard)
    started = order.index("input_audio_buffer.speech_started")
    assert order[started + 1 :] == [*MESSAGE_CLOSES, "response.done", "rate_limits.updated"]
    response = done(heard)
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    item = response["output"][0]
    assert item["status"] == "incomplete"
    said = "".join(delta["delta"] for delta in of_kind(line.events, TRANSCRIPT))
    assert item["content"][0]["transcript"] == said
    assert speech.clip("menu").transcript.startswith(said)
    assert len(said) < len(speech.clip("menu").transcript)
    heard_ms = len(audio_of(line.events)) // 8
    assert response["usage"]["output_token_details"]["audio_tokens"] == math.ceil(heard_ms / 50)
    again = line.send("conversation.item.retrieve", item_id=item["id"])[0]["item"]
    assert base64.b64decode(again["content"][0]["audio"]) == audio_of(line.events)


def test_point_44_nothing_of_a_stopped_reply_follows_and_the_new_question_is_answered() -> None:
    line = phone_line(Reply("menu"), Reply("vegetarian"), pace=1.0)
    line.send("response.create")
    line.wait(2.0)
    heard = line.say("interrupt_vegetarian")
    stopped = done(heard)["id"]
    last = max(index for index, event in enumerate(heard) if event.get("response_id") == stopped)
    assert last < kinds(heard).index("response.done")
    answer = line.wait_for("response.done")["response"]
    assert answer["output"][0]["content"][0]["transcript"] == speech.clip("vegetarian").transcript


def test_speech_after_the_reply_was_sent_cancels_nothing() -> None:
    line = phone_line(Reply("opening_hours"))
    line.send("response.create")
    line.wait(5.0)
    assert "response.done" not in kinds(line.speak(speech.clip("ask_menu").mulaw))


def test_with_interrupt_response_off_the_reply_goes_on() -> None:
    line = phone_line(Reply("menu"), pace=1.0)
    detection = {"type": "server_vad", "interrupt_response": False, "create_response": False}
    line.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    line.send("response.create")
    assert "input_audio_buffer.speech_started" in kinds(line.say("ask_hours"))
    assert line.wait_for("response.done")["response"]["status"] == "completed"


def test_point_43_a_client_can_cancel_with_or_without_the_id() -> None:
    for named in (False, True):
        line = phone_line(Reply("menu"))
        response_id = line.send("response.create")[0]["response"]["id"]
        line.wait_for(AUDIO)
        events = line.send("response.cancel", **({"response_id": response_id} if named else {}))
        assert kinds(events) == [*MESSAGE_CLOSES, "response.done", "rate_limits.updated"]
        assert done(events)["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        assert line.wait(10.0) == []


def test_a_reply_cancelled_before_it_began_has_no_items() -> None:
    line = phone_line(Reply("menu"))
    line.send("response.create")
    events = line.send("response.cancel")
    assert kinds(events) == ["response.done", "rate_limits.updated"]
    assert done(events)["output"] == []
    assert done(events)["usage"]["output_tokens"] == 0


def test_point_43_there_is_nothing_to_cancel_when_nothing_is_active() -> None:
    line = phone_line(Reply("greeting"))
    refused = error(line.send("response.cancel", event_id="x-1"))
    assert refused["code"] == "response_cancel_not_active"
    assert refused["message"] == "Cancellation failed: no active response found"
    assert refused["event_id"] == "x-1"
    line.send("response.create")
    assert error(line.send("response.cancel", response_id="resp_other"))["code"] == "response_cancel_not_active"
    line.wait_for("response.done")
    assert error(line.send("response.cancel"))["code"] == "response_cancel_not_active"

"""Responses: the order, the pace and the bill of what the model says, and how it is interrupted."""

import base64
import math
from itertools import pairwise

import pytest

from benchmarks import speech
from benchmarks.simulators.openai import Fail, Incomplete, Reply, Script, Several, Silence, SimulatorConfig, ToolCall
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


# What a reply looks like


def test_a_spoken_reply_is_told_in_the_recorded_order() -> None:
    events = respond(phone_line(Reply("greeting")))
    order = [kind for kind in kinds(events) if kind not in (TRANSCRIPT, AUDIO)]
    assert order == ["response.created", *MESSAGE_OPENS, *MESSAGE_CLOSES, "response.done", "rate_limits.updated"]
    assert kinds(events)[4] == TRANSCRIPT


def test_words_run_ahead_of_the_voice_and_add_up() -> None:
    events = respond(phone_line(Reply("menu")))
    order = kinds(events)
    assert order.index(TRANSCRIPT) < order.index(AUDIO)
    transcript = "".join(delta["delta"] for delta in of_kind(events, TRANSCRIPT))
    assert transcript == speech.clip("menu").transcript
    assert the(events, "response.output_audio_transcript.done")["transcript"] == transcript
    assert the(events, "response.content_part.done")["part"] == {"type": "audio", "transcript": transcript}
    content = [{"type": "output_audio", "transcript": transcript}]
    assert the(events, "conversation.item.done")["item"]["content"] == content
    assert done(events)["output"][0]["content"] == content
    last_word = max(index for index, kind in enumerate(order) if kind == TRANSCRIPT)
    assert AUDIO in order[last_word:]


@pytest.mark.parametrize("audio_format", ["audio/pcmu", "audio/pcma", "audio/pcm"])
def test_the_audio_is_the_clip_in_the_sessions_format(audio_format: str) -> None:
    line = phone_line(Reply("greeting"))
    wanted = {"type": audio_format, **({"rate": 24000} if audio_format == "audio/pcm" else {})}
    line.send("session.update", session={"type": "realtime", "audio": {"output": {"format": wanted}}})
    audio = audio_of(respond(line))
    clip = speech.clip("greeting")
    assert len(audio) == clip.duration_ms * (48 if audio_format == "audio/pcm" else 8)
    if audio_format == "audio/pcmu":
        assert audio == clip.mulaw


def test_text_deltas_are_padded_and_2x_models_name_the_phase() -> None:
    events = respond(phone_line(Reply("greeting")))
    for delta in of_kind(events, TRANSCRIPT):
        assert (len(delta["delta"]) + len(delta["obfuscation"])) % 16 == 0
    assert all("obfuscation" not in delta for delta in of_kind(events, AUDIO))
    assert done(events)["output"][0]["phase"] == "final_answer"
    assert "reasoning_tokens" in done(events)["usage"]["output_token_details"]
    older = respond(phone_line(Reply("greeting"), model="gpt-realtime"))
    assert "phase" not in done(older)["output"][0]
    assert "reasoning_tokens" not in done(older)["usage"]["output_token_details"]


def test_metadata_and_settings_are_echoed() -> None:
    line = phone_line(Reply("greeting"))
    events = respond(line, metadata={"kind": "greeting"}, max_output_tokens=2000)
    for response in (the(events, "response.created")["response"], done(events)):
        assert response["metadata"] == {"kind": "greeting"}
        assert response["max_output_tokens"] == 2000
        assert response["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "marin"}
        assert response["conversation_id"].startswith("conv_")
    created = the(events, "response.created")["response"]
    assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)


def test_a_text_response_is_written_not_spoken() -> None:
    events = respond(phone_line(Reply("greeting")), output_modalities=["text"])
    assert not [kind for kind in kinds(events) if "audio" in kind]
    text = the(events, "response.output_text.done")["text"]
    assert "".join(delta["delta"] for delta in of_kind(events, "response.output_text.delta")) == text
    assert done(events)["output"][0]["content"] == [{"type": "output_text", "text": text}]
    assert the(events, "response.content_part.added")["part"] == {"type": "text", "text": ""}
    assert done(events)["usage"]["output_token_details"]["audio_tokens"] == 0


def test_several_items_open_before_the_first_closes_and_close_one_by_one() -> None:
    line = phone_line(Several((Reply("one_moment"), ToolCall("find_table", '{"guests":4,"time":"19:30"}'))))
    events = respond(line)
    order = kinds(events)
    opened = [index for index, kind in enumerate(order) if kind == "response.output_item.added"]
    closed = [index for index, kind in enumerate(order) if kind == "response.output_item.done"]
    assert opened[1] < closed[0] < closed[1]
    message, call = done(events)["output"]
    assert (message["type"], message["phase"]) == ("message", "commentary")
    assert (call["type"], call["name"]) == ("function_call", "find_table")
    first, second = of_kind(events, "conversation.item.added")
    assert second["previous_item_id"] == first["item"]["id"]


def test_the_greeting_comes_first_and_only_once() -> None:
    line = phone_line(script=Script(steps=(Reply("sorry"),)))
    greeting = respond(line, instructions="Greet the caller.")
    assert done(greeting)["output"][0]["content"][0]["transcript"] == speech.clip("greeting").transcript
    again = respond(line, instructions="Say it again.")
    assert done(again)["output"][0]["content"][0]["transcript"] == speech.clip("sorry").transcript


def test_when_the_script_is_used_up_the_model_still_has_something_to_say() -> None:
    line = phone_line(Reply("sorry"))
    said = [done(respond(line))["output"][0]["content"][0]["transcript"] for _ in range(6)]
    assert said[0] == speech.clip("sorry").transcript
    assert len(set(said[1:5])) == 4
    assert said[5] == said[1]


# Pace


def arrivals(line: Line) -> list[tuple[float, Json]]:
    """(seconds since the response was asked for, event) of one response."""
    began, heard = line.now, [(0.0, event) for event in line.send("response.create")]
    while line.session.deadline < began + 60:
        line.now = line.session.deadline
        heard += [(line.now - began, event) for event in line.session.advance(line.now)]
    return heard


def audio_times(line: Line) -> list[tuple[float, int]]:
    """(seconds, milliseconds of audio) of each delta."""
    heard = arrivals(line)
    return [(at, len(base64.b64decode(event["delta"])) // 8) for at, event in heard if event["type"] == AUDIO]


def test_audio_comes_in_a_burst_ten_times_faster_than_it_sounds() -> None:
    times = audio_times(phone_line(Reply("menu")))
    assert times[0][0] == pytest.approx(0.35)
    assert [ms for _, ms in times[:4]] == [100, 150, 250, 250]
    spent_s = times[-1][0] - times[0][0]
    sounding_s = sum(ms for _, ms in times[:-1]) / 1000
    assert spent_s == pytest.approx(sounding_s / 10)


def test_the_pace_can_be_real_time_or_one_burst() -> None:
    in_time = audio_times(phone_line(Reply("greeting"), pace=1.0, first_audio_delay_s=0.5))
    assert in_time[0][0] == pytest.approx(0.5)
    assert in_time[-1][0] - in_time[0][0] == pytest.approx(sum(ms for _, ms in in_time[:-1]) / 1000)
    burst = audio_times(phone_line(Reply("greeting"), pace=math.inf))
    assert {at for at, _ in burst} == {burst[0][0]}


def test_a_driver_that_comes_late_gets_all_of_it_in_order() -> None:
    punctual, late = phone_line(Reply("menu")), phone_line(Reply("menu"))
    late.send("response.create")
    late.now += 60.0
    all_at_once = late.session.advance(late.now)
    assert kinds(all_at_once) == kinds(respond(punctual)[1:])


# One at a time


def test_a_second_response_is_refused_while_one_is_active() -> None:
    line = phone_line(Reply("menu"))
    active = the(line.send("response.create"), "response.created")["response"]["id"]
    refused = error(line.send("response.create", event_id="r-2"))
    assert refused["code"] == "conversation_already_has_active_response"
    assert refused["event_id"] == "r-2"
    assert refused["message"] == (
        f"Conversation already has an active response in progress: {active}. "
        "Wait until the response is finished before creating a new one."
    )
    assert kinds(line.wait(30.0)).count("response.done") == 1


def test_an_automatic_response_that_finds_another_active_blames_no_event() -> None:
    line = phone_line(Reply("menu"), pace=1.0)
    detection = {"type": "server_vad", "interrupt_response": False}
    line.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    line.send("response.create")
    refused = the(line.say("ask_hours"), "error")["error"]
    assert refused["code"] == "conversation_already_has_active_response"
    assert refused["event_id"] is None


def test_a_response_beside_the_conversation_leaves_no_trace_in_it() -> None:
    line = phone_line(Reply("menu"), Reply("sorry"), Reply("goodbye"))
    line.send("response.create")
    aside = line.send("response.create", response={"conversation": "none", "metadata": {"for": "summary"}, "input": []})
    created = the(aside, "response.created")["response"]
    assert created["conversation_id"] is None
    assert created["metadata"] == {"for": "summary"}
    events = line.wait(30.0)
    ended = {event["response"]["id"]: event["response"] for event in of_kind(events, "response.done")}
    assert ended[created["id"]]["output"][0]["content"][0]["transcript"] == speech.clip("sorry").transcript
    assert [event["item"]["content"] for event in of_kind(events, "conversation.item.added")] == [[]]
    assert len(ended) == 2


def test_a_response_may_be_given_its_own_context() -> None:
    line = phone_line(Reply("greeting"), Reply("sorry"))
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x" * 4000}]}
    known = the(line.send("conversation.item.create", item=item), "conversation.item.added")["item"]["id"]
    reference = {"type": "item_reference", "id": known}
    with_it = done(respond(line, conversation="none", input=[reference]))["usage"]["input_tokens"]
    without = done(respond(line, conversation="none", input=[]))["usage"]["input_tokens"]
    assert with_it - without == 1000
    unknown = {"type": "item_reference", "id": "item_gone"}
    refused = error(line.send("response.create", response={"conversation": "none", "input": [unknown]}))
    assert refused["param"] == "response.input[0].id"


@pytest.mark.parametrize(
    ("response", "code", "path"),
    [
        ({"modalities": ["text"]}, "unknown_parameter", "response.modalities"),
        ({"output_modalities": ["text", "audio"]}, "invalid_value", "response.output_modalities"),
        ({"max_output_tokens": 5000}, "invalid_value", "response.max_output_tokens"),
        ({"conversation": "other"}, "invalid_value", "response.conversation"),
        ({"metadata": {"k": 1}}, "invalid_type", "response.metadata.k"),
        ({"metadata": {"k": "v" * 513}}, "string_above_max_length", "response.metadata.k"),
        ("now", "invalid_type", "response"),
    ],
)
def test_a_response_that_asks_for_the_impossible_is_refused(response: object, code: str, path: str) -> None:
    refused = error(phone_line().send("response.create", response=response))
    assert (refused["code"], refused["param"]) == (code, path)


# Cut short


def test_a_caller_who_speaks_up_stops_the_reply() -> None:
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


def test_nothing_of_a_stopped_reply_follows_and_the_new_question_is_answered() -> None:
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


def test_a_client_can_cancel_with_or_without_the_id() -> None:
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


def test_there_is_nothing_to_cancel_when_nothing_is_active() -> None:
    line = phone_line(Reply("greeting"))
    refused = error(line.send("response.cancel", event_id="x-1"))
    assert refused["code"] == "response_cancel_not_active"
    assert refused["message"] == "Cancellation failed: no active response found"
    assert refused["event_id"] == "x-1"
    line.send("response.create")
    assert error(line.send("response.cancel", response_id="resp_other"))["code"] == "response_cancel_not_active"
    line.wait_for("response.done")
    assert error(line.send("response.cancel"))["code"] == "response_cancel_not_active"


# How else it can end


def test_a_token_limit_cuts_a_reply_off() -> None:
    events = respond(phone_line(Reply("menu")), max_output_tokens=100)
    response = done(events)
    assert response["status"] == "incomplete"
    assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"
    assert 50 < response["usage"]["output_tokens"] <= 100


def test_a_filter_can_cut_a_reply_off() -> None:
    events = respond(phone_line(Incomplete("menu", spoken_ms=1500, reason="content_filter")))
    assert done(events)["status_details"] == {"type": "incomplete", "reason": "content_filter"}
    assert len(audio_of(events)) == 1500 * 8


def test_a_scripted_failure_fails_the_response_and_spares_the_session() -> None:
    line = phone_line(Fail("insufficient_quota", "You exceeded your current quota.", kind="insufficient_quota"))
    response = done(respond(line))
    assert response["status"] == "failed"
    assert response["usage"] is None
    assert response["status_details"]["error"] == {
        "type": "insufficient_quota",
        "code": "insufficient_quota",
        "message": "You exceeded your current quota.",
    }
    assert done(respond(line))["status"] == "completed"


def test_a_model_with_nothing_to_say_completes_without_items() -> None:
    response = done(respond(phone_line(Silence())))
    assert (response["status"], response["output"]) == ("completed", [])


# The bill


def test_usage_counts_time_and_text_and_adds_up() -> None:
    line = phone_line(Reply("opening_hours"), Reply("menu"))
    line.say("ask_hours")
    line.wait(10.0)
    first = done(line.events)["usage"]
    line.events.clear()
    line.say("ask_menu")
    line.wait(10.0)
    second = done(line.events)["usage"]
    for usage in (first, second):
        given, produced = usage["input_token_details"], usage["output_token_details"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert usage["input_tokens"] == given["text_tokens"] + given["audio_tokens"] + given["image_tokens"]
        assert usage["output_tokens"] == produced["text_tokens"] + produced["audio_tokens"]
        assert produced["reasoning_tokens"] <= produced["text_tokens"]
        cached = given["cached_tokens_details"]
        assert given["cached_tokens"] == cached["text_tokens"] + cached["audio_tokens"] + cached["image_tokens"]
        for kind in ("text_tokens", "audio_tokens"):
            assert cached[kind] % 64 == 0
            assert cached[kind] <= given[kind]
    question_ms = speech.clip("ask_hours").duration_ms + 500
    assert first["input_token_details"]["audio_tokens"] == pytest.approx(question_ms / 100, abs=3)
    answer_tokens = math.ceil(speech.clip("opening_hours").duration_ms / 50)
    assert first["output_token_details"]["audio_tokens"] == answer_tokens
    assert second["input_token_details"]["audio_tokens"] > first["input_token_details"]["audio_tokens"] + answer_tokens


def test_what_was_read_before_is_cached_in_whole_blocks() -> None:
    line = phone_line()
    line.send("session.update", session={"type": "realtime", "instructions": "word " * 400})
    usages = [done(respond(line))["usage"]["input_token_details"] for _ in range(2)]
    assert usages[0]["cached_tokens"] == 0
    assert usages[1]["cached_tokens_details"]["text_tokens"] == 448  # 500 tokens of instructions, in blocks of 64


def test_rate_limits_come_once_shortly_after_the_response() -> None:
    heard = arrivals(phone_line(Reply("greeting")))
    (ended,) = [at for at, event in heard if event["type"] == "response.done"]
    (limits,) = [(at, event) for at, event in heard if event["type"] == "rate_limits.updated"]
    assert limits[0] - ended == pytest.approx(0.030)
    assert [entry["name"] for entry in limits[1]["rate_limits"]] == ["tokens"]


def test_equal_seeds_give_equal_sessions_and_others_differ() -> None:
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

"""Responses: the order, the pace and the bill of what the model says, and how it is interrupted."""

import math

import pytest

from benchmarks import speech
from benchmarks.simulators.openai import Fail, Incomplete, Reply, Script, Several, Silence, ToolCall
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


def test_point_35_a_spoken_reply_is_told_in_the_recorded_order() -> None:
    events = respond(phone_line(Reply("greeting")))
    order = [kind for kind in kinds(events) if kind not in (TRANSCRIPT, AUDIO)]
    assert order == ["response.created", *MESSAGE_OPENS, *MESSAGE_CLOSES, "response.done", "rate_limits.updated"]
    assert kinds(events)[4] == TRANSCRIPT


def test_point_36_words_run_ahead_of_the_voice_and_add_up() -> None:
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
def test_point_37_the_audio_is_the_clip_in_the_sessions_format(audio_format: str) -> None:
    line = phone_line(Reply("greeting"))
    wanted = {"type": audio_format, **({"rate": 24000} if audio_format == "audio/pcm" else {})}
    line.send("session.update", session={"type": "realtime", "audio": {"output": {"format": wanted}}})
    audio = audio_of(respond(line))
    clip = speech.clip("greeting")
    assert len(audio) == clip.duration_ms * (48 if audio_format == "audio/pcm" else 8)
    if audio_format == "audio/pcmu":
        assert audio == clip.mulaw


def test_point_15_text_deltas_are_padded_and_2x_models_name_the_phase() -> None:
    events = respond(phone_line(Reply("greeting")))
    for delta in of_kind(events, TRANSCRIPT):
        assert (len(delta["delta"]) + len(delta["obfuscation"])) % 16 == 0
    assert all("obfuscation" not in delta for delta in of_kind(events, AUDIO))
    assert done(events)["output"][0]["phase"] == "final_answer"
    assert "reasoning_tokens" in done(events)["usage"]["output_token_details"]
    older = respond(phone_line(Reply("greeting"), model="gpt-realtime"))
    assert "phase" not in done(older)["output"][0]
    assert "reasoning_tokens" not in done(older)["usage"]["output_token_details"]


def test_point_41_metadata_and_settings_are_echoed() -> None:
    line = phone_line(Reply("greeting"))
    events = respond(line, metadata={"kind": "greeting"}, max_output_tokens=2000)
    for response in (the(events, "response.created")["response"], done(events)):
        assert response["metadata"] == {"kind": "greeting"}
        assert response["max_output_tokens"] == 2000
        assert response["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "marin"}
        assert response["conversation_id"].startswith("conv_")
    created = the(events, "response.created")["response"]
    assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)


def test_point_41_what_a_response_asks_for_differently_is_its_own_alone() -> None:
    line = phone_line(Reply("greeting"), Reply("greeting"))
    usual = done(respond(line, conversation="none"))
    pcm = {"type": "audio/pcm", "rate": 24000}
    tool = {"type": "function", "name": "find", "parameters": {"type": "object"}}
    special = {"output": {"format": pcm, "voice": "cedar"}}
    asked = {"audio": special, "max_output_tokens": 900, "instructions": "x" * 4000, "tools": [tool]}
    events = respond(line, conversation="none", **asked)
    for response in (the(events, "response.created")["response"], done(events)):
        assert (response["audio"], response["max_output_tokens"]) == (special, 900)
    assert len(audio_of(events)) == speech.clip("greeting").duration_ms * 48
    assert done(events)["usage"]["input_tokens"] > usual["usage"]["input_tokens"] + 900
    after = done(respond(line))
    assert (after["audio"], after["max_output_tokens"]) == (usual["audio"], "inf")


def test_point_41_a_response_that_may_call_no_tool_calls_none() -> None:
    step = Several((Reply("one_moment"), ToolCall("find")))
    line = phone_line(step, ToolCall("find"), ToolCall("find"))
    (spoken,) = done(respond(line, tool_choice="none"))["output"]
    assert (spoken["type"], spoken["phase"]) == ("message", "final_answer")
    assert done(respond(line, tool_choice="none"))["output"] == []
    assert done(respond(line))["output"][0]["type"] == "function_call"


def test_point_42_a_text_response_is_written_not_spoken() -> None:
    events = respond(phone_line(Reply("greeting")), output_modalities=["text"])
    assert not [kind for kind in kinds(events) if "audio" in kind]
    text = the(events, "response.output_text.done")["text"]
    assert "".join(delta["delta"] for delta in of_kind(events, "response.output_text.delta")) == text
    assert done(events)["output"][0]["content"] == [{"type": "output_text", "text": text}]
    assert the(events, "response.content_part.added")["part"] == {"type": "text", "text": ""}
    assert done(events)["usage"]["output_token_details"]["audio_tokens"] == 0


def test_point_35_several_items_open_before_the_first_closes_and_close_one_by_one() -> None:
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


# One at a time


def test_point_39_a_second_response_is_refused_while_one_is_active() -> None:
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


def test_point_39_an_automatic_response_that_finds_another_active_blames_no_event() -> None:
    line = phone_line(Reply("menu"), pace=1.0)
    detection = {"type": "server_vad", "interrupt_response": False}
    line.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    line.send("response.create")
    refused = the(line.say("ask_hours"), "error")["error"]
    assert refused["code"] == "conversation_already_has_active_response"
    assert refused["event_id"] is None


def test_point_40_a_response_beside_the_conversation_leaves_no_trace_in_it() -> None:
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


def test_point_40_a_response_may_be_given_its_own_context() -> None:
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


# How else it can end


def test_point_46_a_token_limit_cuts_a_reply_off() -> None:
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


def test_point_47_a_scripted_failure_fails_the_response_and_spares_the_session() -> None:
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


def test_point_48_usage_counts_time_and_text_and_adds_up() -> None:
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


def test_point_48_what_was_read_before_is_cached_in_whole_blocks() -> None:
    line = phone_line()
    line.send("session.update", session={"type": "realtime", "instructions": "word " * 400})
    usages = [done(respond(line))["usage"]["input_token_details"] for _ in range(2)]
    assert usages[0]["cached_tokens"] == 0
    assert usages[1]["cached_tokens_details"]["text_tokens"] == 448  # 500 tokens of instructions, in blocks of 64

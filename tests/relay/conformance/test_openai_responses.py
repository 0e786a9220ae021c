"""Responses and tools: numbered points of our OpenAI conformance list, docs/conformance.md, 21 to 26."""

import msgspec
import pytest

from relay.events import CancelTool, Command, DropUpstream, OpenUpstream, RunTool
from relay.log import AskDropped, CallEnded, ResponseEnded, UpstreamReady, UpstreamReplaced
from relay.tools import ToolBox
from relay.usage import TokenUsage
from tests.relay import wire
from tests.relay.story import Story, answering, asked, purposes, ready, reopened, started
from tests.relay.test_tools import tool
from tests.relay.wire import Message

TOOLBOX = ToolBox([tool("find"), tool("look", on_barge_in="cancel"), tool("book", on_barge_in="detach")])


def calling(*names: str) -> Story:
    """A response that calls these tools, as call_1, call_2 …"""
    story = answering(toolbox=TOOLBOX)
    story.openai(*(wire.tool_called(name, f"call_{n}") for n, name in enumerate(names, 1)))
    return story


def outputs(commands: list[Command]) -> list[Message]:
    """The outputs of tools among these commands."""
    items = [event["item"] for event in wire.to_openai(commands) if event["type"] == "conversation.item.create"]
    return [item for item in items if item["type"] == "function_call_output"]


def conflict(refused: Message) -> Message:
    return wire.error("conversation_already_has_active_response", event_id=refused["event_id"])


# 21: at most one response of ours


def refused_for_an_answer_to_the_caller(*, sees_output: bool) -> Story:
    """The reply to a tool is asked for and refused: a response to the caller's turn is a little faster."""
    story = calling("find")
    story.openai(wire.response_done())
    given = story.tool_brings()
    (reply,), (output,) = asked(given), outputs(given)
    added = wire.item_added(output["id"], type="function_call_output", role=None)
    story.openai(wire.speech_started(), wire.speech_stopped())
    order = [added, wire.response_created("resp_2")] if sees_output else [wire.response_created("resp_2"), added]
    assert asked(story.openai(*order, conflict(reply))) == []
    return story


def test_point_21_a_refused_response_is_asked_for_again_once_the_running_one_is_done() -> None:
    story = refused_for_an_answer_to_the_caller(sees_output=False)
    assert purposes(story.openai(wire.response_done("resp_2"))) == ["tool_result"]
    story.openai(wire.response_created("resp_3", asked=story.asked[-1]))
    assert purposes(story.openai(wire.response_done("resp_3"))) == []


def test_point_21_a_refused_response_is_dropped_if_the_running_one_says_it_all() -> None:
    story = refused_for_an_answer_to_the_caller(sees_output=True)
    assert purposes(story.openai(wire.response_done("resp_2"))) == []
    assert story.logged(AskDropped) == [AskDropped(purpose="tool_result", why="answered")]
    assert story.hang_up is None


def test_point_21_while_one_is_on_its_way_no_other_is_asked_for() -> None:
    story = calling("find")
    story.openai(wire.response_done())
    assert purposes(story.tool_brings()) == ["tool_result"]
    story.twilio(wire.dtmf("4"))
    assert purposes(story.twilio(wire.dtmf("#"))) == []


# 22 and 23: tools


def test_point_22_a_tool_is_run_once_for_each_call_that_is_complete() -> None:
    story = answering(toolbox=TOOLBOX)
    called = [wire.tool_called(status="incomplete"), wire.tool_called(), wire.tool_called(), wire.response_done()]
    assert [one for one in story.openai(*called) if isinstance(one, RunTool)] == [RunTool("call_1", "find", "{}")]
    assert [one for one in story.openai(wire.tool_called()) if isinstance(one, RunTool)] == []


def test_point_22_each_call_has_one_output_and_all_together_have_one_response_when_all_are_given() -> None:
    story = calling("find", "find")
    first = story.tool_brings("one", "call_1")
    assert [(item["call_id"], item["output"]) for item in outputs(first)] == [("call_1", "one")]
    story.openai(wire.response_done())
    assert story.asked == []
    second = story.tool_brings("two", "call_2")
    assert [event["type"] for event in wire.to_openai(second)] == ["conversation.item.create", "response.create"]
    assert outputs(story.tool_brings("two", "call_2")) == []
    assert len(story.asked) == 1


def test_point_22_the_response_waits_for_the_end_of_the_one_that_called() -> None:
    story = calling("find")
    assert asked(story.tool_brings()) == []
    assert purposes(story.openai(wire.response_done())) == ["tool_result"]


def test_point_22_a_tool_that_never_reports_has_an_output_that_says_so() -> None:
    story = calling("find")
    story.openai(wire.response_done())
    given = story.passes(60.0)
    assert CancelTool("call_1") in given
    assert ['"timeout"' in item["output"] for item in outputs(given)] == [True]
    assert purposes(given)[0] == "tool_result"
    assert outputs(story.tool_brings()) == []


def test_point_22_a_tool_that_there_is_not_has_an_output_too() -> None:
    story = answering(toolbox=TOOLBOX)
    given = story.openai(wire.tool_called("fly"), wire.response_done())
    assert ["unknown_tool" in item["output"] for item in outputs(given)] == [True]
    assert purposes(given) == ["tool_result"]


@pytest.mark.parametrize(("name", "said"), [("look", "cancelled"), ("book", "in_background")])
def test_point_23_after_a_barge_in_the_output_is_given_and_left_to_the_answer(name: str, said: str) -> None:
    story = calling(name)
    story.openai(wire.response_done())
    (output,) = outputs(story.openai(wire.speech_started()))
    assert said in output["output"]
    story.openai(wire.item_added(output["id"]), wire.speech_stopped(), wire.response_created("resp_2"))
    story.openai(wire.response_done("resp_2"))
    story.passes(60.0)
    assert story.asked == []
    assert outputs(story.tool_brings()) == []


def test_point_23_a_tool_that_outlives_the_barge_in_gives_its_output_as_always() -> None:
    story = calling("find")
    story.openai(wire.response_done(), wire.speech_started(), wire.speech_stopped(), wire.response_created("resp_2"))
    given = story.tool_brings()
    assert [item["output"] for item in outputs(given)] == ["found"]
    assert asked(given) == []
    assert purposes(story.openai(wire.response_done("resp_2"))) == ["tool_result"]


def test_point_23_an_output_that_comes_while_there_is_no_session_is_told_to_the_next_with_its_call() -> None:
    story = calling("find")
    story.openai(wire.response_done())
    story.loses_openai()
    assert wire.to_openai(story.tool_brings()) == []
    given = reopened(story)
    retold = [event["item"] for event in wire.to_openai(given) if event["type"] == "conversation.item.create"]
    assert [(item["type"], item["call_id"]) for item in retold] == [
        ("function_call", "call_1"),
        ("function_call_output", "call_1"),
    ]
    assert purposes(given) == ["tool_result"]


def test_point_23_a_new_session_is_told_of_the_call_before_its_output() -> None:
    story = calling("find")
    story.openai(wire.response_done())
    story.loses_openai()
    assert [event["item"]["type"] for event in wire.to_openai(reopened(story))[1:]] == ["function_call"]
    assert [item["call_id"] for item in outputs(story.tool_brings())] == ["call_1"]


def test_point_23_a_call_that_was_broken_off_is_told_to_nobody() -> None:
    story = answering(toolbox=TOOLBOX)
    story.openai(wire.tool_called(status="incomplete"), wire.response_done(status="cancelled"))
    story.loses_openai()
    assert wire.tags(wire.to_openai(reopened(story))) == ["session.update"]


def test_point_23_what_the_caller_asked_of_a_tool_is_not_asked_again_by_the_next_session() -> None:
    story = answering(toolbox=TOOLBOX)
    story.openai(wire.response_done(), wire.speech_started(), wire.committed())
    story.twilio(*[wire.frame()] * 100)
    story.openai(wire.speech_stopped(), wire.response_created("resp_2"), wire.tool_called(response="resp_2"))
    story.openai(wire.transcribed("Where is my order?"), wire.response_done("resp_2"))
    story.loses_openai()
    given = wire.to_openai(reopened(story))
    retold = [event["item"]["type"] for event in given if event["type"] == "conversation.item.create"]
    assert retold == ["message", "function_call"]
    assert len(wire.appended(given)) <= 500 * 8  # the lead-in of whatever the caller says next, not the turn


# 24 to 26: how responses end


def failing(story: Story, code: str) -> list[str]:
    """The response that was asked for last fails; what is asked for next, and at once."""
    response = f"resp_{len(story.asked) + 1}"
    story.openai(wire.response_created(response, asked=story.asked[-1]))
    return purposes(story.openai(wire.response_done(response, status="failed", code=code)))


def test_point_24_a_rate_limited_response_is_tried_again_later_and_not_for_ever() -> None:
    story = answering()
    assert purposes(story.openai(wire.response_done(status="failed", code="rate_limit_exceeded"))) == []
    for delay_s in (1.0, 2.0, 4.0):
        assert purposes(story.passes(delay_s - 0.1)) == []
        assert purposes(story.passes(0.1)) == ["retry"]
        assert failing(story, "rate_limit_exceeded") == []
    assert purposes(story.passes(60.0)) == []
    assert story.logged(AskDropped) == [AskDropped(purpose="retry", why="failed")]
    assert story.hang_up is None


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached", "invalid_api_key"])
def test_point_24_what_money_or_a_key_would_mend_ends_the_call(code: str) -> None:
    story = answering()
    story.openai(wire.response_done(status="failed", code=code))
    assert story.hang_up
    assert story.hang_up.reason == "openai_refused"


def test_point_24_after_a_server_error_it_is_tried_once_here_and_then_in_another_session() -> None:
    story = answering()
    assert purposes(story.openai(wire.response_done(status="failed", code="server_error"))) == ["retry"]
    assert failing(story, "server_error") == []
    assert DropUpstream() in story.commands
    assert purposes(reopened(story)) == ["retry"]
    assert failing(story, "server_error") == []
    assert story.logged(AskDropped) == [AskDropped(purpose="retry", why="failed")]
    assert story.commands.count(OpenUpstream()) == 2
    assert story.logged(UpstreamReplaced) == []


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
def test_point_25_of_an_incomplete_response_what_came_is_played_and_nothing_is_asked_for(reason: str) -> None:
    story = answering(400)
    ended = wire.response_done(status="incomplete")
    ended["response"]["status_details"] = {"type": "incomplete", "reason": reason}
    story.openai(wire.audio_done(), ended)
    assert wire.played(wire.to_twilio(story.commands)) == wire.voice(400)
    assert [event.status for event in story.logged(ResponseEnded)] == ["incomplete"]
    story.passes(60.0)
    assert story.asked == []
    assert story.hang_up is None


def test_point_26_every_response_is_counted_and_a_missing_usage_costs_nothing() -> None:
    story = answering(toolbox=TOOLBOX)
    without = wire.response_done("resp_3", total_tokens=None)
    del without["response"]["usage"]
    story.openai(wire.response_done(status="cancelled", total_tokens=60))
    for response, done in (("resp_2", wire.response_done("resp_2", total_tokens=140)), ("resp_3", without)):
        story.openai(wire.response_created(response), done, done)
    story.twilio(wire.stop())
    assert [event.total_tokens for event in story.logged(CallEnded)] == [200]


DETAILED = {
    "total_tokens": 205,
    "input_tokens": 41,
    "output_tokens": 164,
    "input_token_details": {
        "text_tokens": 14,
        "audio_tokens": 27,
        "image_tokens": 0,
        "cached_tokens": 12,
        "cached_tokens_details": {"text_tokens": 4, "audio_tokens": 8, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 28, "audio_tokens": 136, "reasoning_tokens": 5},
}
USED = TokenUsage(
    input_tokens=41,
    output_tokens=164,
    input_text_tokens=14,
    input_audio_tokens=27,
    cached_text_tokens=4,
    cached_audio_tokens=8,
    output_text_tokens=28,
    output_audio_tokens=136,
)


def done_with(usage: object, response: str) -> wire.Message:
    done = wire.response_done(response)
    done["response"]["usage"] = usage
    return done


def test_point_26_tokens_are_told_by_what_is_priced_apart() -> None:
    story = answering()
    bare = {"total_tokens": 30, "input_tokens": 10, "output_tokens": 20}
    odd = {"total_tokens": None, "input_token_details": {"text_tokens": None, "cached_tokens_details": None}}
    story.openai(done_with(DETAILED, "resp_1"))
    for response, usage in (("resp_2", DETAILED), ("resp_3", bare), ("resp_4", odd), ("resp_5", {})):
        story.openai(wire.response_created(response), done_with(usage, response))
    story.twilio(wire.stop())
    told = [event.usage for event in story.logged(ResponseEnded)]
    assert told == [USED, USED, TokenUsage(input_tokens=10, output_tokens=20), TokenUsage(), TokenUsage()]
    (ended,) = story.logged(CallEnded)
    assert ended.usage == USED + USED + TokenUsage(input_tokens=10, output_tokens=20)
    assert (ended.total_tokens, ended.usage.cached_audio_tokens, ended.usage.input_tokens) == (440, 16, 92)


def test_the_record_names_the_model_that_was_paid() -> None:
    story = started()
    updated = wire.session_updated()
    updated["session"]["model"] = "gpt-realtime-2.1"
    story.openai(wire.session_created(), updated)
    story.twilio(wire.stop())
    assert [event.model for event in story.logged(UpstreamReady)] == ["gpt-realtime-2.1"]
    assert [event.model for event in story.logged(CallEnded)] == ["gpt-realtime-2.1"]


def test_the_record_names_the_model_that_was_to_write_down_the_callers_words() -> None:
    for model in ("gpt-transcribe", None):
        story = Story(msgspec.structs.replace(wire.PERSONA, transcription_model=model))
        story.twilio(wire.connected(), wire.start(), wire.stop())
        assert [event.transcription_model for event in story.logged(CallEnded)] == [model]


def test_point_26_what_writing_down_the_callers_words_cost_is_counted_by_itself() -> None:
    story = ready()
    by_tokens = {"type": "tokens", "input_tokens": 20, "output_tokens": 5, "total_tokens": 25}
    by_time = {"type": "duration", "seconds": 3}
    for number, usage in enumerate((by_tokens, by_tokens, by_time, None)):
        story.openai({**wire.transcribed("Hello.", f"item_{number}"), "usage": usage})
    story.openai(wire.transcribed("Hello.", "item_9"))
    story.twilio(wire.stop())
    (ended,) = story.logged(CallEnded)
    assert (ended.total_tokens, ended.transcription_tokens, ended.transcription_s) == (0, 50, 3.0)


def test_point_26_tokens_of_a_session_that_is_gone_are_counted_too() -> None:
    story = answering()
    story.openai(wire.response_done(total_tokens=60))
    story.loses_openai()
    reopened(story)
    story.openai(wire.response_created(), wire.response_done(total_tokens=40))
    story.twilio(wire.stop())
    assert [event.total_tokens for event in story.logged(CallEnded)] == [100]

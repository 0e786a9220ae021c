"""Audio, barge-in and responses: numbered points of our OpenAI conformance list, docs/conformance.md, 12 to 21."""

import pytest

from relay.log import AgentHeard, BargedIn, CallerTranscribed, ErrorReceived, ResponseEnded
from tests.relay import wire
from tests.relay.story import Story, answering, ready
from tests.relay.wire import GREETER, HAND_CUT, Message


def interrupted(story: Story) -> list[Message]:
    """What OpenAI is told when the caller speaks."""
    return wire.to_openai(story.openai(wire.speech_started()))


def test_point_12_audio_of_an_interrupted_response_is_dropped_until_it_is_done_and_after() -> None:
    story = answering(400)
    interrupted(story)
    # The next answer may begin before the old one is done.
    story.openai(wire.response_created("resp_2"))
    stray, fresh = wire.audio_delta(ms=20), wire.audio_delta("item_2", audio=b"\x02" * 160, response="resp_2")
    heard = story.openai(stray, fresh, stray, wire.response_done(status="cancelled"), stray)
    assert wire.played(wire.to_twilio(heard)) == b"\x02" * 160
    assert story.call.ignored["openai.stale_audio"] == 3


@pytest.mark.parametrize("event", [wire.audio_delta(ms=200), wire.audio_done(), wire.response_done()])
def test_point_13_events_of_a_response_nobody_announced_do_nothing(event: Message) -> None:
    story = ready()
    assert wire.to_twilio(story.openai(event)) == []
    assert wire.to_openai(story.openai(event)) == []
    assert story.hang_up is None


@pytest.mark.parametrize("is_generated", [True, False])
def test_point_14_speech_clears_the_phone_in_the_same_step(is_generated: bool) -> None:
    story = answering(400)
    if is_generated:
        story.openai(wire.audio_done(), wire.response_done())
    assert wire.tags(wire.to_twilio(story.openai(wire.speech_started()))) == ["clear"]


def test_point_15_the_item_being_heard_is_truncated_where_the_caller_stopped_hearing_it() -> None:
    story = answering(400)
    story.wait(0.1237)
    (truncate,) = interrupted(story)
    assert truncate.pop("event_id")
    assert truncate == {
        "type": "conversation.item.truncate",
        "item_id": "item_1",
        "content_index": 0,
        "audio_end_ms": 123,
    }


def test_point_15_an_item_that_must_have_sounded_to_its_end_is_not_truncated_though_its_end_mark_is_still_out() -> None:
    story = answering(100)
    story.openai(wire.audio_done(), wire.response_done())
    story.wait(0.1)
    assert interrupted(story) == []
    assert [part.heard_ms for part in story.logged(AgentHeard)] == [100]
    assert story.logged(BargedIn) == []


def test_point_15_a_part_other_than_the_first_is_named_by_its_index() -> None:
    story = ready()
    story.openai(wire.response_created(), wire.audio_delta(ms=100, content_index=1))
    (truncate,) = interrupted(story)
    assert truncate["content_index"] == 1


def test_point_15_every_event_that_can_fail_has_an_id_of_its_own() -> None:
    story = answering(400, persona=HAND_CUT)
    interrupted(story)
    events = [event for event in wire.to_openai(story.commands) if event["type"] != "input_audio_buffer.append"]
    assert wire.tags(events) == ["session.update", "response.cancel", "conversation.item.truncate"]
    assert len({event["event_id"] for event in events}) == 3


def test_point_16_a_service_that_interrupts_by_itself_is_not_told_to() -> None:
    assert wire.tags(interrupted(answering(400))) == ["conversation.item.truncate"]


def test_point_16_a_service_that_does_not_is_told_once_and_which_response() -> None:
    story = answering(400, persona=HAND_CUT)
    cancel, _ = interrupted(story)
    assert (cancel["type"], cancel["response_id"]) == ("response.cancel", "resp_1")
    assert interrupted(story) == []


RACES = {
    "nothing to cancel": wire.error("response_cancel_not_active"),
    "no such item": wire.error("item_truncate_invalid_item_id", param="item_id"),
    "no model audio": wire.error("unsupported_content_type"),
    "already shorter": wire.error("invalid_value", event_id="truncate-2", message="Audio is already shorter"),
    "already shorter, without a code": wire.error(None, event_id="truncate-2"),
    "nothing to commit": wire.error("input_audio_buffer_commit_empty"),
}


@pytest.mark.parametrize("event", RACES.values(), ids=RACES.keys())
def test_point_17_an_error_that_only_tells_of_a_race_changes_nothing(event: Message) -> None:
    story = answering(400)
    interrupted(story)
    (logged,) = story.openai(event)
    assert isinstance(logged, ErrorReceived)
    assert logged.benign
    assert story.hang_up is None


def test_point_18_barge_in_works_while_the_response_runs_and_after_it_is_done() -> None:
    running, done = answering(400), answering(400)
    done.openai(wire.audio_done(), wire.response_done())
    for story in (running, done):
        story.wait(0.1)
        assert [event["audio_end_ms"] for event in interrupted(story)] == [100]


def test_point_19_what_was_said_is_kept_with_how_much_of_it_was_heard() -> None:
    story = ready()
    story.openai(wire.response_created(), wire.words_delta("Your order "), wire.audio_delta(ms=2000))
    story.openai(
        wire.words_delta("left the "), wire.words_delta("warehouse."), wire.words_done("Your order left the warehouse.")
    )
    *marks, _ = wire.marks(wire.to_twilio(story.commands))
    story.wait(1.0)
    story.twilio(*(wire.mark(name) for name in marks[:5]))
    interrupted(story)
    (heard,) = story.logged(AgentHeard)
    assert (heard.item_id, heard.heard_ms, heard.generated_ms, heard.was_cut) == ("item_1", 1000, 2000, True)
    assert heard.words == "Your order"  # not a word that the caller did not hear


def test_point_19_the_callers_words_are_kept_whenever_they_come() -> None:
    story = answering(400)
    story.openai(wire.response_done(), wire.transcribed("Where is my order?"))
    assert story.logged(CallerTranscribed) == [CallerTranscribed(item_id="item_caller", words="Where is my order?")]


def test_point_19_words_that_could_not_be_written_down_do_not_end_the_call() -> None:
    story = ready()
    tag = "conversation.item.input_audio_transcription.failed"
    story.openai({"type": tag, "item_id": "item_2", "error": {"type": "server_error", "code": "DeploymentNotFound"}})
    assert [event.code for event in story.logged(ErrorReceived)] == ["DeploymentNotFound"]
    assert story.hang_up is None


def test_point_20_an_older_response_may_be_done_after_a_newer_one_was_created() -> None:
    story = answering(200)
    story.openai(wire.response_created("resp_2"), wire.response_done("resp_1"))
    heard = story.openai(wire.audio_delta("item_2", audio=b"\x02" * 160, response="resp_2"))
    assert wire.played(wire.to_twilio(heard)) == b"\x02" * 160
    story.openai(wire.response_done("resp_2"))
    assert [event.response_id for event in story.logged(ResponseEnded)] == ["resp_1", "resp_2"]


def test_point_20_a_response_that_never_said_its_parts_were_done_is_ended_by_its_own_end() -> None:
    story = answering(50)
    ended = wire.to_twilio(story.openai(wire.response_done()))
    assert wire.tags(ended) == ["media", "mark"]
    story.twilio(wire.mark(wire.marks(ended)[-1]))
    assert interrupted(story) == []
    assert story.logged(BargedIn) == []


def test_point_21_a_greeting_that_was_refused_because_an_answer_runs_does_not_end_the_call() -> None:
    story = ready(GREETER)
    (greeting,) = [event for event in wire.to_openai(story.commands) if event["type"] == "response.create"]
    assert greeting["response"]["metadata"] == {"purpose": "greeting", "ask": greeting["event_id"]}
    story.openai(wire.error("conversation_already_has_active_response", event_id=greeting["event_id"]))
    assert story.hang_up is None
    assert wire.to_openai(story.twilio(wire.frame()))


def test_a_caller_who_may_begin_is_not_greeted() -> None:
    assert wire.tags(wire.to_openai(ready().commands)) == ["session.update"]

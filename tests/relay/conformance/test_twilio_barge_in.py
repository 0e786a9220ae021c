"""Marks and barge-in: numbered cases of our Twilio conformance list, docs/conformance.md, 38 to 55."""

import pytest

from proto import mulaw, twilio
from relay.events import Command
from relay.log import AgentHeard, BargedIn
from relay.persona import Persona
from relay.playout import MAX_PENDING_MARKS
from tests.relay import wire
from tests.relay.story import Story, answering, ready
from tests.relay.wire import HAND_CUT, Message


def sent_marks(story: Story) -> list[str]:
    return wire.marks(wire.to_twilio(story.commands))


def truncated(commands: list[Command]) -> list[tuple[str, int]]:
    """Which items were cut, and after how many ms."""
    events = wire.to_openai(commands)
    return [(event["item_id"], event["audio_end_ms"]) for event in events if event["type"].endswith(".truncate")]


def interrupted(story: Story) -> tuple[list[str], list[tuple[str, int]], list[str]]:
    """The caller speaks. What Twilio is told, which items are cut, and which responses are cancelled."""
    commands = story.openai(wire.speech_started())
    cancelled = [event["response_id"] for event in wire.to_openai(commands) if event["type"] == "response.cancel"]
    return wire.tags(wire.to_twilio(commands)), truncated(commands), cancelled


def test_case_38_barge_in_between_two_marks() -> None:
    story = answering(400)
    first, _ = sent_marks(story)
    story.wait(0.2)
    story.twilio(wire.mark(first))
    story.wait(0.05)
    assert interrupted(story) == (["clear"], [("item_1", 250)], [])


def test_case_38_the_clear_goes_before_the_truncate() -> None:
    story = answering(400)
    commands = story.openai(wire.speech_started())
    cleared_at = [isinstance(command, twilio.Clear) for command in commands].index(True)
    assert wire.tags(wire.to_openai(commands[cleared_at:])) == ["conversation.item.truncate"]


def test_case_39_without_an_echo_no_more_than_the_first_mark_was_heard() -> None:
    story = answering(400)
    story.wait(5.0)
    assert interrupted(story) == (["clear"], [("item_1", 200)], [])


@pytest.mark.parametrize("is_response_over", [True, False])
def test_case_40_what_was_heard_to_its_end_is_left_alone(is_response_over: bool) -> None:
    story = answering(400)
    story.openai(wire.audio_done(), *([wire.response_done()] if is_response_over else []))
    names = sent_marks(story)
    assert len(names) == 3
    story.wait(0.4)
    story.twilio(*(wire.mark(name) for name in names))
    assert interrupted(story) == ([], [], [])
    assert [part.heard_ms for part in story.logged(AgentHeard)] == [400]


@pytest.mark.parametrize("persona", [wire.PERSONA, HAND_CUT])
def test_case_41_an_answer_that_is_generated_but_still_sounds_is_stopped_without_a_cancel(
    persona: Persona,
) -> None:
    story = answering(400, persona=persona)
    story.openai(wire.audio_done(), wire.response_done())
    story.wait(0.1)
    assert interrupted(story) == (["clear"], [("item_1", 100)], [])


@pytest.mark.parametrize(("persona", "cancelled"), [(wire.PERSONA, []), (HAND_CUT, ["resp_1"])])
def test_case_42_an_answer_without_audio_yet_is_stopped_before_its_first_word(
    persona: Persona, cancelled: list[str]
) -> None:
    story = ready(persona)
    story.openai(wire.response_created())
    assert interrupted(story) == ([], [], cancelled)
    assert wire.to_twilio(story.openai(wire.audio_delta(ms=200))) == []


def test_case_43_of_two_queued_answers_the_first_is_cut_where_it_was_heard_and_the_second_at_its_beginning() -> None:
    story = answering(400)
    story.openai(wire.audio_done(), wire.response_done())
    story.openai(wire.response_created("resp_2"), wire.audio_delta("item_2", ms=300, response="resp_2"))
    story.wait(0.1)
    assert interrupted(story) == (["clear"], [("item_1", 100), ("item_2", 0)], [])


def test_case_44_marks_of_cleared_audio_change_nothing() -> None:
    story = answering(400)
    old = sent_marks(story)
    story.wait(0.1)
    interrupted(story)
    assert wire.to_twilio(story.twilio(*(wire.mark(name) for name in old))) == []
    assert story.call.ignored["twilio.stale_mark"] == 2
    story.openai(wire.response_done(), wire.response_created("resp_2"))
    story.openai(wire.audio_delta("item_2", ms=400, response="resp_2"))
    assert story.twilio(*(wire.mark(name) for name in old)) == []
    assert interrupted(story) == (["clear"], [("item_2", 0)], [])


def test_case_45_late_audio_of_an_interrupted_response_is_not_heard() -> None:
    story = answering(400)
    interrupted(story)
    late = [wire.audio_delta(ms=200), wire.audio_done(), wire.audio_delta("item_2", ms=200), wire.audio_done("item_2")]
    assert wire.to_twilio(story.openai(*late, wire.response_done(), wire.audio_delta(ms=200))) == []


def test_case_46_the_next_answer_is_heard_and_tracked() -> None:
    story = answering(400)
    interrupted(story)
    story.openai(wire.response_done(status="cancelled"), wire.speech_stopped(), wire.response_created("resp_2"))
    next_answer = wire.to_twilio(story.openai(wire.audio_delta("item_2", ms=400, response="resp_2")))
    assert wire.played(next_answer) == wire.voice(400)
    story.wait(0.2)
    story.twilio(wire.mark(wire.marks(next_answer)[0]))
    story.wait(0.03)
    assert interrupted(story) == (["clear"], [("item_2", 230)], [])


@pytest.mark.parametrize(("persona", "cancelled"), [(wire.PERSONA, []), (HAND_CUT, ["resp_1"])])
def test_case_47_speaking_twice_stops_once(persona: Persona, cancelled: list[str]) -> None:
    story = answering(400, persona=persona)
    assert interrupted(story) == (["clear"], [("item_1", 0)], cancelled)
    assert interrupted(story) == ([], [], [])
    assert len(story.logged(BargedIn)) == 1


def test_case_48_an_item_of_161_bytes_is_cut_at_a_whole_ms() -> None:
    story = ready()
    story.openai(wire.response_created(), wire.audio_delta(audio=bytes(161)))
    story.wait(1.0)
    assert interrupted(story) == (["clear"], [("item_1", 20)], [])


@pytest.mark.parametrize("nbytes", [1, 7, 159, 161, 333, 1607, 3203])
def test_case_49_a_cut_is_never_beyond_the_items_audio(nbytes: int) -> None:
    story = ready()
    story.openai(wire.response_created(), wire.audio_delta(audio=bytes(nbytes)))
    for name in sent_marks(story):
        story.twilio(wire.mark(name))
    story.wait(60.0)
    _, [(_, audio_end_ms)], _ = interrupted(story)
    assert 0 <= audio_end_ms <= nbytes // 8


NO_MARK: dict[str, Message] = {
    "an unknown name": wire.mark("responsePart"),
    "another stream": wire.mark("g0.1", "MZ2"),
    "no body": {"event": "mark", "streamSid": wire.STREAM},
    "no name": wire.mark("g0.1") | {"mark": {}},
    "a number for a name": wire.mark("g0.1") | {"mark": {"name": 1}},
}


@pytest.mark.parametrize("message", NO_MARK.values(), ids=NO_MARK.keys())
def test_case_50_a_mark_that_is_none_of_ours_confirms_nothing(message: Message) -> None:
    story = answering(400)
    story.wait(1.0)
    story.twilio(message)
    assert interrupted(story) == (["clear"], [("item_1", 200)], [])


def test_case_51_a_later_echo_confirms_the_marks_before_it() -> None:
    story = answering(800)
    story.wait(0.6)
    story.twilio(wire.mark(sent_marks(story)[2]))
    assert interrupted(story) == (["clear"], [("item_1", 600)], [])


def test_case_52_without_echoes_barge_in_still_works_and_the_marks_do_not_pile_up() -> None:
    story = ready()
    story.openai(wire.response_created())
    for _ in range(MAX_PENDING_MARKS // 50 + 1):
        story.openai(wire.audio_delta(ms=10_000))
    assert story.twilio(wire.mark(sent_marks(story)[0]))
    assert story.call.ignored["twilio.stale_mark"] == 1  # the oldest has been given up
    told, [(item, audio_end_ms)], _ = interrupted(story)
    assert (told, item) == (["clear"], "item_1")
    assert audio_end_ms <= mulaw.duration_ms(len(wire.played(wire.to_twilio(story.commands))))


RACES = {
    "already shorter": wire.error("invalid_value", event_id="truncate-2", param="audio_end_ms"),
    "already shorter, unnamed": wire.error("invalid_value", param="audio_end_ms"),
    "no model audio": wire.error("unsupported_content_type", event_id="truncate-2"),
    "no model audio, no code": wire.error(None, event_id="truncate-2"),
    "nothing to cancel": wire.error("response_cancel_not_active", event_id="cancel-2"),
}


@pytest.mark.parametrize("event", RACES.values(), ids=RACES.keys())
def test_case_53_a_refused_cut_does_not_end_the_call(event: Message) -> None:
    story = answering(400)
    interrupted(story)
    story.openai(event)
    assert story.hang_up is None
    assert wire.to_openai(story.twilio(wire.frame()))


def test_case_54_the_first_bytes_of_the_next_answer_are_the_models_own() -> None:
    story = ready()
    story.openai(wire.response_created(), wire.audio_delta(audio=b"\x01" * 170))
    interrupted(story)
    story.openai(wire.response_created("resp_2"))
    delta = wire.audio_delta("item_2", audio=b"\x02" * 160, response="resp_2")
    assert wire.played(wire.to_twilio(story.openai(delta))) == b"\x02" * 160


def test_case_55_speech_before_the_start_or_after_the_stop_is_no_interruption() -> None:
    before = Story()
    assert interrupted(before) == ([], [], [])
    after = answering(400)
    after.twilio(wire.stop())
    assert interrupted(after) == ([], [], [])


def test_speech_into_silence_stops_nothing() -> None:
    assert interrupted(ready()) == ([], [], [])


def test_a_delta_without_audio_is_nothing_to_cut() -> None:
    story = answering(0)
    assert interrupted(story) == ([], [], [])


def test_what_was_cut_and_what_was_not_heard_is_recorded() -> None:
    story = answering(400)
    story.openai(wire.words_done("Your order left the warehouse."))
    story.wait(0.15)
    story.openai(wire.speech_started())
    (barged_in,) = story.logged(BargedIn)
    assert (barged_in.item_id, barged_in.heard_ms, barged_in.unheard_ms) == ("item_1", 150, 250)
    assert barged_in.truncate_error_bound_ms >= 50  # no mark has come back: it may all be a long way off
    (heard,) = story.logged(AgentHeard)
    assert (heard.item_id, heard.heard_ms, heard.generated_ms, heard.was_cut) == ("item_1", 150, 400, True)

"""Moments that hardly ever come in a call, each told as the story that trying any call (test_call_properties) found."""

import msgspec

from relay.bargein import BargeInPolicy
from relay.events import DropUpstream, HangUp, OpenUpstream, SwitchUpstream
from relay.link import REPLACE_AFTER_S
from relay.log import AgentHeard, BargedIn
from relay.patience import Limits
from tests.relay import wire
from tests.relay.story import answering, ready, reopened


def test_a_session_that_takes_over_before_any_frame_came_is_not_sent_empty_audio() -> None:
    story = ready()
    assert OpenUpstream(beside=True) in story.passes(REPLACE_AFTER_S)
    told = story.beside(wire.session_created(), wire.session_updated())
    assert SwitchUpstream() in told
    assert wire.tags(wire.to_beside(told)) == ["session.update"]


def test_a_session_is_not_made_ready_twice_beside_one_that_was_reopened_meanwhile() -> None:
    story = ready(msgspec.structs.replace(wire.PERSONA, limits=Limits(max_duration_s=None)))
    story.passes(REPLACE_AFTER_S)
    story.loses_openai()
    reopened(story)
    story.openai(wire.speech_started())  # a caller who never stops: no moment is quiet enough to switch
    story.beside(wire.session_created(), wire.session_updated())
    story.passes(REPLACE_AFTER_S)
    assert story.commands.count(OpenUpstream(beside=True)) == 1


def test_what_was_heard_of_a_broken_off_answer_is_settled_when_its_session_is_lost() -> None:
    story = answering(400)
    story.passes(2.0)  # all that came of it has sounded, and no more ever does
    story.loses_openai()
    assert [(heard.item_id, heard.heard_ms, heard.was_cut) for heard in story.logged(AgentHeard)] == [
        ("item_1", 400, True)
    ]
    reopened(story)
    story.openai(wire.response_created("resp_2"), wire.audio_delta("item_2", ms=1000, response="resp_2"))
    story.passes(0.5)
    story.openai(wire.speech_started())
    assert [barged.item_id for barged in story.logged(BargedIn)] == ["item_2"]


def test_a_session_that_is_gone_is_not_told_how_much_was_heard_of_what_it_was_retold() -> None:
    story = answering(4000, persona=msgspec.structs.replace(wire.PERSONA, barge_in=BargeInPolicy(min_speech_ms=300)))
    story.openai(wire.words_done("As long as it takes."), wire.audio_done(), wire.response_done())
    story.loses_openai()
    reopened(story)  # it was told the whole answer, which still sounds
    story.openai(wire.speech_started())
    story.loses_openai()
    given = story.passes(0.3)  # the caller has spoken for long enough, and nobody can be told what that cut off
    assert story.logged(BargedIn)
    assert wire.to_openai(given) == []


def test_a_session_that_was_being_made_ready_is_taken_as_soon_as_it_is_when_the_one_in_use_is_lost() -> None:
    story = ready()
    story.passes(REPLACE_AFTER_S)
    story.loses_openai()
    story.beside(wire.session_created())
    assert SwitchUpstream() in story.beside(wire.session_updated())


def test_a_service_that_opens_sessions_but_answers_in_none_is_given_up_with_an_apology() -> None:
    greeted = msgspec.structs.replace(wire.PERSONA, greeting="Hello.", apology_audio=wire.voice(1000))
    story = ready(greeted)
    opened = 1
    for _ in range(60):
        story.passes(0.5)
        if story.commands.count(OpenUpstream()) > opened and story.hang_up is None:
            opened += 1
            story.openai(wire.session_created(), wire.session_updated(), wire.speech_started(), wire.speech_stopped())
    assert wire.voice(1000) in wire.played(wire.to_twilio(story.commands))
    assert story.hang_up == HangUp("openai_unreachable")
    assert story.now - 100.0 <= 31.0
    assert opened <= 4


def test_when_no_model_can_be_had_the_session_beside_is_given_up_too() -> None:
    story = ready(msgspec.structs.replace(wire.PERSONA, apology_audio=wire.voice(1000)))
    story.passes(REPLACE_AFTER_S)
    assert DropUpstream(beside=True) in story.openai(wire.error("insufficient_quota"))
    assert story.hang_up is None
    assert story.passes(1.1)[-1] == story.hang_up

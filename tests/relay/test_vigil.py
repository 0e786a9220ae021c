"""A session that has died while it listened is found, and a caller who goes on for long is left in peace."""

from math import inf

from proto import realtime
from relay.events import OpenUpstream, Timeout
from relay.vigil import ANSWERED_WITHIN_S, QUIET_FOR_S, Vigil
from tests.relay import wire
from tests.relay.story import ready


def test_nobody_is_asked_while_the_caller_is_silent() -> None:
    vigil = Vigil()
    vigil.seen(1.0)
    assert vigil.deadline == inf
    vigil.caller_started(2.0)
    vigil.caller_stopped()
    vigil.seen(3.0)
    assert vigil.deadline == inf


def test_a_session_that_answers_is_asked_again_and_never_given_up() -> None:
    vigil, now = Vigil(), 10.0
    vigil.caller_started(now)
    for _ in range(20):
        now += QUIET_FOR_S
        assert vigil.deadline == now
        assert vigil.timeout(now - 0.001) == "nothing"
        assert vigil.timeout(now) == "ask"
        now += 0.1
        vigil.seen(now)
    assert vigil.deadline == now + QUIET_FOR_S


def test_a_session_that_does_not_answer_is_lost_once() -> None:
    vigil = Vigil()
    vigil.caller_started(10.0)
    assert vigil.timeout(15.0) == "ask"
    assert vigil.deadline == 15.0 + ANSWERED_WITHIN_S
    assert vigil.timeout(16.999) == "nothing"
    assert vigil.timeout(17.0) == "lost"
    assert vigil.deadline == inf


def test_a_call_whose_session_stopped_listening_opens_another() -> None:
    story = ready()
    story.openai(wire.speech_started())
    story.wait(QUIET_FOR_S)
    asked = story.happens(Timeout())
    assert [command for command in asked if isinstance(command, realtime.DeleteItem)]
    story.wait(ANSWERED_WITHIN_S)
    story.happens(Timeout())
    story.wait(1.0)
    story.happens(Timeout())
    assert len([command for command in story.commands if isinstance(command, OpenUpstream)]) == 2
    assert story.hang_up is None

"""A caller who presses the key for a person: the call leaves the model at once, and says what is to become of them."""

import msgspec

from proto import twilio
from relay.events import Timeout
from relay.keypad import PAUSE_S, KeyPolicy
from relay.log import CallEnded
from relay.standard_tools import end_call
from relay.tools import ToolBox
from tests.relay import wire
from tests.relay.story import Story, answering, ready

WITH_STAFF = msgspec.structs.replace(wire.PERSONA, dtmf=KeyPolicy(actions={"0": "staff"}))


def press_zero(story: Story) -> None:
    story.twilio(wire.dtmf("0"))
    story.wait(PAUSE_S)
    story.happens(Timeout())


def endings(story: Story) -> list[tuple[str, str]]:
    return [(event.reason, event.outcome) for event in story.logged(CallEnded)]


def test_the_key_for_a_person_ends_the_stream_with_that_outcome() -> None:
    story = ready(WITH_STAFF)
    press_zero(story)
    assert endings(story) == [("agent_ended", "staff")]


def test_the_end_is_recorded_before_the_socket_is_closed() -> None:
    story = ready(WITH_STAFF)
    press_zero(story)
    ended, hung_up = story.commands[-2:]
    assert isinstance(ended, CallEnded)
    assert hung_up is story.hang_up is not None


def test_the_agent_is_stopped_for_it() -> None:
    story = answering(5000, persona=WITH_STAFF)
    press_zero(story)
    assert any(isinstance(command, twilio.Clear) for command in story.commands)


def test_a_goodbye_of_the_agents_does_not_take_it_back() -> None:
    story = answering(5000, persona=WITH_STAFF, toolbox=ToolBox([end_call()]))
    story.openai(wire.tool_called("end_call"))
    press_zero(story)
    story.tool_brings(call="call_1", then="end_call")
    story.openai(wire.response_done(status="cancelled"))
    story.passes(20.0)
    assert endings(story) == [("agent_ended", "staff")]


def test_a_word_from_the_caller_does_not_take_it_back() -> None:
    story = answering(5000, persona=WITH_STAFF)
    press_zero(story)
    assert endings(story) == []  # the model has not yet said that its response is over
    story.openai(wire.speech_started(), wire.response_done(status="cancelled"), wire.speech_stopped())
    story.wait(20.0)
    story.happens(Timeout())
    assert endings(story) == [("agent_ended", "staff")]

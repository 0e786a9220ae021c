"""Whole conversations on the pure call: tools, keys, silence, the end, and who has the word, each as a story."""

from typing import Any

import msgspec
import pytest

from proto import mulaw
from relay.bargein import BargeInPolicy
from relay.dialogue import LEAVE_WITHIN_S
from relay.events import CancelTool, Command, HangUp, RunTool
from relay.keypad import PAUSE_S, KeyPolicy
from relay.log import AgentHeard, AskDropped, BargedIn, CallEnded, KeyActed
from relay.patience import GOODBYE_WITHIN_S, LINGER_S, Limits, SilencePolicy
from relay.persona import Persona
from relay.standard_tools import end_call
from relay.tools import ToolBox
from tests.relay import wire
from tests.relay.story import Story, answering, asked, purposes, ready, reopened, started
from tests.relay.test_tools import tool
from tests.relay.wire import Message

WAIT_WORDS = "One moment, please."
TOOLBOX = ToolBox(
    [
        tool("find"),
        tool("look", on_barge_in="cancel"),
        tool("book", on_barge_in="detach"),
        tool("search", filler=WAIT_WORDS, filler_after_ms=1500),
        end_call(),
    ]
)


def persona(**fields: Any) -> Persona:
    """One that waits for ever, unless a field says otherwise."""
    return msgspec.structs.replace(wire.PERSONA, **fields)


def spoken(story: Story, response: str, *, ms: int = 1000, until_heard: bool = True) -> list[Command]:
    """The model says what it was asked for last, and Twilio plays it."""
    item = f"item_of_{response}"
    given = story.openai(
        wire.response_created(response, asked=story.asked[-1]),
        wire.audio_delta(item, ms=ms, response=response),
        wire.audio_done(item, response=response),
        wire.response_done(response),
    )
    return [*given, *(story.passes(ms / 1000 + 0.01) if until_heard else [])]


def items(commands: list[Command]) -> list[Message]:
    """What is put into the conversation by these commands."""
    return [event["item"] for event in wire.to_openai(commands) if event["type"] == "conversation.item.create"]


def to_twilio(commands: list[Command]) -> list[str]:
    return wire.tags(wire.to_twilio(commands))


# Tools


def calling(*names: str, has_spoken_ms: int = 0) -> Story:
    """The caller asked for something, and the answer calls these tools, as call_1, call_2 …"""
    story = ready(persona(), TOOLBOX)
    story.openai(wire.speech_started(), wire.speech_stopped(), wire.response_created())
    if has_spoken_ms:
        story.openai(wire.audio_delta(ms=has_spoken_ms), wire.audio_done())
    story.openai(*(wire.tool_called(name, f"call_{n}") for n, name in enumerate(names, 1)))
    return story


def test_a_tool_is_run_its_output_told_and_the_caller_hears_one_answer() -> None:
    story = calling("find")
    assert RunTool("call_1", "find", "{}") in story.commands
    story.openai(wire.response_done())
    told = wire.to_openai(story.tool_brings('{"status":"shipped"}'))
    assert wire.tags(told) == ["conversation.item.create", "response.create"]
    assert told[0]["item"]["output"] == '{"status":"shipped"}'
    assert wire.played(wire.to_twilio(spoken(story, "resp_2"))) == wire.voice(1000)
    story.passes(60.0)
    assert len(story.asked) == 1


def test_tools_that_run_side_by_side_are_spoken_of_in_one_answer() -> None:
    story = calling("find", "look", "book")
    story.openai(wire.response_done())
    given = [story.tool_brings(call=f"call_{n}") for n in (3, 1, 2)]
    assert [len(items(commands)) for commands in given] == [1, 1, 1]
    assert [purposes(commands) for commands in given] == [[], [], ["tool_result"]]


@pytest.mark.parametrize(
    ("name", "outcome", "is_stopped"), [("look", "cancelled", True), ("book", "in_background", False)]
)
def test_a_caller_who_speaks_while_a_tool_runs_is_answered_with_what_became_of_it(
    name: str, outcome: str, is_stopped: bool
) -> None:
    story = calling(name)
    story.openai(wire.response_done())
    given = story.openai(wire.speech_started())
    (output,) = items(given)
    assert outcome in output["output"]
    assert (CancelTool("call_1") in given) == is_stopped
    assert asked(given) == []
    story.openai(wire.item_added(output["id"]), wire.speech_stopped(), wire.response_created("resp_2"))
    assert story.logged(AskDropped) == [AskDropped(purpose="tool_result", why="answered")]
    story.openai(wire.response_done("resp_2"))
    story.passes(60.0)
    assert story.asked == []


def test_a_tool_that_finishes_while_the_caller_speaks_says_its_word_after_them() -> None:
    story = calling("find")
    story.openai(wire.response_done(), wire.speech_started())
    assert asked(story.tool_brings()) == []
    assert asked(story.openai(wire.speech_stopped())) == []
    story.openai(wire.response_created("resp_2"))
    assert purposes(story.openai(wire.response_done("resp_2"))) == ["tool_result"]


def test_a_slow_tool_is_bridged_once_with_exactly_its_words() -> None:
    story = calling("search")
    story.openai(wire.response_done())
    assert story.passes(1.49) == []
    (filler,) = asked(story.passes(0.02))
    assert filler["response"]["metadata"]["purpose"] == "filler"
    assert WAIT_WORDS in filler["response"]["instructions"]
    assert filler["response"]["tool_choice"] == "none"
    spoken(story, "resp_2")
    assert asked(story.passes(5.0)) == []
    assert purposes(story.tool_brings()) == ["tool_result"]


def test_a_filler_waits_until_what_the_agent_says_has_sounded() -> None:
    story = calling("search", has_spoken_ms=2000)
    story.openai(wire.response_done())
    assert purposes(story.passes(2.9)) == []
    assert purposes(story.passes(0.2)) == ["filler"]


@pytest.mark.parametrize("is_over", [True, False])
def test_no_filler_is_said_once_the_tool_is_done_or_the_caller_has_spoken(is_over: bool) -> None:
    story = calling("search")
    story.openai(wire.response_done())
    if is_over:
        story.tool_brings(then="silent")
    else:
        story.openai(wire.speech_started(), wire.speech_stopped(), wire.response_created("resp_2"))
        story.openai(wire.response_done("resp_2"))
    assert purposes(story.passes(5.0)) == []


# The agent ends the call


def ending(*, says_goodbye_ms: int) -> Story:
    story = calling("end_call", has_spoken_ms=says_goodbye_ms)
    story.tool_brings("ends", then="end_call")
    story.openai(wire.response_done())
    return story


def test_the_call_ends_when_the_goodbye_has_been_heard() -> None:
    story = ending(says_goodbye_ms=1500)
    assert story.asked == []
    story.passes(1.49)
    assert story.hang_up is None
    story.passes(0.02)
    assert story.hang_up == HangUp("agent_ended")


def test_a_goodbye_that_was_forgotten_is_asked_for_and_heard() -> None:
    story = ending(says_goodbye_ms=0)
    (goodbye,) = story.asked
    assert goodbye["response"]["metadata"]["purpose"] == "goodbye"
    assert goodbye["response"]["tool_choice"] == "none"
    spoken(story, "resp_2", until_heard=False)
    assert story.hang_up is None
    story.passes(1.01)
    assert story.hang_up == HangUp("agent_ended")


def test_a_goodbye_that_is_never_said_keeps_nobody_on_the_line() -> None:
    story = ending(says_goodbye_ms=0)
    story.passes(LEAVE_WITHIN_S + 0.01)
    assert story.hang_up == HangUp("agent_ended")


@pytest.mark.parametrize("says_goodbye_ms", [1500, 0])
def test_a_caller_who_speaks_into_the_goodbye_is_still_served(says_goodbye_ms: int) -> None:
    story = ending(says_goodbye_ms=says_goodbye_ms)
    story.passes(0.5)
    story.openai(wire.speech_started(), wire.speech_stopped(), wire.response_created("resp_2"))
    for refused in story.asked:  # it was on its way when the caller spoke
        story.openai(wire.error("conversation_already_has_active_response", event_id=refused["event_id"]))
    story.openai(wire.audio_delta("item_2", ms=500, response="resp_2"), wire.response_done("resp_2"))
    story.passes(5 * LEAVE_WITHIN_S)
    assert story.hang_up is None


def test_a_session_that_is_lost_under_the_goodbye_keeps_nobody_on_the_line() -> None:
    story = ending(says_goodbye_ms=1500)
    story.loses_openai(3000)
    assert story.hang_up is None
    story.passes(1.51)
    assert story.hang_up == HangUp("agent_ended")


# Keys


def pressing(story: Story, keys: str) -> list[Command]:
    return [command for key in keys for command in story.twilio(wire.dtmf(key))]


def test_digits_are_told_as_one_message_and_answered_once() -> None:
    story = ready()
    assert wire.to_openai(pressing(story, "4711")) == []
    assert story.passes(PAUSE_S - 0.01) == []
    told = wire.to_openai(story.passes(0.02))
    assert wire.tags(told) == ["conversation.item.create", "response.create"]
    assert (told[0]["item"]["role"], told[0]["item"]["content"][0]["type"]) == ("user", "input_text")
    assert "4711" in told[0]["item"]["content"][0]["text"]
    assert purposes(story.commands) == ["keypad"]


def test_a_hash_sends_them_off_at_once() -> None:
    story = ready()
    assert len(items(pressing(story, "4711#"))) == 1


def test_digits_typed_without_a_session_are_told_to_the_next() -> None:
    story = ready()
    story.loses_openai(1011)
    assert wire.to_openai(pressing(story, "42#")) == []
    given = reopened(story)
    assert [("42" in item["content"][0]["text"], item["role"]) for item in items(given)] == [(True, "user")]
    assert purposes(given) == ["keypad"]


STAFF = persona(dtmf=KeyPolicy(actions={"0": "staff"}))


def test_a_key_with_an_action_ends_the_call_and_says_what_the_caller_chose() -> None:
    story = ready(STAFF)
    pressing(story, "0")
    assert story.hang_up is None
    story.passes(PAUSE_S)
    assert story.hang_up == HangUp("agent_ended")
    assert [event.outcome for event in story.logged(CallEnded)] == ["staff"]
    assert story.logged(KeyActed) == [KeyActed(action="staff")]
    assert story.asked == []


def test_a_number_with_that_key_in_it_is_no_action() -> None:
    story = ready(STAFF)
    assert len(items(pressing(story, "10#"))) == 1
    spoken(story, "resp_1")
    story.passes(60.0)
    assert story.hang_up is None


def test_a_key_with_an_action_stops_the_agent_and_the_call_ends_without_its_last_words() -> None:
    story = answering(8000, persona=STAFF)
    pressing(story, "0")
    given = story.passes(PAUSE_S)
    assert to_twilio(given) == ["clear"]
    # OpenAI heard nobody speak, so it has to be told.
    assert wire.tags(wire.to_openai(given)) == ["response.cancel", "conversation.item.truncate"]
    story.openai(wire.response_done(status="cancelled"))
    assert [event.outcome for event in story.logged(CallEnded)] == ["staff"]


def test_who_speaks_after_pressing_that_key_gets_what_they_chose_all_the_same() -> None:
    story = answering(8000, persona=STAFF)
    pressing(story, "0")
    story.openai(wire.speech_started())
    story.passes(PAUSE_S)
    story.openai(wire.speech_stopped())
    story.passes(LEAVE_WITHIN_S)
    assert [event.outcome for event in story.logged(CallEnded)] == ["staff"]


# Silence, and the longest call


IMPATIENT = persona(silence=SilencePolicy(prompts=("Are you there?", "Hello?")))


def test_a_silent_caller_is_asked_twice_told_goodbye_and_hung_up_on() -> None:
    story = ready(IMPATIENT)
    for response, words in (("resp_1", "Are you there?"), ("resp_2", "Hello?")):
        assert purposes(story.passes(11.99)) == []
        (prompt,) = asked(story.passes(0.02))
        assert words in prompt["response"]["instructions"]
        spoken(story, response)
    assert purposes(story.passes(12.0)) == ["goodbye"]
    spoken(story, "resp_3", until_heard=False)
    assert story.hang_up is None
    story.passes(1.01)
    assert story.hang_up == HangUp("caller_silent")


def test_silence_counts_from_the_end_of_what_sounds() -> None:
    story = answering(5000, persona=IMPATIENT)
    story.openai(wire.audio_done(), wire.response_done())
    assert purposes(story.passes(16.9)) == []
    assert purposes(story.passes(0.2)) == ["prompt"]


def test_silence_does_not_count_while_a_tool_runs() -> None:
    story = ready(IMPATIENT, ToolBox([tool("find", deadline_s=100.0)]))
    story.openai(wire.response_created(), wire.tool_called(), wire.response_done())
    assert purposes(story.passes(60.0)) == []
    story.tool_brings(then="silent")
    assert purposes(story.passes(12.01)) == ["prompt"]


@pytest.mark.parametrize("how", ["voice", "key"])
def test_a_caller_who_answers_has_all_patience_again(how: str) -> None:
    story = ready(IMPATIENT)
    for response in ("resp_1", "resp_2"):
        story.passes(12.01)
        spoken(story, response)
    if how == "voice":
        story.openai(wire.speech_started(), wire.speech_stopped(), wire.response_created("resp_3"))
        story.openai(wire.response_done("resp_3"))
    else:
        pressing(story, "5#")
        spoken(story, "resp_3", ms=20)
    (prompt,) = asked(story.passes(12.1))
    assert "Are you there?" in prompt["response"]["instructions"]


def test_a_caller_who_speaks_into_that_goodbye_is_still_served() -> None:
    story = ready(IMPATIENT)
    for response in ("resp_1", "resp_2"):
        story.passes(12.01)
        spoken(story, response)
    story.passes(12.0)
    spoken(story, "resp_3", until_heard=False)
    story.openai(wire.speech_started())
    for _ in range(10):
        story.passes(0.2 * GOODBYE_WITHIN_S)
        story.openai(wire.error("item_delete_invalid_item_id"))  # the session is asked for a sign of life
    assert story.hang_up is None


def test_a_call_that_has_lasted_long_is_brought_to_an_end() -> None:
    story = ready(persona(limits=Limits(max_duration_s=300.0, wrap_up_before_s=30.0)))
    assert purposes(story.passes(269.9)) == []
    assert purposes(story.passes(0.2)) == ["wrap_up"]
    spoken(story, "resp_1", ms=5000)
    story.passes(24.7)
    assert story.hang_up is None
    story.passes(0.3)
    assert story.hang_up == HangUp("max_duration")


def test_at_the_limit_what_is_being_said_may_be_said_but_not_for_ever() -> None:
    story = ready(persona(limits=Limits(max_duration_s=300.0, wrap_up_before_s=0.0)))
    story.passes(299.0)
    story.openai(wire.response_created(), wire.audio_delta(ms=60_000), wire.audio_done(), wire.response_done())
    story.passes(LINGER_S + 0.9)
    assert story.hang_up is None
    story.passes(0.2)
    assert story.hang_up == HangUp("max_duration")


# Words of our own: the greeting and the apology


GREETING = "Good evening, this is Luna's Pizzeria, what can I do for you?"
GREETS_ALONE = persona(greeting=GREETING, greeting_audio=wire.voice(3000))


def assistant_words(commands: list[Command]) -> list[str]:
    return [item["content"][0]["text"] for item in items(commands) if item["role"] == "assistant"]


def test_a_greeting_that_we_have_is_played_before_there_is_a_model_and_told_to_it() -> None:
    story = started(GREETS_ALONE)
    assert wire.played(wire.to_twilio(story.commands)) == wire.voice(3000)
    told = story.openai(wire.session_created(), wire.session_updated())
    assert assistant_words(told) == [GREETING]
    story.passes(60.0)
    assert story.asked == []


def test_a_greeting_that_we_have_is_told_as_far_as_it_was_heard() -> None:
    story = ready(GREETS_ALONE)
    story.passes(1.5)
    given = story.openai(wire.speech_started())
    assert to_twilio(given) == ["clear"]
    assert wire.tags(wire.to_openai(given)) == ["conversation.item.delete", "conversation.item.create"]
    deleted, (again,) = wire.to_openai(given)[0], assistant_words(given)
    assert deleted["item_id"] == items(story.commands)[0]["id"]
    assert GREETING.startswith(again)
    assert 0 < len(again) < len(GREETING)
    assert [part.was_cut for part in story.logged(AgentHeard)] == [True]


def test_a_greeting_of_which_no_word_was_heard_is_taken_back() -> None:
    story = ready(GREETS_ALONE)
    assert wire.tags(wire.to_openai(story.openai(wire.speech_started()))) == ["conversation.item.delete"]


def test_a_greeting_that_was_heard_needs_no_correction() -> None:
    story = ready(GREETS_ALONE)
    story.passes(3.1)
    assert wire.to_openai(story.openai(wire.speech_started())) == []


APOLOGISES = persona(apology_audio=wire.voice(2000), reconnect_within_s=0.0)


@pytest.mark.parametrize(("code", "reason"), [(1006, "openai_unreachable"), (3000, "openai_refused")])
def test_when_no_model_can_be_had_the_caller_hears_an_apology_and_then_the_call_ends(code: int, reason: str) -> None:
    story = started(APOLOGISES)
    assert wire.played(wire.to_twilio(story.loses_openai(code))) == wire.voice(2000)
    story.passes(1.99)
    assert story.hang_up is None
    story.passes(0.02)
    assert story.hang_up
    assert story.hang_up.reason == reason
    assert [part.heard_ms for part in story.logged(AgentHeard)] == [2000]


def test_an_apology_follows_what_sounds_and_not_what_was_cut_off() -> None:
    story = answering(1000, persona=APOLOGISES)
    story.passes(0.5)
    said = wire.to_twilio(story.loses_openai(3000))
    assert wire.tags(said)[0] == "clear"
    assert wire.played(said) == wire.voice(2000)


def test_without_its_end_mark_an_apology_ends_all_the_same() -> None:
    story = started(APOLOGISES)
    story.loses_openai()
    story.passes(LEAVE_WITHIN_S + 0.01, echoes=False)
    assert story.hang_up == HangUp("openai_unreachable")


# Who has the word


def hears(story: Story, ms: int, frame: bytes) -> list[Command]:
    """The caller's line carries this, frame by frame."""
    given: list[Command] = []
    for _ in range(ms // 20):
        given += story.passes(0.02)
        given += story.twilio(wire.frame(frame))
    return given


QUIET, LOUD = mulaw.silence(20), wire.voice(20)


def policy(**fields: Any) -> Persona:
    return persona(barge_in=BargeInPolicy(**fields))


def test_where_nobody_may_interrupt_the_agent_speaks_on_and_the_model_is_told_nothing() -> None:
    story = answering(2000, persona=policy(enabled=False))
    given = story.openai(wire.speech_started(), wire.speech_stopped())
    assert to_twilio(given) == []
    assert wire.to_openai(given) == []
    story.passes(2.1)
    assert [(part.heard_ms, part.was_cut) for part in story.logged(AgentHeard)] == []  # its part is not done yet
    story.openai(wire.audio_done(), wire.response_done())
    story.passes(0.01)
    assert [(part.heard_ms, part.was_cut) for part in story.logged(AgentHeard)] == [(2000, False)]
    assert story.logged(BargedIn) == []


def test_a_protected_greeting_is_heard_to_its_end_and_the_next_answer_can_be_interrupted() -> None:
    story = ready(
        persona(greeting=GREETING, barge_in=BargeInPolicy(protect_greeting=True)),
    )
    story.openai(wire.response_created(asked=story.asked[-1]), wire.audio_delta(ms=1000), wire.audio_done())
    story.openai(wire.response_done())
    assert to_twilio(story.openai(wire.speech_started(), wire.speech_stopped())) == []
    story.passes(1.1)
    story.openai(wire.response_created("resp_2"), wire.audio_delta("item_2", ms=1000, response="resp_2"))
    given = story.openai(wire.speech_started("item_b"))
    assert to_twilio(given) == ["clear"]
    assert wire.tags(wire.to_openai(given)) == ["response.cancel", "conversation.item.truncate"]


def test_a_protected_greeting_that_we_play_ourselves_is_protected_too() -> None:
    story = ready(
        persona(greeting=GREETING, greeting_audio=wire.voice(2000), barge_in=BargeInPolicy(protect_greeting=True))
    )
    assert to_twilio(story.openai(wire.speech_started())) == []
    story.passes(2.1)
    assert [(part.heard_ms, part.was_cut) for part in story.logged(AgentHeard)] == [(2000, False)]


@pytest.mark.parametrize(("speech_ms", "is_stopped"), [(300, False), (700, True)])
def test_only_speech_that_lasts_stops_the_agent(speech_ms: int, is_stopped: bool) -> None:
    story = ready(policy(min_speech_ms=500))
    hears(story, 1000, QUIET)
    story.openai(wire.response_created(), wire.audio_delta(ms=4000))
    hears(story, 100, LOUD)
    given = story.openai(wire.speech_started())
    given += hears(story, speech_ms - 100, LOUD)
    given += hears(story, 500, QUIET)
    given += story.openai(wire.speech_stopped())
    assert ("clear" in to_twilio(given)) == is_stopped
    assert len(story.logged(BargedIn)) == is_stopped


PACED = policy(local_detection=True)


def speaking_paced() -> Story:
    story = ready(PACED)
    hears(story, 1000, QUIET)
    story.openai(wire.response_created(), wire.audio_delta(ms=4000))
    hears(story, 500, QUIET)
    return story


def test_a_voice_on_the_line_holds_the_agent_before_openai_has_heard_it_and_speech_stops_it() -> None:
    story = speaking_paced()
    held = hears(story, 60, LOUD)
    assert to_twilio(hears(story, 200, LOUD)) == []
    given = story.openai(wire.speech_started())
    assert to_twilio(given) == ["clear"]
    (truncate,) = wire.to_openai(given)
    sent_ms = len(wire.played(wire.to_twilio(story.commands))) // 8
    assert 400 <= truncate["audio_end_ms"] <= sent_ms <= 500 + 60 + PACED.barge_in.lead_ms
    assert wire.played(wire.to_twilio(held)) != wire.voice(4000)


def test_what_comes_of_a_part_that_was_heard_to_its_end_does_not_unsay_it() -> None:
    story = ready(PACED)
    story.openai(wire.response_created(), wire.audio_delta(ms=200), wire.audio_done())
    hears(story, 1000, QUIET)  # it has sounded
    story.openai(wire.audio_delta("item_2", ms=4000), wire.audio_delta("item_1", ms=400))
    hears(story, 500, QUIET)
    story.openai(wire.speech_started())
    assert [(part.item_id, part.was_cut) for part in story.logged(AgentHeard)] == [("item_1", False), ("item_2", True)]
    truncates = [said["item_id"] for said in wire.to_openai(story.commands) if said["type"].endswith("truncate")]
    assert truncates == ["item_2"]


def test_a_noise_that_openai_does_not_take_for_speech_costs_a_pause_and_no_word() -> None:
    story = speaking_paced()
    hears(story, 100, LOUD)
    assert to_twilio(hears(story, 40, QUIET)) == []
    story.openai(wire.audio_done(), wire.response_done())
    hears(story, 5000, QUIET)
    assert wire.played(wire.to_twilio(story.commands)) == wire.voice(4000)
    assert "clear" not in to_twilio(story.commands)
    assert [(part.heard_ms, part.was_cut) for part in story.logged(AgentHeard)] == [(4000, False)]

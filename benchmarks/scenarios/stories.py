"""Our scenarios: stories of real calls, each with what must be true at its end."""

from math import inf

import msgspec

from benchmarks.scenarios.expectations import clears, cut, ended, heard, keys, nothing_heard, transcript
from benchmarks.scenarios.scenario import PERSONA, Scenario, hearing, says, silence
from benchmarks.simulators.openai import Fail, Incomplete, Reply, Script, Several, Silence, SimulatorConfig
from benchmarks.simulators.twilio import At, Digits, HangUp
from relay import ServerVad

_MENU = Script(steps=(Reply("menu"), Reply("vegetarian"), Reply("goodbye")))
_WITHOUT_GREETING = msgspec.structs.replace(PERSONA, greeting="")

STORIES = (
    Scenario(
        name="greeting_then_hang_up",
        story="Somebody calls, hears who is there, and hangs up.",
        expect=(heard("greeting"), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="caller_begins",
        story="The persona has no greeting: the caller begins.",
        persona=_WITHOUT_GREETING,
        caller=(says("ask_hours", At(500)),),
        script=Script(steps=(Reply("opening_hours"),)),
        expect=(heard("opening_hours"), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="question_and_answer",
        story="Two questions, two answers, and both sides are written down.",
        caller=(says("ask_hours"), says("thanks_bye")),
        script=Script(steps=(Reply("opening_hours"), Reply("goodbye")), input_transcripts=("Until when?", "Thanks.")),
        expect=(
            heard("greeting", "opening_hours", "goodbye"),
            transcript("Until when?", "Thanks."),
            clears(0),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="long_answer_interrupted_once",
        story="The caller has heard enough of the menu.",
        caller=(says("ask_menu"), says("interrupt_vegetarian", hearing(4000))),
        script=_MENU,
        expect=(heard("greeting"), cut("menu"), heard("vegetarian"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="long_answer_interrupted_three_times",
        story="Three times the menu, three times the caller breaks in.",
        caller=(
            says("ask_menu"),
            says("interrupt_vegetarian", hearing(3000)),
            says("ask_menu", hearing(5000)),
            says("interrupt_vegetarian", hearing(2000)),
        ),
        script=Script(steps=(Reply("menu"), Reply("menu"), Reply("menu"), Reply("vegetarian"))),
        expect=(cut("menu", "menu", "menu"), heard("vegetarian"), clears(3), ended("caller_hung_up")),
    ),
    Scenario(
        name="greeting_interrupted",
        story="The caller knows where they called, and does not wait for the greeting to end.",
        caller=(says("ask_hours", hearing(1200)),),
        script=Script(steps=(Reply("opening_hours"),)),
        expect=(cut("greeting"), heard("opening_hours"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="interrupted_while_still_generating",
        story="The model is hardly faster than real time, so the interruption stops it in the middle of making words.",
        caller=(says("ask_menu"), says("interrupt_vegetarian", hearing(4000))),
        script=_MENU,
        model=SimulatorConfig(pace=1.5),
        expect=(cut("menu"), heard("vegetarian"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="interrupted_after_one_burst",
        story="The whole menu came at once; nothing is left to cancel, everything is left to clear.",
        caller=(says("ask_menu"), says("interrupt_vegetarian", hearing(4000))),
        script=_MENU,
        model=SimulatorConfig(pace=inf),
        expect=(cut("menu"), heard("vegetarian"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="we_cancel_ourselves",
        story="The service is told not to interrupt by itself, so the relay cancels.",
        persona=msgspec.structs.replace(PERSONA, turn_detection=ServerVad(interrupt_response=False)),
        caller=(says("ask_menu"), says("interrupt_vegetarian", hearing(4000))),
        script=_MENU,
        model=SimulatorConfig(pace=1.5),
        expect=(cut("menu"), heard("vegetarian"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="cut_inside_the_second_of_two_items",
        story="One answer in two items; the interruption falls into the second.",
        caller=(says("ask_menu"), says("interrupt_vegetarian", hearing(5000))),
        script=Script(steps=(Several((Reply("one_moment"), Reply("menu"))), Reply("vegetarian"))),
        expect=(heard("greeting", "one_moment"), cut("menu"), heard("vegetarian"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="tiny_deltas",
        story="The model sends its voice in pieces of 20 ms.",
        caller=(says("ask_hours"),),
        script=Script(steps=(Reply("opening_hours"),)),
        model=SimulatorConfig(delta_ms=(20,)),
        expect=(heard("greeting", "opening_hours"), ended("caller_hung_up")),
    ),
    Scenario(
        name="odd_deltas",
        story="The model sends its voice in pieces that are no whole frames.",
        caller=(says("ask_hours"),),
        script=Script(steps=(Reply("opening_hours"),)),
        model=SimulatorConfig(delta_ms=(13, 7, 601)),
        expect=(heard("greeting", "opening_hours"), ended("caller_hung_up")),
    ),
    Scenario(
        name="slow_connection",
        story="OpenAI takes three seconds to answer; what the caller said meanwhile is not lost.",
        persona=_WITHOUT_GREETING,
        connect_s=3.0,
        caller=(says("ask_hours", At(100)),),
        script=Script(steps=(Reply("opening_hours"),)),
        expect=(heard("opening_hours"), ended("caller_hung_up")),
    ),
    Scenario(
        name="nobody_answers_upstream",
        story="OpenAI cannot be reached: the stream ends at once, so that Twilio can go on.",
        connect_s=None,
        caller=(says("ask_hours", At(100)),),
        expect=(nothing_heard(), ended("openai_unreachable")),
    ),
    Scenario(
        name="session_limit",
        story="OpenAI ends the session in the middle of the call.",
        caller=(says("ask_hours"),),
        hangs_up_ms=None,
        script=Script(steps=(Reply("opening_hours"),)),
        model=SimulatorConfig(session_seconds=30.0),
        expect=(heard("greeting", "opening_hours"), ended("openai_refused")),
    ),
    Scenario(
        name="mute_for_two_minutes",
        story="The caller says nothing for two minutes, then asks after all.",
        caller=(says("ask_hours", silence(120_000)),),
        script=Script(steps=(Reply("opening_hours"),)),
        expect=(heard("greeting", "opening_hours"), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="keys_in_the_middle",
        story="The caller presses keys while the agent speaks; nothing is interrupted by that.",
        hangs_up_ms=2000,
        actions=(Digits(1500, "42#"),),
        expect=(heard("greeting"), keys("42#"), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="hang_up_in_the_middle_of_an_answer",
        story="The caller puts the phone down while the agent speaks.",
        hangs_up_ms=None,
        actions=(HangUp(2000),),
        expect=(ended("caller_hung_up"),),
    ),
    Scenario(
        name="hang_up_while_connecting",
        story="The caller is gone before OpenAI has answered.",
        hangs_up_ms=None,
        connect_s=5.0,
        actions=(HangUp(1000),),
        expect=(nothing_heard(), ended("caller_hung_up")),
    ),
    Scenario(
        name="failed_response",
        story="The model fails once; the next question is answered.",
        caller=(says("ask_hours", At(5000)), says("ask_hours", At(12_000))),
        script=Script(steps=(Fail(None, "The server had an error."), Reply("opening_hours"))),
        expect=(heard("greeting", "opening_hours"), ended("caller_hung_up")),
    ),
    Scenario(
        name="incomplete_response",
        story="The model stops in mid-sentence; what came is heard, and the call goes on.",
        caller=(says("ask_menu"), says("ask_hours")),
        script=Script(steps=(Incomplete("menu", spoken_ms=3000), Reply("opening_hours"))),
        expect=(heard("greeting", "opening_hours"), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="model_with_nothing_to_say",
        story="The model answers with silence; the caller asks again.",
        caller=(says("ask_hours", At(5000)), says("ask_hours", At(12_000))),
        script=Script(steps=(Silence(), Reply("opening_hours"))),
        expect=(heard("greeting", "opening_hours"), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="network_ends_the_call",
        story="The telephone network's time limit strikes.",
        hangs_up_ms=None,
        max_s=8.0,
        expect=(heard("greeting"), ended("caller_hung_up")),
    ),
)

"""Who speaks when, and who interrupts whom."""

from math import inf

import msgspec

from benchmarks.scenarios.expectations import clears, cut, ended, heard, heard_exactly, transcript
from benchmarks.scenarios.expectations_model import heard_all_of_caller, responses
from benchmarks.scenarios.scenario import PERSONA, Scenario, hearing, says
from benchmarks.simulators.openai import FailedTranscription, Reply, Script, Several, SimulatorConfig
from benchmarks.simulators.twilio import At
from relay import ServerVad

_MENU = Script(steps=(Reply("menu"), Reply("vegetarian"), Reply("goodbye")))
_WITHOUT_GREETING = msgspec.structs.replace(PERSONA, greeting="")

VOICE = (
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
        stages=("pure", "memory", "sockets"),
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
        stages=("pure", "memory", "sockets"),
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
        name="two_turns_before_one_answer",
        story="The caller goes on speaking before the first answer has begun to sound: one answer is enough.",
        caller=(says("ask_hours"), says("thanks_bye", At(9800))),
        script=Script(
            steps=(Reply("opening_hours"), Reply("goodbye")), input_transcripts=("Until when?", "Thank you, goodbye.")
        ),
        model=SimulatorConfig(first_audio_delay_s=2.0),
        expect=(
            heard_exactly("greeting", "goodbye"),
            transcript("Until when?", "Thank you, goodbye."),
            heard_all_of_caller(),
            responses(3),
            clears(0),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="failed_transcription",
        story="What the caller said first could not be written down; it was understood all the same.",
        caller=(says("ask_hours"), says("thanks_bye")),
        script=Script(
            steps=(Reply("opening_hours"), Reply("goodbye")), input_transcripts=(FailedTranscription(), "Thanks.")
        ),
        expect=(heard_exactly("greeting", "opening_hours", "goodbye"), transcript("Thanks."), ended("caller_hung_up")),
    ),
)

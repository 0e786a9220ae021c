"""What a model may do that it should not, within a session that holds."""

import msgspec

from benchmarks.scenarios.expectations import clears, cut, ended, heard, heard_exactly, silence_at_most
from benchmarks.scenarios.expectations_model import heard_all_of_caller, responses, sessions
from benchmarks.scenarios.scenario import PERSONA, Scenario, hearing, says
from benchmarks.simulators.openai import (
    Fail,
    Faults,
    Incomplete,
    Reply,
    Script,
    SendOversized,
    Silence,
    SimulatorConfig,
    Stall,
)
from benchmarks.simulators.twilio import At
from benchmarks.speech import clip

_HOURS = Script(steps=(Reply("opening_hours"),))
_MENU = Script(steps=(Reply("menu"), Reply("vegetarian")))
_INTERRUPTING = (says("ask_menu"), says("interrupt_vegetarian", hearing(4000)))

MODEL = (
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
        name="stray_deltas_after_a_cut",
        story="The model goes on talking for a moment after it was cancelled; nobody hears that.",
        caller=_INTERRUPTING,
        script=_MENU,
        model=SimulatorConfig(pace=1.5, faults=Faults(stray_deltas=5)),
        expect=(heard("greeting"), cut("menu"), heard("vegetarian"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="done_comes_late",
        story="The end of the cancelled answer is told only after the next one has begun.",
        caller=_INTERRUPTING,
        script=_MENU,
        model=SimulatorConfig(pace=1.5, faults=Faults(late_done=True)),
        expect=(heard("greeting"), cut("menu"), heard("vegetarian"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="done_comes_twice",
        story="Each answer ends twice, as OpenAI tells it.",
        caller=(says("ask_hours"), says("thanks_bye")),
        script=Script(steps=(Reply("opening_hours"), Reply("goodbye"))),
        model=SimulatorConfig(faults=Faults(duplicate_done=True)),
        expect=(heard_exactly("greeting", "opening_hours", "goodbye"), responses(3), ended("caller_hung_up")),
    ),
    Scenario(
        name="odd_events",
        story="Events nobody knows, fields nobody knows, and one that is no JSON: the caller notices nothing.",
        caller=(says("ask_hours"),),
        script=_HOURS,
        model=SimulatorConfig(faults=Faults(unknown_event=True, malformed_json=True, unknown_fields=True)),
        expect=(heard_exactly("greeting", "opening_hours"), sessions(1), ended("caller_hung_up")),
        stages=("pure", "memory", "sockets"),
    ),
    Scenario(
        name="oversized_event",
        story="An event of twenty megabytes ends the session, not the call.",
        caller=(says("ask_menu"), says("ask_hours")),
        hangs_up_ms=3000,
        script=Script(steps=(SendOversized(after_audio_ms=3000), Reply("menu"), Reply("opening_hours"))),
        model=SimulatorConfig(pace=1.5),
        expect=(heard("greeting"), heard("opening_hours"), sessions(2), ended("caller_hung_up")),
        stages=("memory",),
    ),
    Scenario(
        name="stall_behind_the_buffer",
        story="In the middle of the menu OpenAI says nothing for two seconds; the caller has enough to listen to.",
        caller=(says("ask_menu"),),
        script=Script(steps=(Stall(2.0, after_audio_ms=6000), Reply("menu"))),
        model=SimulatorConfig(pace=2.0),
        expect=(heard_exactly("greeting", "menu"), silence_at_most(1500), sessions(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="stall_for_good",
        story="OpenAI stops in mid-sentence and never goes on: the answer is given up, and another session goes on.",
        caller=(says("ask_menu"), says("thanks_bye", At(36_000))),
        script=Script(
            steps=(Stall(300.0, after_audio_ms=3000), Reply("menu"), Reply("opening_hours"), Reply("goodbye"))
        ),
        expect=(
            heard("greeting", "opening_hours", "goodbye"),
            silence_at_most(20_000),
            sessions(2),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="rate_limited_answer",
        story="There are no tokens for the answer at first; a second later there are, and nobody has to ask twice.",
        caller=(says("ask_hours"),),
        hangs_up_ms=4000,
        script=Script(steps=(Fail("rate_limit_exceeded", "Rate limit reached."), Reply("opening_hours"))),
        expect=(
            heard_exactly("greeting", "opening_hours"),
            silence_at_most(3000),
            heard_all_of_caller(),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="no_quota_left",
        story="The account is used up: the caller hears an apology, and Twilio goes on.",
        persona=msgspec.structs.replace(PERSONA, apology_audio=clip("sorry").mulaw),
        caller=(says("ask_hours"),),
        hangs_up_ms=None,
        script=Script(steps=(Fail("insufficient_quota", "You exceeded your current quota."),)),
        expect=(heard_exactly("greeting", "sorry"), sessions(1), ended("openai_refused")),
    ),
)

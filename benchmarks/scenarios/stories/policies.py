"""What a persona allows: greetings from the cache, interruptions or none."""

import msgspec

from benchmarks.scenarios.expectations import clears, cut, ended, heard, heard_exactly, silence_at_most, stopped
from benchmarks.scenarios.expectations_model import asked_for, heard_all_of_caller, responses, retold
from benchmarks.scenarios.scenario import PERSONA, TURN, Scenario, hearing, says
from benchmarks.simulators.openai import Reply, Script, SimulatorConfig
from benchmarks.simulators.twilio import Utterance
from benchmarks.speech import clip
from proto import mulaw
from relay import Persona
from relay.bargein import BargeInPolicy

_MENU = Script(steps=(Reply("menu"), Reply("vegetarian")))
_HOURS = Script(steps=(Reply("opening_hours"),))
_CACHED = msgspec.structs.replace(PERSONA, greeting_audio=clip("greeting").mulaw)
_COUGH = clip("ask_hours").mulaw[400 * mulaw.BYTES_PER_MS : 600 * mulaw.BYTES_PER_MS]


def _with(policy: BargeInPolicy) -> Persona:
    return msgspec.structs.replace(PERSONA, barge_in=policy)


POLICIES = (
    Scenario(
        name="cached_greeting",
        story="The greeting is there before OpenAI is: it sounds at once, and the model knows that it did.",
        persona=_CACHED,
        connect_s=(2.0,),
        caller=(says("ask_hours"),),
        script=_HOURS,
        expect=(
            heard_exactly("greeting", "opening_hours"),
            retold(0, "Good evening, this is Luna's"),
            asked_for("greeting", 0),
            responses(1),
            ended("caller_hung_up"),
        ),
        stages=("pure", "memory", "sockets"),
    ),
    Scenario(
        name="cached_greeting_cut",
        story="The caller does not wait for the end of the greeting that we played ourselves.",
        persona=_CACHED,
        caller=(says("ask_hours", hearing(1200)),),
        script=_HOURS,
        expect=(stopped("greeting"), heard("opening_hours"), clears(1), responses(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="cached_greeting_cut_while_connecting",
        story="The caller speaks into the greeting while OpenAI is still being connected to: it is heard and answered.",
        persona=_CACHED,
        connect_s=(3.0,),
        caller=(says("ask_hours", hearing(500)),),
        script=_HOURS,
        expect=(heard("opening_hours"), heard_all_of_caller(), responses(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="protected_greeting",
        story="The greeting must be heard to its end; who spoke into it is answered after it.",
        persona=_with(BargeInPolicy(protect_greeting=True)),
        caller=(says("ask_hours", hearing(600)),),
        script=_HOURS,
        expect=(heard_exactly("greeting", "opening_hours"), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="protected_greeting_then_a_cut",
        story="Only the greeting is protected; the menu is not.",
        persona=_with(BargeInPolicy(protect_greeting=True)),
        caller=(says("ask_menu", hearing(1000)), says("interrupt_vegetarian", hearing(6000))),
        script=_MENU,
        expect=(heard("greeting"), cut("menu"), heard("vegetarian"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="barge_in_off",
        story="This persona cannot be interrupted: the menu is heard to its end, then the caller is answered.",
        persona=_with(BargeInPolicy(enabled=False)),
        caller=(says("ask_menu"), says("interrupt_vegetarian", hearing(4000))),
        script=_MENU,
        expect=(heard_exactly("greeting", "menu", "vegetarian"), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="local_detection",
        story="The agent falls silent at the first sound of the caller, before OpenAI has said that it is speech.",
        persona=_with(BargeInPolicy(local_detection=True)),
        caller=(says("ask_menu"), says("interrupt_vegetarian", hearing(4000))),
        script=_MENU,
        expect=(heard("greeting"), cut("menu"), heard("vegetarian"), ended("caller_hung_up")),
    ),
    Scenario(
        name="a_cough_stops_nobody",
        story="The caller coughs into the menu; this persona is stopped by half a second of speech, not by less.",
        persona=_with(BargeInPolicy(min_speech_ms=500)),
        caller=(says("ask_menu"), Utterance(_COUGH, hearing(4000))),
        script=Script(steps=(Reply("menu"), Reply("anything_else"))),
        expect=(heard_exactly("greeting", "menu", "anything_else"), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="more_than_a_cough_stops",
        story="The same persona is stopped by a whole sentence.",
        persona=_with(BargeInPolicy(min_speech_ms=500)),
        caller=(says("ask_menu"), says("interrupt_vegetarian", hearing(4000))),
        script=_MENU,
        expect=(heard("greeting"), cut("menu"), heard("vegetarian"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="no_dead_air",
        story="A good day: nobody ever waits for more than a second and a half.",
        persona=_CACHED,
        caller=(says("ask_hours", TURN), says("book_table", TURN), says("thanks_bye", TURN)),
        script=Script(steps=(Reply("opening_hours"), Reply("table_booked"), Reply("goodbye"))),
        model=SimulatorConfig(first_audio_delay_s=0.5),
        expect=(
            heard_exactly("greeting", "opening_hours", "table_booked", "goodbye"),
            silence_at_most(1500),
            ended("caller_hung_up"),
        ),
    ),
)

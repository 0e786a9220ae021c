"""Sessions with OpenAI that cannot be had, are lost, or run out."""

import msgspec

from benchmarks.scenarios.expectations import (
    broken_off,
    clears,
    ended,
    ended_within,
    heard,
    heard_exactly,
    nothing_heard,
    silence_at_most,
)
from benchmarks.scenarios.expectations_model import asked_for, heard_all_of_caller, responses, retold, sessions
from benchmarks.scenarios.scenario import PERSONA, Break, Scenario, says, silence
from benchmarks.simulators.openai import Close, Drop, Faults, Reply, Script, SimulatorConfig
from benchmarks.simulators.twilio import At, Network
from benchmarks.speech import clip

_HOURS = Script(steps=(Reply("opening_hours"),))
_BOOKING = Script(steps=(Reply("table_booked"),))
_WITHOUT_GREETING = msgspec.structs.replace(PERSONA, greeting="")
_APOLOGETIC = msgspec.structs.replace(PERSONA, apology_audio=clip("sorry").mulaw)

UPSTREAM = (
    Scenario(
        name="slow_connection",
        story="OpenAI takes three seconds to answer; what the caller said meanwhile is not lost.",
        persona=_WITHOUT_GREETING,
        connect_s=(3.0,),
        caller=(says("ask_hours", At(100)),),
        script=Script(steps=(Reply("opening_hours"),)),
        expect=(heard("opening_hours"), ended("caller_hung_up")),
    ),
    Scenario(
        name="nobody_answers_upstream",
        story="OpenAI cannot be reached: the stream ends at once, so that Twilio can go on.",
        connect_s=(None,),
        caller=(says("ask_hours", At(100)),),
        expect=(nothing_heard(), ended("openai_unreachable")),
    ),
    Scenario(
        name="nobody_answers_but_sorry",
        story="OpenAI cannot be reached: the caller hears an apology before Twilio goes on.",
        persona=_APOLOGETIC,
        connect_s=(None,),
        hangs_up_ms=None,
        expect=(heard_exactly("sorry"), sessions(0), ended_within(13_000), ended("openai_unreachable")),
    ),
    Scenario(
        name="busy_at_first",
        story="OpenAI has too many connections and says when to come back: then all is well.",
        persona=_WITHOUT_GREETING,
        faults=(Faults(http_status=429, retry_after_s=2),),
        caller=(says("ask_hours", At(100)),),
        script=_HOURS,
        expect=(heard_exactly("opening_hours"), heard_all_of_caller(), sessions(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="overloaded_at_first",
        story="OpenAI answers with 503 twice; the greeting comes late, but it comes.",
        faults=(Faults(http_status=503), Faults(http_status=503)),
        expect=(heard_exactly("greeting"), sessions(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="wrong_key",
        story="The key is not accepted, and will not be: nobody is kept waiting for that.",
        persona=_APOLOGETIC,
        faults=(Faults(http_status=401),),
        hangs_up_ms=None,
        expect=(heard_exactly("sorry"), sessions(0), ended_within(4200), ended("openai_refused")),
    ),
    Scenario(
        name="connecting_takes_three_tries",
        story="The first connection is refused, the second drops at once, the third holds; nothing said is lost.",
        persona=_WITHOUT_GREETING,
        connect_s=(None, 0.05),
        breaks=(Break(session=1, after_s=0.0, what=Drop()),),
        caller=(says("ask_hours", At(100)),),
        script=_HOURS,
        expect=(heard_exactly("opening_hours"), heard_all_of_caller(), sessions(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="silent_session",
        story="OpenAI takes the connection and then says nothing at all; another one is opened.",
        faults=(Faults(silent=True),),
        expect=(heard_exactly("greeting"), sessions(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="dropped_in_mid_sentence",
        story="The line to OpenAI is cut while it reads the menu: another session is told all of it, and goes on.",
        caller=(says("ask_menu"),),
        hangs_up_ms=3000,
        script=Script(
            steps=(Drop(after_audio_ms=16_000), Reply("menu"), Reply("anything_else")),
            input_transcripts=("Which pizzas do you have?",),
        ),
        model=SimulatorConfig(pace=4.0),
        expect=(
            broken_off("menu", after_ms=4000),
            heard("greeting", "anything_else"),
            retold(1, "Good evening", "Which pizzas", "Our Margherita"),
            asked_for("resume"),
            silence_at_most(1500),
            sessions(2),
            ended("caller_hung_up"),
        ),
        stages=("pure", "memory", "sockets"),
    ),
    Scenario(
        name="closed_in_mid_sentence",
        story="OpenAI goes away in mid-sentence, with a goodbye: the next session is opened without a pause.",
        caller=(says("ask_menu"),),
        hangs_up_ms=3000,
        script=Script(steps=(Close(1001, after_audio_ms=6000), Reply("menu"), Reply("anything_else"))),
        model=SimulatorConfig(pace=1.5),
        expect=(
            broken_off("menu", after_ms=4000),
            heard("greeting", "anything_else"),
            silence_at_most(1300),
            sessions(2),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="dropped_while_it_sounds",
        story="OpenAI is lost when all was said but not all heard: it sounds to its end, and nothing comes twice.",
        caller=(says("ask_menu"), says("ask_hours")),
        script=Script(steps=(Reply("menu"), Reply("opening_hours")), input_transcripts=("Which?", "Until when?")),
        breaks=(Break(after_s=12.0, what=Drop()),),
        expect=(
            heard_exactly("greeting", "menu", "opening_hours"),
            retold(1, "Good evening", "Which?", "Our Margherita"),
            asked_for("resume", 0),
            clears(0),
            sessions(2),
            heard_all_of_caller(),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="dropped_while_the_caller_speaks",
        story="OpenAI is lost in the middle of a question: the next session hears all of it, and answers once.",
        caller=(says("book_table"),),
        hangs_up_ms=3000,
        script=_BOOKING,
        breaks=(Break(after_s=6.0, what=Drop()),),
        expect=(
            heard_exactly("greeting", "table_booked"),
            heard_all_of_caller(),
            responses(2),
            sessions(2),
            ended("caller_hung_up"),
        ),
        stages=("pure", "memory", "sockets"),
    ),
    Scenario(
        name="dropped_before_the_answer",
        story="The question is over, and OpenAI is lost before a word of the answer came: it is heard again.",
        caller=(says("book_table"),),
        hangs_up_ms=3000,
        script=Script(steps=(Drop(), Reply("opening_hours"), Reply("table_booked"))),
        expect=(heard_exactly("greeting", "table_booked"), heard_all_of_caller(), sessions(2), ended("caller_hung_up")),
    ),
    Scenario(
        name="dropped_twice_in_a_question",
        story="The caller explains at length, and OpenAI is lost twice meanwhile; not a word has to be said again.",
        caller=(says("caller_long"),),
        hangs_up_ms=3000,
        script=_BOOKING,
        breaks=(Break(after_s=7.0, what=Drop()), Break(session=1, after_s=2.0, what=Drop())),
        expect=(heard("greeting"), heard_all_of_caller(), sessions(3), ended("caller_hung_up")),
    ),
    Scenario(
        name="dropped_on_a_line_without_silence",
        story="The carrier sends no silence, and OpenAI is lost with the last word: the turn is closed all the same.",
        network=Network(silence_suppression=True),
        caller=(says("book_table"),),
        hangs_up_ms=3000,
        script=_BOOKING,
        breaks=(Break(after_s=7.98, what=Drop()),),
        expect=(heard_exactly("greeting", "table_booked"), heard_all_of_caller(), sessions(2), ended("caller_hung_up")),
    ),
    Scenario(
        name="dropped_before_the_greeting",
        story="OpenAI is lost just when the greeting was asked for: the next session speaks it.",
        hangs_up_ms=1500,
        script=Script(greeting=None, steps=(Reply("opening_hours"), Reply("greeting"))),
        breaks=(Break(after_s=0.2, what=Drop()),),
        expect=(heard_exactly("greeting"), asked_for("greeting", 2), sessions(2), ended("caller_hung_up")),
    ),
    Scenario(
        name="dropped_in_the_greeting",
        story="OpenAI is lost in the middle of the greeting: the next session goes on, and the call with it.",
        caller=(says("ask_hours", silence(1500)),),
        script=Script(steps=(Reply("anything_else"), Reply("opening_hours"))),
        model=SimulatorConfig(pace=1.5),
        breaks=(Break(after_s=1.5, what=Drop()),),
        expect=(
            broken_off("greeting", after_ms=1150),
            heard("anything_else", "opening_hours"),
            asked_for("resume"),
            sessions(2),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="session_limit",
        story="OpenAI ends the session while the caller speaks; a new one takes over, and no word is lost.",
        caller=(says("ask_hours"), says("book_table", At(18_500))),
        script=Script(
            steps=(Reply("opening_hours"), Reply("table_booked")), input_transcripts=("Until when?", "A table.")
        ),
        model=SimulatorConfig(session_seconds=20.0),
        expect=(
            heard_exactly("greeting", "opening_hours", "table_booked"),
            retold(1, "Good evening", "Until when?", "We are open"),
            heard_all_of_caller(),
            sessions(2),
            ended("caller_hung_up"),
        ),
    ),
)

"""What a telephone line does: gaps, jitter, lost and late marks, and ends that nobody announces."""

from benchmarks.scenarios.expectations import (
    clears,
    cut,
    ended,
    heard,
    heard_exactly,
    never_told_too_much,
    nothing_heard,
)
from benchmarks.scenarios.expectations_model import heard_all_of_caller, prompted, responses
from benchmarks.scenarios.scenario import Scenario, hearing, says
from benchmarks.simulators.openai import Reply, Script
from benchmarks.simulators.twilio import HangUp, Network, Span

_HOURS = Script(steps=(Reply("opening_hours"),))
_MENU = Script(steps=(Reply("menu"), Reply("vegetarian")))
_INTERRUPTING = (says("ask_menu"), says("interrupt_vegetarian", hearing(4000)))

LINE = (
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
        connect_s=(5.0,),
        actions=(HangUp(1000),),
        expect=(nothing_heard(), ended("caller_hung_up")),
    ),
    Scenario(
        name="network_ends_the_call",
        story="The telephone network's time limit strikes.",
        hangs_up_ms=None,
        max_s=8.0,
        expect=(heard("greeting"), ended("caller_hung_up")),
    ),
    Scenario(
        name="gap_in_a_word",
        story="For 300 ms nothing comes from the caller, in the middle of a word: it stays one question.",
        network=Network(gaps=(Span(5200, 300),)),
        caller=(says("ask_hours"),),
        script=_HOURS,
        expect=(heard_exactly("greeting", "opening_hours"), responses(2), ended("caller_hung_up")),
    ),
    Scenario(
        name="long_gap_in_a_question",
        story="The carrier loses the caller in mid-sentence for two seconds: the turn is closed, and the call goes on.",
        network=Network(gaps=(Span(6000, 2000),)),
        caller=(says("ask_hours"), says("thanks_bye")),
        script=Script(steps=(Reply("opening_hours"), Reply("goodbye"))),
        expect=(heard_exactly("greeting", "opening_hours", "goodbye"), responses(3), ended("caller_hung_up")),
    ),
    Scenario(
        name="carrier_suppresses_silence",
        story="The carrier sends nothing while the caller is silent, so nothing but the relay ends the caller's turns.",
        network=Network(silence_suppression=True),
        caller=(says("ask_hours"), says("ask_menu"), says("interrupt_vegetarian", hearing(4000))),
        script=Script(steps=(Reply("opening_hours"), Reply("menu"), Reply("vegetarian"))),
        expect=(
            heard("greeting", "opening_hours"),
            cut("menu"),
            heard("vegetarian"),
            heard_all_of_caller(),
            responses(4),
            clears(1),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="jitter",
        story="Every frame of the caller is up to 20 ms late.",
        network=Network(jitter_ms=20.0),
        caller=_INTERRUPTING,
        script=_MENU,
        expect=(heard("greeting"), cut("menu"), heard("vegetarian"), heard_all_of_caller(), ended("caller_hung_up")),
    ),
    Scenario(
        name="lost_frames",
        story="One frame in fifty is lost on its way from the caller.",
        network=Network(loss=0.02),
        caller=_INTERRUPTING,
        script=_MENU,
        expect=(heard("greeting"), cut("menu"), heard("vegetarian"), responses(3), ended("caller_hung_up")),
    ),
    Scenario(
        name="marks_never_echoed",
        story="Twilio never says what has been played: the model is told of no word that was not heard.",
        network=Network(mark_loss=1.0),
        caller=_INTERRUPTING,
        script=_MENU,
        expect=(
            heard("greeting", "vegetarian"),
            never_told_too_much("greeting", "menu"),
            heard_all_of_caller(),
            responses(3),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="marks_lost_and_mute",
        story="Twilio never says what has been played, and the caller says nothing: they are asked all the same.",
        network=Network(mark_loss=1.0),
        hangs_up_ms=None,
        script=Script(steps=(Reply("still_there"), Reply("still_there"), Reply("goodbye"))),
        expect=(prompted(2), ended("caller_silent")),
    ),
    Scenario(
        name="some_marks_lost",
        story="Every third echo is lost on its way; the others say enough.",
        network=Network(mark_loss=0.3),
        caller=_INTERRUPTING,
        script=_MENU,
        expect=(heard("greeting"), cut("menu"), heard("vegetarian"), ended("caller_hung_up")),
    ),
    Scenario(
        name="marks_200_ms_late",
        story="Twilio says what has been played, a fifth of a second late.",
        network=Network(mark_delay_ms=200.0),
        caller=_INTERRUPTING,
        script=_MENU,
        expect=(heard("greeting"), cut("menu"), heard("vegetarian"), clears(1), ended("caller_hung_up")),
    ),
    Scenario(
        name="clear_races_the_last_mark",
        story="The caller speaks just as the greeting ends; its last mark and our clear cross each other.",
        network=Network(to_relay_ms=60.0, to_twilio_ms=60.0),
        caller=(says("ask_hours", hearing(3400)), says("ask_menu", hearing(4250))),
        script=Script(steps=(Reply("opening_hours"), Reply("vegetarian"))),
        expect=(heard("vegetarian"), heard_all_of_caller(), responses(3), ended("caller_hung_up")),
    ),
    Scenario(
        name="phone_line_half_open",
        story="Twilio's end is gone without a word; the relay finds out by itself, and soon.",
        network=Network(vanishes_at_ms=8000),
        caller=(says("ask_menu"),),
        script=_MENU,
        max_s=90.0,
        expect=(heard("greeting"), ended("twilio_closed")),
        stages=("memory",),
    ),
    Scenario(
        name="slow_reader",
        story="For three seconds Twilio takes nothing from us; then the caller hears all of it.",
        network=Network(reading_stops=(Span(7000, 3000),)),
        caller=(says("ask_hours"),),
        script=_HOURS,
        expect=(heard_exactly("greeting", "opening_hours"), clears(0), ended("caller_hung_up")),
        stages=("memory",),
    ),
)

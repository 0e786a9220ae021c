"""Callers who say nothing, who press keys, and calls that last too long."""

import msgspec

from benchmarks.scenarios.expectations import (
    clears,
    cut,
    ended,
    ended_within,
    heard,
    heard_exactly,
    keys,
    left_for,
)
from benchmarks.scenarios.expectations_model import asked_for, prompted, responses, typed
from benchmarks.scenarios.scenario import PERSONA, Scenario, says, silence
from benchmarks.simulators.openai import Reply, Script
from benchmarks.simulators.twilio import At, Digits
from relay.keypad import KeyPolicy
from relay.patience import Limits, SilencePolicy

_HOURS = Script(steps=(Reply("opening_hours"),))

PATIENCE = (
    Scenario(
        name="keys_in_the_middle",
        story="The caller presses keys while the agent speaks; nothing is interrupted by that.",
        hangs_up_ms=2000,
        actions=(Digits(1500, "42#"),),
        expect=(heard("greeting"), keys("42#"), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="mute_until_goodbye",
        story="The caller says nothing at all: they are asked twice, then the agent says goodbye.",
        hangs_up_ms=None,
        script=Script(steps=(Reply("still_there"), Reply("still_there"), Reply("goodbye"))),
        expect=(
            heard_exactly("greeting", "still_there", "still_there", "goodbye"),
            prompted(2),
            asked_for("goodbye"),
            ended_within(60_000),
            ended("caller_silent"),
        ),
    ),
    Scenario(
        name="mute_until_asked",
        story="The caller is asked whether they are there, and is.",
        caller=(says("ask_hours", At(20_000)),),
        script=Script(steps=(Reply("still_there"), Reply("opening_hours"))),
        expect=(
            heard_exactly("greeting", "still_there", "opening_hours"),
            prompted(1),
            clears(0),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="mute_for_two_minutes",
        story="This persona waits: the caller says nothing for two minutes, then asks after all.",
        persona=msgspec.structs.replace(PERSONA, silence=SilencePolicy(prompt_after_s=None)),
        caller=(says("ask_hours", silence(120_000)),),
        script=_HOURS,
        expect=(heard_exactly("greeting", "opening_hours"), prompted(0), clears(0), ended("caller_hung_up")),
    ),
    Scenario(
        name="typed_number",
        story="The caller types a number; the model reads it, and answers.",
        hangs_up_ms=3000,
        actions=(Digits(6000, "42#"),),
        script=Script(steps=(Reply("table_booked"),)),
        expect=(
            heard_exactly("greeting", "table_booked"),
            keys("42#"),
            typed("42"),
            asked_for("keypad"),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="key_for_staff",
        story="Zero is for somebody of flesh and blood; the greeting is cut short, and the call moves on.",
        persona=msgspec.structs.replace(PERSONA, dtmf=KeyPolicy(actions={"0": "staff"})),
        hangs_up_ms=None,
        actions=(Digits(1000, "0"),),
        expect=(cut("greeting"), left_for("staff"), responses(1), ended_within(4000), ended("agent_ended")),
    ),
    Scenario(
        name="time_is_up",
        story="The call may last forty seconds; a quarter of a minute before, the agent brings it to its end.",
        persona=msgspec.structs.replace(
            PERSONA,
            silence=SilencePolicy(prompt_after_s=None),
            limits=Limits(max_duration_s=40.0, wrap_up_before_s=15.0),
        ),
        caller=(says("ask_hours"),),
        hangs_up_ms=None,
        script=Script(steps=(Reply("opening_hours"), Reply("goodbye"))),
        expect=(
            heard_exactly("greeting", "opening_hours", "goodbye"),
            asked_for("wrap_up"),
            ended_within(41_000),
            ended("max_duration"),
        ),
    ),
)

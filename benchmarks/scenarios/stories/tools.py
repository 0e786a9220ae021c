"""What the model does besides talking, and what the caller says meanwhile."""

from benchmarks.scenarios.expectations import clears, cut, ended, heard, heard_exactly, silence_at_most
from benchmarks.scenarios.expectations_model import (
    asked_for,
    heard_all_of_caller,
    responses,
    retold,
    sessions,
    tool_outputs,
)
from benchmarks.scenarios.scenario import Break, Scenario, ScriptedTool, hearing, says
from benchmarks.simulators.openai import Drop, Reply, Script, Several, ToolCall
from benchmarks.simulators.twilio import At
from relay.tools import OnBargeIn

_END_CALL = ScriptedTool(name="end_call", takes_s=0.0, output="bye", then="end_call", on_barge_in="cancel")
_LOOK_UP = Several((Reply("one_moment"), ToolCall("look_up")))
_INTERRUPTING = (says("ask_hours"), says("interrupt_vegetarian", hearing(500)))


def _look_up(takes_s: float, on_barge_in: OnBargeIn = "finish", filler: str = "") -> ScriptedTool:
    return ScriptedTool(name="look_up", takes_s=takes_s, output="11 pm", on_barge_in=on_barge_in, filler=filler)


TOOLS = (
    Scenario(
        name="tool_and_answer",
        story="The model looks something up, and says what it found.",
        caller=(says("ask_hours"),),
        tools=(_look_up(1.0),),
        script=Script(steps=(_LOOK_UP, Reply("opening_hours"))),
        expect=(
            heard_exactly("greeting", "one_moment", "opening_hours"),
            tool_outputs("11 pm"),
            asked_for("tool_result"),
            ended("caller_hung_up"),
        ),
        stages=("pure", "memory", "sockets"),
    ),
    Scenario(
        name="interrupted_tool_finishes",
        story="The caller speaks while something is looked up; they are answered, and then told what was found.",
        caller=_INTERRUPTING,
        hangs_up_ms=2000,
        tools=(_look_up(6.0),),
        script=Script(steps=(_LOOK_UP, Reply("vegetarian"), Reply("opening_hours"))),
        expect=(
            cut("one_moment"),
            heard("greeting", "vegetarian", "opening_hours"),
            tool_outputs("11 pm"),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="interrupted_tool_is_cancelled",
        story="The caller speaks while something is looked up; that is stopped, and the model knows.",
        caller=_INTERRUPTING,
        hangs_up_ms=2000,
        tools=(_look_up(6.0, "cancel"),),
        script=Script(steps=(_LOOK_UP, Reply("vegetarian"), Reply("opening_hours"))),
        expect=(
            cut("one_moment"),
            heard("greeting", "vegetarian"),
            tool_outputs('{"error":{"code":"cancelled"'),
            responses(3),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="interrupted_tool_goes_on_in_the_background",
        story="The caller speaks while something is done that must be done; nobody waits for it any more.",
        caller=_INTERRUPTING,
        hangs_up_ms=2000,
        tools=(_look_up(6.0, "detach"),),
        script=Script(steps=(_LOOK_UP, Reply("vegetarian"), Reply("opening_hours"))),
        expect=(
            cut("one_moment"),
            heard("greeting", "vegetarian"),
            tool_outputs('{"status":"in_background"'),
            responses(3),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="two_tools_one_slow",
        story="Two things are looked up at once, one takes its time; what the caller says meanwhile is answered.",
        caller=(says("ask_hours"), says("ask_menu", At(9000))),
        hangs_up_ms=4000,
        tools=(
            ScriptedTool(name="quick", takes_s=0.2, output="first"),
            ScriptedTool(name="slow", takes_s=9.0, output="second"),
        ),
        script=Script(
            steps=(Several((ToolCall("quick"), ToolCall("slow"))), Reply("one_moment"), Reply("opening_hours"))
        ),
        expect=(
            heard_exactly("greeting", "one_moment", "opening_hours"),
            heard_all_of_caller(),
            tool_outputs("first", "second"),
            asked_for("tool_result"),
            clears(0),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="filler",
        story="Looking it up takes four seconds; the agent says that it does.",
        caller=(says("ask_hours"),),
        hangs_up_ms=3000,
        tools=(_look_up(4.0, filler="One moment, I'll look that up."),),
        script=Script(steps=(ToolCall("look_up"), Reply("one_moment"), Reply("opening_hours"))),
        expect=(
            heard_exactly("greeting", "one_moment", "opening_hours"),
            asked_for("filler"),
            silence_at_most(3000),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="agent_says_goodbye_and_hangs_up",
        story="The model says goodbye and ends the call, once that was heard.",
        caller=(says("thanks_bye"),),
        hangs_up_ms=None,
        tools=(_END_CALL,),
        script=Script(steps=(Several((Reply("goodbye"), ToolCall("end_call"))),)),
        expect=(heard_exactly("greeting", "goodbye"), asked_for("goodbye", 0), ended("agent_ended")),
        stages=("pure", "memory", "sockets"),
    ),
    Scenario(
        name="agent_hangs_up_without_a_word",
        story="The model ends the call without a word; it is asked for one.",
        caller=(says("thanks_bye"),),
        hangs_up_ms=None,
        tools=(_END_CALL,),
        script=Script(steps=(ToolCall("end_call"), Reply("goodbye"))),
        expect=(heard_exactly("greeting", "goodbye"), asked_for("goodbye"), ended("agent_ended")),
    ),
    Scenario(
        name="hanging_up_is_called_off",
        story="The agent says goodbye, but the caller has one more question: the call goes on.",
        caller=(says("thanks_bye"), says("ask_hours", hearing(1500))),
        tools=(_END_CALL,),
        script=Script(steps=(Several((Reply("goodbye"), ToolCall("end_call"))), Reply("opening_hours"))),
        expect=(cut("goodbye"), heard("greeting", "opening_hours"), ended("caller_hung_up")),
    ),
    Scenario(
        name="dropped_while_a_tool_runs",
        story="OpenAI is lost while something is looked up; the next session is told of it, and says what was found.",
        caller=(says("ask_hours"),),
        hangs_up_ms=6000,
        tools=(_look_up(5.0),),
        script=Script(steps=(_LOOK_UP, Reply("opening_hours")), input_transcripts=("Until when?",)),
        breaks=(Break(after_s=10.0, what=Drop()),),
        expect=(
            heard_exactly("greeting", "one_moment", "opening_hours"),
            retold(1, "Good evening", "Until when?", "One moment", "look_up"),
            tool_outputs("11 pm"),
            sessions(2),
            ended("caller_hung_up"),
        ),
    ),
)

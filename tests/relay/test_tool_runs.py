"""A call's tools as the conversation sees them: single stories first, then the laws that hold in any interleaving."""

import json
from itertools import count
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proto import realtime
from relay import log
from relay.tool_runs import (
    BACKSTOP_S,
    MAX_CALLS_KNOWN,
    MAX_RUNNING,
    Cancel,
    EndCall,
    Filler,
    Output,
    Reply,
    Run,
    ToolDecision,
    ToolRuns,
)
from relay.tools import OnBargeIn, Then, ToolBox, ToolReport, failure
from tests.relay.test_tools import tool

DEADLINE_S = 10.0
POLICIES: tuple[OnBargeIn, ...] = ("cancel", "finish", "detach")
FILLER = "One moment, please."
TOOLBOX = ToolBox(
    [
        *(tool(policy, on_barge_in=policy) for policy in POLICIES),
        *(tool(f"slow_{policy}", on_barge_in=policy, filler=FILLER) for policy in POLICIES),
        tool("hasty", filler="Just a second.", filler_after_ms=500),
    ]
)
FOUND = ToolReport("ok", '{"status":"shipped"}')
SILENT = ToolReport("ok", "noted", "silent")
ENDS = ToolReport("ok", "The call ends.", "end_call")


def item_done(
    call_id: str = "call_1", name: str = "finish", response_id: str = "resp_1", status: str = "completed"
) -> realtime.OutputItemDone:
    item = realtime.Item("item_1", "function_call", status, name=name, call_id=call_id, arguments="{}")
    return realtime.OutputItemDone(response_id, item)


class Story:
    """A ToolRuns in a conversation. What it decides, without the log's events, is what each step gives back."""

    def __init__(self) -> None:
        self.runs = ToolRuns(TOOLBOX.offers())
        self.logged: list[log.LogEvent] = []

    def _told(self, decisions: list[ToolDecision]) -> list[ToolDecision]:
        self.logged += [one for one in decisions if isinstance(one, log.LogEvent)]
        return [one for one in decisions if not isinstance(one, log.LogEvent)]

    def calls(self, *names: str, response_id: str = "resp_1", now: float = 0.0) -> list[ToolDecision]:
        """Calls `call_1`, `call_2` … of these tools, in one response."""
        events = [item_done(f"call_{n}", name, response_id) for n, name in enumerate(names, 1)]
        return self._told([one for event in events for one in self.runs.output_item_done(event, now)])

    def begins(self, response_id: str) -> list[ToolDecision]:
        return self._told(self.runs.response_created(response_id))

    def ends(self, response_id: str = "resp_1", *, has_spoken: bool = False) -> list[ToolDecision]:
        return self._told(self.runs.response_done(response_id, has_spoken=has_spoken))

    def brings(self, call_id: str = "call_1", report: ToolReport = FOUND, now: float = 1.0) -> list[ToolDecision]:
        return self._told(self.runs.finished(call_id, report, now))

    def caller_speaks(self, now: float = 2.0) -> list[ToolDecision]:
        self.runs.speech_started()
        return self._told(self.runs.barged_in(now))

    def waits_until(self, now: float, *, may_speak: bool = True) -> list[ToolDecision]:
        return self._told(self.runs.timeout(now, may_speak=may_speak))

    def is_lost(self) -> list[ToolDecision]:
        return self._told(self.runs.session_lost())


@pytest.fixture
def story() -> Story:
    return Story()


# A call, its output, and the model's word


def test_a_call_runs_tells_its_output_and_then_the_model_speaks(story: Story) -> None:
    assert story.calls("finish") == [Run("call_1", "finish", "{}")]
    assert story.ends() == []
    assert story.brings() == [Output("call_1", FOUND.output), Reply()]


def test_the_output_need_not_wait_for_the_end_of_the_response_but_the_models_word_does(story: Story) -> None:
    story.calls("finish")
    assert story.brings() == [Output("call_1", FOUND.output)]
    assert story.ends() == [Reply()]


def test_parallel_calls_run_together_and_the_model_speaks_once_after_the_last(story: Story) -> None:
    assert story.calls("finish", "cancel", "detach") == [
        Run("call_1", "finish", "{}"),
        Run("call_2", "cancel", "{}"),
        Run("call_3", "detach", "{}"),
    ]
    story.ends()
    assert story.brings("call_2") == [Output("call_2", FOUND.output)]
    assert story.brings("call_3") == [Output("call_3", FOUND.output)]
    assert story.brings("call_1") == [Output("call_1", FOUND.output), Reply()]


def test_a_call_that_is_announced_again_is_not_run_again(story: Story) -> None:
    story.calls("finish")
    assert story.calls("finish") == []
    story.brings()
    story.ends()
    assert story.calls("finish") == story.brings() == story.ends() == []


@pytest.mark.parametrize(
    "event",
    [
        item_done(status="incomplete"),
        item_done(call_id=""),
        realtime.OutputItemDone("resp_1", realtime.Item("item_1", "function_call", "completed", name="finish")),
        realtime.OutputItemDone("resp_1", realtime.Item("item_1", "message", "completed", role="assistant")),
    ],
    ids=["interrupted", "empty call id", "no call id", "a message"],
)
def test_only_a_whole_call_is_run(story: Story, event: realtime.OutputItemDone) -> None:
    assert story.runs.output_item_done(event, 0.0) == []
    assert story.ends() == []


def test_a_call_without_name_or_arguments_is_answered_too(story: Story) -> None:
    event = realtime.OutputItemDone("resp_1", realtime.Item("item_1", "function_call", "completed", call_id="call_1"))
    decisions = story.runs.output_item_done(event, 0.0)
    assert [type(one) for one in decisions] == [log.ToolCalled, Output, log.ToolFinished]


def test_an_unknown_tool_is_answered_at_once_and_the_model_may_correct_itself(story: Story) -> None:
    (output,) = story.calls("finnish")
    assert isinstance(output, Output)
    assert json.loads(output.text)["error"]["code"] == "unknown_tool"
    assert story.ends() == [Reply()]


def test_more_calls_than_may_run_at_once_are_refused(story: Story) -> None:
    decisions = story.calls(*["finish"] * (MAX_RUNNING + 2))
    assert [type(one) for one in decisions] == [Run] * MAX_RUNNING + [Output] * 2
    assert isinstance(decisions[-1], Output)
    assert json.loads(decisions[-1].text)["error"]["code"] == "too_many"
    story.brings("call_1")
    assert story.runs.output_item_done(item_done("call_99"), 1.0)[1] == Run("call_99", "finish", "{}")


def test_silent_results_leave_the_word_to_the_caller(story: Story) -> None:
    story.calls("finish", "finish")
    story.ends()
    assert story.brings("call_1", SILENT) == [Output("call_1", "noted")]
    assert story.brings("call_2", SILENT) == [Output("call_2", "noted")]


def test_one_result_to_speak_of_among_silent_ones_is_enough(story: Story) -> None:
    story.calls("finish", "finish")
    story.ends()
    story.brings("call_1")
    assert story.brings("call_2", SILENT) == [Output("call_2", "noted"), Reply()]


def test_an_error_is_spoken_of_even_if_the_call_was_to_be_ended(story: Story) -> None:
    story.calls("finish")
    story.ends()
    assert story.brings("call_1", failure("timeout", "Too slow."))[-1] == Reply()


def test_each_response_that_called_is_answered_by_itself(story: Story) -> None:
    story.calls("finish")
    story.runs.output_item_done(item_done("call_9", response_id="resp_2"), 0.0)
    assert story.ends() == story.ends("resp_2") == []
    assert story.brings("call_9") == [Output("call_9", FOUND.output), Reply()]
    assert story.brings("call_1") == [Output("call_1", FOUND.output), Reply()]


def test_a_response_without_calls_ends_without_a_word(story: Story) -> None:
    assert story.ends(has_spoken=True) == []


# The caller speaks


def error_code(decision: ToolDecision) -> str:
    assert isinstance(decision, Output)
    return str(json.loads(decision.text)["error"]["code"])


def test_cancel_stops_the_run_and_says_so(story: Story) -> None:
    story.calls("cancel")
    story.ends()
    stop, output, reply = story.caller_speaks()
    assert (stop, reply) == (Cancel("call_1"), Reply())
    assert error_code(output) == "cancelled"
    assert story.brings() == []


def test_finish_goes_on_as_if_nobody_had_spoken(story: Story) -> None:
    story.calls("finish")
    story.ends()
    assert story.caller_speaks() == []
    assert story.brings() == [Output("call_1", FOUND.output), Reply()]


def test_detach_is_told_at_once_and_its_end_is_only_logged(story: Story) -> None:
    story.calls("detach")
    story.ends()
    output, reply = story.caller_speaks()
    assert isinstance(output, Output)
    assert json.loads(output.text)["status"] == "in_background"
    assert reply == Reply()
    assert story.caller_speaks(2.5) == []
    assert story.brings(now=4.0) == []
    assert story.logged[-1] == log.ToolEndedLate(
        name="detach", call_id="call_1", duration_ms=4000, outcome="ok", output=FOUND.output
    )


def test_the_word_on_what_was_interrupted_waits_for_the_tools_that_go_on(story: Story) -> None:
    story.calls("cancel", "finish")
    story.ends()
    assert [type(one) for one in story.caller_speaks()] == [Cancel, Output]
    assert story.brings("call_2") == [Output("call_2", FOUND.output), Reply()]


@pytest.mark.parametrize("name", POLICIES)
def test_words_that_interrupt_nothing_leave_every_tool_alone(story: Story, name: str) -> None:
    story.calls(name)
    story.ends()
    story.runs.speech_started()
    assert story.brings() == [Output("call_1", FOUND.output), Reply()]


# No report comes


def test_a_run_that_never_reports_is_given_up_a_little_after_its_deadline(story: Story) -> None:
    story.calls("finish", now=5.0)
    story.ends()
    assert story.runs.deadline == 5.0 + DEADLINE_S + BACKSTOP_S
    assert story.waits_until(16.9) == []
    stop, output, reply = story.waits_until(17.0)
    assert (stop, reply, error_code(output)) == (Cancel("call_1"), Reply(), "timeout")
    assert story.brings() == []
    assert story.runs.deadline == inf


def test_a_run_in_the_background_is_given_up_too(story: Story) -> None:
    story.calls("detach")
    story.caller_speaks()
    assert story.waits_until(12.0) == [Cancel("call_1")]
    assert isinstance(story.logged[-1], log.ToolEndedLate)
    assert story.logged[-1].outcome == "timeout"


# Fillers


def test_a_slow_tool_is_bridged_once_with_its_filler(story: Story) -> None:
    story.calls("slow_finish", "slow_finish")
    story.ends()
    assert story.runs.deadline == 1.5
    assert story.waits_until(1.5) == [Filler(FILLER)]
    assert story.runs.deadline == DEADLINE_S + BACKSTOP_S
    assert story.waits_until(3.0) == []


def test_a_quick_tool_needs_no_filler(story: Story) -> None:
    story.calls("slow_finish")
    story.ends()
    story.brings(now=1.4)
    assert story.waits_until(1.5) == []


def test_a_filler_is_not_said_while_somebody_speaks(story: Story) -> None:
    story.calls("slow_finish")
    story.ends()
    assert story.waits_until(1.5, may_speak=False) == []
    assert story.runs.deadline == 3.0
    assert story.waits_until(3.0) == [Filler(FILLER)]


def test_two_fillers_are_not_said_in_one_breath(story: Story) -> None:
    story.calls("slow_finish")
    story.runs.output_item_done(item_done("call_9", "hasty", response_id="resp_0"), 1.0)
    assert story.waits_until(1.5) == [Filler(FILLER)]
    assert story.waits_until(2.0) == [Filler("Just a second.")]


def test_once_the_caller_has_spoken_nobody_needs_a_filler(story: Story) -> None:
    story.calls("slow_finish")
    story.ends()
    story.runs.speech_started()
    assert story.runs.deadline == DEADLINE_S + BACKSTOP_S
    assert story.waits_until(5.0) == []


# The end of the call


@pytest.mark.parametrize("has_spoken", [True, False])
def test_the_call_ends_after_its_goodbye_and_one_is_asked_for_if_there_was_none(story: Story, has_spoken: bool) -> None:
    story.calls("finish")
    assert story.brings("call_1", ENDS) == [Output("call_1", ENDS.output)]
    assert story.ends(has_spoken=has_spoken) == [EndCall(say_goodbye=not has_spoken)]


def test_the_end_waits_for_the_other_tools_and_replaces_the_models_word(story: Story) -> None:
    story.calls("finish", "finish")
    story.ends(has_spoken=True)
    assert story.brings("call_1", ENDS) == [Output("call_1", ENDS.output)]
    assert story.brings("call_2") == [Output("call_2", FOUND.output), EndCall(say_goodbye=False)]


def test_who_speaks_into_the_goodbye_calls_the_end_off(story: Story) -> None:
    story.calls("finish")
    story.brings("call_1", ENDS)
    assert story.caller_speaks() == []
    assert story.ends(has_spoken=True) == []


def test_after_an_end_that_was_called_off_the_next_call_is_as_any_other(story: Story) -> None:
    story.calls("finish")
    story.brings("call_1", ENDS)
    story.caller_speaks()
    story.ends(has_spoken=True)
    story.runs.output_item_done(item_done("call_9", response_id="resp_2"), 3.0)
    story.brings("call_9")
    assert story.ends("resp_2") == [Reply()]


def test_words_that_interrupt_nothing_do_not_call_the_end_off(story: Story) -> None:
    story.calls("finish")
    story.brings("call_1", ENDS)
    story.runs.speech_started()
    assert story.ends(has_spoken=True) == [EndCall(say_goodbye=False)]


def test_a_tool_that_outlasts_the_callers_words_may_still_end_the_call(story: Story) -> None:
    story.calls("finish")
    story.ends(has_spoken=True)
    story.caller_speaks()
    assert story.brings("call_1", ENDS, now=2.5) == [Output("call_1", ENDS.output), EndCall(say_goodbye=False)]


# The session is lost


def test_a_session_that_is_lost_stops_no_tool(story: Story) -> None:
    story.calls("finish")
    story.ends()
    assert story.is_lost() == []
    assert story.brings() == [Output("call_1", FOUND.output), Reply()]


def test_of_a_response_that_is_lost_before_its_end_the_results_are_spoken_of_all_the_same(story: Story) -> None:
    story.calls("finish", "finish")
    story.brings("call_1")
    assert story.is_lost() == []
    assert story.brings("call_2") == [Output("call_2", FOUND.output), Reply()]


def test_results_that_waited_only_for_the_end_of_their_response_wait_no_longer(story: Story) -> None:
    story.calls("finish")
    story.brings()
    assert story.is_lost() == [Reply()]
    assert story.ends() == []


def test_results_wait_for_the_end_of_a_response_only_until_the_next_one_begins(story: Story) -> None:
    story.calls("finish")
    story.brings()
    assert story.begins("resp_2") == [Reply()]
    assert story.ends("resp_1") == []


def test_a_response_that_begins_hurries_no_result_of_its_own(story: Story) -> None:
    story.calls("finish")
    story.brings()
    assert story.begins("resp_1") == []
    assert story.ends() == [Reply()]


# What is logged


def test_a_call_and_its_end_are_logged_and_its_contents_are_private(story: Story) -> None:
    story.calls("finish", now=1.0)
    story.brings(now=1.25)
    assert story.logged == [
        log.ToolCalled(name="finish", call_id="call_1", arguments="{}"),
        log.ToolFinished(name="finish", call_id="call_1", duration_ms=250, outcome="ok", output=FOUND.output),
    ]
    assert (log.ToolCalled.private, log.ToolFinished.private, log.ToolEndedLate.private) == (
        ("arguments",),
        ("output",),
        ("output",),
    )


def test_a_name_that_the_model_made_up_is_logged_at_no_length(story: Story) -> None:
    story.calls("x" * 10_000)
    called, finished = story.logged
    assert isinstance(called, log.ToolCalled)
    assert isinstance(finished, log.ToolFinished)
    assert (called.name, finished.name) == ("x" * 64, "x" * 64)


# The laws


class AnyConversation(RuleBasedStateMachine):
    """A model that calls tools, tools that report or do not, and a caller who speaks, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.runs = ToolRuns(TOOLBOX.offers())
        self.ids = count(1)
        self.generating: list[str] = []
        self.called: dict[str, str] = {}  # all calls, by id: their response
        self.reporting: list[str] = []  # runs whose tools have not reported
        self.outputs: set[str] = set()  # the calls that have theirs
        self.unsettled: set[str] = set()  # responses with calls, of which the model has not been let speak
        self.wants_reply: set[str] = set()  # responses of which something is to be told
        self.ends_call: set[str] = set()  # responses whose results end the call

    def follows(self, decisions: list[ToolDecision], then: Then = "speak") -> None:
        """Each decision is one that may follow; `then` is what a report that was handed in says."""
        for decision in decisions:
            match decision:
                case Run(call_id=call_id):
                    assert call_id not in self.outputs
                    self.reporting.append(call_id)
                case Cancel(call_id=call_id):
                    if call_id in self.reporting:  # else its runner was already silent for too long
                        self.reporting.remove(call_id)
                case Output(call_id=call_id):
                    assert call_id in self.called
                    assert call_id not in self.outputs, "a second output"
                    self.outputs.add(call_id)
                    self.note(self.called[call_id], then)
                case Filler() | Reply() | EndCall():
                    pass
                case _:
                    assert isinstance(decision, log.LogEvent)
        self.words_follow([one for one in decisions if isinstance(one, Reply | EndCall)])

    def note(self, response_id: str, then: Then) -> None:
        if then == "speak":
            self.wants_reply.add(response_id)
        elif then == "end_call":
            self.ends_call.add(response_id)

    def words_follow(self, words: list[Reply | EndCall]) -> None:
        """The model is let speak, or the call ended, once for each response that has come to its end."""
        settled = {response for response in self.unsettled if self.is_settled(response)}
        self.unsettled -= settled
        ends = settled & self.ends_call
        assert sum(isinstance(one, EndCall) for one in words) == len(ends)
        assert sum(isinstance(one, Reply) for one in words) == len((settled & self.wants_reply) - ends)

    def is_settled(self, response_id: str) -> bool:
        calls = [call_id for call_id, response in self.called.items() if response == response_id]
        return response_id not in self.generating and all(call_id in self.outputs for call_id in calls)

    # The model.

    @rule()
    def a_response_begins(self) -> None:
        self.generating.append(f"resp_{next(self.ids)}")

    @precondition(lambda self: self.generating)
    @rule(name=st.sampled_from([*TOOLBOX, "no_such_tool"]), data=st.data(), times=st.integers(1, 3))
    def a_tool_is_called(self, name: str, data: st.DataObject, times: int) -> None:
        call_id, response_id = f"call_{next(self.ids)}", data.draw(st.sampled_from(self.generating))
        self.called[call_id] = response_id
        self.unsettled.add(response_id)
        for _ in range(times):
            self.follows(self.runs.output_item_done(item_done(call_id, name, response_id), self.now))

    @precondition(lambda self: self.called)
    @rule(data=st.data())
    def a_call_is_announced_again(self, data: st.DataObject) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.called)))
        assert self.runs.output_item_done(item_done(call_id, response_id=self.called[call_id]), self.now) == []

    @precondition(lambda self: self.generating)
    @rule(data=st.data(), has_spoken=st.booleans(), times=st.integers(1, 2))
    def a_response_ends(self, data: st.DataObject, has_spoken: bool, times: int) -> None:
        response_id = data.draw(st.sampled_from(self.generating))
        self.generating.remove(response_id)
        for _ in range(times):
            self.follows(self.runs.response_done(response_id, has_spoken=has_spoken))

    @rule()
    def the_session_is_lost(self) -> None:
        self.generating.clear()
        self.follows(self.runs.session_lost())

    # The caller.

    @rule(interrupts=st.booleans())
    def the_caller_speaks(self, interrupts: bool) -> None:
        self.runs.speech_started()
        if interrupts:
            self.ends_call -= self.unsettled
            self.follows(self.runs.barged_in(self.now))

    # The tools and the clock.

    @precondition(lambda self: self.reporting)
    @rule(data=st.data(), then=st.sampled_from(["speak", "speak", "silent", "end_call"]), times=st.integers(1, 2))
    def a_tool_reports(self, data: st.DataObject, then: Then, times: int) -> None:
        call_id = data.draw(st.sampled_from(self.reporting))
        self.reporting.remove(call_id)
        for _ in range(times):
            self.follows(self.runs.finished(call_id, ToolReport("ok", "found", then), self.now), then)

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 3.0, 15.0]), may_speak=st.booleans())
    def time_passes(self, seconds: float, may_speak: bool) -> None:
        until = self.now + seconds
        while self.runs.deadline <= until:
            self.now = max(self.now, self.runs.deadline)
            decisions = self.runs.timeout(self.now, may_speak=may_speak)
            assert sum(isinstance(one, Filler) for one in decisions) <= may_speak
            self.follows(decisions)
            assert self.runs.deadline > self.now, "it would ring for ever"
        self.now = until

    @invariant()
    def nothing_grows_without_bound(self) -> None:
        assert len(self.runs._runs) <= MAX_RUNNING
        assert len(self.runs._known) <= MAX_CALLS_KNOWN
        assert self.runs._batches.keys() == self.unsettled

    def teardown(self) -> None:
        """In the end all falls silent: then each call has its output, and each response its word."""
        self.time_passes(seconds=DEADLINE_S + BACKSTOP_S, may_speak=True)
        self.the_session_is_lost()
        assert self.called.keys() == self.outputs
        assert not self.unsettled
        assert self.runs.deadline == inf
        assert not self.runs.is_running


TestAnyConversation = AnyConversation.TestCase
TestAnyConversation.settings = settings(deadline=None, max_examples=30, stateful_step_count=40)

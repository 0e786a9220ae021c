"""Who may make the model speak: one at a time, nobody twice, and nobody in vain."""

from itertools import count
from math import inf

import pytest
from msgspec import UNSET

from proto import realtime
from proto.realtime import CancelResponse, CreateResponse
from relay.arbiter import Arbiter, Reconnect, Ruling, Terminal, purpose_of
from relay.asks import Dropped, Purpose

CONFLICT = "conversation_already_has_active_response"
PLAIN: list[Purpose] = ["greeting", "resume", "keypad", "tool_result", "filler", "prompt", "wrap_up", "goodbye"]


def new_arbiter(*, server_answers: bool = True, is_open: bool = True) -> Arbiter:
    numbers = count(1)
    arbiter = Arbiter(lambda purpose: f"{purpose}-{next(numbers)}", server_answers=server_answers)
    if is_open:
        assert arbiter.opened(0.0) == []
    return arbiter


def response(
    response_id: str, mark: str = "", status: str = "in_progress", code: str | None = None
) -> realtime.Response:
    """One of ours carries the event id of its create."""
    metadata = {"purpose": mark.rsplit("-")[0], "ask": mark} if mark else None
    details = realtime.StatusDetails(error=realtime.ErrorDetail(code=code)) if status == "failed" else None
    return realtime.Response(response_id, status, details, metadata=metadata)


def error(code: str | None, event_id: str | None = None, type_: str = "invalid_request_error") -> realtime.ErrorDetail:
    return realtime.ErrorDetail(type=type_, code=code, event_id=event_id)


def sent(rulings: list[Ruling]) -> list[str]:
    """The ids of the creates among them; there must be nothing else."""
    assert all(isinstance(ruling, CreateResponse) for ruling in rulings)
    return [ruling.event_id for ruling in rulings if isinstance(ruling, CreateResponse)]


def asked(arbiter: Arbiter, purpose: Purpose, now: float = 1.0, after: str | None = None) -> list[Ruling]:
    return arbiter.ask(purpose, UNSET, now, after=after)


# When nothing stands in the way.


def test_what_is_asked_for_into_silence_is_sent_at_once() -> None:
    arbiter = new_arbiter()
    config = realtime.ResponseConfig(instructions="Greet.", metadata={"kind": "greeting"})
    (create,) = arbiter.ask("greeting", config, 1.0)
    assert create == CreateResponse(
        "greeting-1",
        realtime.ResponseConfig(
            instructions="Greet.", metadata={"kind": "greeting", "purpose": "greeting", "ask": "greeting-1"}
        ),
    )


def test_before_the_session_is_ready_nothing_is_sent() -> None:
    arbiter = new_arbiter(is_open=False)
    assert asked(arbiter, "greeting") == []
    assert (arbiter.waiting, arbiter.deadline) == (("greeting",), inf)
    assert sent(arbiter.opened(2.0)) == ["greeting-1"]


def test_a_response_says_what_it_was_asked_for() -> None:
    assert purpose_of(response("resp_1", "wrap_up-3")) == "wrap_up"
    assert purpose_of(response("resp_1")) is None
    assert purpose_of(realtime.Response("resp_1", metadata={"purpose": "of the caller's"})) is None


def test_the_line_is_quiet_when_nobody_speaks_or_is_about_to() -> None:
    arbiter = new_arbiter()
    assert arbiter.is_quiet
    asked(arbiter, "greeting")
    assert not arbiter.is_quiet
    arbiter.created(response("resp_1", "greeting-1"), 1.1)
    assert not arbiter.is_quiet
    arbiter.done(response("resp_1", "greeting-1", "completed"), 2.0)
    assert arbiter.is_quiet
    arbiter.caller_started()
    assert not arbiter.is_quiet
    arbiter.caller_stopped(4.0)
    assert not arbiter.is_quiet
    arbiter.created(response("resp_2"), 4.1)
    arbiter.done(response("resp_2", status="completed"), 5.0)
    assert arbiter.is_quiet
    arbiter.reset()
    assert not arbiter.is_quiet


# One speaks at a time.


def test_a_tools_result_waits_for_the_end_of_the_response_that_called_it() -> None:
    arbiter = new_arbiter()
    arbiter.created(response("resp_1"), 1.0)
    assert asked(arbiter, "tool_result", 1.5, after="item_1") == []
    arbiter.item_added("item_1")
    assert sent(arbiter.done(response("resp_1", status="completed"), 2.0)) == ["tool_result-1"]


def test_nobody_is_talked_over() -> None:
    arbiter = new_arbiter(server_answers=False)
    arbiter.caller_started()
    assert asked(arbiter, "wrap_up") == []
    assert sent(arbiter.caller_stopped(3.0)) == ["wrap_up-1"]


def test_the_servers_answer_to_the_caller_comes_first() -> None:
    arbiter = new_arbiter()
    arbiter.caller_started()
    asked(arbiter, "wrap_up")
    assert arbiter.caller_stopped(3.0) == []
    assert arbiter.created(response("resp_1"), 3.1) == []
    assert sent(arbiter.done(response("resp_1", status="completed"), 4.0)) == ["wrap_up-1"]


def test_several_asks_are_said_one_after_the_other() -> None:
    arbiter = new_arbiter()
    arbiter.created(response("resp_0"), 0.5)
    for purpose in reversed(PLAIN):
        asked(arbiter, purpose)
    assert arbiter.waiting == tuple(PLAIN)
    assert sent(arbiter.done(response("resp_0", status="completed"), 1.0)) == ["greeting-1"]
    # The greeting answers nobody, so the conversation goes on; that answers all that stands in it.
    assert arbiter.created(response("resp_1", "greeting-1"), 1.1) == [
        Dropped("prompt", "answered"),
        Dropped("filler", "answered"),
    ]
    assert sent(arbiter.done(response("resp_1", "greeting-1", "completed"), 2.0)) == ["resume-2"]
    assert arbiter.created(response("resp_2", "resume-2"), 2.1) == [
        Dropped("tool_result", "answered"),
        Dropped("keypad", "answered"),
    ]
    assert sent(arbiter.done(response("resp_2", "resume-2", "completed"), 3.0)) == ["wrap_up-3"]
    arbiter.created(response("resp_3", "wrap_up-3"), 3.1)
    assert sent(arbiter.done(response("resp_3", "wrap_up-3", "completed"), 4.0)) == ["goodbye-4"]


def test_the_late_end_of_an_older_response_frees_nothing() -> None:
    arbiter = new_arbiter()
    arbiter.created(response("resp_1"), 1.0)
    arbiter.created(response("resp_2"), 2.0)
    asked(arbiter, "wrap_up", 2.1)
    assert arbiter.done(response("resp_1", status="cancelled"), 2.2) == []
    assert sent(arbiter.done(response("resp_2", status="completed"), 3.0)) == ["wrap_up-1"]


def test_events_told_twice_mean_nothing_the_second_time() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "wrap_up")
    arbiter.created(response("resp_1", "wrap_up-1"), 1.1)
    assert arbiter.created(response("resp_1", "wrap_up-1"), 1.2) == []
    arbiter.done(response("resp_1", "wrap_up-1", "completed"), 2.0)
    assert arbiter.done(response("resp_1", "wrap_up-1", "failed"), 2.1) == []
    assert arbiter.is_quiet


# What becomes of an ask that waits.


@pytest.mark.parametrize("purpose", PLAIN)
def test_a_newer_ask_replaces_the_one_that_waits(purpose: Purpose) -> None:
    arbiter = new_arbiter(is_open=False)
    asked(arbiter, purpose)
    assert arbiter.ask(purpose, realtime.ResponseConfig(instructions="Newer."), 2.0) == [Dropped(purpose, "replaced")]
    (create,) = arbiter.opened(3.0)
    assert isinstance(create, CreateResponse)
    assert create.response is not UNSET
    assert create.response.instructions == "Newer."


@pytest.mark.parametrize("purpose", PLAIN)
def test_only_what_was_meant_for_a_silent_caller_is_dropped_when_they_speak(purpose: Purpose) -> None:
    arbiter = new_arbiter()
    arbiter.created(response("resp_1"), 0.5)
    asked(arbiter, purpose)
    is_for_silence = purpose in ("filler", "prompt", "goodbye")
    assert arbiter.caller_started() == ([Dropped(purpose, "caller_spoke")] if is_for_silence else [])
    assert arbiter.waiting == (() if is_for_silence else (purpose,))


@pytest.mark.parametrize("purpose", PLAIN)
def test_an_answer_of_the_servers_own_says_all_but_what_it_cannot_know(purpose: Purpose) -> None:
    arbiter = new_arbiter()
    arbiter.created(response("resp_1"), 0.5)
    asked(arbiter, purpose)
    is_unknown_to_it = purpose in ("wrap_up", "goodbye")
    assert arbiter.created(response("resp_2"), 2.0) == ([] if is_unknown_to_it else [Dropped(purpose, "answered")])


@pytest.mark.parametrize("purpose", PLAIN)
def test_only_a_prompt_is_of_no_use_in_the_next_session(purpose: Purpose) -> None:
    arbiter = new_arbiter()
    asked(arbiter, purpose)
    assert arbiter.reset() == ([Dropped(purpose, "session_lost")] if purpose in ("filler", "prompt") else [])
    assert arbiter.waiting == (() if purpose in ("filler", "prompt") else (purpose,))
    assert arbiter.reset() == []  # once more is no more


def test_a_prompt_to_a_caller_who_speaks_is_dropped_at_once() -> None:
    arbiter = new_arbiter()
    arbiter.caller_started()
    assert asked(arbiter, "prompt") == [Dropped("prompt", "caller_spoke")]


def test_a_response_that_began_before_the_tools_output_does_not_say_it() -> None:
    """The server answered the caller just before it read the output; its response was told of just after."""
    arbiter = new_arbiter()
    arbiter.caller_started()
    arbiter.caller_stopped(1.0)
    asked(arbiter, "tool_result", 1.01, after="item_1")
    assert arbiter.created(response("resp_1"), 1.02) == []
    arbiter.item_added("item_1")
    assert sent(arbiter.done(response("resp_1", status="completed"), 2.0)) == ["tool_result-1"]


def test_an_answer_that_began_after_the_tools_output_says_it() -> None:
    arbiter = new_arbiter()
    arbiter.caller_started()
    asked(arbiter, "tool_result", 0.9, after="item_1")
    arbiter.item_added("item_1")
    arbiter.caller_stopped(1.0)
    assert arbiter.created(response("resp_1"), 1.02) == [Dropped("tool_result", "answered")]
    assert arbiter.done(response("resp_1", status="completed"), 2.0) == []


# The caller and we, at the same moment.


def test_a_response_that_begins_while_the_caller_speaks_is_stopped() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "wrap_up")
    arbiter.caller_started()
    assert arbiter.created(response("resp_1", "wrap_up-1"), 1.1) == [CancelResponse("cancel-2", "resp_1")]
    arbiter.done(response("resp_1", "wrap_up-1", "cancelled"), 1.2)
    arbiter.caller_stopped(2.0)
    arbiter.created(response("resp_2"), 2.0)
    assert sent(arbiter.done(response("resp_2", status="completed"), 3.0)) == ["wrap_up-3"]


def test_a_prompt_that_the_caller_was_before_is_not_heard() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "prompt")
    arbiter.caller_started()
    arbiter.caller_stopped(1.05)
    assert arbiter.created(response("resp_1", "prompt-1"), 1.1) == [
        CancelResponse("cancel-2", "resp_1"),
        Dropped("prompt", "caller_spoke"),
    ]
    # The server could not answer the caller because of it, so we have it answer now.
    assert arbiter.refused(error(CONFLICT), 1.11) == []
    assert sent(arbiter.done(response("resp_1", "prompt-1", "cancelled"), 1.2)) == ["retry-3"]


def test_what_the_server_answered_in_the_meantime_is_not_said_again() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "resume")
    arbiter.caller_started()
    arbiter.caller_stopped(1.05)
    arbiter.created(response("resp_1"), 1.06)
    assert arbiter.refused(error(CONFLICT, "resume-1"), 1.1) == [Dropped("resume", "answered")]
    assert arbiter.done(response("resp_1", status="completed"), 2.0) == []


def test_a_refused_create_is_sent_again_when_the_response_before_it_has_ended() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "wrap_up")
    arbiter.caller_started()
    arbiter.caller_stopped(1.05)
    arbiter.created(response("resp_1"), 1.06)
    assert arbiter.refused(error(CONFLICT, "wrap_up-1"), 1.1) == []
    assert arbiter.deadline == pytest.approx(11.06)  # the stall of resp_1, nothing else
    assert sent(arbiter.done(response("resp_1", status="completed"), 2.0)) == ["wrap_up-2"]


def test_a_turn_that_the_server_failed_to_answer_is_answered() -> None:
    arbiter = new_arbiter()
    arbiter.created(response("resp_1"), 0.5)
    arbiter.caller_started()
    arbiter.caller_stopped(1.0)
    assert arbiter.refused(error(CONFLICT), 1.01) == []
    assert sent(arbiter.done(response("resp_1", status="completed"), 2.0)) == ["retry-1"]


def test_a_refusal_without_a_name_is_of_our_create_if_nobody_elses_was_due() -> None:
    arbiter = new_arbiter(server_answers=False)
    asked(arbiter, "wrap_up")
    assert arbiter.refused(error(CONFLICT), 1.1) == []
    assert arbiter.waiting == ("wrap_up",)


def test_a_service_that_gives_no_metadata_back_is_understood() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "greeting")
    assert arbiter.created(response("resp_1"), 1.1) == []
    assert arbiter.done(response("resp_1", status="completed"), 2.0) == []
    assert arbiter.is_quiet


def test_other_peoples_errors_are_not_ours() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "greeting")
    assert arbiter.refused(error("invalid_value", "truncate-9"), 1.1) == []
    assert arbiter.refused(error(None), 1.1) == []
    assert not arbiter.is_quiet  # the greeting is still on its way


def test_a_response_without_our_mark_is_the_servers_if_this_service_gives_marks_back() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "greeting", 0.5)
    arbiter.created(response("resp_1", "greeting-1"), 0.6)
    arbiter.done(response("resp_1", "greeting-1", "completed"), 0.9)
    asked(arbiter, "wrap_up", 1.0)
    arbiter.created(response("resp_2"), 1.1)
    arbiter.refused(error(CONFLICT, "wrap_up-2"), 1.2)
    assert arbiter.waiting == ("wrap_up",)


def test_the_servers_own_refusal_is_not_taken_for_ours() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "wrap_up")
    arbiter.caller_started()
    arbiter.caller_stopped(1.05)
    assert arbiter.refused(error(CONFLICT), 1.06) == []
    # Ours is what stood in its way; it is on its way still.
    assert arbiter.created(response("resp_1", "wrap_up-1"), 1.07) == []
    assert sent(arbiter.done(response("resp_1", "wrap_up-1", "completed"), 2.0)) == ["retry-2"]


def test_a_wrap_up_just_before_the_servers_answer_does_not_stand_for_it() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "wrap_up")
    arbiter.caller_started()
    arbiter.caller_stopped(1.05)
    assert arbiter.created(response("resp_1", "wrap_up-1"), 1.06) == []
    assert arbiter.refused(error(CONFLICT), 1.07) == []
    assert sent(arbiter.done(response("resp_1", "wrap_up-1", "completed"), 2.0)) == ["retry-2"]


def test_a_tools_output_seen_by_the_servers_answer_is_not_answered_twice() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "tool_result", 1.0, after="item_1")
    arbiter.caller_started()
    arbiter.caller_stopped(1.05)
    arbiter.item_added("item_1")
    arbiter.created(response("resp_1"), 1.06)
    assert arbiter.refused(error(CONFLICT, "tool_result-1"), 1.1) == [Dropped("tool_result", "answered")]


def test_what_is_refused_gives_way_to_what_was_asked_for_since() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "wrap_up")
    arbiter.ask("wrap_up", realtime.ResponseConfig(instructions="Newer."), 1.05)
    rulings = arbiter.refused(error("rate_limit_exceeded", "wrap_up-1"), 1.1)
    assert rulings == [Dropped("wrap_up", "replaced")]
    (create,) = arbiter.timeout(arbiter.deadline)
    assert isinstance(create, CreateResponse)
    assert create.response is not UNSET
    assert create.response.instructions == "Newer."


# Responses that fail.


@pytest.mark.parametrize("status", ["failed", "in_progress"])
def test_a_goodbye_that_the_caller_spoke_into_is_not_tried_again(status: str) -> None:
    arbiter = new_arbiter(server_answers=False)
    asked(arbiter, "goodbye")
    arbiter.created(response("resp_1", "goodbye-1"), 1.1)
    arbiter.caller_started()
    arbiter.caller_stopped(2.0)
    if status == "failed":
        assert arbiter.done(response("resp_1", "goodbye-1", status), 2.1) == [Dropped("goodbye", "caller_spoke")]
    else:
        assert Dropped("goodbye", "caller_spoke") in arbiter.timeout(arbiter.deadline)
    assert arbiter.waiting == ()


def test_a_tools_output_that_a_failed_response_had_seen_is_seen_by_the_next_one_too() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "tool_result", 1.0, after="item_1")  # that the item was added could not be read
    arbiter.created(response("resp_1", "tool_result-1"), 1.1)
    arbiter.done(response("resp_1", "tool_result-1", "failed", "rate_limit_exceeded"), 1.2)
    assert arbiter.waiting == ("tool_result",)
    assert arbiter.created(response("resp_2"), 1.5) == [Dropped("tool_result", "answered")]


def test_a_rate_limited_response_is_tried_again_three_times_ever_later() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "tool_result", 1.0)
    waits = []
    now = 1.0
    for number in (1, 2, 3, 4):
        mark = f"tool_result-{number}"
        arbiter.created(response(f"resp_{number}", mark), now)
        rulings = arbiter.done(response(f"resp_{number}", mark, "failed", "rate_limit_exceeded"), now)
        if number == 4:
            assert rulings == [Dropped("tool_result", "failed")]
            break
        assert rulings == []
        waits.append(arbiter.deadline - now)
        now = arbiter.deadline
        assert sent(arbiter.timeout(now)) == [f"tool_result-{number + 1}"]
    assert waits == [1.0, 2.0, 4.0]
    assert arbiter.is_quiet


def test_a_failed_answer_to_the_caller_is_tried_again() -> None:
    arbiter = new_arbiter()
    arbiter.created(response("resp_1"), 1.0)
    assert sent(arbiter.done(response("resp_1", status="failed", code="server_error"), 2.0)) == ["retry-1"]


def test_a_service_in_trouble_is_asked_once_more_then_another_session_then_nobody() -> None:
    arbiter = new_arbiter()
    assert sent(asked(arbiter, "wrap_up")) == ["wrap_up-1"]
    arbiter.created(response("resp_1", "wrap_up-1"), 1.1)
    assert sent(arbiter.done(response("resp_1", "wrap_up-1", "failed"), 1.2)) == ["wrap_up-2"]
    assert arbiter.refused(error("server_error", "wrap_up-2"), 1.3) == [Reconnect()]
    assert arbiter.deadline == inf
    assert arbiter.reset() == []
    assert sent(arbiter.opened(2.0)) == ["wrap_up-3"]
    arbiter.created(response("resp_3", "wrap_up-3"), 2.1)
    assert arbiter.done(response("resp_3", "wrap_up-3", "failed"), 2.2) == [Dropped("wrap_up", "failed")]
    assert arbiter.is_quiet


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached", "invalid_api_key"])
def test_an_account_that_may_not_is_not_asked_again(code: str) -> None:
    arbiter = new_arbiter()
    asked(arbiter, "greeting")
    arbiter.created(response("resp_1", "greeting-1"), 1.1)
    assert arbiter.done(response("resp_1", "greeting-1", "failed", code), 1.2) == [Terminal(code)]
    assert asked(arbiter, "goodbye", 1.3) == []
    assert arbiter.deadline == inf


def test_what_is_wrong_in_itself_is_not_sent_again() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "greeting")
    assert arbiter.refused(error("invalid_value", "greeting-1"), 1.1) == [Dropped("greeting", "refused")]
    assert arbiter.is_quiet


@pytest.mark.parametrize("status", ["completed", "cancelled", "incomplete"])
def test_a_response_that_was_cut_off_is_not_repeated(status: str) -> None:
    arbiter = new_arbiter()
    asked(arbiter, "tool_result")
    arbiter.created(response("resp_1", "tool_result-1"), 1.1)
    assert arbiter.done(response("resp_1", "tool_result-1", status), 1.2) == []
    assert arbiter.is_quiet


def test_a_conflict_with_nothing_we_know_of_is_tried_three_times_then_elsewhere() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "greeting", 0.0)
    for number in (1, 2, 3):
        assert arbiter.refused(error(CONFLICT, f"greeting-{number}"), number - 1.0) == []
        assert arbiter.deadline == number
        assert sent(arbiter.timeout(float(number))) == [f"greeting-{number + 1}"]
    assert arbiter.refused(error(CONFLICT, "greeting-4"), 3.0) == [Reconnect()]
    arbiter.reset()
    arbiter.opened(4.0)
    assert arbiter.refused(error(CONFLICT, "greeting-5"), 4.1) == [Dropped("greeting", "failed")]


# Silence of the service.


def test_a_create_that_nothing_comes_of_gives_the_session_up() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "greeting", 1.0)
    arbiter.event_seen(3.0)  # it is not dead, but it will not answer this
    assert arbiter.deadline == 4.0
    assert arbiter.timeout(4.0) == [Reconnect()]
    assert arbiter.waiting == ("greeting",)


def test_a_response_that_stands_still_is_cancelled_and_asked_for_again() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "tool_result", 1.0)
    arbiter.created(response("resp_1", "tool_result-1"), 1.1)
    arbiter.event_seen(3.0)
    assert arbiter.deadline == 13.0
    assert arbiter.timeout(13.0) == [CancelResponse("cancel-2", "resp_1")]
    cancelled = response("resp_1", "tool_result-1", "cancelled")
    assert sent(arbiter.done(cancelled, 13.1)) == ["tool_result-3"]


def test_a_service_that_does_not_even_cancel_is_given_up() -> None:
    arbiter = new_arbiter()
    arbiter.created(response("resp_1"), 1.0)
    assert arbiter.timeout(11.0) == [CancelResponse("cancel-1", "resp_1")]
    assert arbiter.timeout(12.9) == []
    assert arbiter.timeout(13.0) == [Reconnect()]
    assert arbiter.waiting == ("retry",)


def test_a_cancelled_response_that_fails_is_asked_for_once() -> None:
    arbiter = new_arbiter()
    arbiter.created(response("resp_1"), 1.0)
    arbiter.timeout(11.0)
    assert sent(arbiter.done(response("resp_1", status="failed", code="server_error"), 11.1)) == ["retry-2"]


def test_a_response_whose_end_was_lost_is_found_out() -> None:
    arbiter = new_arbiter()
    arbiter.created(response("resp_1"), 1.0)
    arbiter.timeout(11.0)
    assert sent(arbiter.refused(error("response_cancel_not_active", "cancel-1"), 11.1)) == ["retry-2"]


def test_a_response_whose_beginning_was_lost_is_asked_for_again() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "greeting")
    assert sent(arbiter.done(response("resp_1", "greeting-1", "completed"), 2.0)) == ["greeting-2"]


def test_an_answer_that_the_server_does_not_begin_is_asked_for() -> None:
    arbiter = new_arbiter()
    arbiter.caller_started()
    arbiter.caller_stopped(5.0)
    assert arbiter.deadline == 8.0
    assert sent(arbiter.timeout(8.0)) == ["retry-1"]


def test_a_caller_who_goes_on_for_long_is_not_taken_for_a_stall() -> None:
    arbiter = new_arbiter()
    arbiter.caller_started()
    arbiter.caller_stopped(5.0)
    arbiter.caller_started()
    assert arbiter.deadline == inf


def test_a_server_that_is_not_to_answer_is_not_waited_for() -> None:
    arbiter = new_arbiter(server_answers=False)
    arbiter.caller_started()
    arbiter.caller_stopped(5.0)
    assert arbiter.deadline == inf
    assert arbiter.is_quiet


# Another session.


def test_a_turn_that_was_to_be_answered_is_answered_in_the_next_session() -> None:
    arbiter = new_arbiter()
    arbiter.caller_started()
    arbiter.caller_stopped(5.0)
    assert arbiter.reset() == []
    assert sent(arbiter.opened(6.0)) == ["retry-1"]


def test_a_tools_result_counts_as_known_in_the_next_session() -> None:
    arbiter = new_arbiter()
    arbiter.caller_started()
    asked(arbiter, "tool_result", 1.0, after="item_1")
    asked(arbiter, "resume", 1.1)
    arbiter.reset()
    assert sent(arbiter.opened(2.0)) == ["resume-1"]
    assert arbiter.created(response("resp_1", "resume-1"), 2.1) == [Dropped("tool_result", "answered")]


def test_nothing_of_the_old_session_is_heard_any_more() -> None:
    arbiter = new_arbiter()
    asked(arbiter, "wrap_up")
    arbiter.reset()
    assert arbiter.created(response("resp_1", "wrap_up-1"), 2.0) == []
    assert arbiter.done(response("resp_1", "wrap_up-1", "completed"), 2.1) == []
    assert arbiter.refused(error(CONFLICT, "wrap_up-1"), 2.2) == []
    assert arbiter.timeout(100.0) == []
    assert arbiter.waiting == ("wrap_up",)

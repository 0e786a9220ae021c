"""How far a call is, whatever its records' order: late, twice, or after everybody thought its process dead."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from admin.services.calls.call_progress import PROCESS_DIED, aborted, applied, newcomer
from admin.services.calls.call_record import Record
from admin.store.column_types import new_id
from tests.admin.services import records as made

OURS, THEIRS = new_id(), new_id()


def told(records: list[Record], process_id: UUID = OURS, call: dict[str, Any] | None = None) -> dict[str, Any]:
    call = call or newcomer(records[0])
    for record in records:
        call = applied(call, record, process_id)
    return call


def test_a_call_that_comes_in_rings_is_carried_and_ends() -> None:
    ringing = told(made.records(made.RUNG))
    assert (ringing["status"], ringing["caller"], ringing["process_id"]) == ("ringing", "+15551230001", OURS)
    carried = told(made.records(made.STARTED, began_s=5), THEIRS, ringing)
    assert (carried["status"], carried["answered_at"]) == ("in_progress", made.after(5))
    assert (carried["stream_sid"], carried["process_id"]) == ("MZ1", THEIRS)
    over = told(made.records(made.ended(outcome="staff"), began_s=65), THEIRS, carried)
    assert (over["status"], over["ended_at"], over["duration_ms"]) == ("completed", made.after(65), 60_000)
    assert (over["end_reason"], over["outcome"]) == ("caller_hung_up", "staff")


def test_a_call_that_is_placed_is_queued_for_whom_it_was_placed() -> None:
    account, user, persona = new_id(), new_id(), new_id()
    rung = msgspec.structs.replace(
        made.RUNG, direction="outbound", account_id=account, created_by=user, persona_id=persona, persona_version=3,
        variables={"order": 42},
    )  # fmt: skip
    call = told(made.records(rung))
    assert (call["status"], call["direction"]) == ("queued", "outbound")
    assert (call["account_id"], call["created_by"]) == (account, user)
    assert (call["persona_id"], call["persona_version"], call["variables"]) == (persona, 3, {"order": 42})


def test_a_call_without_a_webhook_has_a_row_all_the_same() -> None:
    call = told(made.records(made.STARTED, made.ended()))
    assert (call["direction"], call["status"], call["created_at"]) == ("inbound", "completed", made.AT)


def test_records_that_come_again_or_late_take_nothing_back() -> None:
    records = made.records(made.RUNG, made.STARTED, made.ended())
    over = told(records)
    assert told(records, OURS, over) == over
    assert told(records[:2], OURS, over) == over
    assert told([*records[1:], records[0]]) == {**over, "created_at": made.after(1)}


def test_what_twilio_tells_counts_among_the_other_records() -> None:
    placed = msgspec.structs.replace(made.REPORTED, direction="outbound")
    call = told(made.records(placed, began_s=3))
    assert (call["direction"], call["status"], call["created_at"]) == ("outbound", "in_progress", made.AT)
    assert (call["answered_by"], call["answered_at"], call.get("process_id")) == ("human", made.AT, None)
    over = told(made.records(made.RUNG, made.STARTED, made.REPORTED, made.ended()))
    assert (over["status"], over["answered_by"], over["stream_sid"]) == ("completed", "human", "MZ1")


def test_what_twilio_tells_late_wakes_no_call_whose_process_died() -> None:
    carried = told(made.records(made.RUNG, made.STARTED))
    dead = {**carried, **aborted(carried, made.after(1))}
    assert told(made.records(made.REPORTED, began_s=60), OURS, dead)["status"] == "aborted"


def test_a_call_whose_process_died_ends_with_its_last_record() -> None:
    call = told(made.records(made.RUNG, made.STARTED))
    assert aborted(call, made.after(30)) == {
        "status": "aborted",
        "ended_at": made.after(30),
        "duration_ms": 29_000,
        "end_reason": PROCESS_DIED,
    }
    ringing = told(made.records(made.RUNG))
    assert aborted({**ringing, "answered_at": None}, None)["ended_at"] == made.AT


@pytest.mark.parametrize("last", [made.HELLO, made.ended()])
def test_a_call_that_was_thought_dead_and_is_not_goes_on(last: Any) -> None:
    call = told(made.records(made.RUNG, made.STARTED, made.HELLO))
    buried = {**call, **aborted(call, made.after(2))}
    assert told(made.records(made.HELLO, began_s=2), OURS, buried) == buried  # known already
    woken = told(made.records(last, began_s=40), OURS, buried)
    if last == made.HELLO:
        assert (woken["status"], woken["ended_at"], woken["end_reason"]) == ("in_progress", None, "")
    else:
        assert (woken["status"], woken["ended_at"]) == ("completed", made.after(40))
        assert (woken["end_reason"], woken["duration_ms"]) == ("caller_hung_up", 60_000)


def test_a_call_that_has_another_stream_was_not_over_with_its_first() -> None:
    call = told(made.records(made.RUNG, made.STARTED, made.ended()))
    assert call["status"] == "completed"
    going_on = told(made.records(made.STARTED, began_s=100), OURS, call)
    assert (going_on["status"], going_on["ended_at"], going_on["end_reason"]) == ("in_progress", None, "")
    told_by_twilio = {**call, "sequence_number": 3}
    assert told(made.records(made.STARTED, began_s=100), OURS, told_by_twilio)["status"] == "completed"


def test_a_call_that_was_answered_by_a_wrong_clock_can_be_closed_all_the_same() -> None:
    carried = told(made.records(made.RUNG, made.STARTED))
    long_ago = {**carried, "answered_at": made.after(-300 * 86_400)}
    assert aborted(long_ago, made.after(2))["duration_ms"] == 2**31 - 1


def test_a_stream_tells_what_no_webhook_has() -> None:
    started = msgspec.structs.replace(made.STARTED, direction="outbound", caller="+15551230003", called="+15551230004")
    call = told(made.records(started))
    assert (call["direction"], call["caller"], call["called"]) == ("outbound", "+15551230003", "+15551230004")
    rung = told(made.records(made.RUNG, started))
    assert (rung["caller"], rung["called"]) == (made.RUNG.caller, made.RUNG.called)

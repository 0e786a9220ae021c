"""Writing records into the database: one transaction for many calls, and harmless to do again.

A call's row is locked while its events are numbered, so that each call's are 1, 2, 3… whoever writes them. Words stand
in the transcript alone, under the number of the event that told of them.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from admin.services.calls.call_progress import applied, newcomer
from admin.services.calls.call_record import AGENT_HEARD, CALLER_TRANSCRIBED, ENDED, REPORTED, RUNG, Record, Speaker
from admin.services.calls.call_status import TERMINAL
from admin.services.calls.call_summary import TOLD_BY, Models, summary_of
from admin.store import audit, call_events, calls, outbound, users

_WORDS: Final = "words"
_SPEAKERS: Final[Mapping[str, Speaker]] = {CALLER_TRANSCRIBED: "caller", AGENT_HEARD: "agent"}
_DECIDE_OWNER: Final = (RUNG, ENDED)  # until then, a process that knows more may not have written yet
_TOLD_OF_WITHIN: Final = timedelta(days=1)  # of a call's being deleted, what is still to be told of it
_NO_EVENTS: Final = (RUNG, REPORTED)  # all that they tell stands in the call's row


def write_records(
    connection: Connection, records: Sequence[Record], process_id: UUID, models: Models
) -> dict[str, str]:
    """Write what these records tell, but for calls that were deleted.

    Args: records, each call's in order; process_id, that took them.
    Returns: the calls that are over by what Twilio told, and how they ended.
    """
    records = _without_deleted(connection, records)
    _name_placed_calls(connection, records)
    by_sid: dict[str, list[Record]] = {}
    for record in records:
        by_sid.setdefault(record.call_sid, []).append(record)
    calls.ensure(connection, [newcomer(told[0]) for told in by_sid.values()])
    rows = calls.locked(connection, by_sid)
    _add_events(connection, records, {call_sid: row["id"] for call_sid, row in rows.items()})
    over: dict[str, str] = {}
    for call_sid, row in rows.items():
        changes = _changes(connection, dict(row), by_sid[call_sid], process_id, models)
        calls.change(connection, row["id"], changes)
        is_reported = any(record.name == REPORTED for record in by_sid[call_sid])
        if is_reported and row["status"] not in TERMINAL and changes.get("status") in TERMINAL:
            over[call_sid] = changes["status"]
    return over


def summarise(connection: Connection, call_id: UUID, models: Models) -> dict[str, Any]:
    """The columns that say what a call was like."""
    told = call_events.of_call(connection, call_id, TOLD_BY)
    return msgspec.structs.asdict(summary_of([(row["name"], row["body"]) for row in told], models))


def _without_deleted(connection: Connection, records: Sequence[Record]) -> Sequence[Record]:
    """Twilio may tell of a call minutes after its end. Who has deleted it by then must not find it there again."""
    call_sids = {record.call_sid for record in records}
    unknown = call_sids - calls.known(connection, call_sids)
    if not unknown:
        return records
    since = min(record.at for record in records) - _TOLD_OF_WITHIN
    deleted = audit.deleted_calls(connection, unknown, since=since)
    return [record for record in records if record.call_sid not in deleted]


def _name_placed_calls(connection: Connection, records: Sequence[Record]) -> None:
    """Calls that we placed stand under a name of our own until Twilio tells of them under its own."""
    told = {(record.call_sid, record.body.get("call_id")) for record in records if record.name == REPORTED}
    # By name, which is the order in which calls' rows are locked everywhere.
    for call_sid, call_id in sorted(each for each in told if each[1] is not None):
        outbound.adopt(connection, UUID(call_id), call_sid)


def _changes(
    connection: Connection, row: dict[str, Any], records: Sequence[Record], process_id: UUID, models: Models
) -> dict[str, Any]:
    call = dict(row)
    for record in records:
        call = applied(call, record, process_id)
    names = {record.name for record in records}
    if call["account_id"] is None and not names.isdisjoint(_DECIDE_OWNER):
        call["account_id"] = users.first_account(connection)
    if ENDED in names:
        call |= summarise(connection, row["id"], models)
    return {name: value for name, value in call.items() if value != row[name]}


def _add_events(connection: Connection, records: Sequence[Record], call_ids: Mapping[str, UUID]) -> None:
    written = call_events.known(connection, [record.id for record in records])
    numbers = call_events.last_numbers(connection, list(call_ids.values()))
    events: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for record in records:
        if record.name in _NO_EVENTS or record.id in written:
            continue
        call_id = call_ids[record.call_sid]
        numbers[call_id] = numbers.get(call_id, 0) + 1
        place = {"id": record.id, "call_id": call_id, "number": numbers[call_id], "at": record.at}
        events.append({**place, "name": record.name, "body": _without_turn(record)})
        if (turn := _turn(record)) is not None:
            turns.append({**place, **turn})
    call_events.add(connection, events, turns)


def _without_turn(record: Record) -> dict[str, Any]:
    if record.name not in _SPEAKERS:
        return record.body
    return {name: value for name, value in record.body.items() if name != _WORDS}


def _turn(record: Record) -> dict[str, Any] | None:
    """The transcript's row; None for what is no turn, or whose words nobody wrote down or may keep."""
    body, speaker = record.body, _SPEAKERS.get(record.name)
    if speaker is None or body.get(_WORDS) is None:
        return None
    return {
        "speaker": speaker,
        "item_id": body["item_id"],
        "words": body[_WORDS],
        "heard_ms": body.get("heard_ms"),
        "generated_ms": body.get("generated_ms"),
        "was_cut": body.get("was_cut", False),
    }

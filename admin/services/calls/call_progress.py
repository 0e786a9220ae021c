"""What a record changes in its call's row: who speaks with whom, and how far the call is. Pure.

Records come in order, but perhaps late, and perhaps a second time. So they only ever add to what is known, and how far
a call is follows the rules of Twilio's callbacks, which are records, too (call_status.py). Only what we
ourselves concluded is taken back: that a call's process has died, when a later record of the call tells that it had
not; and that a call is over because its stream is, when it has another stream after that one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from admin.services.calls import call_report
from admin.services.calls.call_record import REPORTED, RUNG, Record, Rung
from admin.services.calls.call_report import CallReport
from admin.services.calls.call_status import CallStatus, StatusReport, apply, standing_of

PROCESS_DIED: Final = "process_died"  # a call's end_reason, when nobody is left who could know a better one

Row = Mapping[str, Any]

_LONGEST_MS: Final = 2**31 - 1  # that its column holds, 24 days: only a clock that was wrong makes a call longer
_REVIVED: Final[Row] = {"status": "in_progress", "ended_at": None, "duration_ms": None, "end_reason": ""}


def newcomer(record: Record) -> dict[str, Any]:
    """The row of a call of which this is the first record, before that is applied."""
    if record.name == REPORTED:
        return call_report.newcomer(_report(record))
    return {"call_sid": record.call_sid, "direction": "inbound", "status": "queued", "created_at": record.at}


def applied(call: Row, record: Record, process_id: UUID) -> dict[str, Any]:
    """The call's columns once this record is known, those that it does not touch included.

    Args: call, the row as it is; process_id, of the process that took the record.
    """
    known = {**call, **_REVIVED} if _was_thought_over(call, record) else dict(call)
    match record.name:
        case "call.rung":
            return known | _rung(known, msgspec.convert(record.body, Rung), record.at, process_id)
        case "call.started":
            return known | _started(known, record, process_id)
        case "call.ended":
            return known | _ended(known, record)
        case "call.reported":
            return known | call_report.changes(known, _report(record))
    return known


def aborted(call: Row, last_at: datetime | None) -> dict[str, Any]:
    """The columns of a call whose process has died. last_at: when its last record was taken, None without any."""
    ended_at = max(filter(None, (call["created_at"], call["answered_at"], last_at)))
    return {
        "status": "aborted",
        "ended_at": ended_at,
        "duration_ms": _elapsed_ms(call["answered_at"], ended_at),
        "end_reason": PROCESS_DIED,
    }


def _was_thought_over(call: Row, record: Record) -> bool:
    if call.get("ended_at") is None or record.at <= call["ended_at"]:
        return False
    match call["status"]:
        case "aborted":
            return call["end_reason"] == PROCESS_DIED and record.name not in (RUNG, REPORTED)
        case "completed":
            return call.get("sequence_number") is None and record.name == "call.started"
        case _:
            return False


def _report(record: Record) -> CallReport:
    return msgspec.convert(record.body, CallReport)


def _rung(call: Row, rung: Rung, at: datetime, process_id: UUID) -> dict[str, Any]:
    told = msgspec.structs.asdict(rung)
    facts = {name: told[name] for name in told if told[name] not in (None, "")}
    status: CallStatus = "ringing" if rung.direction == "inbound" else "queued"
    carrier = call.get("process_id") or process_id
    return facts | {"process_id": carrier} | _standing(call, StatusReport(at=at, status=status))


def _started(call: Row, record: Record, process_id: UUID) -> dict[str, Any]:
    # Only what the stream's token claims: without one it says inbound, whatever the call is.
    direction = "outbound" if record.body.get("direction") == "outbound" else call["direction"]
    parties = {name: call.get(name) or record.body.get(name, "") for name in ("caller", "called")}
    facts = {"stream_sid": record.body["stream_sid"], "process_id": process_id, "direction": direction}
    return facts | parties | _standing(call, StatusReport(at=record.at, status="in_progress"))


def _ended(call: Row, record: Record) -> dict[str, Any]:
    body = record.body
    report = StatusReport(at=record.at, status="completed", duration_ms=body["duration_ms"])
    reasons = {"end_reason": body["reason"], "outcome": body.get("outcome") or call.get("outcome", "")}
    return reasons | _standing(call, report)


def _standing(call: Row, report: StatusReport) -> dict[str, Any]:
    return msgspec.structs.asdict(apply(standing_of(call), report))


def _elapsed_ms(since: datetime | None, until: datetime) -> int | None:
    return None if since is None else min(max(0, round((until - since).total_seconds() * 1000)), _LONGEST_MS)

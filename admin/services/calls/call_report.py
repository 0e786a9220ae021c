"""What one of Twilio's requests tells of a call beside what it asks for, and what that changes in the call's row. Pure.

The requests are status callbacks, those of media streams, of answering machine detection and of recordings, and each
question of what is to be done next. All of them say which call they are about, and most how far it is.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from admin.services.calls.call_status import StatusReport, apply, read_report, standing_of
from relay import Direction

MAX_NUMBER_CHARACTERS: Final = 200  # a SIP address is longer than a number
MAX_URL_CHARACTERS: Final = 500

_SID = re.compile(r"[A-Za-z0-9]{1,64}")
_ADDED: Final = ("caller", "called", "stream_sid")  # never replaced once they are known
_RECORDING_STATUSES: Final = ("in-progress", "absent", "failed", "completed")  # the last that is told counts


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a recording. status: in_progress, absent, failed or completed; url: of a WAV file, with Twilio."""

    sid: str
    status: str
    source: str = ""
    url: str = ""
    duration_ms: int | None = None


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a request tells.

    status: how far the call is; direction, caller, called: for a call of which nothing is known yet; account_id: whose
    number it is about, None if that is not known; call_id: our own id, for a call that we placed; outcome: what became
    of the caller, "" for nothing new.
    """

    call_sid: str
    status: StatusReport
    direction: Direction = "inbound"
    caller: str = ""
    called: str = ""
    account_id: UUID | None = None
    call_id: UUID | None = None
    stream_sid: str = ""
    outcome: str = ""
    recording: Recording | None = None


def read_call(fields: Mapping[str, str], at: datetime, *, call_id: UUID | None = None) -> CallReport | None:
    """What these fields tell of a call, None if they name none. at: when they came; call_id: as CallReport has it."""
    call_sid = _sid(fields.get("CallSid", ""))
    if not call_sid:
        return None
    return CallReport(
        call_sid=call_sid,
        status=read_report(fields, at),
        direction=direction_of(fields),
        caller=_text(fields.get("From", ""), MAX_NUMBER_CHARACTERS),
        called=_text(fields.get("To", ""), MAX_NUMBER_CHARACTERS),
        call_id=call_id,
    )


def read_stream(fields: Mapping[str, str], at: datetime) -> CallReport | None:
    """What a stream's status callback tells: a stream that began was answered; one that failed says so."""
    report = read_call(fields, at)
    if report is None:
        return None
    # Its Timestamp is of another kind than that of a call's callbacks, and no later than `at` by anything that matters.
    match fields.get("StreamEvent", ""):
        case "stream-started":
            status = StatusReport(at=at, status="in_progress")
        case "stream-error":
            status = StatusReport(at=at, error_code="stream_error")
        case _:
            status = StatusReport(at=at)
    return msgspec.structs.replace(report, status=status, stream_sid=_sid(fields.get("StreamSid", "")))


def read_recording(fields: Mapping[str, str], at: datetime) -> CallReport | None:
    """What a recording's callback tells. A voicemail that was recorded, or was not, has ended its call."""
    report = read_call(fields, at)
    sid, status = _sid(fields.get("RecordingSid", "")), fields.get("RecordingStatus", "")
    if report is None or not sid or status not in _RECORDING_STATUSES:
        return None
    source, seconds = fields.get("RecordingSource", ""), fields.get("RecordingDuration", "")
    recording = Recording(
        sid=sid,
        status=status.replace("-", "_"),
        source=_text(source, 40),
        url=_url(fields.get("RecordingUrl", "")),
        duration_ms=int(seconds) * 1000 if seconds.isascii() and seconds.isdecimal() and len(seconds) <= 6 else None,
    )
    is_over = source == "RecordVerb" and status != "in-progress"
    ended = StatusReport(at=at, status="completed") if is_over else StatusReport(at=at)
    return msgspec.structs.replace(report, status=ended, recording=recording)


def direction_of(fields: Mapping[str, str]) -> Direction:
    """Who called whom. Twilio says inbound, outbound-api or outbound-dial."""
    return "outbound" if fields.get("Direction", "").startswith("outbound") else "inbound"


def newcomer(report: CallReport) -> dict[str, Any]:
    """The row of a call of which nothing was known, before the report is applied."""
    return {
        "call_sid": report.call_sid,
        "direction": report.direction,
        "status": "queued",
        "created_at": report.status.at,
    }


def changes(call: Mapping[str, Any], report: CallReport) -> dict[str, Any]:
    """The columns that are not what they were once this is known. call: the row as it is."""
    told: dict[str, Any] = msgspec.structs.asdict(apply(standing_of(call), report.status))
    told |= {name: getattr(report, name) for name in _ADDED if not call.get(name)}
    if call.get("account_id") is None:
        told["account_id"] = report.account_id
    if report.outcome:
        told["outcome"] = report.outcome
    if report.recording is not None:
        told["recording"] = _further(call.get("recording"), report.recording)
    return {name: value for name, value in told.items() if value != call.get(name)}


def _further(known: Mapping[str, Any] | None, told: Recording) -> dict[str, Any]:
    """Of two tellings the later in a recording's life; of two recordings, in whatever order, the same one."""

    def rank(recording: Mapping[str, Any]) -> tuple[int, str]:
        return _RECORDING_STATUSES.index(str(recording["status"]).replace("_", "-")), str(recording["sid"])

    found: dict[str, Any] = msgspec.to_builtins(told)
    return found if known is None or rank(found) > rank(known) else dict(known)


def _sid(text: str) -> str:
    return text if _SID.fullmatch(text) else ""


def _text(text: str, most: int) -> str:
    return text.replace("\0", "")[:most]  # PostgreSQL cannot hold NUL


def _url(text: str) -> str:
    is_url = text.startswith(("https://", "http://"))
    return text if is_url and text.isascii() and text.isprintable() and len(text) <= MAX_URL_CHARACTERS else ""

"""How a call gets on, as Twilio's callbacks tell it. Pure: a standing and a report in, the standing after it out.

Callbacks are separate requests: they come late, twice, in any order, or not at all. So a report is not a step but a
claim, and claims are joined: in whatever order the same ones arrive, and however often, the standing is the same in the
end. A call only ever gets on: Twilio numbers its callbacks (SequenceNumber) in the order in which it fires them, and
that order is the one of a call's life, so where other facts came first without a number, such as a stream that has
begun, an old callback cannot take the call back. An end is final; of two that contradict each other the one that was
fired first counts. Source: Twilio's documentation, "Call resource", status callback parameters.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, get_args

import msgspec

CallStatus = Literal[
    "queued", "ringing", "in_progress", "completed", "busy", "failed", "no_answer", "canceled", "aborted"
]
STATUSES: Final[tuple[CallStatus, ...]] = get_args(CallStatus)
# `aborted` is ours: the process that carried the call died.
TERMINAL: Final[frozenset[CallStatus]] = frozenset({"completed", "busy", "failed", "no_answer", "canceled", "aborted"})

_AS_TWILIO_SAYS: Final[Mapping[str, CallStatus]] = {
    "queued": "queued",
    "initiated": "queued",
    "ringing": "ringing",
    "in-progress": "in_progress",
    "completed": "completed",
    "busy": "busy",
    "failed": "failed",
    "no-answer": "no_answer",
    "canceled": "canceled",
    "cancelled": "canceled",  # one page of the documentation spells it so
}
_PROGRESS: Final[tuple[CallStatus, ...]] = ("queued", "ringing", "in_progress")
_SUCCEEDED: Final = "completed"
_MAX_DIGITS: Final = 6  # of a number of callbacks, and of seconds: eleven days, where Twilio ends calls after one
_MAX_WORD_CHARACTERS: Final = 40


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one callback claims.

    status: None where it says nothing of it, or a word that we do not know; sequence_number: None where it has none;
    at: when it happened; duration_ms: of the whole call, at its end; answered_by: as Twilio says it, "" if it does not;
    error_code: Twilio's number, or `sip_` and the SIP answer that ended a call without success, "" for none.
    """

    at: datetime
    status: CallStatus | None = None
    sequence_number: int | None = None
    duration_ms: int | None = None
    answered_by: str = ""
    error_code: str = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a call's progress. Fields as in StatusReport, and as the columns of the same names.

    sequence_number: of the callback that told the status, None if none did.
    """

    status: CallStatus = "queued"
    sequence_number: int | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    duration_ms: int | None = None
    answered_by: str = ""
    error_code: str = ""


def standing_of(call: Mapping[str, Any]) -> Standing:
    """How the call of this row stands, as far as its columns say."""
    return Standing(**{name: call[name] for name in Standing.__struct_fields__ if call.get(name) is not None})


def read_report(fields: Mapping[str, str], at: datetime) -> StatusReport:
    """What these fields claim: of a status callback, a voice request, or answering machine detection.

    Args: at, when they came, for where they do not say when it happened. Fields that make no sense count as absent.
    """
    status = status_of(fields.get("CallStatus", ""))
    is_over = status in TERMINAL
    seconds = _number(fields.get("CallDuration", "")) if is_over else None  # never Duration: those are billed minutes
    return StatusReport(
        at=_moment(fields.get("Timestamp", "")) or at,
        status=status,
        sequence_number=_number(fields.get("SequenceNumber", "")),
        duration_ms=None if seconds is None else seconds * 1000,
        answered_by=_word(fields.get("AnsweredBy", "")),
        error_code=_error_code(fields, status),
    )


def status_of(word: str) -> CallStatus | None:
    """Twilio's word for a status as ours, None if we do not know it."""
    return _AS_TWILIO_SAYS.get(word.strip().lower())


def apply(standing: Standing, report: StatusReport) -> Standing:
    """The standing once this report is known, too. In any order, however often, the same reports end in the same."""
    status, sequence_number = _further(standing.status, standing.sequence_number, report.status, report.sequence_number)
    is_end = report.status in TERMINAL
    return Standing(
        status=status,
        sequence_number=sequence_number,
        answered_at=_first(standing.answered_at, report.at if report.status == "in_progress" else None),
        ended_at=_first(standing.ended_at, report.at if is_end else None),
        duration_ms=_longest(standing.duration_ms, report.duration_ms if is_end else None),
        answered_by=_surest(standing.answered_by, report.answered_by),
        error_code=min(filter(None, (standing.error_code, report.error_code)), default=""),
    )


def _further(
    status: CallStatus, number: int | None, told: CallStatus | None, told_number: int | None
) -> tuple[CallStatus, int | None]:
    if told is None:
        return status, number
    return max((status, number), (told, told_number), key=_rank)


def _rank(told: tuple[CallStatus, int | None]) -> tuple[int, int, int]:
    """How far on a call is. Later callbacks count more until it has ended, and from then on earlier ones.

    An end without a number is no callback's but our own (or there is only one), and counts before all others.
    """
    status, number = told
    numbered = -1 if number is None else number
    if status in TERMINAL:
        return len(_PROGRESS), -numbered, STATUSES.index(status)
    return _PROGRESS.index(status), numbered, 0


def _surest(one: str, other: str) -> str:
    """Of two findings: one that says something before `unknown`, and that before none."""
    found = sorted({one, other} - {""}, key=lambda each: (each == "unknown", each))
    return found[0] if found else ""


def _first(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _longest(one: int | None, other: int | None) -> int | None:
    return max((each for each in (one, other) if each is not None), default=None)


def _error_code(fields: Mapping[str, str], status: CallStatus | None) -> str:
    if code := _word(fields.get("ErrorCode", "")):
        return code
    sip = _number(fields.get("SipResponseCode", ""))
    has_failed = status in TERMINAL and status != _SUCCEEDED
    return f"sip_{sip}" if has_failed and sip is not None else ""


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else None


def _word(text: str) -> str:
    return text if len(text) <= _MAX_WORD_CHARACTERS and text.isascii() and text.isprintable() else ""


def _moment(text: str) -> datetime | None:
    """Twilio writes RFC 2822 here, in UTC."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None

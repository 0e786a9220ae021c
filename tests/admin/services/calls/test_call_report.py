"""What Twilio's requests mean to a call's row, in whatever order they come."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.services.calls.call_report import (
    CallReport,
    Recording,
    changes,
    newcomer,
    read_call,
    read_recording,
    read_stream,
)
from admin.services.calls.call_status import Standing, StatusReport

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
SID = "CA0123456789abcdef0123456789abcdef"
# A new row, as the table's defaults make it.
BLANK = {
    **msgspec.structs.asdict(Standing()),
    **dict.fromkeys(("caller", "called", "stream_sid", "outcome"), ""),
    "account_id": None,
    "recording": None,
}
RECORDED = {
    "CallSid": SID,
    "RecordingSid": "RE1",
    "RecordingStatus": "completed",
    "RecordingUrl": "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1",
    "RecordingDuration": "12",
    "RecordingSource": "RecordVerb",
}


def row(*reports: CallReport | None) -> dict[str, Any]:
    """The row of a call after these."""
    told = [report for report in reports if report is not None]
    call = {**BLANK, **newcomer(told[0])}
    for report in told:
        call |= changes(call, report)
    return call


@pytest.mark.parametrize("sid", ["", "CA 1", "x" * 65, "CA\x00"])
def test_a_request_that_names_no_call_tells_nothing(sid: str) -> None:
    for read in (read_call, read_stream, read_recording):
        assert read(RECORDED | {"CallSid": sid}, AT) is None


def test_a_call_is_known_by_its_first_report_and_never_renamed() -> None:
    first = read_call({"CallSid": SID, "From": "+1555\x00", "To": "+1666", "Direction": "outbound-api"}, AT)
    second = read_call({"CallSid": SID, "From": "another", "CallStatus": "in-progress"}, AT + timedelta(seconds=1))
    assert row(first, second) == BLANK | {
        "call_sid": SID,
        "direction": "outbound",
        "caller": "+1555",
        "called": "+1666",
        "status": "in_progress",
        "created_at": AT,
        "answered_at": AT + timedelta(seconds=1),
    }


def test_a_stream_that_began_was_answered_and_one_that_failed_says_so() -> None:
    stream = {"CallSid": SID, "StreamSid": "MZ1", "Timestamp": "2026-03-02T09:00:00.000Z"}
    began = read_stream(stream | {"StreamEvent": "stream-started"}, AT)
    assert (row(began)["status"], row(began)["stream_sid"]) == ("in_progress", "MZ1")
    failed = read_stream(stream | {"StreamEvent": "stream-error", "StreamError": "31920"}, AT)
    assert row(began, failed)["error_code"] == "stream_error"
    assert row(read_stream(stream | {"StreamEvent": "stream-stopped"}, AT))["status"] == "queued"


def test_a_voicemail_is_kept_and_has_ended_its_call() -> None:
    call = row(read_recording(RECORDED, AT))
    assert call["status"] == "completed"
    assert call["recording"] == {
        "sid": "RE1",
        "status": "completed",
        "source": "RecordVerb",
        "url": RECORDED["RecordingUrl"],
        "duration_ms": 12_000,
    }
    during = row(read_recording(RECORDED | {"RecordingSource": "OutboundAPI"}, AT))
    assert during["status"] == "queued"


@pytest.mark.parametrize("status", ["absent", "failed"])
def test_case_92_a_recording_that_is_not_there_is_kept_as_such(status: str) -> None:
    told = {name: RECORDED[name] for name in ("CallSid", "RecordingSid", "RecordingSource")}
    call = row(read_recording(told | {"RecordingStatus": status}, AT))
    assert (call["recording"]["status"], call["recording"]["url"]) == (status, "")


@pytest.mark.parametrize(
    "spoilt",
    [
        {"RecordingUrl": "javascript:alert(1)"},
        {"RecordingUrl": "https://a\x00b"},
        {"RecordingUrl": "https://" + "x" * 1000},
        {"RecordingDuration": "-1"},
        {"RecordingDuration": "9" * 20},
    ],
)
def test_a_field_of_a_recording_that_makes_no_sense_counts_as_absent(spoilt: dict[str, str]) -> None:
    [name] = spoilt
    without = {field: value for field, value in RECORDED.items() if field != name}
    assert read_recording(RECORDED | spoilt, AT) == read_recording(without, AT)


@pytest.mark.parametrize("status", ["", "enchanted"])
def test_a_recording_in_no_known_state_tells_nothing(status: str) -> None:
    assert read_recording(RECORDED | {"RecordingStatus": status}, AT) is None


def test_case_91_detection_that_comes_when_the_call_is_over_is_kept() -> None:
    over = read_call({"CallSid": SID, "CallStatus": "completed"}, AT)
    found = read_call({"CallSid": SID, "AnsweredBy": "machine_start"}, AT)
    assert (row(over, found)["status"], row(over, found)["answered_by"]) == ("completed", "machine_start")


recordings = st.builds(
    Recording,
    sid=st.sampled_from(["RE1", "RE2"]),
    status=st.sampled_from(["in_progress", "absent", "failed", "completed"]),
)
reports = st.builds(
    CallReport,
    call_sid=st.just(SID),
    status=st.builds(
        StatusReport,
        at=st.integers(0, 9).map(lambda seconds: AT + timedelta(seconds=seconds)),
        status=st.sampled_from([None, "ringing", "in_progress", "completed", "busy"]),
        sequence_number=st.none() | st.integers(0, 4),
        answered_by=st.sampled_from(["", "unknown", "human"]),
    ),
    recording=st.none() | recordings,
    stream_sid=st.sampled_from(["", "MZ1"]),
)


@given(st.lists(reports, min_size=1, max_size=6), st.data())
def test_any_order_and_any_repetition_end_in_the_same_row(told: list[CallReport], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(told + data.draw(st.lists(st.sampled_from(told), max_size=4))))
    one, other = row(*told), row(*shuffled)
    assert {**one, "created_at": AT} == {**other, "created_at": AT}

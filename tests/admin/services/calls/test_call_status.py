"""A call's progress from callbacks that come in whatever order, and as often as they like."""

from datetime import UTC, datetime, timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.services.calls.call_status import (
    STATUSES,
    TERMINAL,
    CallStatus,
    Standing,
    StatusReport,
    apply,
    read_report,
    status_of,
)

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
RFC_2822 = "Mon, 02 Mar 2026 09:59:{:02} +0000"


def callback(number: int, status: str, second: int, **more: str) -> dict[str, str]:
    said = {"CallStatus": status, "SequenceNumber": str(number), "Timestamp": RFC_2822.format(second)}
    return {**said, "CallbackSource": "call-progress-events", **more}


ANSWERED_CALL = [
    callback(0, "initiated", 0),
    callback(1, "ringing", 1),
    callback(2, "in-progress", 5),
    callback(3, "completed", 47, CallDuration="42", Duration="1", SipResponseCode="200"),
]


def after(*callbacks: dict[str, str], begun: Standing | None = None) -> Standing:
    return reduce(apply, (read_report(each, AT) for each in callbacks), begun or Standing())


def test_case_86_callbacks_in_order_and_out_of_order_tell_the_same() -> None:
    told = after(*ANSWERED_CALL)
    assert told == Standing(
        status="completed",
        sequence_number=3,
        answered_at=AT - timedelta(seconds=55),
        ended_at=AT - timedelta(seconds=13),
        duration_ms=42_000,
    )
    assert after(*(ANSWERED_CALL[number] for number in (3, 1, 0, 2))) == told


def test_a_call_gets_on_step_by_step() -> None:
    standings = [after(*ANSWERED_CALL[:count]).status for count in range(5)]
    assert standings == ["queued", "queued", "ringing", "in_progress", "completed"]


def test_case_87_an_end_that_is_told_twice_is_one_end_and_a_late_ringing_changes_nothing() -> None:
    once = after(*ANSWERED_CALL)
    assert after(ANSWERED_CALL[3], callback(4, "ringing", 50), begun=once) == once


def test_case_88_a_status_that_nobody_knows_changes_none_and_canceled_may_be_spelt_twice() -> None:
    begun = after(*ANSWERED_CALL[:2])
    assert after(callback(2, "teleported", 9), begun=begun) == begun
    assert status_of("cancelled") == status_of("canceled") == "canceled"


def test_case_89_billed_minutes_are_never_taken_for_seconds() -> None:
    assert after(callback(3, "completed", 9, Duration="2")).duration_ms is None
    assert after(callback(3, "completed", 9, Duration="2", CallDuration="61")).duration_ms == 61_000


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"CallStatus": "busy", "SipResponseCode": "486"}, "sip_486"),
        ({"CallStatus": "failed", "SipResponseCode": "404", "ErrorCode": "13224"}, "13224"),
        ({"CallStatus": "completed", "SipResponseCode": "200"}, ""),
        ({"CallStatus": "failed", "SipResponseCode": "no"}, ""),
    ],
)
def test_why_a_call_did_not_come_about_is_kept(fields: dict[str, str], code: str) -> None:
    assert after(fields).error_code == code


def test_a_stream_that_has_begun_is_not_undone_by_an_old_callback() -> None:
    carried = Standing(status="in_progress", answered_at=AT)
    assert after(*ANSWERED_CALL[:2], begun=carried) == carried


def test_a_call_whose_process_died_stays_aborted_and_still_learns_how_long_it_was() -> None:
    told = after(*ANSWERED_CALL, begun=Standing(status="aborted", ended_at=AT))
    assert (told.status, told.duration_ms) == ("aborted", 42_000)


def test_what_answering_machine_detection_found_is_kept_also_when_the_call_is_over() -> None:
    over = after(*ANSWERED_CALL)
    found = after({"AnsweredBy": "machine_start", "MachineDetectionDuration": "3000"}, begun=over)
    assert (found.status, found.answered_by) == ("completed", "machine_start")
    assert after({"AnsweredBy": "unknown"}, begun=found).answered_by == "machine_start"


@pytest.mark.parametrize(
    "spoilt",
    [
        {"Timestamp": "yesterday"},
        {"Timestamp": "Mon, 99 Mar 2026 09:59:00 +0000"},
        {"Timestamp": "Fri, 31 Dec 9999 23:59:59 -1400"},
        {"SequenceNumber": "-1"},
        {"SequenceNumber": "9" * 30},
        {"SequenceNumber": "²"},
        {"CallDuration": "1e9"},
        {"CallDuration": "9" * 30},
        {"AnsweredBy": "x" * 500},
        {"AnsweredBy": "a\x00b"},
        {"ErrorCode": "\ud800"},
    ],
)
def test_a_field_that_makes_no_sense_counts_as_absent(spoilt: dict[str, str]) -> None:
    [name] = spoilt
    whole = {"CallStatus": "completed"}
    assert read_report(whole | spoilt, AT) == read_report(whole, AT), name


def test_a_date_without_zone_is_utc() -> None:
    assert read_report({"Timestamp": "Mon, 02 Mar 2026 09:00:00 -0000"}, AT).at == AT - timedelta(hours=1)


statuses = st.none() | st.sampled_from(STATUSES)
reports = st.builds(
    StatusReport,
    at=st.integers(0, 100).map(lambda seconds: AT + timedelta(seconds=seconds)),
    status=statuses,
    sequence_number=st.none() | st.integers(0, 5),
    duration_ms=st.none() | st.integers(0, 9000),
    answered_by=st.sampled_from(["", "unknown", "human", "machine_start", "fax"]),
    error_code=st.sampled_from(["", "13224", "sip_486"]),
)


@given(st.lists(reports, max_size=8), st.data())
def test_any_order_and_any_repetition_end_in_the_same(told: list[StatusReport], data: st.DataObject) -> None:
    repeated = data.draw(st.lists(st.sampled_from(told), max_size=6)) if told else []
    shuffled = data.draw(st.permutations(told + repeated))
    assert reduce(apply, shuffled, Standing()) == reduce(apply, told, Standing())


@given(st.lists(reports, max_size=10))
def test_a_call_never_goes_back_and_ends_once(told: list[StatusReport]) -> None:
    progress: list[CallStatus] = ["queued", "ringing", "in_progress"]
    standing, ends = Standing(), 0
    for report in told:
        following = apply(standing, report)
        if following.status not in TERMINAL:
            assert standing.status not in TERMINAL
            assert progress.index(following.status) >= progress.index(standing.status)
        elif standing.status not in TERMINAL:
            ends += 1
        standing = following
    assert ends == any(report.status in TERMINAL for report in told)

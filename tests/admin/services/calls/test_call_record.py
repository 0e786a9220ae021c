"""Records: what is kept of a call, and how it stands on disk."""

import msgspec
import pytest

from admin.services.calls.call_record import REPORTED, RUNG, Offered, Rung, is_kept, line_of, record_in, record_of
from admin.services.calls.call_report import CallReport, Recording
from admin.store.column_types import new_id
from relay.log import BargedIn, CallerTranscribed, LimitsReported, MarkEchoed, ToolCalled
from tests.admin.services import records as made


def test_a_record_comes_back_from_disk_as_it_went() -> None:
    for record in made.records(made.RUNG, made.STARTED, made.HELLO, made.ANSWER, made.ended()):
        assert record_in(line_of(record)) == record
        assert line_of(record).count(b"\n") == 1


def test_half_a_line_is_no_record() -> None:
    [record] = made.records(made.HELLO)
    with pytest.raises(ValueError, match="truncated"):
        record_in(line_of(record)[:-10])


def test_every_record_has_an_id_of_its_own() -> None:
    first, second = made.records(made.HELLO, made.HELLO)
    assert first.id != second.id


def test_a_call_that_rings_is_a_record_too() -> None:
    [record] = made.records(made.RUNG)
    assert record.name == RUNG
    assert msgspec.convert(record.body, Rung) == made.RUNG


def test_what_twilio_tells_is_a_record_too() -> None:
    recording = Recording(sid="RE1", status="completed", duration_ms=4000)
    told = msgspec.structs.replace(made.REPORTED, call_id=new_id(), account_id=new_id(), recording=recording)
    [record] = made.records(told)
    assert record.name == REPORTED
    assert msgspec.convert(record_in(line_of(record)).body, CallReport) == told


def test_what_happens_all_the_time_and_what_is_no_calls_is_not_kept() -> None:
    assert is_kept("CA1", made.HELLO)
    assert not is_kept("CA1", MarkEchoed(name="m1"))
    assert not is_kept("CA1", LimitsReported(limits=[]))
    assert not is_kept("", made.ended())
    assert not is_kept("CA" * 1000, made.ended())


def test_what_a_database_cannot_hold_is_replaced() -> None:
    told = ToolCalled(name="look\0up", call_id="c", arguments='{"a": "\\u0000"}')
    body = record_of(Offered(made.AT, "CA1", told)).body
    assert body["name"] == "look\N{REPLACEMENT CHARACTER}up"
    assert body["arguments"] == '{"a": "\\u0000"}'  # six characters, none of them NUL
    words = CallerTranscribed(item_id="i", words="\0")
    assert record_of(Offered(made.AT, "CA1", words)).body["words"] == "\N{REPLACEMENT CHARACTER}"


def test_nobody_reads_picoseconds() -> None:
    told = BargedIn(item_id="i", heard_ms=1, unheard_ms=1, clear_ms=1.23456789)
    assert record_of(Offered(made.AT, "CA1", told)).body["clear_ms"] == 1.235

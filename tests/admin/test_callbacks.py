"""Twilio's callbacks over HTTP, into the database: signed, taken at once, written when it can be had."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
import trio.testing
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select
from structlog.testing import capture_logs
from trio.testing import MockClock

from admin.errors import StoreUnavailableError
from admin.services import call_reports
from admin.services.call_report import read_call
from admin.services.call_reports import RETRY_EVERY_S, CallReports
from admin.services.directory import Route
from admin.services.reception import Reception
from admin.store import outbound
from admin.store.column_types import new_id
from admin.store.database import Database, Result, Work
from admin.store.schema import calls
from tests.admin.conftest import MakeClient
from tests.admin.test_twiml import CALL, FORM_TYPE, headers_for

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
SID = CALL[0][1]
ACCOUNT = new_id()
PATHS = ["/voice/status", "/twilio/status", "/stream/status", "/voice/amd", "/voice/recording"]


class Unreliable(Database):
    """A database that can be taken away, and says when it was asked to write."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.engine.url.render_as_string(hide_password=False))
        self.is_gone = False
        self._writers = trio.lowlevel.ParkingLot()

    async def write(self, work: Work[Result]) -> Result:
        try:
            if self.is_gone:
                raise StoreUnavailableError
            return await super().write(work)
        finally:
            self._writers.unpark_all()

    async def is_written(self) -> None:
        """Wait for the next writing, or the next attempt."""
        await self._writers.park()


@asynccontextmanager
async def answering(make_client: MakeClient, database: Database) -> AsyncIterator[Client]:
    """A server whose callbacks are all written when it has ended."""
    reports = CallReports(database)
    reception = Reception(find=lambda _: Route(account_id=ACCOUNT), report=reports.offer, now=lambda: AT)
    async with reports.writing():
        yield make_client(reception=reception)


async def tell(client: Client, path: str, *more: tuple[str, str]) -> Response:
    form = [*CALL, *more]
    return await client.post(path, data=urlencode(form), headers=headers_for(path, form))


def rows(database: Database) -> list[dict[str, Any]]:
    with database.engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(calls)).mappings()]


def progress(number: int, status: str, **more: str) -> list[tuple[str, str]]:
    said = {
        "CallStatus": status,
        "SequenceNumber": str(number),
        "Timestamp": f"Mon, 02 Mar 2026 09:59:{number:02} +0000",
    }
    return list({**said, **more}.items())


STEPS = [
    progress(0, "initiated"),
    progress(1, "ringing"),
    progress(2, "in-progress"),
    progress(3, "completed", CallDuration="42", Duration="1"),
]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (3, 3, 2, 2, 1, 1, 0, 0)])
@pytest.mark.parametrize("path", ["/voice/status", "/twilio/status"])
async def test_case_86_a_call_ends_as_it_did_in_whatever_order_it_is_told(
    path: str, order: tuple[int, ...], make_client: MakeClient, database: Database
) -> None:
    with capture_logs() as logs:
        async with answering(make_client, database) as client:
            for number in order:
                response = await tell(client, path, *STEPS[number])
                assert (response.status_code, await response.get_data()) == (204, b"")
    [call] = rows(database)
    assert (call["status"], call["sequence_number"], call["duration_ms"]) == ("completed", 3, 42_000)
    assert (call["answered_at"], call["ended_at"]) == (
        AT.replace(hour=9, minute=59, second=2),
        AT.replace(hour=9, minute=59, second=3),
    )
    assert (call["caller"], call["called"], call["account_id"]) == (CALL[1][1], CALL[2][1], ACCOUNT)
    assert [each["event"] for each in logs].count("call.over") == 1


@pytest.mark.parametrize("path", PATHS)
async def test_an_unsigned_callback_is_refused_and_changes_nothing(
    path: str, make_client: MakeClient, database: Database
) -> None:
    async with answering(make_client, database) as client:
        response = await client.post(path, data=urlencode(CALL), headers={"Content-Type": FORM_TYPE})
    assert response.status_code == 403
    assert rows(database) == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_callback_without_a_call_is_taken_and_changes_nothing(
    path: str, make_client: MakeClient, database: Database
) -> None:
    async with answering(make_client, database) as client:
        response = await client.post(path, data="", headers=headers_for(path, []))
    assert response.status_code == 204
    assert rows(database) == []


async def test_case_88_a_status_that_nobody_knows_is_logged(make_client: MakeClient, database: Database) -> None:
    with capture_logs() as logs:
        async with answering(make_client, database) as client:
            assert (await tell(client, "/voice/status", ("CallStatus", "teleported"))).status_code == 204
    assert [call["status"] for call in rows(database)] == ["queued"]
    assert [(each["event"], each["status"]) for each in logs] == [("callback.status_unknown", "teleported")]


async def test_case_90_a_stream_that_fails_is_logged_and_known_of_its_call(
    make_client: MakeClient, database: Database
) -> None:
    with capture_logs() as logs:
        async with answering(make_client, database) as client:
            told = [("StreamSid", "MZ1"), ("StreamEvent", "stream-error"), ("StreamError", "31920 handshake")]
            assert (await tell(client, "/stream/status", *told)).status_code == 204
    [call] = rows(database)
    assert (call["error_code"], call["stream_sid"]) == ("stream_error", "MZ1")
    assert [(each["event"], each["error"]) for each in logs] == [("stream.failed", "31920 handshake")]


async def test_detection_and_recordings_are_known_of_their_call(make_client: MakeClient, database: Database) -> None:
    recorded = {"RecordingSid": "RE1", "RecordingStatus": "completed", "RecordingUrl": "https://api.twilio.com/RE1"}
    async with answering(make_client, database) as client:
        await tell(client, "/voice/amd", ("AnsweredBy", "machine_end_beep"))
        await tell(client, "/voice/recording", *recorded.items())
    [call] = rows(database)
    assert (call["answered_by"], call["recording"]["sid"]) == ("machine_end_beep", "RE1")


async def test_a_call_that_we_placed_is_told_under_our_own_id(make_client: MakeClient, database: Database) -> None:
    call_id = new_id()
    with database.engine.begin() as connection:
        outbound.reserve(connection, call_id, AT, account_id=ACCOUNT, caller="+15551230001", called="+15551230002")
    path = f"/voice/status?call={call_id}"
    async with answering(make_client, database) as client:
        await tell(client, path, ("Direction", "outbound-api"), *STEPS[1])
    [call] = rows(database)
    assert (call["id"], call["call_sid"], call["status"]) == (call_id, SID, "ringing")


async def test_text_that_no_database_holds_costs_nothing(make_client: MakeClient, database: Database) -> None:
    form = [CALL[0], ("From", "a\x00b" + "x" * 5000), ("CallStatus", "ringing"), ("AnsweredBy", "\x00")]
    async with answering(make_client, database) as client:
        headers = headers_for("/voice/status", form)
        assert (await client.post("/voice/status", data=urlencode(form), headers=headers)).status_code == 204
    [call] = rows(database)
    assert call["caller"].startswith("abx")


async def test_while_the_database_is_away_callbacks_are_taken_and_written_afterwards(
    make_client: MakeClient, database: Database, mock_clock: MockClock
) -> None:
    away = Unreliable(database)
    away.is_gone = True
    with capture_logs() as logs:
        async with answering(make_client, away) as client, trio.open_nursery() as nursery:
            nursery.start_soon(away.is_written)
            assert (await tell(client, "/voice/status", *STEPS[3])).status_code == 204
            await trio.testing.wait_all_tasks_blocked()
            assert (await tell(client, "/voice/status", *STEPS[1])).status_code == 204
            mock_clock.jump(RETRY_EVERY_S)
            await away.is_written()
            away.is_gone = False
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(RETRY_EVERY_S)
            await away.is_written()
    assert [call["status"] for call in rows(database)] == ["completed"]
    assert [each["event"] for each in logs].count("callbacks.store_away") == 1
    away.close()


async def test_too_many_that_wait_are_counted_and_the_first_ones_stay(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_reports, "MAX_QUEUED", 2)
    reports = CallReports(database)
    with capture_logs():
        for number in range(3):
            told = read_call({"CallSid": f"CA{number}"}, AT)
            assert told is not None
            reports.offer(told)
    assert (reports.waiting, reports.dropped) == (2, 1)
    async with reports.writing():
        pass
    assert sorted(call["call_sid"] for call in rows(database)) == ["CA0", "CA1"]


async def test_one_that_the_database_refuses_does_not_hold_up_the_others(database: Database) -> None:
    reports = CallReports(database)
    read = partial(read_call, at=AT)
    with capture_logs() as logs:
        for sid, number in (("CA1", "+1"), ("CA2", "\ud800"), ("CA3", "+3")):
            told = read({"CallSid": sid, "From": number})
            assert told is not None
            reports.offer(told)
        async with reports.writing():
            pass
    assert sorted(call["call_sid"] for call in rows(database)) == ["CA1", "CA3"]
    assert [each["event"] for each in logs] == ["callback.refused"]
    assert (reports.waiting, reports.dropped) == (0, 1)

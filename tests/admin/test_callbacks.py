"""Twilio's callbacks over HTTP, into the database: signed, safe when they are answered, written when it can be had."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select
from structlog.testing import capture_logs
from trio.testing import MockClock

from admin.errors import StoreUnavailableError
from admin.services.calls.call_record import record_in
from admin.services.calls.call_records import CallRecords
from admin.services.calls.spool import Spool
from admin.services.telephone.directory import Route
from admin.services.telephone.reception import SAFE_WITHIN_S, Reception
from admin.store import outbound
from admin.store.column_types import new_id
from admin.store.database import Database, Result, Work
from admin.store.schema import calls
from tests.admin.conftest import MakeClient
from tests.admin.services import records as made
from tests.admin.test_twiml import CALL, FORM_TYPE, headers_for

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
SID = CALL[0][1]
ACCOUNT = new_id()
PATHS = ["/voice/status", "/twilio/status", "/stream/status", "/voice/amd", "/voice/recording"]


class Unreliable(Database):
    """A database that can be taken away."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.engine.url.render_as_string(hide_password=False))
        self.is_gone = False

    async def write(self, work: Work[Result]) -> Result:
        if self.is_gone:
            raise StoreUnavailableError
        return await super().write(work)


@pytest.fixture
def unreliable(database: Database) -> Iterator[Unreliable]:
    with closing(Unreliable(database)) as made_so:
        yield made_so


@pytest.fixture
def records(unreliable: Unreliable, tmp_path: Path) -> CallRecords:
    owner = new_id()
    return CallRecords(unreliable, lambda: AT, process_id=owner, spool=Spool(tmp_path, owner), models=made.MODELS)


@asynccontextmanager
async def answering(make_client: MakeClient, records: CallRecords) -> AsyncIterator[Client]:
    """A server whose callbacks are all written when it has ended."""
    reception = Reception(
        find=lambda _: Route(account_id=ACCOUNT),
        report=records.reported,
        until_safe=records.until_kept,
        now=lambda: AT,
    )
    async with records.writing():
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
    path: str, order: tuple[int, ...], make_client: MakeClient, records: CallRecords, database: Database
) -> None:
    with capture_logs() as logs:
        async with answering(make_client, records) as client:
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
    path: str, make_client: MakeClient, records: CallRecords, database: Database
) -> None:
    async with answering(make_client, records) as client:
        response = await client.post(path, data=urlencode(CALL), headers={"Content-Type": FORM_TYPE})
    assert response.status_code == 403
    assert rows(database) == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_callback_without_a_call_is_taken_and_changes_nothing(
    path: str, make_client: MakeClient, records: CallRecords, database: Database
) -> None:
    async with answering(make_client, records) as client:
        response = await client.post(path, data="", headers=headers_for(path, []))
    assert response.status_code == 204
    assert rows(database) == []


async def test_case_88_a_status_that_nobody_knows_is_logged(
    make_client: MakeClient, records: CallRecords, database: Database
) -> None:
    with capture_logs() as logs:
        async with answering(make_client, records) as client:
            assert (await tell(client, "/voice/status", ("CallStatus", "teleported"))).status_code == 204
    assert [call["status"] for call in rows(database)] == ["queued"]
    assert [(each["event"], each["status"]) for each in logs] == [("callback.status_unknown", "teleported")]


async def test_case_90_a_stream_that_fails_is_logged_and_known_of_its_call(
    make_client: MakeClient, records: CallRecords, database: Database
) -> None:
    with capture_logs() as logs:
        async with answering(make_client, records) as client:
            told = [("StreamSid", "MZ1"), ("StreamEvent", "stream-error"), ("StreamError", "31920 handshake")]
            assert (await tell(client, "/stream/status", *told)).status_code == 204
    [call] = rows(database)
    assert (call["error_code"], call["stream_sid"]) == ("stream_error", "MZ1")
    assert [(each["event"], each["error"]) for each in logs] == [("stream.failed", "31920 handshake")]


async def test_detection_and_recordings_are_known_of_their_call(
    make_client: MakeClient, records: CallRecords, database: Database
) -> None:
    recorded = {"RecordingSid": "RE1", "RecordingStatus": "completed", "RecordingUrl": "https://api.twilio.com/RE1"}
    async with answering(make_client, records) as client:
        await tell(client, "/voice/amd", ("AnsweredBy", "machine_end_beep"))
        await tell(client, "/voice/recording", *recorded.items())
    [call] = rows(database)
    assert (call["answered_by"], call["recording"]["sid"]) == ("machine_end_beep", "RE1")


async def test_a_call_that_we_placed_is_told_under_our_own_id(
    make_client: MakeClient, records: CallRecords, database: Database
) -> None:
    call_id = new_id()
    with database.engine.begin() as connection:
        outbound.reserve(connection, call_id, AT, account_id=ACCOUNT, caller="+15551230001", called="+15551230002")
    path = f"/voice/status?call={call_id}"
    async with answering(make_client, records) as client:
        await tell(client, path, ("Direction", "outbound-api"), *STEPS[1])
    [call] = rows(database)
    assert (call["id"], call["call_sid"], call["status"]) == (call_id, SID, "ringing")


async def test_text_that_no_database_holds_costs_nothing(
    make_client: MakeClient, records: CallRecords, database: Database
) -> None:
    form = [CALL[0], ("From", "a\x00b" + "x" * 5000), ("CallStatus", "ringing"), ("AnsweredBy", "\x00")]
    async with answering(make_client, records) as client:
        headers = headers_for("/voice/status", form)
        assert (await client.post("/voice/status", data=urlencode(form), headers=headers)).status_code == 204
    [call] = rows(database)
    assert call["caller"].startswith("abx")


def kept(folder: Path) -> list[tuple[str, str]]:
    """What the next start would find if this process were killed now: which calls, and what of them."""
    lines = [line for file in sorted(folder.rglob("*.jsonl")) for line in file.read_bytes().splitlines()]
    return [(record.call_sid, record.name) for record in map(record_in, lines)]


async def test_what_is_answered_while_the_database_is_away_is_on_disk_and_written_afterwards(
    make_client: MakeClient,
    unreliable: Unreliable,
    records: CallRecords,
    database: Database,
    tmp_path: Path,
    mock_clock: MockClock,  # it stands: nothing waits for the half second of the other records
) -> None:
    unreliable.is_gone = True
    with capture_logs() as logs:
        async with answering(make_client, records) as client:
            for number, step in enumerate((STEPS[3], STEPS[1]), start=1):
                assert (await tell(client, "/voice/status", *step)).status_code == 204
                assert kept(tmp_path) == [(SID, "call.reported")] * number
            assert rows(database) == []
            unreliable.is_gone = False
    assert [call["status"] for call in rows(database)] == ["completed"]
    assert kept(tmp_path) == []
    assert [each["event"] for each in logs].count("call.over") == 1


async def test_a_disk_that_stands_still_holds_up_no_answer_for_ever(
    make_client: MakeClient, autojump_clock: MockClock
) -> None:
    client = make_client(reception=Reception(until_safe=trio.sleep_forever))
    with capture_logs() as logs:
        assert (await tell(client, "/voice/status", *STEPS[3])).status_code == 204
    assert trio.current_time() >= SAFE_WITHIN_S
    assert [(each["event"], each["call_sid"]) for each in logs] == [("callback.not_safe", SID)]

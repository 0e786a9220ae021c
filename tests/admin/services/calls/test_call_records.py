"""Calls' records from the offer to the database, with a database that goes away and processes that are killed."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from subprocess import PIPE
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
import trio
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs
from trio.testing import MockClock

from admin.services.calls import call_records
from admin.services.calls.call_records import KEEP_EVERY_S, CallRecords
from admin.services.calls.processes import DEAD_AFTER_S, Process, Processes
from admin.services.calls.spool import Spool
from admin.store import migrating
from admin.store.column_types import new_id
from admin.store.database import Database, Result, Work
from admin.store.schema import call_events, calls
from relay.log import KeyPressed, MarkEchoed
from tests.admin.services import dying_writer
from tests.admin.services import records as made
from tests.services.databases import Databases
from tests.services.postgres import Postgres, open_postgres

CALLS = 50
PATIENCE_S = 1e6  # of virtual time, which runs while threads work


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server of this module's own, which may be stopped; like one in production, it then keeps what it has said."""
    with open_postgres() as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("ALTER ROLE tautline SET synchronous_commit = on")
        yield server


class Contended(Database):
    """A database in which another process makes the row that is about to be made, once."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.engine.url.render_as_string(hide_password=False))
        self._is_free = False

    async def write(self, work: Work[Result]) -> Result:
        if not self._is_free:
            self._is_free = True
            raise IntegrityError("INSERT", None, Exception("there is one already"))
        return await super().write(work)


def opened(database: Database, folder: Path, process_id: UUID | None = None) -> CallRecords:
    owner = process_id or new_id()
    return CallRecords(database, lambda: made.AT, process_id=owner, spool=Spool(folder, owner), models=made.MODELS)


@asynccontextmanager
async def open_records(database: Database, folder: Path) -> AsyncIterator[CallRecords]:
    records = opened(database, folder)
    async with records.writing():
        yield records


async def until(is_so: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - a thread tells nobody
            await trio.sleep(0.1)


def offer_a_call(records: CallRecords, call_sid: str, turns: int = 3) -> int:
    """Offer all of a call. Returns how many records it has."""
    records.rung(msgspec.structs.replace(made.RUNG, call_sid=call_sid))
    told = [made.STARTED, *[made.HELLO, made.ANSWER] * turns, made.ended()]
    for event in told:
        records.offer(call_sid, event)
    return len(told) + 1


async def found(database: Database) -> dict[str, tuple[str, list[tuple[int, str]]]]:
    """Each call's status, and its events' numbers and names."""

    def read(connection: Connection) -> dict[str, tuple[str, list[tuple[int, str]]]]:
        rows: dict[str, tuple[str, list[tuple[int, str]]]] = {}
        joined = select(calls.c.call_sid, calls.c.status, call_events.c.number, call_events.c.name)
        ordered = joined.outerjoin(call_events).order_by(calls.c.call_sid, call_events.c.number)
        for call_sid, status, number, name in connection.execute(ordered):
            rows.setdefault(call_sid, (status, []))[1].append((number, name))
        return rows

    return await database.read(read)


def whole(turns: int = 3) -> list[tuple[int, str]]:
    names = ["call.started", *["turn.caller_transcribed", "turn.agent_heard"] * turns, "call.ended"]
    return list(enumerate(names, start=1))


async def test_what_is_offered_is_in_the_database_soon(
    database: Database, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_records(database, tmp_path / "spool") as records:
        offered = sum(offer_a_call(records, f"CA{number}") for number in range(CALLS))
        records.offer("CA0", MarkEchoed(name="m"))
        records.offer("", made.ended())
        await until(lambda: records.written == offered)
    assert await found(database) == {f"CA{number}": ("completed", whole()) for number in range(CALLS)}
    assert (records.spooled, records.dropped, records.is_away) == (0, 0, False)
    assert made.files(tmp_path / "spool") == []


async def test_what_is_offered_last_is_written_before_the_end(database: Database, tmp_path: Path) -> None:
    async with open_records(database, tmp_path) as records:
        offer_a_call(records, "CA1")
    assert await found(database) == {"CA1": ("completed", whole())}
    assert made.files(tmp_path) == []


async def test_calls_while_the_server_is_stopped_are_complete_once_it_is_back(
    postgres: Postgres, tmp_path: Path, autojump_clock: MockClock
) -> None:
    database = Database(postgres.create("stopped"))
    migrating.upgrade(database.engine)
    with capture_logs() as logs:
        async with open_records(database, tmp_path) as records:
            before = offer_a_call(records, "CA-before")
            await until(lambda: records.written == before)
            postgres.stop()
            try:
                offered = sum(offer_a_call(records, f"CA{number:02}") for number in range(CALLS))
                await until(lambda: records.spooled == offered and records.is_away)
                assert records.written == before
                offered += offer_a_call(records, "CA-later")
                await until(lambda: records.spooled == offered)
            finally:
                postgres.start()
            await until(lambda: not records.is_away and records.written >= before + offered)
    names = ["CA-before", "CA-later", *(f"CA{number:02}" for number in range(CALLS))]
    assert await found(database) == {name: ("completed", whole()) for name in names}
    assert records.dropped == 0
    assert [each["event"] for each in logs] == ["records.store_away", "records.store_back"]
    assert made.files(tmp_path) == []
    database.close()


async def test_a_file_that_cannot_be_used_is_waited_for(
    databases: Databases, tmp_path: Path, autojump_clock: MockClock
) -> None:
    with databases.open_url("sqlite") as url:
        good = Path(url.removeprefix("sqlite:///")).read_bytes
        file = tmp_path / "tautline.db"
        file.write_bytes(b"this is not a database" * 100)
        database = Database(f"sqlite:///{file}")
        with capture_logs() as logs:
            async with open_records(database, tmp_path / "spool") as records:
                offered = offer_a_call(records, "CA1")
                await until(lambda: records.spooled == offered)
                file.write_bytes(good())
                await until(lambda: records.written == offered)
        assert await found(database) == {"CA1": ("completed", whole())}
        assert [each["event"] for each in logs] == ["records.store_away", "records.store_back"]
        database.close()


async def test_tables_that_a_migration_has_yet_to_make_are_waited_for(
    postgres: Postgres, tmp_path: Path, autojump_clock: MockClock
) -> None:
    database = Database(postgres.create("unmigrated"))
    async with open_records(database, tmp_path) as records:
        with capture_logs():
            offered = offer_a_call(records, "CA1")
            await until(lambda: records.spooled == offered)
            migrating.upgrade(database.engine)
            await until(lambda: records.written == offered)
    assert (await found(database))["CA1"] == ("completed", whole())
    database.close()


async def test_what_cannot_be_written_before_the_end_is_there_for_the_next_start(
    database: Database, tmp_path: Path
) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with capture_logs() as logs:
        async with open_records(away, tmp_path) as records:
            offered = offer_a_call(records, "CA1")
    assert (records.written, records.spooled) == (0, offered)
    assert logs[-1]["event"] == "records.left_behind"
    next_one = opened(database, tmp_path)
    with capture_logs():
        await next_one.adopt()
    assert next_one.written == offered
    assert await found(database) == {"CA1": ("completed", whole())}
    assert made.files(tmp_path) == []
    away.close()


async def test_what_one_dead_process_has_left_unreadable_holds_up_nothing_else(
    database: Database, tmp_path: Path
) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with capture_logs():
        for call_sid in ("CA1", "CA2"):
            async with open_records(away, tmp_path) as records:
                offer_a_call(records, call_sid)
    first, _ = sorted(made.files(tmp_path, "*/*.jsonl"))
    left = first.read_bytes()
    first.unlink()
    first.mkdir()
    next_one = opened(database, tmp_path)
    with capture_logs() as logs:
        await next_one.adopt()
        assert await found(database) == {"CA2": ("completed", whole())}
        first.rmdir()
        first.write_bytes(left)
        await next_one.adopt()
    assert await found(database) == {"CA1": ("completed", whole()), "CA2": ("completed", whole())}
    assert [each["event"] for each in logs] == ["spool.unreadable", "spool.adopted", "spool.adopted"]
    assert made.files(tmp_path) == []
    away.close()


async def test_a_record_that_the_database_refuses_holds_up_no_other(database: Database, tmp_path: Path) -> None:
    bad: Any = "sideways"
    with capture_logs() as logs:
        async with open_records(database, tmp_path) as records:
            offer_a_call(records, "CA1")
            records.rung(msgspec.structs.replace(made.RUNG, call_sid="CA2", direction=bad))
            records.offer("CA2", KeyPressed(digit="5"))
            offer_a_call(records, "CA3")
    rows = await found(database)
    assert (rows["CA1"], rows["CA3"]) == (("completed", whole()), ("completed", whole()))
    assert rows["CA2"][1] == [(1, "dtmf.received")]
    assert records.dropped == 1
    assert [(each["event"], each["call_sid"]) for each in logs] == [("records.refused", "CA2")]


async def test_more_than_can_wait_costs_the_oldest_and_is_said(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_records, "MAX_QUEUED", 3)
    with capture_logs() as logs:
        async with open_records(database, tmp_path) as records:
            for digit in "12345":
                records.offer("CA1", KeyPressed(digit=digit))
    assert (records.dropped, records.written) == (2, 3)
    assert [(each["event"], each["records_lost"]) for each in logs] == [("records.overran", 2)]


async def test_a_disk_that_refuses_keeps_nothing_from_the_database(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.write_text("a file, where a folder should be")
    with capture_logs() as logs:
        async with open_records(database, folder) as records:
            offer_a_call(records, "CA1")
    assert await found(database) == {"CA1": ("completed", whole())}
    assert [each["event"] for each in logs] == ["spool.refused"]


async def test_who_waits_until_it_is_kept_does_not_wait_for_the_disk_to_be_synced(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with closing(Database("postgresql://nobody@127.0.0.1:1/nothing")) as away, capture_logs():
        async with open_records(away, tmp_path) as records:
            records.is_away = True
            for _ in range(5):
                records.reported(made.REPORTED)
                await records.until_kept()
            assert synced == []
            mock_clock.jump(KEEP_EVERY_S)
            await records.until_kept()
            await records.until_kept()  # the half second has ended at the first of them, or between the two
            assert synced != []


async def test_two_processes_that_make_one_row_at_the_same_moment_lose_nothing(
    database: Database, tmp_path: Path
) -> None:
    contended = Contended(database)
    with closing(contended):
        async with open_records(contended, tmp_path) as records:
            records.reported(made.REPORTED)
    assert list(await found(database)) == ["CA1"]
    assert records.dropped == 0


@pytest.mark.parametrize("has_database", [True, False])
async def test_a_process_that_is_killed_loses_nothing_that_was_answered_or_had_half_a_second(
    database: Database, tmp_path: Path, autojump_clock: MockClock, has_database: bool
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    url = database.engine.url.render_as_string(hide_password=False) if has_database else nowhere
    command = [sys.executable, "-m", dying_writer.__name__, url, str(tmp_path)]
    process = await trio.lowlevel.open_process(command, stdout=PIPE)
    assert process.stdout is not None
    said = b""
    while not said.endswith(b"go on\n"):
        said += await process.stdout.receive_some()
    process.kill()
    await process.wait()
    await process.stdout.aclose()
    own = Process(id=new_id(), host="elsewhere", pid=1)
    records = opened(database, tmp_path, own.id)
    with capture_logs():
        processes = Processes(database, lambda: made.AT, own=own, models=made.MODELS, adopt=records.adopt)
        await processes.attend()
        await trio.sleep(DEAD_AFTER_S)
        await processes.attend()
    rows = await found(database)
    assert list(rows) == sorted(dying_writer.CALL_SIDS)
    for status, events in rows.values():
        assert status == "aborted"
        assert len(events) >= dying_writer.KEPT_EVENTS
        assert [number for number, _ in events] == list(range(1, len(events) + 1))
    with database.engine.connect() as connection:
        told = list(connection.execute(select(calls.c.answered_by)).scalars())
    assert told == ["human"] * len(dying_writer.CALL_SIDS)
    assert made.files(tmp_path) == []

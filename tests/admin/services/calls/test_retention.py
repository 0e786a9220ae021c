"""Calls are deleted when they are old enough, with all that belongs to them, and by one process."""

from functools import partial
from typing import Any

import trio
from sqlalchemy import Connection, func, select
from structlog.testing import capture_logs
from trio.testing import MockClock

from admin.services.calls.call_writing import write_records
from admin.services.calls.retention import EVERY_S, Retention
from admin.store import processes
from admin.store.column_types import new_id
from admin.store.database import Database
from admin.store.schema import call_events, calls, transcript_turns
from tests.admin.api.conftest import WallClock
from tests.admin.services import records as made

OLDER, YOUNGER = new_id(), new_id()
DAY_S = 86_400


async def add_calls(database: Database, *call_sids: str, day: float) -> None:
    told = (made.STARTED, made.HELLO, made.ended())
    records = [each for sid in call_sids for each in made.records(*told, call_sid=sid, began_s=day * DAY_S)]
    await database.write(partial(write_records, records=records, process_id=OLDER, models=made.MODELS))


async def see(database: Database, process_id: Any, wall: WallClock) -> None:
    await database.write(partial(processes.see, process_id=process_id, host="h", pid=1, at=wall()))


async def remaining(database: Database) -> tuple[list[str], int, int]:
    def read(connection: Connection) -> tuple[list[str], int, int]:
        sids = connection.execute(select(calls.c.call_sid).order_by(calls.c.call_sid)).scalars()
        counts = [
            connection.execute(select(func.count()).select_from(t)).scalar() for t in (call_events, transcript_turns)
        ]
        return list(sids), counts[0] or 0, counts[1] or 0

    return await database.read(read)


async def test_what_is_older_is_deleted_and_what_is_younger_stays(
    database: Database, autojump_clock: MockClock
) -> None:
    wall = WallClock()
    wall.passes(days=40)
    await add_calls(database, *(f"CA-old-{number:03}" for number in range(120)), day=9.9)
    await add_calls(database, "CA-young", day=10.1)
    retention = Retention(database, wall, days=30, process_id=OLDER)
    with capture_logs() as logs:
        assert await retention.delete_old() == 120
        assert await retention.delete_old() == 0
    assert await remaining(database) == (["CA-young"], 3, 1)
    assert [(each["event"], each["calls"]) for each in logs] == [("retention.deleted", 120)]


async def test_one_process_does_it_and_the_next_when_that_is_gone(database: Database) -> None:
    wall = WallClock()
    wall.passes(days=40)
    await add_calls(database, "CA1", day=0)
    await see(database, OLDER, wall)
    await see(database, YOUNGER, wall)
    assert await Retention(database, wall, days=30, process_id=YOUNGER).delete_old() == 0
    wall.passes(minutes=1)
    await see(database, YOUNGER, wall)
    with capture_logs():
        assert await Retention(database, wall, days=30, process_id=YOUNGER).delete_old() == 1


async def test_a_database_that_is_away_is_asked_again_the_next_hour(autojump_clock: MockClock) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Retention(away, WallClock(), days=1, process_id=OLDER).run)
            while len(logs) < 3:  # noqa: ASYNC110 - a log tells nobody
                await trio.sleep(60)
            nursery.cancel_scope.cancel()
    assert [each["event"] for each in logs] == ["retention.failed"] * 3
    assert trio.current_time() >= 2 * EVERY_S
    away.close()

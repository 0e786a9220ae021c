"""Work in transactions: all of it is kept or nothing, and what the columns hold comes back as it went in."""

import threading
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
import trio
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import IntegrityError, StatementError

from admin.errors import StoreUnavailableError
from admin.store.column_types import new_id
from admin.store.database import Database
from admin.store.schema import sessions, settings
from tests.services.databases import Databases

AT = datetime(2026, 3, 2, 10, 0, 0, 123456, tzinfo=UTC)


def setting(connection: Connection, name: str, value: object, at: datetime = AT) -> None:
    connection.execute(insert(settings).values(name=name, value=value, updated_at=at))


async def names(database: Database) -> list[str]:
    return await database.read(lambda connection: list(connection.execute(select(settings.c.name)).scalars()))


async def test_work_that_fails_leaves_nothing_behind(database: Database) -> None:
    def half(connection: Connection) -> None:
        setting(connection, "one", 1)
        raise RuntimeError("the other half")

    with pytest.raises(RuntimeError):
        await database.write(half)
    assert await names(database) == []


async def test_moments_and_json_come_back_as_they_went_in(database: Database) -> None:
    value = {"text": "Zürich – 東京", "list": [1, 2.5, None, True]}
    in_india = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await database.write(lambda connection: setting(connection, "one", value, in_india))
    row = await database.read(lambda connection: connection.execute(select(settings)).mappings().one())
    assert (row["value"], row["updated_at"], row["updated_at"].tzinfo) == (value, AT, UTC)


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="time zone"):
        await database.write(lambda connection: setting(connection, "one", 1, AT.replace(tzinfo=None)))


async def test_a_row_cannot_belong_to_one_who_does_not_exist(database: Database) -> None:
    def orphan(connection: Connection) -> None:
        connection.execute(
            insert(sessions).values(
                id=new_id(), user_id=new_id(), token_hash=b"h", csrf_token="c", created_at=AT, seen_at=AT, expires_at=AT
            )
        )

    with pytest.raises(IntegrityError):
        await database.write(orphan)


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = [new_id() for _ in range(1000)]
    assert made == sorted(made)
    assert {each.version for each in made} == {7}


async def test_a_server_that_cannot_be_reached_is_said_to_be_so() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(StoreUnavailableError):
        await names(database)
    database.close()


async def test_a_file_that_is_no_database_is_said_to_be_so(tmp_path: Path) -> None:
    file = tmp_path / "no.db"
    file.write_bytes(b"this is not a database" * 100)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(StoreUnavailableError):
        await names(database)
    database.close()


async def test_of_two_that_wait_for_each_other_both_get_their_turn(database: Database) -> None:
    for name in ("one", "other"):
        await database.write(partial(setting, name=name, value=0))
    begun = [threading.Event(), threading.Event()]

    def work(connection: Connection, *, first: str, second: str, own: int) -> None:
        count(connection, first)
        begun[own].set()
        if database.engine.dialect.name == "postgresql":  # SQLite lets one of them begin at a time
            begun[1 - own].wait(20)
        count(connection, second)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, partial(work, first="one", second="other", own=0))
        nursery.start_soon(database.write, partial(work, first="other", second="one", own=1))
    values = await database.read(lambda c: list(c.execute(select(settings.c.value)).scalars()))
    assert values == [2, 2]


def count(connection: Connection, name: str) -> None:
    row = connection.execute(select(settings.c.value).where(settings.c.name == name).with_for_update()).scalar_one()
    connection.execute(update(settings).where(settings.c.name == name).values(value=row + 1))


async def test_an_error_tells_no_values(database: Database) -> None:
    await database.write(partial(setting, name="one", value="secret words"))
    with pytest.raises(IntegrityError) as met:
        await database.write(partial(setting, name="one", value="secret words"))
    assert "secret words" not in str(met.value)


async def test_a_server_that_only_reads_is_said_to_be_unavailable(databases: Databases) -> None:
    def write(connection: Connection) -> None:
        connection.execute(text("set transaction read only"))
        setting(connection, "one", 1)

    with databases.open("postgresql") as database, pytest.raises(StoreUnavailableError):
        await database.write(write)

"""Users in their table, and which of their accounts is the house."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import trio
from sqlalchemy import Connection

from admin.store import users
from admin.store.database import Database

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def begun(connection: Connection, at: datetime = AT) -> UUID:
    """An account that has just begun."""
    return users.add(connection, role="owner", at=at)


async def test_the_account_that_began_first_is_the_house(database: Database) -> None:
    assert await database.read(users.first_account) is None
    house = await database.write(begun)
    await database.write(begun)
    assert await database.read(users.first_account) == house


async def test_the_house_stays_the_house_without_whoever_began_it(database: Database) -> None:
    house = await database.write(begun)
    await database.write(begun)
    await database.write(lambda connection: users.add(connection, role="owner", at=AT, account_id=house))
    await database.write(lambda connection: users.remove(connection, house))
    assert await database.read(users.first_account) == house


async def test_a_clock_that_was_wrong_makes_no_other_account_the_house(database: Database) -> None:
    house = await database.write(begun)
    await database.write(lambda connection: begun(connection, AT - timedelta(days=9000)))
    assert await database.read(users.first_account) == house


async def test_of_accounts_that_begin_at_once_one_is_the_house(database: Database) -> None:
    accounts: set[UUID] = set()

    async def begin() -> None:
        accounts.add(await database.write(begun))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(begin)
    assert len(accounts) == 4
    assert await database.read(users.first_account) in accounts


async def test_who_comes_into_an_account_makes_it_no_house(database: Database) -> None:
    house = await database.write(begun)
    other = await database.write(begun)
    await database.write(lambda connection: users.add(connection, role="owner", at=AT, account_id=other))
    assert await database.read(users.first_account) == house


async def test_an_account_is_there_while_it_has_somebody(database: Database) -> None:
    account = await database.write(begun)
    assert await database.read(lambda connection: users.is_account(connection, account))
    await database.write(lambda connection: users.remove(connection, account))
    assert not await database.read(lambda connection: users.is_account(connection, account))

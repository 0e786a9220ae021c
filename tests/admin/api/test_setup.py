"""The first owner: made once, with the token that the server's terminal showed."""

import trio
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select

from admin.api import Api, open_api
from admin.services.people.people import PeopleRules
from admin.store.database import Database
from admin.store.schema import settings
from tests.admin.api.conftest import CHEAP, MakeCaller, WallClock

LUNA = {"email": "luna@pizzeria.example", "password": "quattro stagioni", "name": "Luna"}


def api_over(database: Database, wall: WallClock) -> Api:
    return open_api(database, wall, people=PeopleRules(password_cost=CHEAP))


async def offered(database: Database, wall: WallClock) -> str:
    token = await api_over(database, wall).setup.offer()
    assert token is not None
    return token


async def set_up(client: Client, token: str, email: str = LUNA["email"]) -> Response:
    return await client.post("/api/setup", json=LUNA | {"token": token, "email": email})


async def refusal(response: Response) -> tuple[int, str]:
    return response.status_code, (await response.get_json())["error"]["code"]


async def test_the_token_makes_an_owner_who_can_sign_in(client: Client, database: Database, wall: WallClock) -> None:
    response = await set_up(client, await offered(database, wall))
    assert response.status_code == 201
    assert (await response.get_json())["role"] == "owner"
    credentials = {"email": LUNA["email"], "password": LUNA["password"]}
    assert (await client.post("/api/session", json=credentials)).status_code == 201


async def test_the_token_works_once(client: Client, database: Database, wall: WallClock) -> None:
    token = await offered(database, wall)
    await set_up(client, token)
    assert await refusal(await set_up(client, token, "sol@pizzeria.example")) == (403, "setup_token_invalid")


async def test_of_two_who_come_with_the_token_at_once_one_is_the_owner(
    client: Client, database: Database, wall: WallClock
) -> None:
    token = await offered(database, wall)
    answers: list[int] = []

    async def come(email: str) -> None:
        answers.append((await set_up(client, token, email)).status_code)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(come, f"owner{number}@pizzeria.example")
    assert sorted(answers) == [201, 403, 403, 403]


async def test_a_token_that_is_over_or_made_up_or_replaced_makes_nobody(
    client: Client, database: Database, wall: WallClock
) -> None:
    assert await refusal(await set_up(client, "made-up")) == (403, "setup_token_invalid")
    replaced, token = await offered(database, wall), await offered(database, wall)
    assert await refusal(await set_up(client, replaced)) == (403, "setup_token_invalid")
    wall.passes(hours=24)
    assert await refusal(await set_up(client, token)) == (403, "setup_token_invalid")


async def test_nothing_is_offered_where_somebody_is(
    client: Client, database: Database, wall: WallClock, make_caller: MakeCaller
) -> None:
    token = await offered(database, wall)
    make_caller("viewer")  # as the command line would
    assert await api_over(database, wall).setup.offer() is None
    assert await refusal(await set_up(client, token)) == (403, "setup_token_invalid")


async def test_who_comes_with_the_token_begins_the_first_account(
    client: Client, database: Database, wall: WallClock
) -> None:
    await set_up(client, await offered(database, wall))
    await client.post("/api/session", json={"email": LUNA["email"], "password": LUNA["password"]})
    assert (await (await client.get("/api/me")).get_json())["is_house"]


async def test_the_database_does_not_hold_the_token(database: Database, wall: WallClock) -> None:
    token = await offered(database, wall)
    row = await database.read(lambda connection: connection.execute(select(settings)).mappings().one())
    assert token not in str(dict(row))


async def test_of_two_processes_that_offer_at_once_one_prints_the_token_that_counts(
    client: Client, database: Database, wall: WallClock
) -> None:
    tokens: list[str] = []

    async def offer() -> None:
        if (token := await api_over(database, wall).setup.offer()) is not None:
            tokens.append(token)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(offer)
    answers = sorted([(await set_up(client, token, f"{token[:8]}@x.example")).status_code for token in tokens])
    assert answers.count(201) == 1

"""Who is let in: keys that are good, and nobody else."""

from datetime import timedelta

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import update

from admin.services.people.api_keys import hash_of
from admin.store.database import Database
from admin.store.schema import api_keys, users
from tests.admin.api.conftest import Caller, MakeCaller, WallClock


async def test_a_key_says_who_comes_with_it_and_what_they_may_do(make_caller: MakeCaller) -> None:
    viewer = make_caller("viewer")
    response = await viewer.get("/api/me")
    assert response.status_code == 200
    assert await response.get_json() == {
        "user_id": str(viewer.user_id),
        "account_id": str(viewer.account_id),
        "is_house": True,
        "role": "viewer",
        "via": "api_key",
        "scopes": ["calls:read", "numbers:read", "personas:read"],
    }


async def test_everybody_of_the_first_account_is_of_the_house_and_nobody_else(
    owner: Caller, stranger: Caller, make_caller: MakeCaller
) -> None:
    manager, employee = (make_caller("manager", account_id=each.account_id) for each in (owner, stranger))
    told = [(await (await each.get("/api/me")).get_json())["is_house"] for each in (owner, manager, stranger, employee)]
    assert told == [True, True, False, False]


async def test_a_key_may_never_do_more_than_its_user(make_caller: MakeCaller) -> None:
    viewer = make_caller("viewer", scopes=["personas:read", "people:write"])
    assert (await (await viewer.get("/api/me")).get_json())["scopes"] == ["personas:read"]


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic dGw6", "Bearer tl_unknown", "Bearer tl_" + "x" * 9000, "tl_naked"]
)
async def test_who_brings_no_good_key_is_not_let_in(client: Client, authorization: str) -> None:
    response = await client.get("/api/me", headers={"Authorization": authorization})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await response.get_json())["error"]["code"] == "not_authenticated"


async def test_a_token_of_supabases_needs_supabase(client: Client) -> None:
    response = await client.get("/api/me", headers={"Authorization": "Bearer eyJhbGciOi.eyJzdWIi.c2ln"})
    assert response.status_code == 503
    assert (await response.get_json())["error"]["code"] == "auth_not_configured"


async def test_a_key_that_was_revoked_or_has_expired_is_good_for_nothing(
    make_caller: MakeCaller, database: Database, wall: WallClock
) -> None:
    revoked, expiring, disabled = make_caller(), make_caller(), make_caller()

    def spoil(caller: Caller, **values: object) -> None:
        with database.engine.begin() as connection:
            connection.execute(
                update(api_keys).where(api_keys.c.secret_hash == hash_of(caller.secret)).values(**values)
            )

    spoil(revoked, revoked_at=wall())
    spoil(expiring, expires_at=wall() + timedelta(hours=1))
    with database.engine.begin() as connection:
        connection.execute(update(users).where(users.c.id == disabled.user_id).values(disabled_at=wall()))
    assert (await expiring.get("/api/me")).status_code == 200
    wall.passes(hours=1)
    for caller in (revoked, expiring, disabled):
        assert (await caller.get("/api/me")).status_code == 401


async def test_when_a_key_was_used_is_noted_to_the_minute(owner: Caller, database: Database, wall: WallClock) -> None:
    first = wall()
    await owner.get("/api/me")
    wall.passes(seconds=30)
    await owner.get("/api/me")
    assert noted(database) == first
    wall.passes(seconds=31)
    await owner.get("/api/me")
    assert noted(database) == wall()


def noted(database: Database) -> object:
    with database.engine.connect() as connection:
        return connection.execute(api_keys.select()).mappings().one()["last_used_at"]


@pytest.mark.parametrize("body", ["[" * 30_000, "[" * 600 + "]" * 600, '{"a":' * 600 + "1" + "}" * 600])
async def test_a_body_that_is_nested_without_end_is_refused(client: Client, body: str) -> None:
    response = await client.post("/api/session", data=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400

"""The console's session, as a browser meets it: in, out, over, and how guessing is slowed down."""

from uuid import UUID

import pytest
import trio
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select

from admin.api import open_api
from admin.principal import Role
from admin.routes.access import CSRF_HEADER, SESSION_COOKIE
from admin.services.people.api_keys import hash_of
from admin.services.people.passwords import PasswordCost, Passwords
from admin.services.people.people import PeopleRules
from admin.store import users
from admin.store.database import Database
from admin.store.schema import sessions
from tests.admin.api.conftest import CHEAP, Caller, WallClock
from tests.admin.conftest import MakeClient

EMAIL, PASSWORD = "luna@pizzeria.example", "quattro stagioni"


async def add_user(database: Database, wall: WallClock, *, email: str = EMAIL, role: Role = "owner") -> UUID:
    kept = await Passwords(CHEAP).hash(PASSWORD)
    return await database.write(
        lambda connection: users.add(connection, role=role, at=wall(), email=email, password_hash=kept)
    )


@pytest.fixture
async def luna(database: Database, wall: WallClock) -> UUID:
    """An owner with a password."""
    return await add_user(database, wall)


async def sign_in(client: Client, password: str = PASSWORD, email: str = EMAIL) -> Response:
    return await client.post("/api/session", json={"email": email, "password": password})


async def csrf_of(response: Response) -> dict[str, str]:
    assert response.status_code in (200, 201), await response.get_data()
    return {CSRF_HEADER: (await response.get_json())["csrf_token"]}


async def code_of(response: Response) -> str:
    return str((await response.get_json())["error"]["code"])


def token_in(response: Response) -> str:
    return response.headers["Set-Cookie"].partition("=")[2].partition(";")[0]


async def test_who_signs_in_is_known_by_the_cookie(client: Client, luna: UUID) -> None:
    response = await sign_in(client, email="Luna@Pizzeria.example")
    assert response.status_code == 201
    body = await response.get_json()
    assert (body["user_id"], body["account_id"], body["email"]) == (str(luna), str(luna), EMAIL)
    me = await (await client.get("/api/me")).get_json()
    assert (me["user_id"], me["via"], me["role"]) == (str(luna), "session", "owner")
    assert await (await client.get("/api/session")).get_json() == body


async def test_a_session_knows_the_people_of_the_first_account(
    client: Client, luna: UUID, database: Database, wall: WallClock
) -> None:
    await add_user(database, wall, email="mare@trattoria.example")
    told = []
    for email in (EMAIL, "mare@trattoria.example"):
        await sign_in(client, email=email)
        told.append((await (await client.get("/api/me")).get_json())["is_house"])
    assert told == [True, False]


async def test_the_cookie_is_kept_from_scripts_and_other_sites(client: Client, luna: UUID) -> None:
    cookie = (await sign_in(client)).headers["Set-Cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    for flag in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert flag in cookie
    assert "Secure" not in cookie  # reached by http, a browser would not send it


async def test_where_browsers_come_by_https_the_cookie_never_travels_otherwise(
    make_client: MakeClient, database: Database, wall: WallClock, luna: UUID
) -> None:
    rules = PeopleRules(password_cost=CHEAP, secure_cookies=True)
    response = await sign_in(make_client(api=open_api(database, wall, people=rules)))
    assert "; Secure" in response.headers["Set-Cookie"]


async def test_the_database_does_not_hold_what_the_cookie_says(client: Client, luna: UUID, database: Database) -> None:
    token = token_in(await sign_in(client))
    row = await database.read(lambda connection: connection.execute(select(sessions)).mappings().one())
    assert row["token_hash"] == hash_of(token)
    assert token not in str(dict(row))


@pytest.mark.parametrize(("email", "password"), [(EMAIL, "quattro formaggi"), ("sol@pizzeria.example", PASSWORD)])
async def test_a_wrong_email_and_a_wrong_password_look_the_same(
    client: Client, luna: UUID, email: str, password: str
) -> None:
    response = await sign_in(client, password, email)
    assert response.status_code == 401
    error = (await response.get_json())["error"]
    assert (error["code"], error["message"]) == ("login_refused", "the email or the password is wrong")
    assert "Set-Cookie" not in response.headers


async def test_who_is_disabled_is_not_let_in(client: Client, luna: UUID, database: Database, wall: WallClock) -> None:
    await database.write(lambda connection: users.change(connection, luna, disabled_at=wall()))
    assert await code_of(await sign_in(client)) == "login_refused"


@pytest.mark.parametrize("email", [EMAIL, "nobody@pizzeria.example"])
async def test_guessing_is_slowed_down_whether_or_not_there_is_such_a_user(
    client: Client, luna: UUID, wall: WallClock, email: str
) -> None:
    for _ in range(5):
        assert (await sign_in(client, "wrong", email)).status_code == 401
    refused = await sign_in(client, PASSWORD, email)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "30")
    assert await code_of(refused) == "too_many_logins"
    wall.passes(seconds=31)
    assert (await sign_in(client, "wrong", email)).status_code == 401
    assert (await sign_in(client, "wrong", email)).headers["Retry-After"] == "60"


async def test_who_remembers_the_password_after_the_wait_starts_afresh(
    client: Client, luna: UUID, wall: WallClock
) -> None:
    for _ in range(5):
        await sign_in(client, "wrong")
    wall.passes(seconds=31)
    assert (await sign_in(client)).status_code == 201
    for _ in range(4):
        assert (await sign_in(client, "wrong")).status_code == 401
    assert (await sign_in(client)).status_code == 201


async def test_passwords_tried_all_at_once_are_all_counted(client: Client, luna: UUID) -> None:
    answers: list[int] = []

    async def guess() -> None:
        answers.append((await sign_in(client, "wrong")).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(guess)
    assert sorted(answers) == [401] * 5 + [429] * 3


async def test_one_address_that_tries_many_emails_has_to_wait(client: Client, luna: UUID, wall: WallClock) -> None:
    for number in range(20):
        assert (await sign_in(client, email=f"guess{number}@pizzeria.example")).status_code == 401
    refused = await sign_in(client)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    wall.passes(minutes=1)
    assert (await sign_in(client)).status_code == 201


async def test_an_account_that_is_guessed_at_leaves_a_trace(client: Client, luna: UUID, wall: WallClock) -> None:
    for _ in range(5):
        await sign_in(client, "wrong")
    wall.passes(minutes=1)
    await sign_in(client)
    entries = (await (await client.get("/api/audit")).get_json())["items"]
    assert [entry["action"] for entry in entries] == ["session.started", "login.locked"]
    assert (entries[1]["subject"], entries[1]["facts"], entries[1]["actor_id"]) == (str(luna), {"wait_s": 30}, None)


async def test_a_change_needs_the_csrf_token(client: Client, luna: UUID) -> None:
    csrf = await csrf_of(await sign_in(client))
    for headers in ({}, {CSRF_HEADER: "x"}, {CSRF_HEADER: "é"}):
        refused = await client.delete("/api/session", headers=headers)
        assert (refused.status_code, await code_of(refused)) == (403, "csrf_token_invalid")
    assert (await client.delete("/api/session", headers=csrf)).status_code == 204


async def test_another_session_s_csrf_token_is_of_no_use(
    client: Client, make_client: MakeClient, database: Database, wall: WallClock, luna: UUID
) -> None:
    await sign_in(client)
    other = make_client(api=open_api(database, wall, people=PeopleRules(password_cost=CHEAP)))
    csrf_of_other = await csrf_of(await sign_in(other))
    assert (await client.delete("/api/session", headers=csrf_of_other)).status_code == 403


async def test_signing_out_ends_the_session_and_takes_the_cookie_back(client: Client, luna: UUID) -> None:
    response = await sign_in(client)
    token = token_in(response)
    left = await client.delete("/api/session", headers=await csrf_of(response))
    assert left.status_code == 204
    assert "Max-Age=0" in left.headers["Set-Cookie"]
    assert (await client.get("/api/me", headers={"Cookie": f"{SESSION_COOKIE}={token}"})).status_code == 401


async def test_signing_in_again_makes_the_old_cookie_worthless(client: Client, luna: UUID) -> None:
    old = token_in(await sign_in(client))
    new = token_in(await sign_in(client))
    assert old != new
    client.cookie_jar.clear()  # type: ignore[union-attr, attr-defined, unused-ignore]  # a client with cookies has one
    assert (await client.get("/api/me", headers={"Cookie": f"{SESSION_COOKIE}={old}"})).status_code == 401
    assert (await client.get("/api/me", headers={"Cookie": f"{SESSION_COOKIE}={new}"})).status_code == 200


async def test_a_session_that_is_left_alone_ends(client: Client, luna: UUID, wall: WallClock) -> None:
    await sign_in(client)
    for _ in range(3):
        wall.passes(hours=11)
        assert (await client.get("/api/me")).status_code == 200
    wall.passes(hours=12, seconds=1)
    assert (await client.get("/api/me")).status_code == 401


async def test_a_session_ends_after_a_week_even_if_it_is_used(client: Client, luna: UUID, wall: WallClock) -> None:
    await sign_in(client)
    for _ in range(27):
        wall.passes(hours=6)
        assert (await client.get("/api/me")).status_code == 200
    wall.passes(hours=6)
    assert (await client.get("/api/me")).status_code == 401


async def test_a_disabled_user_s_session_is_good_for_nothing(
    client: Client, luna: UUID, database: Database, wall: WallClock
) -> None:
    await sign_in(client)
    await database.write(lambda connection: users.change(connection, luna, disabled_at=wall()))
    assert (await client.get("/api/me")).status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "x" * 500, "%00", "\xe9"])
async def test_a_cookie_that_is_nobody_s_lets_nobody_in(client: Client, luna: UUID, cookie: str) -> None:
    assert (await client.get("/api/me", headers={"Cookie": f"{SESSION_COOKIE}={cookie}"})).status_code == 401


async def test_nobody_has_more_sessions_than_there_are_browsers(
    make_client: MakeClient, database: Database, wall: WallClock, luna: UUID
) -> None:
    api = open_api(database, wall, people=PeopleRules(password_cost=CHEAP))
    for _ in range(22):
        wall.passes(seconds=1)
        assert (await sign_in(make_client(api=api))).status_code == 201
    assert len(await database.read(lambda connection: connection.execute(select(sessions)).all())) == 20


async def test_a_hash_of_an_older_cost_is_made_anew_at_the_next_log_in(
    make_client: MakeClient, database: Database, wall: WallClock, luna: UUID
) -> None:
    dearer = PeopleRules(password_cost=PasswordCost(memory_kib=16, rounds=1))
    client = make_client(api=open_api(database, wall, people=dearer))
    assert (await sign_in(client)).status_code == 201
    row = await database.read(lambda connection: users.by_id(connection, luna))
    assert row is not None
    assert "m=16," in row["password_hash"]
    assert (row["last_login_at"], row["failed_logins"]) == (wall(), 0)
    assert (await sign_in(client)).status_code == 201


async def change(client: Client, csrf: dict[str, str], current: str, new: str) -> Response:
    body = {"current_password": current, "new_password": new}
    return await client.put("/api/session/password", json=body, headers=csrf)


async def test_another_password_ends_the_other_sessions_and_keeps_this_one(
    client: Client, make_client: MakeClient, database: Database, wall: WallClock, luna: UUID
) -> None:
    other = make_client(api=open_api(database, wall, people=PeopleRules(password_cost=CHEAP)))
    await sign_in(other)
    csrf = await csrf_of(await sign_in(client))
    assert (await change(client, csrf, PASSWORD, "prosciutto e funghi")).status_code == 204
    assert (await client.get("/api/me")).status_code == 200
    assert (await other.get("/api/me")).status_code == 401
    assert (await sign_in(other)).status_code == 401
    assert (await sign_in(other, "prosciutto e funghi")).status_code == 201


async def test_a_password_is_not_changed_by_who_does_not_know_it(
    client: Client, luna: UUID, owner: Caller, wall: WallClock
) -> None:
    csrf = await csrf_of(await sign_in(client))
    for _ in range(5):
        refused = await change(client, csrf, "wrong", "prosciutto e funghi")
        assert (refused.status_code, await code_of(refused)) == (403, "password_wrong")
    assert (await change(client, csrf, PASSWORD, "prosciutto e funghi")).status_code == 429
    by_key = await owner.put(
        "/api/session/password", json={"current_password": "x", "new_password": "prosciutto e funghi"}
    )
    assert by_key.status_code == 403


async def test_who_comes_with_a_key_has_no_session(owner: Caller) -> None:
    assert await code_of(await owner.get("/api/session")) == "session_not_found"
    assert await code_of(await owner.delete("/api/session")) == "session_not_found"


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"email": EMAIL},
        {"email": "luna", "password": PASSWORD},
        {"email": EMAIL, "password": ""},
        {"email": EMAIL, "password": "x" * 257},
        {"email": EMAIL, "password": "\ud800"},
        {"email": "a\x00@b", "password": PASSWORD},
        {"email": "\udc00@b", "password": PASSWORD},
        {"email": f"{EMAIL}\n", "password": PASSWORD},
        {"email": EMAIL, "password": PASSWORD, "remember": True},
    ],
)
async def test_what_is_no_log_in_is_refused_as_such(client: Client, luna: UUID, body: object) -> None:
    response = await client.post("/api/session", json=body)
    assert (response.status_code, await code_of(response)) == (400, "invalid_request")

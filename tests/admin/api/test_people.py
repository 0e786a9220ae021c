"""People of an account: added, invited, changed, shut out, and never the last owner."""

from typing import Any
from uuid import uuid4

import pytest
import trio
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select

from admin.services.people.api_keys import hash_of
from admin.store.database import Database
from admin.store.schema import invitations
from tests.admin.api.conftest import Caller, MakeCaller, WallClock

SOL = {"email": "Sol@Pizzeria.example", "role": "manager", "name": "Sol"}
PASSWORD = "quattro stagioni"


async def added(owner: Caller, **changed: Any) -> dict[str, Any]:
    response = await owner.post("/api/people", json=SOL | changed)
    assert response.status_code == 201, await response.get_data()
    body: dict[str, Any] = await response.get_json()
    return body


async def code_of(response: Response) -> tuple[int, str]:
    return response.status_code, (await response.get_json())["error"]["code"]


async def sign_in(client: Client, email: str = "sol@pizzeria.example", password: str = PASSWORD) -> Response:
    return await client.post("/api/session", json={"email": email, "password": password})


async def test_somebody_who_is_added_with_a_password_signs_in_with_it(owner: Caller, client: Client) -> None:
    body = await added(owner, password=PASSWORD)
    assert body["invitation"] is None
    person = body["person"]
    assert await (await owner.get(f"/api/people/{person['id']}")).get_json() == person
    assert {name: person[name] for name in ("email", "name", "role", "is_disabled", "signs_in_with")} == {
        "email": "sol@pizzeria.example",
        "name": "Sol",
        "role": "manager",
        "is_disabled": False,
        "signs_in_with": ["password"],
    }
    signed_in = await (await sign_in(client)).get_json()
    assert (signed_in["user_id"], signed_in["account_id"]) == (person["id"], str(owner.account_id))


async def test_an_invitation_sets_a_password_once(owner: Caller, client: Client, database: Database) -> None:
    body = await added(owner)
    assert body["person"]["signs_in_with"] == []
    token = body["invitation"]["token"]
    kept = await database.read(lambda connection: connection.execute(select(invitations)).mappings().one())
    assert kept["token_hash"] == hash_of(token)
    acceptance = {"token": token, "password": PASSWORD}
    assert (await client.post("/api/invitations/accept", json=acceptance)).status_code == 204
    assert (await sign_in(client)).status_code == 201
    again = await client.post("/api/invitations/accept", json=acceptance | {"password": "quattro formaggi"})
    assert await code_of(again) == (403, "invitation_invalid")
    assert (await sign_in(client, password="quattro formaggi")).status_code == 401


async def test_of_two_who_use_an_invitation_at_once_one_sets_the_password(owner: Caller, client: Client) -> None:
    token = (await added(owner))["invitation"]["token"]
    answers: list[int] = []

    async def accept(password: str) -> None:
        response = await client.post("/api/invitations/accept", json={"token": token, "password": password})
        answers.append(response.status_code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, "quattro stagioni")
        nursery.start_soon(accept, "quattro formaggi")
    assert sorted(answers) == [204, 403]


async def test_an_invitation_is_void_when_it_is_over_or_there_is_a_newer_one(
    owner: Caller, client: Client, wall: WallClock
) -> None:
    body = await added(owner)
    newer = await owner.post(f"/api/people/{body['person']['id']}/invitation")
    assert newer.status_code == 201
    wall.passes(days=7)
    for token in (body["invitation"]["token"], (await newer.get_json())["token"], "x"):
        response = await client.post("/api/invitations/accept", json={"token": token, "password": PASSWORD})
        assert await code_of(response) == (403, "invitation_invalid")


async def test_an_email_is_one_person_s(owner: Caller, stranger: Caller) -> None:
    await added(owner)
    for caller in (owner, stranger):
        assert await code_of(await caller.post("/api/people", json=SOL)) == (409, "email_taken")


async def test_people_are_listed_page_by_page(owner: Caller, stranger: Caller, wall: WallClock) -> None:
    for number in range(3):
        wall.passes(seconds=1)
        await added(owner, email=f"p{number}@pizzeria.example")
    first = await (await owner.get("/api/people", query_string={"limit": "2"})).get_json()
    rest = await (
        await owner.get("/api/people", query_string={"limit": "2", "cursor": first["next_cursor"]})
    ).get_json()
    emails = [person["email"] for person in first["items"] + rest["items"]]
    assert emails == [None, "p0@pizzeria.example", "p1@pizzeria.example", "p2@pizzeria.example"]
    assert rest["next_cursor"] is None
    assert len((await (await stranger.get("/api/people")).get_json())["items"]) == 1


async def test_nobody_reaches_another_account_s_people(owner: Caller, stranger: Caller) -> None:
    path = f"/api/people/{stranger.user_id}"
    for response in (
        await owner.get(path),
        await owner.patch(path, json={"role": "viewer"}),
        await owner.delete(path),
        await owner.post(f"{path}/invitation"),
        await owner.get(f"/api/people/{uuid4()}"),
    ):
        assert await code_of(response) == (404, "person_not_found")


async def test_who_is_no_owner_manages_nobody(make_caller: MakeCaller) -> None:
    for role in ("manager", "viewer"):
        caller = make_caller(role)
        assert (await caller.get("/api/people")).status_code == 403
        assert (await caller.post("/api/people", json=SOL)).status_code == 403
        assert (await caller.patch(f"/api/people/{caller.user_id}", json={"role": "owner"})).status_code == 403


async def test_who_is_disabled_is_out_at_once_for_good(owner: Caller, client: Client, make_caller: MakeCaller) -> None:
    person = (await added(owner, password=PASSWORD))["person"]
    await sign_in(client)
    keyed = make_caller("viewer", account_id=owner.account_id)
    for user_id in (person["id"], keyed.user_id):
        response = await owner.patch(f"/api/people/{user_id}", json={"is_disabled": True})
        assert (await response.get_json())["is_disabled"] is True
    assert (await client.get("/api/me")).status_code == 401
    assert (await keyed.get("/api/me")).status_code == 401
    for user_id in (person["id"], keyed.user_id):
        response = await owner.patch(f"/api/people/{user_id}", json={"is_disabled": False})
        assert (await response.get_json())["is_disabled"] is False
    assert (await client.get("/api/me")).status_code == 401  # what was ended stays so
    assert (await keyed.get("/api/me")).status_code == 401
    assert (await sign_in(client)).status_code == 201


async def test_who_is_deleted_is_gone_with_their_keys_and_sessions(
    owner: Caller, client: Client, make_caller: MakeCaller
) -> None:
    person = (await added(owner, password=PASSWORD))["person"]
    await sign_in(client)
    keyed = make_caller("viewer", account_id=owner.account_id)
    for user_id in (person["id"], keyed.user_id):
        assert (await owner.delete(f"/api/people/{user_id}")).status_code == 204
        assert (await owner.get(f"/api/people/{user_id}")).status_code == 404
    assert (await client.get("/api/me")).status_code == 401
    assert (await keyed.get("/api/me")).status_code == 401
    assert (await sign_in(client)).status_code == 401


async def test_an_account_keeps_an_owner(owner: Caller, make_caller: MakeCaller) -> None:
    path = f"/api/people/{owner.user_id}"
    gone = make_caller("owner", account_id=owner.account_id)
    assert (await owner.patch(f"/api/people/{gone.user_id}", json={"is_disabled": True})).status_code == 200
    for response in (
        await owner.patch(path, json={"role": "manager"}),
        await owner.patch(path, json={"is_disabled": True}),
        await owner.delete(path),
    ):
        assert await code_of(response) == (409, "last_owner")
    assert (await owner.patch(path, json={"name": "Luna", "role": "owner"})).status_code == 200


async def test_two_owners_who_let_each_other_go_at_once_do_not_both(owner: Caller, make_caller: MakeCaller) -> None:
    other = make_caller("owner", account_id=owner.account_id)
    answers: list[int] = []

    async def let_go(who: Caller, whom: Caller) -> None:
        answers.append((await who.delete(f"/api/people/{whom.user_id}")).status_code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_go, owner, other)
        nursery.start_soon(let_go, other, owner)
    assert answers.count(204) == 1, answers  # the other is refused: 409, or 401 for who is gone already


async def test_a_password_that_an_owner_sets_ends_that_person_s_sessions(owner: Caller, client: Client) -> None:
    person = (await added(owner, password=PASSWORD))["person"]
    await sign_in(client)
    changed = await owner.patch(f"/api/people/{person['id']}", json={"password": "quattro formaggi"})
    assert changed.status_code == 200
    assert (await client.get("/api/me")).status_code == 401
    assert (await sign_in(client, password="quattro formaggi")).status_code == 201


async def test_what_is_done_to_people_is_in_the_audit_trail_without_secrets(owner: Caller) -> None:
    person = (await added(owner, password=PASSWORD))["person"]
    path = f"/api/people/{person['id']}"
    await owner.patch(path, json={"password": "quattro formaggi", "role": "viewer"})
    await owner.post(f"{path}/invitation")
    await owner.delete(path)
    response = await owner.get("/api/audit", query_string={"subject": person["id"]})
    entries = (await response.get_json())["items"]
    assert {entry["action"]: entry["facts"] for entry in entries} == {
        "person.removed": {"email": "sol@pizzeria.example"},
        "person.invited": {},
        "person.changed": {"role": "viewer", "password": "changed"},
        "person.added": {"email": "sol@pizzeria.example", "role": "manager"},
    }
    assert {entry["actor_id"] for entry in entries} == {str(owner.user_id)}
    assert all(entry["request_id"] for entry in entries)
    assert PASSWORD not in (await response.get_data(as_text=True))


@pytest.mark.parametrize(
    "changed",
    [
        {"email": "sol"},
        {"email": "s" * 250 + "@x.de"},
        {"role": "king"},
        {"name": "So\x00l"},
        {"name": "\ud83c"},
        {"name": ""},
        {"password": "short"},
        {"is_disabled": True},
    ],
)
async def test_who_makes_no_sense_is_not_added(owner: Caller, changed: dict[str, Any]) -> None:
    assert await code_of(await owner.post("/api/people", json=SOL | changed)) == (400, "invalid_request")

"""API keys: made and shown once, listed without their secret, revoked at once."""

from typing import Any

import pytest
import trio
from quart import Response
from quart.typing import TestClientProtocol as Client

from admin.services.people.api_keys import MAX_KEYS, PREFIX
from tests.admin.api.conftest import Caller, MakeCaller, WallClock

KEY = {"name": "till", "scopes": ["calls:read"]}


async def made(caller: Caller, **changed: Any) -> dict[str, Any]:
    response = await caller.post("/api/keys", json=KEY | changed)
    assert response.status_code == 201, await response.get_data()
    body: dict[str, Any] = await response.get_json()
    return body


async def listed(caller: Caller) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await (await caller.get("/api/keys")).get_json())["items"]
    return items


async def me(client: Client, secret: str) -> Response:
    return await client.get("/api/me", headers={"Authorization": f"Bearer {secret}"})


async def code_of(response: Response) -> tuple[int, str]:
    return response.status_code, (await response.get_json())["error"]["code"]


async def test_a_new_key_works_with_the_scopes_it_was_given(owner: Caller, client: Client) -> None:
    body = await made(owner)
    assert body["secret"].startswith(PREFIX)
    known = await (await me(client, body["secret"])).get_json()
    assert (known["user_id"], known["scopes"]) == (str(owner.user_id), ["calls:read"])


async def test_a_secret_is_shown_once_and_a_key_by_how_it_begins(
    owner: Caller, client: Client, wall: WallClock
) -> None:
    wall.passes(seconds=1)
    body = await made(owner)
    await me(client, body["secret"])
    response = await owner.get("/api/keys")
    assert body["secret"] not in await response.get_data(as_text=True)
    newest = (await response.get_json())["items"][0]
    assert body["secret"].startswith(newest["shown_prefix"])
    assert newest == body["key"] | {"last_used_at": "2026-03-02T10:00:01Z"}


async def test_nobody_gives_a_key_more_than_they_have(owner: Caller, make_caller: MakeCaller) -> None:
    manager = make_caller("manager", scopes=["calls:read", "people:write"])
    for scope in ("calls:write", "people:write"):
        refused = await manager.post("/api/keys", json=KEY | {"scopes": ["calls:read", scope]})
        assert await code_of(refused) == (403, "not_allowed")
    await made(manager)


async def test_everybody_sees_their_own_keys_and_owners_all_of_the_account(
    owner: Caller, stranger: Caller, make_caller: MakeCaller
) -> None:
    viewer = make_caller("viewer", account_id=owner.account_id)
    assert {key["user_id"] for key in await listed(owner)} == {str(owner.user_id), str(viewer.user_id)}
    assert {key["user_id"] for key in await listed(viewer)} == {str(viewer.user_id)}
    assert {key["user_id"] for key in await listed(stranger)} == {str(stranger.user_id)}


async def test_a_revoked_key_is_good_for_nothing_and_stays_in_the_list(owner: Caller, client: Client) -> None:
    body = await made(owner)
    path = f"/api/keys/{body['key']['id']}"
    for _ in range(2):
        assert (await owner.delete(path)).status_code == 204
    assert (await me(client, body["secret"])).status_code == 401
    (revoked,) = [key for key in await listed(owner) if key["id"] == body["key"]["id"]]
    assert revoked["revoked_at"] == "2026-03-02T10:00:00Z"
    trail = await (await owner.get("/api/audit", query_string={"subject": body["key"]["id"]})).get_json()
    assert [entry["action"] for entry in trail["items"]] == ["api_key.revoked", "api_key.added"]


async def test_who_may_revoke_a_key(owner: Caller, stranger: Caller, make_caller: MakeCaller, client: Client) -> None:
    viewer, other = (make_caller("viewer", account_id=owner.account_id) for _ in range(2))
    body = await made(viewer)
    path = f"/api/keys/{body['key']['id']}"
    for caller in (other, stranger):
        assert await code_of(await caller.delete(path)) == (404, "key_not_found")
    assert (await me(client, body["secret"])).status_code == 200
    assert (await owner.delete(path)).status_code == 204
    assert (await me(client, body["secret"])).status_code == 401


async def test_a_key_ends_when_it_was_said_to(owner: Caller, client: Client, wall: WallClock) -> None:
    body = await made(owner, expires_at="2026-03-02T11:00:00+00:00")
    assert (await me(client, body["secret"])).status_code == 200
    wall.passes(hours=1)
    assert (await me(client, body["secret"])).status_code == 401


async def test_a_key_that_ends_leaves_none_behind_that_lasts(
    owner: Caller, make_caller: MakeCaller, client: Client
) -> None:
    ends = await made(owner, expires_at="2026-03-02T11:00:00Z")
    headers = {"Authorization": f"Bearer {ends['secret']}"}
    for expires_at in (None, "2026-03-02T11:00:01Z"):
        refused = await client.post("/api/keys", json=KEY | {"expires_at": expires_at}, headers=headers)
        assert await code_of(refused) == (400, "expiry_invalid")
    fine = await client.post("/api/keys", json=KEY | {"expires_at": "2026-03-02T11:00:00Z"}, headers=headers)
    assert fine.status_code == 201


async def test_nobody_has_keys_without_end(owner: Caller, wall: WallClock) -> None:
    for _ in range(MAX_KEYS - 1):  # the first is the one that asks
        await made(owner)
    assert await code_of(await owner.post("/api/keys", json=KEY)) == (409, "too_many_keys")
    page = await (await owner.get("/api/keys", query_string={"limit": "60"})).get_json()
    rest = await (await owner.get("/api/keys", query_string={"limit": "60", "cursor": page["next_cursor"]})).get_json()
    assert len({key["id"] for key in page["items"] + rest["items"]}) == MAX_KEYS


async def test_of_many_that_are_asked_for_at_once_no_more_are_made(owner: Caller) -> None:
    for _ in range(MAX_KEYS - 2):  # one is there, and one more fits
        await made(owner)
    answers: list[int] = []

    async def ask() -> None:
        answers.append((await owner.post("/api/keys", json=KEY)).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
    assert sorted(answers) == [201, 409, 409, 409]


@pytest.mark.parametrize(
    "changed",
    [
        {"name": ""},
        {"name": "a\x00"},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"expires_at": "2026-03-02T10:00:00Z"},
        {"expires_at": "2026-03-03T10:00:00"},
        {"expires_at": "9999-12-31T23:59:59-23:59"},
        {"expires_at": "0001-01-01T00:00:00+23:59"},
        {"user_id": "x"},
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(owner: Caller, changed: dict[str, Any]) -> None:
    assert (await owner.post("/api/keys", json=KEY | changed)).status_code == 400

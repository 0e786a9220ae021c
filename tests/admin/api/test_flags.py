"""/api/flags: owners set flags, everybody asks for their own."""

from typing import Any
from uuid import uuid4

import pytest

from admin.services import flags
from admin.store import feature_flags
from admin.store.database import Database
from admin.store.schema import audit_log
from tests.admin.api.conftest import Caller, MakeCaller, WallClock


async def test_a_flag_is_made_changed_listed_and_forgotten(owner: Caller, wall: WallClock) -> None:
    made = await owner.put("/api/flags/new_console", json={"description": "the new one"})
    assert made.status_code == 201
    assert await made.get_json() == {
        "name": "new_console",
        "description": "the new one",
        "is_enabled": False,
        "percentage": 100,
        "user_ids": [],
        "updated_at": "2026-03-02T10:00:00Z",
    }
    wall.passes(minutes=1)
    change = {"is_enabled": True, "percentage": 20, "user_ids": [str(owner.user_id)]}
    changed = await owner.put("/api/flags/new_console", json=change)
    assert changed.status_code == 200
    await owner.put("/api/flags/another", json={})
    listed = await (await owner.get("/api/flags")).get_json()
    assert [flag["name"] for flag in listed["items"]] == ["another", "new_console"]
    assert listed["items"][1] == await changed.get_json()
    removed = await owner.delete("/api/flags/new_console")
    assert (removed.status_code, await removed.get_data(as_text=True)) == (204, "")
    again = await owner.delete("/api/flags/new_console")
    assert (again.status_code, (await again.get_json())["error"]["code"]) == (404, "flag_not_found")


async def test_everybody_learns_what_is_on_for_them(owner: Caller, make_caller: MakeCaller) -> None:
    viewer = make_caller("viewer")
    await owner.put("/api/flags/for_all", json={"is_enabled": True})
    await owner.put("/api/flags/for_one", json={"is_enabled": True, "percentage": 0, "user_ids": [str(viewer.user_id)]})
    assert await evaluated(viewer) == {"for_all": True, "for_one": True}
    assert await evaluated(owner) == {"for_all": True, "for_one": False}
    await owner.delete("/api/flags/for_all")
    assert await evaluated(viewer) == {"for_one": True}


async def test_only_who_may_change_settings_sees_or_sets_flags(make_caller: MakeCaller) -> None:
    manager = make_caller("manager")
    for response in (
        await manager.get("/api/flags"),
        await manager.put("/api/flags/a_flag", json={}),
        await manager.delete("/api/flags/a_flag"),
    ):
        assert response.status_code == 403


async def test_flags_are_the_whole_server_s_so_another_account_s_owner_may_only_ask_for_their_own(
    owner: Caller, stranger: Caller
) -> None:
    await owner.put("/api/flags/a_flag", json={"is_enabled": True})
    for response in (
        await stranger.get("/api/flags"),
        await stranger.put("/api/flags/a_flag", json={}),
        await stranger.put("/api/flags/another", json={}),
        await stranger.delete("/api/flags/a_flag"),
    ):
        assert (response.status_code, (await response.get_json())["error"]["code"]) == (403, "house_only")
    assert await evaluated(stranger) == {"a_flag": True}


@pytest.mark.parametrize(
    "body",
    [
        {"percentage": 101},
        {"percentage": -1},
        {"percentage": "50"},
        {"is_enabled": "yes"},
        {"is_enabled": 1},
        {"user_ids": ["nobody"]},
        {"user_ids": [str(uuid4())] * 1001},
        {"description": "a\0b"},
        {"description": "x" * 501},
        {"unknown": 1},
        [],
        None,
    ],
)
async def test_what_is_no_flag_is_refused(body: Any, owner: Caller) -> None:
    response = await owner.put("/api/flags/a_flag", json=body)
    assert (response.status_code, (await response.get_json())["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("raw", [b"", b"{", b'{"description": "\\ud800"}', b"\xff", b'{"percentage": 1e400}'])
async def test_what_is_no_json_is_refused(raw: bytes, owner: Caller) -> None:
    response = await owner.put("/api/flags/a_flag", data=raw, headers={"Content-Type": "application/json"})
    assert response.status_code == 400


@pytest.mark.parametrize("name", ["A", "1st", "a" * 65, "a.b", "%00"])
async def test_what_is_no_name_is_not_found(name: str, owner: Caller) -> None:
    assert (await owner.put(f"/api/flags/{name}", json={})).status_code == 404


async def test_there_are_not_too_many(owner: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "MAX_FLAGS", 2)
    statuses = [(await owner.put(f"/api/flags/flag{n}", json={})).status_code for n in range(3)]
    assert statuses == [201, 201, 409]
    assert (await owner.put("/api/flags/flag1", json={"percentage": 1})).status_code == 200


async def test_a_change_that_another_process_made_is_seen_soon(
    owner: Caller, database: Database, wall: WallClock
) -> None:
    assert await evaluated(owner) == {}
    with database.engine.begin() as connection:
        feature_flags.put(
            connection, "elsewhere", description="", is_enabled=True, percentage=100, user_ids=[], at=wall()
        )
    assert await evaluated(owner) == {}
    wall.passes(seconds=flags.FRESH_FOR.total_seconds())
    assert await evaluated(owner) == {"elsewhere": True}


async def test_each_change_is_in_the_audit_log(owner: Caller, database: Database) -> None:
    await owner.put("/api/flags/a_flag", json={"percentage": 5})
    await owner.delete("/api/flags/a_flag")
    with database.engine.connect() as connection:
        rows = connection.execute(audit_log.select().order_by(audit_log.c.id)).mappings().all()
    assert [(row["action"], row["subject"], row["actor_id"]) for row in rows] == [
        ("flag.set", "a_flag", owner.user_id),
        ("flag.removed", "a_flag", owner.user_id),
    ]
    assert rows[0]["facts"] == {"is_enabled": False, "percentage": 5, "user_ids": []}


async def evaluated(caller: Caller) -> Any:
    return (await (await caller.get("/api/flags/evaluate")).get_json())["flags"]


async def test_the_name_of_another_route_is_no_flag_s(owner: Caller) -> None:
    response = await owner.put("/api/flags/evaluate", json={})
    assert (response.status_code, "GET" in response.headers["Allow"], "PUT" in response.headers["Allow"]) == (
        405,
        True,
        False,
    )
    assert (await owner.put("/api/flags/evaluate_more", json={})).status_code == 201


async def test_a_whole_number_may_be_written_as_one_with_a_fraction_of_nothing(owner: Caller) -> None:
    response = await owner.put("/api/flags/a_flag", json={"percentage": 50.0})
    assert (await response.get_json())["percentage"] == 50

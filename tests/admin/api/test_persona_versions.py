"""What a persona was: its versions, and going back to one."""

from typing import Any

from sqlalchemy import Connection

from admin.store import personas
from admin.store.database import Database
from tests.admin.api.conftest import Caller, WallClock


async def edited(owner: Caller, times: int) -> str:
    """The path of a persona that was renamed so often: "Name 1" is its first version's name."""
    persona = await (await owner.post("/api/personas", json={"name": "Name 1"})).get_json()
    path = f"/api/personas/{persona['id']}"
    for number in range(2, times + 2):
        assert (await owner.patch(path, json={"name": f"Name {number}"})).status_code == 200
    return path


async def listed(owner: Caller, path: str, **query: Any) -> Any:
    response = await owner.get(f"{path}/versions", query_string=query)
    assert response.status_code == 200
    return await response.get_json()


async def test_each_edit_is_kept_with_who_made_it(owner: Caller, wall: WallClock) -> None:
    path = await edited(owner, 1)
    assert await listed(owner, path) == {
        "items": [
            {"number": 2, "change": "edited", "created_at": "2026-03-02T10:00:00Z", "created_by": str(owner.user_id)},
            {"number": 1, "change": "created", "created_at": "2026-03-02T10:00:00Z", "created_by": str(owner.user_id)},
        ],
        "next_cursor": None,
    }
    first = await (await owner.get(f"{path}/versions/1")).get_json()
    assert (first["number"], first["persona"]["name"]) == (1, "Name 1")
    assert (await (await owner.get(path)).get_json())["name"] == "Name 2"


async def test_versions_are_listed_page_by_page(owner: Caller) -> None:
    path = await edited(owner, 4)
    first = await listed(owner, path, limit=2)
    second = await listed(owner, path, limit=2, cursor=first["next_cursor"])
    third = await listed(owner, path, limit=2, cursor=second["next_cursor"])
    pages = [[each["number"] for each in page["items"]] for page in (first, second, third)]
    assert pages == [[5, 4], [3, 2], [1]]
    assert third["next_cursor"] is None
    for cursor in ("0", "x", "9" * 10, ""):
        assert (await owner.get(f"{path}/versions?cursor={cursor}")).status_code == 400


async def test_going_back_is_a_step_forward(owner: Caller, wall: WallClock) -> None:
    path = await edited(owner, 2)
    wall.passes(hours=1)
    restored = await (await owner.post(f"{path}/versions/1/restore")).get_json()
    assert (restored["name"], restored["version"]) == ("Name 1", 4)
    assert restored["updated_at"] == "2026-03-02T11:00:00Z"
    assert (await listed(owner, path))["items"][0]["change"] == "restored from version 1"


async def test_a_version_that_never_was_is_not_found(owner: Caller) -> None:
    path = await edited(owner, 0)
    for response in (await owner.get(f"{path}/versions/2"), await owner.post(f"{path}/versions/2/restore")):
        assert response.status_code == 404
        assert (await response.get_json())["error"]["code"] == "persona_version_not_found"
    for number in ("0", "-1", "2147483648", "x"):
        assert (await owner.get(f"{path}/versions/{number}")).status_code == 404


async def test_a_copy_says_where_it_comes_from(owner: Caller) -> None:
    path = await edited(owner, 1)
    copy = await (await owner.post(f"{path}/duplicate")).get_json()
    versions = (await listed(owner, f"/api/personas/{copy['id']}"))["items"]
    assert [each["change"] for each in versions] == [f"copied from {path.rpartition('/')[2]} version 2"]


async def test_all_that_answers_is_read_at_once(owner: Caller, stranger: Caller, database: Database) -> None:
    first, second = await edited(owner, 2), await edited(stranger, 0)
    await owner.post(f"{first}/activate")

    def read(connection: Connection) -> None:
        found = {str(row["id"]): row for row in personas.all_current(connection)}
        current = found[first.rpartition("/")[2]]
        assert (current["account_id"], current["version"], current["is_active"]) == (owner.account_id, 3, True)
        assert current["body"]["name"] == "Name 3"
        assert found[second.rpartition("/")[2]]["account_id"] == stranger.account_id
        pinned = personas.version(connection, current["id"], 1)
        assert pinned is not None
        assert pinned["body"]["name"] == "Name 1"
        assert personas.version(connection, current["id"], 4) is None

    await database.read(read)

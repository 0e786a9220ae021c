"""Phone numbers over HTTP: set up, looked at and changed by the people of one account."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from quart import Response
from sqlalchemy import Connection, select

from admin.store import directory
from admin.store.column_types import new_id
from admin.store.database import Database
from admin.store.schema import audit_log, personas, phone_numbers
from tests.admin.api.conftest import Caller, MakeCaller, WallClock

NUMBER = "+4930901820"
HOURS = {
    "time_zone": "Europe/Berlin",
    "weekly": [{"days": ["monday", "tuesday"], "opens": "11:00", "closes": "23:30"}],
    "exceptions": [{"date": "2026-12-24", "intervals": []}],
}
VOICEMAIL = {"kind": "voicemail", "message": "Wir haben geschlossen.", "language": "de-DE", "max_length_s": 60}


async def add(caller: Caller, number: str = NUMBER, **more: Any) -> dict[str, Any]:
    response = await caller.post("/api/numbers", json={"number": number, **more})
    assert response.status_code == 201, await response.get_data(as_text=True)
    added: dict[str, Any] = await response.get_json()
    return added


async def code(response: Response) -> tuple[int, str]:
    return response.status_code, (await response.get_json())["error"]["code"]


def add_persona(database: Database, account_id: UUID, wall: WallClock) -> UUID:
    persona_id = new_id()
    with database.engine.begin() as connection:
        connection.execute(
            personas.insert().values(
                id=persona_id, account_id=account_id, name="Luna", version=1, created_at=wall(), updated_at=wall()
            )
        )
    return persona_id


async def test_a_number_is_added_as_the_network_knows_it_and_shown_again(owner: Caller) -> None:
    response = await owner.post(
        "/api/numbers", json={"number": "+49 (30) 901-820", "label": "Küche", "hours": HOURS, "fallback": VOICEMAIL}
    )
    assert response.status_code == 201
    added = await response.get_json()
    assert response.headers["Location"] == f"/api/numbers/{added['id']}"
    assert response.headers["ETag"] == '"1"'
    assert {name: added[name] for name in ("number", "label", "persona_id", "hours", "fallback", "version")} == {
        "number": NUMBER,
        "label": "Küche",
        "persona_id": None,
        "hours": HOURS,
        "fallback": VOICEMAIL,
        "version": 1,
    }
    assert added["created_at"] == added["updated_at"] == "2026-03-02T10:00:00Z"
    shown = await owner.get(f"/api/numbers/{added['id']}")
    assert await shown.get_json() == added


async def test_a_number_alone_is_always_open_and_has_something_to_say_when_it_is_not(owner: Caller) -> None:
    added = await add(owner)
    assert (added["hours"], added["fallback"]["kind"], added["label"]) == (None, "message", "")


async def test_a_number_can_be_in_one_account_only(owner: Caller, stranger: Caller) -> None:
    await add(owner, account_id=str(stranger.account_id))
    response = await owner.post("/api/numbers", json={"number": "+49 30 901820"})
    assert await code(response) == (409, "number_taken")
    other = await add(owner, "+4930901821")
    taking = await owner.patch(f"/api/numbers/{other['id']}", json={"number": NUMBER})
    assert await code(taking) == (409, "number_taken")


async def test_a_number_is_added_by_the_first_account_only(owner: Caller, stranger: Caller) -> None:
    for more in ({}, {"account_id": None}, {"account_id": str(stranger.account_id)}):
        response = await stranger.post("/api/numbers", json={"number": NUMBER, **more})
        assert await code(response) == (403, "house_only")
    assert (await (await stranger.get("/api/numbers")).get_json())["items"] == []


async def test_a_manager_of_the_first_account_adds_numbers_too(owner: Caller, make_caller: MakeCaller) -> None:
    added = await add(make_caller("manager", account_id=owner.account_id))
    assert added["account_id"] == str(owner.account_id)


async def test_who_is_given_a_number_manages_all_of_it_but_which_one_it_is(
    owner: Caller, stranger: Caller, database: Database, wall: WallClock
) -> None:
    theirs = add_persona(database, stranger.account_id, wall)
    given = await add(owner, account_id=str(stranger.account_id), persona_id=str(theirs))
    assert given["account_id"] == str(stranger.account_id)
    path = f"/api/numbers/{given['id']}"
    assert await code(await owner.get(path)) == (404, "number_not_found")
    assert (await stranger.patch(path, json={"label": "Bar", "persona_id": None})).status_code == 200
    assert (await stranger.put(path, json={"number": "+49 30 901820", "hours": HOURS})).status_code == 200
    for method in ("PATCH", "PUT"):
        response = await stranger.request(method, path, json={"number": "+4930901821"})
        assert await code(response) == (403, "house_only")
    assert (await (await stranger.get(path)).get_json())["number"] == NUMBER
    assert (await stranger.delete(path)).status_code == 204
    assert await code(await stranger.post("/api/numbers", json={"number": NUMBER})) == (403, "house_only")


async def test_the_first_account_may_set_another_number_in_a_number_s_place(owner: Caller) -> None:
    path = f"/api/numbers/{(await add(owner))['id']}"
    changed = await owner.patch(path, json={"number": "+4930901821"})
    assert (await changed.get_json())["number"] == "+4930901821"


async def test_a_number_is_given_to_an_account_that_there_is_with_a_persona_of_its_own(
    owner: Caller, stranger: Caller, database: Database, wall: WallClock
) -> None:
    nobody = await owner.post("/api/numbers", json={"number": NUMBER, "account_id": str(uuid4())})
    assert await code(nobody) == (404, "account_not_found")
    ours = add_persona(database, owner.account_id, wall)
    given = {"number": NUMBER, "account_id": str(stranger.account_id), "persona_id": str(ours)}
    assert await code(await owner.post("/api/numbers", json=given)) == (404, "persona_not_found")
    for wrong in ({"account_id": "x"}, {"account_id": 1}):
        assert (await owner.post("/api/numbers", json={"number": NUMBER, **wrong})).status_code == 400
    added = await add(owner)
    for method in ("PUT", "PATCH"):  # a number stays where it is
        body = {"number": NUMBER, "account_id": str(stranger.account_id)}
        assert (await owner.request(method, f"/api/numbers/{added['id']}", json=body)).status_code == 400


async def test_a_number_that_was_given_away_is_noted_with_whom(
    owner: Caller, stranger: Caller, database: Database
) -> None:
    await add(owner, account_id=str(stranger.account_id))
    with database.engine.connect() as connection:
        entry = connection.execute(select(audit_log)).mappings().one()
    assert (entry["action"], entry["account_id"]) == ("number.added", owner.account_id)
    assert entry["facts"]["account_id"] == str(stranger.account_id)


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": "030 901820"},
        {"number": "+1 555 12"},
        {"number": "+999 123 456 789"},
        {"number": "+49 30 901820 999999999"},
        {"number": "anonymous"},
        {"number": None},
        {},
        {"number": NUMBER, "label": "a\x00b"},
        {"number": NUMBER, "label": "\ud800"},
        {"number": NUMBER, "label": "x" * 101},
        {"number": NUMBER, "colour": "red"},
        {"number": NUMBER, "persona_id": "x"},
        {"number": NUMBER, "hours": {"time_zone": "Europe/Atlantis"}},
        {"number": NUMBER, "hours": {**HOURS, "weekly": [{"days": [], "opens": "11:00", "closes": "12:00"}]}},
        {"number": NUMBER, "hours": {**HOURS, "weekly": [{"days": ["monday"], "opens": "11:00", "closes": "11:00"}]}},
        {"number": NUMBER, "fallback": {"kind": "fax"}},
        {"number": NUMBER, "fallback": {"kind": "transfer", "number": "+1 555 12"}},
        {"number": NUMBER, "fallback": {"kind": "voicemail", "message": "\x00"}},
        {"number": NUMBER, "fallback": {"kind": "voicemail", "max_length_s": 100_000}},
        {"number": NUMBER, "fallback": {"kind": "message", "language": '"/>'}},
    ],
)
async def test_what_cannot_be_used_is_refused_and_nothing_is_kept(wrong: dict[str, Any], owner: Caller) -> None:
    assert await code(await owner.post("/api/numbers", json=wrong)) == (400, "invalid_request")
    assert (await (await owner.get("/api/numbers")).get_json())["items"] == []


async def test_a_transfer_goes_to_a_number_as_the_network_knows_it(owner: Caller) -> None:
    added = await add(owner, fallback={"kind": "transfer", "number": "+49 (30) 901-822"})
    assert added["fallback"]["number"] == "+4930901822"


async def test_a_number_is_answered_by_a_persona_of_its_own_account_only(
    owner: Caller, stranger: Caller, database: Database, wall: WallClock
) -> None:
    ours, theirs = add_persona(database, owner.account_id, wall), add_persona(database, stranger.account_id, wall)
    added = await add(owner, persona_id=str(ours))
    assert added["persona_id"] == str(ours)
    for other in (theirs, uuid4()):
        response = await owner.patch(f"/api/numbers/{added['id']}", json={"persona_id": str(other)})
        assert await code(response) == (404, "persona_not_found")
    freed = await owner.patch(f"/api/numbers/{added['id']}", json={"persona_id": None})
    assert (await freed.get_json())["persona_id"] is None


async def test_a_patch_changes_what_it_names_and_a_put_all(owner: Caller, wall: WallClock) -> None:
    added = await add(owner, label="Bar", hours=HOURS, fallback=VOICEMAIL)
    wall.passes(minutes=1)
    patched = await (await owner.patch(f"/api/numbers/{added['id']}", json={"label": "Küche"})).get_json()
    assert patched == added | {"label": "Küche", "version": 2, "updated_at": "2026-03-02T10:01:00Z"}
    response = await owner.put(f"/api/numbers/{added['id']}", json={"number": NUMBER})
    replaced = await response.get_json()
    assert (replaced["label"], replaced["hours"], replaced["version"]) == ("", None, 3)
    assert response.headers["ETag"] == '"3"'


async def test_of_two_who_change_the_same_the_later_one_is_told(owner: Caller) -> None:
    path = f"/api/numbers/{(await add(owner))['id']}"
    first = await owner.patch(path, json={"label": "one"}, headers={"If-Match": '"1"'})
    assert first.status_code == 200
    for method, body in (("PATCH", {"label": "two"}), ("PUT", {"number": NUMBER}), ("DELETE", None)):
        late = await owner.request(method, path, json=body, headers={"If-Match": '"1"'})
        assert await code(late) == (412, "changed_meanwhile")
    assert (await (await owner.get(path)).get_json())["label"] == "one"


async def test_who_has_a_version_already_is_not_sent_it_again(owner: Caller) -> None:
    path = f"/api/numbers/{(await add(owner))['id']}"
    known = await owner.get(path, headers={"If-None-Match": '"1"'})
    assert (known.status_code, known.headers["ETag"]) == (304, '"1"')
    assert (await owner.get(path, headers={"If-None-Match": '"2"'})).status_code == 200


async def test_a_deleted_number_is_gone_and_can_be_added_again(owner: Caller, stranger: Caller) -> None:
    path = f"/api/numbers/{(await add(owner))['id']}"
    assert (await owner.delete(path)).status_code == 204
    for method in ("GET", "DELETE"):
        assert await code(await owner.request(method, path)) == (404, "number_not_found")
    await add(owner, account_id=str(stranger.account_id))


async def test_others_numbers_are_not_there(owner: Caller, stranger: Caller) -> None:
    path = f"/api/numbers/{(await add(owner))['id']}"
    for method, body in (("GET", None), ("PATCH", {}), ("PUT", {"number": "+4930901899"}), ("DELETE", None)):
        assert await code(await stranger.request(method, path, json=body)) == (404, "number_not_found")
    assert (await (await stranger.get("/api/numbers")).get_json())["items"] == []
    assert (await owner.get(path)).status_code == 200


async def test_the_list_comes_in_pages_by_number(owner: Caller) -> None:
    numbers = [f"+493090182{digit}" for digit in (3, 1, 4, 0, 2)]
    for number in numbers:
        await add(owner, number)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = await (await owner.get("/api/numbers", query_string=query)).get_json()
        seen += [item["number"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == sorted(numbers)
    for wrong in ({"limit": 0}, {"limit": 101}, {"cursor": "x"}, {"colour": "red"}):
        assert (await owner.get("/api/numbers", query_string=wrong)).status_code == 400


async def test_a_viewer_looks_and_changes_nothing(owner: Caller, make_caller: MakeCaller) -> None:
    added = await add(owner)
    viewer = make_caller("viewer", account_id=owner.account_id)
    assert (await viewer.get(f"/api/numbers/{added['id']}")).status_code == 200
    for method, path in (("POST", "/api/numbers"), ("PATCH", f"/api/numbers/{added['id']}")):
        assert await code(await viewer.request(method, path, json={"number": NUMBER})) == (403, "not_allowed")


async def test_each_change_that_is_kept_tells_all_processes(owner: Caller, database: Database) -> None:
    def version(connection: Connection) -> str:
        return directory.version(connection)

    seen = [await database.read(version)]
    added = await add(owner)
    seen.append(await database.read(version))
    await owner.patch(f"/api/numbers/{added['id']}", json={"label": "Bar"})
    seen.append(await database.read(version))
    await owner.patch(f"/api/numbers/{added['id']}", json={"label": "x"}, headers={"If-Match": '"1"'})
    assert await database.read(version) == seen[-1]
    await owner.delete(f"/api/numbers/{added['id']}")
    seen.append(await database.read(version))
    assert seen[0] == ""
    assert len(set(seen)) == 4


async def test_a_persona_that_is_deleted_leaves_its_number_to_the_active_one(
    owner: Caller, database: Database, wall: WallClock
) -> None:
    persona_id = add_persona(database, owner.account_id, wall)
    added = await add(owner, persona_id=str(persona_id))
    with database.engine.begin() as connection:
        connection.execute(personas.delete().where(personas.c.id == persona_id))
        assert connection.execute(select(phone_numbers.c.persona_id)).scalar() is None
    assert (await (await owner.get(f"/api/numbers/{added['id']}")).get_json())["persona_id"] is None


async def test_who_changed_a_number_is_noted(owner: Caller, database: Database) -> None:
    path = f"/api/numbers/{(await add(owner))['id']}"
    await owner.patch(path, json={"label": "Bar"})
    await owner.delete(path)
    with database.engine.connect() as connection:
        entries = connection.execute(select(audit_log).order_by(audit_log.c.id)).mappings().all()
    assert [each["action"] for each in entries] == ["number.added", "number.changed", "number.removed"]
    assert {(each["actor_id"], each["facts"]["number"]) for each in entries} == {(owner.user_id, NUMBER)}

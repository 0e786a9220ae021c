"""Personas over HTTP: made, shown, listed, changed, switched, copied, deleted, each account's its own."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import Connection, insert, select

from admin.api import open_api
from admin.services.personas.personas import PersonaRules
from admin.store import audit
from admin.store.column_types import new_id
from admin.store.database import Database
from admin.store.schema import persona_versions, phone_numbers
from tests.admin.api.conftest import Caller, MakeCaller, WallClock
from tests.admin.conftest import MakeClient

NOBODYS = f"/api/personas/{uuid4()}"


async def made(caller: Caller, **fields: Any) -> Any:
    response = await caller.post("/api/personas", json={"name": "Mario"} | fields)
    assert response.status_code == 201, await response.get_data(as_text=True)
    return await response.get_json()


async def code(response: Response) -> tuple[int, str]:
    return response.status_code, (await response.get_json())["error"]["code"]


async def names(caller: Caller, **query: Any) -> list[str]:
    response = await caller.get("/api/personas", query_string=query)
    assert response.status_code == 200, await response.get_data(as_text=True)
    return [each["name"] for each in (await response.get_json())["items"]]


async def test_a_persona_is_made_with_all_its_fields_and_shown_as_it_was_made(owner: Caller) -> None:
    response = await owner.post(
        "/api/personas",
        json={"name": "Mario", "language": "it", "voice": "cedar", "speed": 1.2, "keys": {"0": "staff"}},
    )
    persona = await response.get_json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/api/personas/{persona['id']}"
    assert (persona["voice"], persona["speed"], persona["keys"]) == ("cedar", 1.2, {"0": "staff"})
    assert (persona["version"], persona["is_active"], persona["warnings"]) == (1, False, [])
    assert persona["turn_detection"]["type"] == "server_vad"
    assert persona["created_at"] == "2026-03-02T10:00:00Z"
    shown = await owner.get(f"/api/personas/{persona['id']}")
    assert await shown.get_json() == persona
    assert shown.headers["ETag"] == response.headers["ETag"]


async def test_personas_are_found_under_their_second_name_too(owner: Caller) -> None:
    persona = await (await owner.post("/personas", json={"name": "Mario"})).get_json()
    assert await (await owner.get(f"/personas/{persona['id']}")).get_json() == persona
    assert (await owner.post(f"/personas/{persona['id']}/activate")).status_code == 200
    assert (await (await owner.get("/personas/active")).get_json())["id"] == persona["id"]


async def test_the_longest_instructions_fit_however_their_characters_are_written(owner: Caller) -> None:
    body = json.dumps({"name": "Марио", "instructions": "ж" * 20_000}).encode()
    for path in ("/api/personas", "/personas"):
        response = await owner.post(path, data=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 201
    too_large = await owner.post("/api/personas", data=b" " * 200_000, headers={"Content-Type": "application/json"})
    assert await code(too_large) == (413, "request_entity_too_large")


async def test_temperature_is_not_kept_and_the_answer_says_so(owner: Caller) -> None:
    persona = await made(owner, temperature=0.7)
    assert [each["code"] for each in persona["warnings"]] == ["temperature_ignored"]
    assert "temperature" not in persona
    path = f"/api/personas/{persona['id']}"
    for change in (
        await owner.patch(path, json={"temperature": 1}),
        await owner.put(path, json={"name": "Mario", "temperature": 1}),
    ):
        answer = await change.get_json()
        assert [each["code"] for each in answer["warnings"]] == ["temperature_ignored"]
        assert answer["version"] == 1


@pytest.mark.parametrize(
    "fields",
    [{"name": ""}, {"name": "\x00"}, {"voice": "nova"}, {"speed": 2}, {"max_duration_s": 10**30}, {"prompt": "Hi"}],
)
async def test_what_is_no_persona_is_refused(owner: Caller, fields: dict[str, Any]) -> None:
    response = await owner.post("/api/personas", json={"name": "Mario"} | fields)
    assert await code(response) == (400, "invalid_request")
    assert await names(owner) == []


async def test_a_misspelt_gap_is_refused_with_its_place_and_the_names_there_are(owner: Caller) -> None:
    response = await owner.post("/api/personas", json={"name": "Mario", "greeting": "Hi from {{shop.nmae}}"})
    error = (await response.get_json())["error"]
    assert (response.status_code, error["code"]) == (400, "invalid_template")
    assert "greeting, line 1, column 9" in error["message"]
    assert "shop.name" in error["message"]


async def test_a_persona_is_replaced_as_a_whole_and_patched_in_parts(owner: Caller) -> None:
    path = f"/api/personas/{(await made(owner, greeting='Hello', speed=1.2))['id']}"
    patched = await (await owner.patch(path, json={"speed": None, "silence": {"prompt_after_s": 30}})).get_json()
    assert (patched["greeting"], patched["speed"], patched["silence"]["prompt_after_s"]) == ("Hello", 1.0, 30)
    assert patched["silence"]["end_after_prompts"] == 2
    replaced = await (await owner.put(path, json={"name": "Luigi"})).get_json()
    assert (replaced["name"], replaced["greeting"], replaced["silence"]["prompt_after_s"]) == ("Luigi", "", 12)
    assert replaced["version"] == 3


@pytest.mark.parametrize("patch", [{"name": None}, {"speed": 7}, {"turn_detection": {"threshold": 0.1}}, {"id": "x"}])
async def test_a_patch_that_makes_no_persona_changes_nothing(owner: Caller, patch: dict[str, Any]) -> None:
    persona = await made(owner)
    response = await owner.patch(f"/api/personas/{persona['id']}", json=patch)
    assert await code(response) == (400, "invalid_request")
    assert await (await owner.get(f"/api/personas/{persona['id']}")).get_json() == persona


async def test_a_merge_patch_may_say_what_it_is(owner: Caller) -> None:
    path = f"/api/personas/{(await made(owner))['id']}"
    headers = {"Content-Type": "application/merge-patch+json"}
    response = await owner.patch(path, data=b'{"name": "Luigi"}', headers=headers)
    assert (await response.get_json())["name"] == "Luigi"


async def test_an_edit_that_changes_nothing_makes_no_version(owner: Caller, wall: WallClock) -> None:
    persona = await made(owner, greeting="Hello")
    wall.passes(minutes=1)
    path = f"/api/personas/{persona['id']}"
    assert await (await owner.patch(path, json={"greeting": "Hello"})).get_json() == persona
    assert await (await owner.put(path, json={"name": "Mario", "greeting": "Hello"})).get_json() == persona
    assert await (await owner.post(f"{path}/versions/1/restore")).get_json() == persona


async def test_who_edits_what_somebody_else_has_changed_is_told(owner: Caller) -> None:
    persona = await made(owner)
    path = f"/api/personas/{persona['id']}"
    first = (await owner.get(path)).headers["ETag"]
    renamed = await owner.patch(path, json={"name": "Luigi"}, headers={"If-Match": first})
    assert renamed.status_code == 200
    for late in (
        await owner.patch(path, json={"name": "Wario"}, headers={"If-Match": first}),
        await owner.put(path, json={"name": "Wario"}, headers={"If-Match": first}),
        await owner.post(f"{path}/versions/1/restore", headers={"If-Match": first}),
        await owner.delete(path, headers={"If-Match": first}),
    ):
        assert await code(late) == (412, "changed_meanwhile")
    assert await names(owner) == ["Luigi"]
    assert (await owner.delete(path, headers={"If-Match": renamed.headers["ETag"]})).status_code == 204


async def test_who_has_the_newest_version_is_not_sent_it_again(owner: Caller) -> None:
    path = f"/api/personas/{(await made(owner))['id']}"
    tag = (await owner.get(path)).headers["ETag"]
    unchanged = await owner.get(path, headers={"If-None-Match": tag})
    assert (unchanged.status_code, await unchanged.get_data()) == (304, b"")
    await owner.post(f"{path}/activate")  # also that is something new to whoever shows it
    assert (await owner.get(path, headers={"If-None-Match": tag})).status_code == 200
    active_tag = (await owner.get("/api/personas/active")).headers["ETag"]
    assert (await owner.get("/api/personas/active", headers={"If-None-Match": active_tag})).status_code == 304


async def test_one_persona_is_active_at_most(owner: Caller) -> None:
    assert await code(await owner.get("/api/personas/active")) == (404, "persona_not_found")
    first, second = await made(owner, name="First"), await made(owner, name="Second")
    for persona in (first, second, second):
        response = await owner.post(f"/api/personas/{persona['id']}/activate")
        assert (await response.get_json())["is_active"]
        assert (await (await owner.get("/api/personas/active")).get_json())["id"] == persona["id"]
    assert await names(owner, active="true") == ["Second"]
    assert await names(owner, active="false") == ["First"]


async def test_accounts_have_active_personas_of_their_own(owner: Caller, stranger: Caller) -> None:
    for caller in (owner, stranger):
        persona = await made(caller)
        await caller.post(f"/api/personas/{persona['id']}/activate")
        assert (await (await caller.get("/api/personas/active")).get_json())["id"] == persona["id"]
    assert await names(owner, active="true") == ["Mario"]


async def test_the_active_persona_may_be_deleted(owner: Caller) -> None:
    persona = await made(owner)
    await owner.post(f"/api/personas/{persona['id']}/activate")
    response = await owner.delete(f"/api/personas/{persona['id']}")
    assert (response.status_code, await response.get_data()) == (204, b"")
    assert await code(await owner.get("/api/personas/active")) == (404, "persona_not_found")


async def test_a_persona_that_a_number_is_set_to_stays(owner: Caller, database: Database, wall: WallClock) -> None:
    persona = await made(owner)
    with database.engine.begin() as connection:
        add_number(connection, owner, persona["id"], wall)
    assert await code(await owner.delete(f"/api/personas/{persona['id']}")) == (409, "persona_in_use")
    assert await names(owner) == ["Mario"]


def add_number(connection: Connection, owner: Caller, persona_id: str, wall: WallClock) -> None:
    connection.execute(
        insert(phone_numbers).values(
            id=new_id(),
            account_id=owner.account_id,
            number="+4930901820",
            persona_id=UUID(persona_id),
            fallback={},
            created_at=wall(),
            updated_at=wall(),
        )
    )


async def test_deleting_a_persona_takes_its_versions_along(owner: Caller, database: Database) -> None:
    persona = await made(owner)
    await owner.patch(f"/api/personas/{persona['id']}", json={"name": "Luigi"})
    await owner.delete(f"/api/personas/{persona['id']}")
    assert await code(await owner.get(f"/api/personas/{persona['id']}")) == (404, "persona_not_found")
    with database.engine.connect() as connection:
        assert connection.execute(select(persona_versions)).all() == []


async def test_a_copy_is_another_persona(owner: Caller) -> None:
    original = await made(owner, name="x" * 98, greeting="Hello")
    await owner.post(f"/api/personas/{original['id']}/activate")
    response = await owner.post(f"/api/personas/{original['id']}/duplicate")
    copy = await response.get_json()
    assert response.status_code == 201
    assert copy["id"] != original["id"]
    assert (copy["name"], copy["greeting"], copy["version"]) == ("x" * 93 + " (copy)", "Hello", 1)
    assert not copy["is_active"]


async def test_a_persona_can_be_taken_elsewhere(owner: Caller, stranger: Caller) -> None:
    persona = await made(owner, greeting="Hello from {{shop.name}}", turn_detection={"type": "semantic_vad"})
    exported = await owner.get(f"/api/personas/{persona['id']}/export")
    assert exported.headers["Content-Disposition"].startswith("attachment")
    response = await stranger.post("/api/personas/import", json=await exported.get_json())
    assert response.status_code == 201
    own = {"id", "created_at", "updated_at", "version", "is_active", "warnings"}
    imported = await response.get_json()
    assert {name: imported[name] for name in imported.keys() - own} == {
        name: persona[name] for name in persona.keys() - own
    }


@pytest.mark.parametrize("changed", [{"format": "other"}, {"format_version": 2}, {"persona": {}}, {"more": 1}])
async def test_a_file_that_is_none_of_ours_is_refused(owner: Caller, changed: dict[str, Any]) -> None:
    file = {"format": "tautline.persona", "format_version": 1, "persona": {"name": "Mario"}}
    assert (await owner.post("/api/personas/import", json=file)).status_code == 201
    assert await code(await owner.post("/api/personas/import", json=file | changed)) == (400, "invalid_request")


async def test_there_are_only_so_many_personas_in_an_account(
    make_client: MakeClient, make_caller: MakeCaller, database: Database, wall: WallClock
) -> None:
    client = make_client(api=open_api(database, wall, persona_rules=PersonaRules(max_personas=2)))
    caller, other = (
        Caller(client, each.secret, each.user_id, each.account_id) for each in (make_caller(), make_caller())
    )
    first, _ = await made(caller), await made(caller)
    export = await (await caller.get(f"/api/personas/{first['id']}/export")).get_json()
    for refused in (
        await caller.post("/api/personas", json={"name": "Third"}),
        await caller.post(f"/api/personas/{first['id']}/duplicate"),
        await caller.post("/api/personas/import", json=export),
    ):
        assert await code(refused) == (409, "too_many_personas")
    await made(other)
    await caller.delete(f"/api/personas/{first['id']}")
    await made(caller)


async def test_a_stranger_finds_nothing(owner: Caller, stranger: Caller) -> None:
    path = f"/api/personas/{(await made(owner))['id']}"
    for nothing in (path, NOBODYS):
        for response in (
            await stranger.get(nothing),
            await stranger.put(nothing, json={"name": "Mine"}),
            await stranger.patch(nothing, json={"name": "Mine"}),
            await stranger.delete(nothing),
            await stranger.post(f"{nothing}/activate"),
            await stranger.post(f"{nothing}/duplicate"),
            await stranger.get(f"{nothing}/export"),
            await stranger.get(f"{nothing}/versions"),
            await stranger.get(f"{nothing}/versions/1"),
            await stranger.post(f"{nothing}/versions/1/restore"),
        ):
            assert await code(response) == (404, "persona_not_found")
    assert await names(stranger) == []
    assert await names(owner) == ["Mario"]


async def test_a_viewer_looks_and_changes_nothing(owner: Caller, make_caller: MakeCaller, client: Client) -> None:
    viewer = make_caller("viewer", account_id=owner.account_id)
    path = f"/api/personas/{(await made(owner))['id']}"
    assert (await viewer.get(path)).status_code == 200
    for response in (
        await viewer.post("/api/personas", json={"name": "Mine"}),
        await viewer.put(path, json={"name": "Mine"}),
        await viewer.patch(path, json={"name": "Mine"}),
        await viewer.delete(path),
        await viewer.post(f"{path}/activate"),
        await viewer.post(f"{path}/duplicate"),
        await viewer.post(f"{path}/versions/1/restore"),
    ):
        assert await code(response) == (403, "not_allowed")
    assert await code(await client.get(path)) == (401, "not_authenticated")


async def test_personas_are_listed_page_by_page_in_a_stable_order(owner: Caller, wall: WallClock) -> None:
    for name in ("Carla", "Anna", "Bert", "Anna", "Dora"):
        await made(owner, name=name)
        if name != "Anna":
            wall.passes(seconds=1)  # the second Anna is as old as Bert is
    seen: dict[str, list[str]] = {}
    for sort in ("name", "-name", "updated_at", "-updated_at"):
        ids: list[tuple[str, str]] = []
        cursor: dict[str, str] = {}
        while True:
            response = await owner.get("/api/personas", query_string={"sort": sort, "limit": 2} | cursor)
            page = await response.get_json()
            ids += [(each["name"], each["id"]) for each in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert len(set(ids)) == 5
        seen[sort] = [name for name, _ in ids]
    assert seen["name"] == ["Anna", "Anna", "Bert", "Carla", "Dora"]
    assert seen["-name"] == seen["name"][::-1]
    assert seen["updated_at"] == ["Carla", "Anna", "Bert", "Anna", "Dora"]
    assert seen["-updated_at"] == seen["updated_at"][::-1]


async def test_personas_are_found_by_name_and_language(owner: Caller) -> None:
    await made(owner, name="Da Mario 100%", language="it")
    await made(owner, name="Bei Luigi_1", language="de-AT")
    await made(owner, name="Chez Jean", language="fr")
    assert await names(owner, text="mario") == ["Da Mario 100%"]
    assert await names(owner, text="%") == ["Da Mario 100%"]
    assert await names(owner, text="_") == ["Bei Luigi_1"]
    assert await names(owner, language="DE-at") == ["Bei Luigi_1"]
    assert await names(owner, language="de") == []
    assert await names(owner, text="i", sort="name") == ["Bei Luigi_1", "Da Mario 100%"]


@pytest.mark.parametrize(
    "query",
    [
        "sort=voice",
        "limit=0",
        "limit=101",
        "limit=x",
        "active=maybe",
        "text=%00",
        "cursor=abc",
        "page=2",
        "cursor=" + "x" * 513,
    ],
)
async def test_a_list_that_cannot_be_is_not_given(owner: Caller, query: str) -> None:
    response = await owner.get(f"/api/personas?{query}")
    assert response.status_code == 400


async def test_whoever_remembers_personas_hears_of_each_change(
    make_client: MakeClient, owner: Caller, database: Database, wall: WallClock
) -> None:
    told: list[object] = []
    client = make_client(api=open_api(database, wall, directory_changed=lambda: told.append(None)))
    caller = Caller(client, owner.secret, owner.user_id, owner.account_id)
    path = f"/api/personas/{(await made(caller))['id']}"
    for number, (method, of, body) in enumerate(
        (
            ("PATCH", "", {"name": "Luigi"}),
            ("PUT", "", {"name": "Wario"}),
            ("POST", "/activate", None),
            ("POST", "/versions/1/restore", None),
            ("POST", "/duplicate", None),
            ("DELETE", "", None),
        ),
        start=2,
    ):
        given = {} if body is None else {"json": body}
        assert (await caller.request(method, path + of, **given)).status_code < 300
        assert len(told) == number
    told.clear()
    path = f"/api/personas/{(await made(caller))['id']}"
    await caller.post(f"{path}/activate")
    told.clear()
    await caller.get(path)
    await caller.patch(path, json={"name": "Mario"})
    await caller.post(f"{path}/activate")
    await caller.patch(path, json={"name": ""})
    assert told == []  # nothing has changed


async def test_each_change_is_in_the_audit_trail(owner: Caller, database: Database) -> None:
    path = f"/api/personas/{(await made(owner))['id']}"
    await owner.patch(path, json={"name": "Luigi"})
    await owner.post(f"{path}/activate")
    await owner.post(f"{path}/versions/1/restore")
    await owner.delete(path)
    with database.engine.connect() as connection:
        rows = audit.page(connection, owner.account_id, cursor=None, limit=10, subject=path.rpartition("/")[2])
    assert sorted(row["action"] for row in rows) == [
        "persona.activated", "persona.created", "persona.deleted", "persona.edited", "persona.restored",
    ]  # fmt: skip
    assert {row["actor_id"] for row in rows} == {owner.user_id}

"""The audit trail: what was changed, as the owners of an account read it, and nobody else."""

from typing import Any
from uuid import UUID

import pytest

from admin.principal import SCOPES, Principal
from admin.store import audit
from admin.store.database import Database
from tests.admin.api.conftest import Caller, MakeCaller, WallClock


def principal_of(caller: Caller) -> Principal:
    return Principal(
        user_id=caller.user_id, account_id=caller.account_id, role="owner", scopes=SCOPES["owner"], via="api_key"
    )


async def note(database: Database, caller: Caller, action: str, wall: WallClock, **given: Any) -> None:
    principal = principal_of(caller)
    await database.write(lambda connection: audit.record(connection, principal, action, at=wall(), **given))


async def actions(caller: Caller, **query: str) -> list[str]:
    response = await caller.get("/api/audit", query_string=query)
    assert response.status_code == 200
    return [entry["action"] for entry in (await response.get_json())["items"]]


async def test_an_entry_says_who_did_what_when_and_to_what(owner: Caller, database: Database, wall: WallClock) -> None:
    facts = {"was": "Luna", "persona": UUID(int=7)}
    await note(database, owner, "persona.renamed", wall, subject=UUID(int=7), facts=facts, request_id="r-1")
    (entry,) = (await (await owner.get("/api/audit")).get_json())["items"]
    assert UUID(entry.pop("id")).version == 7
    assert entry == {
        "at": "2026-03-02T10:00:00Z",
        "actor_id": str(owner.user_id),
        "via": "api_key",
        "action": "persona.renamed",
        "subject": str(UUID(int=7)),
        "facts": {"was": "Luna", "persona": str(UUID(int=7))},
        "address": "",
        "request_id": "r-1",
    }


async def test_what_the_command_line_did_names_nobody(owner: Caller, database: Database, wall: WallClock) -> None:
    await database.write(
        lambda connection: audit.record(connection, None, "user.added", at=wall(), account_id=owner.account_id)
    )
    (entry,) = (await (await owner.get("/api/audit")).get_json())["items"]
    assert (entry["via"], entry["actor_id"]) == ("command", None)


async def test_the_newest_comes_first_page_by_page(owner: Caller, database: Database, wall: WallClock) -> None:
    for number in range(5):
        await note(database, owner, f"persona.edited_{number}", wall)
        wall.passes(seconds=1)
    first = await (await owner.get("/api/audit", query_string={"limit": "3"})).get_json()
    assert [entry["action"] for entry in first["items"]] == [f"persona.edited_{number}" for number in (4, 3, 2)]
    await note(database, owner, "persona.edited_5", wall)  # while it is being read
    assert await actions(owner, cursor=first["next_cursor"]) == ["persona.edited_1", "persona.edited_0"]


async def test_entries_are_found_by_action_and_by_subject(owner: Caller, database: Database, wall: WallClock) -> None:
    await note(database, owner, "persona.edited", wall, subject="p1")
    await note(database, owner, "persona.deleted", wall, subject="p1")
    await note(database, owner, "persona.edited", wall, subject="p2")
    assert await actions(owner, action="persona.deleted") == ["persona.deleted"]
    assert await actions(owner, action="persona.edited", subject="p1") == ["persona.edited"]
    assert await actions(owner, subject="p3") == []


async def test_nobody_reads_another_account_s_trail(
    owner: Caller, stranger: Caller, make_caller: MakeCaller, database: Database, wall: WallClock
) -> None:
    await note(database, owner, "persona.edited", wall)
    assert await actions(stranger) == []
    manager = make_caller("manager", account_id=owner.account_id)
    assert (await manager.get("/api/audit")).status_code == 403


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"action": "A B"},
        {"action": "a\x00"},
        {"subject": "\x00"},
        {"cursor": "x"},
        {"colour": "red"},
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(owner: Caller, query: dict[str, str]) -> None:
    assert (await owner.get("/api/audit", query_string=query)).status_code == 400

"""Supabase's users who come for the first time: given an account of their own, let into the house, or refused."""

from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from typing import Any

import pytest
import trio
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select

from admin.api import open_api
from admin.principal import Newcomers
from admin.services.people.passwords import Passwords
from admin.services.people.people import NewPerson, People, PeopleRules
from admin.services.people.supabase_auth import SupabaseRules
from admin.services.rate_limits import RateRules
from admin.store import audit
from admin.store.database import Database
from admin.store.schema import users as users_table
from tests.admin.api.conftest import CHEAP, Caller, MakeCaller, WallClock
from tests.admin.conftest import MakeClient
from tests.services.supabase_auth import API_KEY, SupabaseStandIn, open_supabase

EMAIL, PASSWORD = "sol@pizzeria.example", "quattro stagioni"
SETTINGS, USER = "/settings", "/user"
EVERY_WAY: list[Newcomers] = ["account", "viewer", "manager", "refused"]

Server = Callable[[Newcomers], Client]


@pytest.fixture
async def supabase(wall: WallClock) -> AsyncIterator[SupabaseStandIn]:
    """A project at which anybody may sign up."""
    async with open_supabase(SupabaseStandIn(now=wall)) as stand_in:
        stand_in.add(EMAIL, PASSWORD)
        yield stand_in


@pytest.fixture
def server(make_client: MakeClient, database: Database, wall: WallClock, supabase: SupabaseStandIn) -> Server:
    """A client of a server that trusts the project, and does this with its newcomers."""

    def make(newcomers: Newcomers) -> Client:
        rules = SupabaseRules(url=supabase.url, key=API_KEY, newcomers=newcomers)
        return make_client(api=open_api(database, wall, people=PeopleRules(password_cost=CHEAP, supabase=rules)))

    return make


async def come(client: Client, supabase: SupabaseStandIn, path: str = "/api/me", email: str = EMAIL) -> Response:
    return await client.get(path, headers={"Authorization": f"Bearer {supabase.token(email)}"})


async def met(response: Response) -> Any:
    """Who was let in, or status and code of why not."""
    body = await response.get_json()
    return body if response.status_code == 200 else (response.status_code, body["error"]["code"])


async def invited(caller: Caller, email: str = EMAIL, role: str = "manager") -> str:
    response = await caller.post("/api/people", json={"email": email, "role": role})
    assert response.status_code == 201, await response.get_data(as_text=True)
    person_id: str = (await response.get_json())["person"]["id"]
    return person_id


async def people(database: Database) -> int:
    counted = select(func.count()).select_from(users_table)
    return await database.read(lambda connection: connection.execute(counted).scalar_one())


async def test_by_default_a_newcomer_owns_an_account_that_is_not_the_house(
    owner: Caller, server: Server, supabase: SupabaseStandIn
) -> None:
    body = await met(await come(server("account"), supabase))
    assert (body["role"], body["is_house"], body["account_id"]) == ("owner", False, body["user_id"])


async def test_what_is_the_whole_server_s_is_closed_to_a_newcomer(
    owner: Caller, server: Server, supabase: SupabaseStandIn
) -> None:
    client, headers = server("account"), {"Authorization": f"Bearer {supabase.token(EMAIL)}"}
    assert await met(await come(client, supabase, "/api/flags")) == (403, "house_only")
    flag = await client.put("/api/flags/a_flag", json={}, headers=headers)
    number = await client.post("/api/numbers", json={"number": "+4930901820"}, headers=headers)
    assert [await met(each) for each in (flag, number)] == [(403, "house_only")] * 2


@pytest.mark.parametrize("role", ["viewer", "manager"])
async def test_a_shop_whose_staff_signs_in_through_supabase_lets_them_into_its_account(
    role: Newcomers, owner: Caller, server: Server, supabase: SupabaseStandIn, database: Database
) -> None:
    body = await met(await come(server(role), supabase))
    assert (body["role"], body["is_house"], body["account_id"]) == (role, True, str(owner.account_id))
    (entry,) = await database.read(lambda connection: audit.page(connection, owner.account_id, cursor=None, limit=5))
    assert (entry["action"], entry["via"], entry["subject"]) == ("person.appeared", "supabase", body["user_id"])


async def test_who_is_not_invited_may_be_refused_and_leaves_nothing(
    owner: Caller, server: Server, supabase: SupabaseStandIn, database: Database
) -> None:
    assert await met(await come(server("refused"), supabase)) == (403, "sign_up_closed")
    assert await people(database) == 1
    assert supabase.asked[USER] == 0


async def test_who_was_let_in_once_stays_whatever_becomes_of_later_ones(
    owner: Caller, server: Server, supabase: SupabaseStandIn
) -> None:
    before = await met(await come(server("account"), supabase))
    for newcomers in EVERY_WAY:
        assert await met(await come(server(newcomers), supabase)) == before


@pytest.mark.parametrize("newcomers", EVERY_WAY)
async def test_while_there_is_no_house_nobody_comes_in_and_the_first_owner_is_still_to_be_made(
    newcomers: Newcomers, server: Server, supabase: SupabaseStandIn, database: Database, wall: WallClock
) -> None:
    client = server(newcomers)
    assert await met(await come(client, supabase)) == (403, "not_set_up")
    assert await people(database) == 0
    token = await open_api(database, wall, people=PeopleRules(password_cost=CHEAP)).setup.offer()
    luna = {"token": token, "email": "luna@pizzeria.example", "password": PASSWORD}
    assert (await client.post("/api/setup", json=luna)).status_code == 201
    assert await met(await come(client, supabase)) != (403, "not_set_up")


@pytest.mark.parametrize("newcomers", EVERY_WAY)
async def test_who_is_invited_and_has_a_confirmed_email_comes_in_as_who_they_were_invited(
    newcomers: Newcomers, owner: Caller, server: Server, supabase: SupabaseStandIn, database: Database
) -> None:
    person_id, client = await invited(owner), server(newcomers)
    body = await met(await come(client, supabase))
    assert (body["user_id"], body["role"], body["is_house"]) == (person_id, "manager", True)
    assert await met(await come(client, supabase)) == body
    assert (supabase.asked[SETTINGS], supabase.asked[USER]) == (1, 1)
    person = await (await owner.get(f"/api/people/{person_id}")).get_json()
    assert person["signs_in_with"] == ["supabase"]
    entries = await database.read(lambda connection: audit.page(connection, owner.account_id, cursor=None, limit=5))
    assert [(each["action"], each["via"]) for each in entries] == [
        ("invitation.accepted", "supabase"),
        ("person.added", "api_key"),
    ]


async def test_an_invitation_that_was_taken_up_sets_no_password_any_more(
    owner: Caller, server: Server, supabase: SupabaseStandIn
) -> None:
    client = server("refused")
    response = await owner.post("/api/people", json={"email": EMAIL, "role": "viewer"})
    token = (await response.get_json())["invitation"]["token"]
    await come(client, supabase)
    accepted = await client.post("/api/invitations/accept", json={"token": token, "password": PASSWORD})
    assert await met(accepted) == (403, "invitation_invalid")


async def test_an_operator_without_a_password_is_invited_as_the_first_owner(
    server: Server, supabase: SupabaseStandIn, database: Database, wall: WallClock
) -> None:
    client = server("refused")
    await People(database, wall, Passwords(CHEAP)).add(None, NewPerson(email=EMAIL, role="owner"))
    body = await met(await come(client, supabase))
    assert (body["role"], body["is_house"]) == ("owner", True)


@pytest.mark.parametrize("newcomers", EVERY_WAY)
async def test_an_email_that_nobody_has_confirmed_is_no_invited_one(
    newcomers: Newcomers, owner: Caller, server: Server, supabase: SupabaseStandIn, database: Database
) -> None:
    supabase.add("mare@pizzeria.example", PASSWORD, is_confirmed=False)
    person_id, client = await invited(owner, "mare@pizzeria.example", "owner"), server(newcomers)
    for email_verified in (None, True):  # which everybody may write there themselves
        claims = {"user_metadata": {"email_verified": email_verified}, "email_verified": email_verified}
        token = supabase.token("mare@pizzeria.example", **claims)
        response = await client.get("/api/me", headers={"Authorization": f"Bearer {token}"})
        assert await met(response) == (403, "email_not_confirmed")
    assert await people(database) == 2
    supabase.confirm("mare@pizzeria.example")
    assert (await met(await come(client, supabase, email="mare@pizzeria.example")))["user_id"] == person_id


async def test_a_project_that_confirms_addresses_by_itself_proves_none(
    owner: Caller, server: Server, supabase: SupabaseStandIn
) -> None:
    supabase.confirms = False
    await invited(owner)
    assert await met(await come(server("refused"), supabase)) == (403, "email_not_confirmed")


async def test_a_project_that_cannot_say_it_lets_nobody_in_and_shuts_nobody_out(
    owner: Caller, server: Server, supabase: SupabaseStandIn
) -> None:
    supabase.add("mare@pizzeria.example", PASSWORD)
    person_id, client = await invited(owner), server("refused")
    await come(client, supabase, email="mare@pizzeria.example")  # from here on its keys are known
    supabase.failing = [404]
    assert await met(await come(client, supabase)) == (503, "auth_unreachable")
    assert (await met(await come(client, supabase)))["user_id"] == person_id


async def test_an_invitation_that_is_over_or_was_made_void_lets_nobody_in(
    owner: Caller, make_caller: MakeCaller, server: Server, supabase: SupabaseStandIn, wall: WallClock
) -> None:
    person_id, client = await invited(owner), server("refused")
    await owner.patch(f"/api/people/{person_id}", json={"is_disabled": True})
    assert await met(await come(client, supabase)) == (403, "sign_up_closed")
    await owner.patch(f"/api/people/{person_id}", json={"is_disabled": False})
    await owner.post(f"/api/people/{person_id}/invitation")
    wall.passes(days=7)
    assert await met(await come(client, supabase)) == (403, "sign_up_closed")


async def test_who_has_a_password_is_not_taken_over_by_a_link_for_a_forgotten_one(
    owner: Caller, server: Server, supabase: SupabaseStandIn
) -> None:
    response = await owner.post("/api/people", json={"email": EMAIL, "role": "owner", "password": PASSWORD})
    person_id = (await response.get_json())["person"]["id"]
    await owner.post(f"/api/people/{person_id}/invitation")
    assert await met(await come(server("refused"), supabase)) == (403, "sign_up_closed")


async def test_where_everybody_may_begin_an_account_a_stranger_s_invitation_leads_nobody_into_theirs(
    owner: Caller, stranger: Caller, server: Server, supabase: SupabaseStandIn
) -> None:
    await invited(stranger, role="owner")
    body = await met(await come(server("account"), supabase))
    assert body["account_id"] == body["user_id"]


async def test_where_accounts_are_made_by_hand_their_owners_invite_as_well(
    owner: Caller, stranger: Caller, server: Server, supabase: SupabaseStandIn
) -> None:
    person_id = await invited(stranger)
    body = await met(await come(server("refused"), supabase))
    assert (body["user_id"], body["account_id"], body["is_house"]) == (person_id, str(stranger.account_id), False)


async def test_two_first_requests_of_somebody_invited_are_one_person(
    owner: Caller, server: Server, supabase: SupabaseStandIn, database: Database
) -> None:
    person_id, client, seen = await invited(owner), server("refused"), list[str]()

    async def ask() -> None:
        seen.append((await met(await come(client, supabase)))["user_id"])

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
    assert seen == [person_id] * 4
    actions = await database.read(lambda connection: audit.page(connection, owner.account_id, cursor=None, limit=9))
    assert [each["action"] for each in actions].count("invitation.accepted") == 1


async def test_who_is_refused_may_not_ask_for_ever(
    owner: Caller, make_client: MakeClient, supabase: SupabaseStandIn, database: Database, wall: WallClock
) -> None:
    rules = PeopleRules(supabase=SupabaseRules(url=supabase.url, key=API_KEY, newcomers="refused"))
    api = open_api(database, wall, people=rules, rate_rules=RateRules(per_principal=9, per_address=2))
    client = make_client(api=api, signature=None, trusted_proxies=(ip_network("10.0.0.0/8"),))
    codes = [(await met(await come(client, supabase)))[1] for _ in range(3)]
    assert codes == ["sign_up_closed", "sign_up_closed", "too_many_requests"]


async def test_the_house_s_owner_makes_more_of_a_newcomer(
    owner: Caller, server: Server, supabase: SupabaseStandIn
) -> None:
    client = server("viewer")
    body = await met(await come(client, supabase))
    await owner.patch(f"/api/people/{body['user_id']}", json={"role": "owner"})
    assert (await come(client, supabase, "/api/flags")).status_code == 200

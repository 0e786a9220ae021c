"""Calls that we place: what is asked of Twilio, what is refused, and that a request sent twice calls once."""

from threading import Event
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio
import trio.testing
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import Connection, Table, func, insert, select, text, update
from trio.testing import MockClock

from admin.api import Telephone, open_api
from admin.principal import Role
from admin.services.live.live import Live
from admin.services.outbound.outbound_rules import OutboundRules
from admin.services.outbound.twilio_errors import TwilioRefusedError, TwilioSilentError, TwilioUnreachableError
from admin.services.telephone.directory import Route
from admin.services.telephone.reception import Reception
from admin.store import outbound as store
from admin.store.call_search import Viewer
from admin.store.column_types import new_id
from admin.store.database import CONNECTIONS, Database
from admin.store.schema import audit_log, calls, idempotency_keys, personas, phone_numbers
from relay import CallStarted
from tests.admin.api.conftest import Caller, MakeCaller, WallClock
from tests.admin.api.telephone import FakeTwilio, sid_of
from tests.admin.conftest import PUBLIC_URL, MakeClient

TO, FROM, STAFF = "+4930901820", "+4930123456", "+4930111111"
RULES = OutboundRules(countries=frozenset({"DE"}), caller_number=FROM)
INITIATE = "/api/outbound/initiate"


@pytest.fixture
def twilio() -> FakeTwilio:
    return FakeTwilio()


@pytest.fixture
def rules() -> OutboundRules:
    return RULES


@pytest.fixture
def client(
    make_client: MakeClient, database: Database, wall: WallClock, twilio: FakeTwilio, rules: OutboundRules
) -> Client:
    """Of a server that may place calls."""
    telephone = Telephone(rest=twilio, public_url=PUBLIC_URL, rules=rules, staff_number=STAFF)
    return make_client(api=open_api(database, wall, telephone=telephone), signature=None)


def rows(database: Database, table: Table = calls) -> list[Any]:
    with database.engine.connect() as connection:
        return list(connection.execute(select(table)).mappings())


def count(database: Database, action: str) -> int:
    counted = select(func.count()).where(audit_log.c.action == action)
    with database.engine.connect() as connection:
        return connection.execute(counted).scalar_one()


def change(database: Database, **values: Any) -> None:
    with database.engine.begin() as connection:
        connection.execute(update(calls).values(**values))


def add_number(database: Database, caller: Caller, number: str, wall: WallClock) -> None:
    values = {"account_id": caller.account_id, "number": number, "fallback": {}, "id": new_id()}
    with database.engine.begin() as connection:
        connection.execute(insert(phone_numbers).values(created_at=wall(), updated_at=wall(), **values))


def add_persona(database: Database, caller: Caller, wall: WallClock, *, is_active: bool, version: int) -> UUID:
    persona_id = new_id()
    values = {"account_id": caller.account_id, "name": "Luna", "version": version, "is_active": is_active}
    with database.engine.begin() as connection:
        connection.execute(insert(personas).values(id=persona_id, created_at=wall(), updated_at=wall(), **values))
    return persona_id


async def code(response: Response) -> str:
    found: str = (await response.get_json())["error"]["code"]
    return found


@pytest.mark.parametrize("path", [INITIATE, "/api/calls"])
async def test_a_call_is_placed_and_known_before_it_rings(
    path: str, owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    persona_id = add_persona(database, owner, wall, is_active=True, version=3)
    response = await owner.post(path, json={"to": TO, "variables": {"name": "Mia"}, "max_duration_s": 90})
    assert response.status_code == 201
    body = await response.get_json()
    [row] = rows(database)
    assert body == {
        "id": str(row["id"]),
        "call_sid": sid_of(1),
        "status": "queued",
        "direction": "outbound",
        "to": TO,
        "from": FROM,
        "persona_id": str(persona_id),
        "persona_version": 3,
        "created_at": "2026-03-02T10:00:00Z",
    }
    assert (row["call_sid"], row["account_id"], row["created_by"]) == (sid_of(1), owner.account_id, owner.user_id)
    assert (row["direction"], row["status"], row["caller"], row["called"]) == ("outbound", "queued", FROM, TO)
    assert (row["persona_version"], row["variables"]) == (3, {"name": "Mia"})
    [asked] = twilio.placed
    assert (asked.to, asked.caller, asked.detection, asked.max_duration_s) == (TO, FROM, "off", 90)
    assert asked.url == f"{PUBLIC_URL}/outbound-call/{row['id']}"
    assert asked.status_url.startswith(f"{PUBLIC_URL}/voice/status")
    assert count(database, "call.ordered") == 1


async def test_a_chosen_persona_and_number_are_used(
    owner: Caller, stranger: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    add_persona(database, owner, wall, is_active=True, version=3)
    quiet = add_persona(database, owner, wall, is_active=False, version=7)
    theirs = add_persona(database, stranger, wall, is_active=False, version=1)
    add_number(database, owner, "+4930222222", wall)
    wall.passes(seconds=1)
    add_number(database, owner, "+4930333333", wall)
    add_number(database, stranger, "+4930444444", wall)
    body = await (await owner.post(INITIATE, json={"to": TO, "persona_id": str(quiet)})).get_json()
    assert (body["persona_id"], body["persona_version"], body["from"]) == (str(quiet), 7, "+4930222222")
    response = await owner.post(INITIATE, json={"to": TO, "from": "+4930333333"})
    assert (await response.get_json())["from"] == "+4930333333"
    response = await owner.post(INITIATE, json={"to": TO, "from": "+4930444444"})
    assert (response.status_code, await code(response)) == (400, "caller_number_unknown")
    response = await owner.post(INITIATE, json={"to": TO, "persona_id": str(theirs)})
    assert (response.status_code, await code(response)) == (404, "persona_not_found")
    assert len(twilio.placed) == 2


@pytest.mark.parametrize("role", ["owner", "manager"])
async def test_the_server_s_number_is_the_first_account_s_to_call_from(
    role: Role, owner: Caller, make_caller: MakeCaller, twilio: FakeTwilio
) -> None:
    caller = make_caller(role, account_id=owner.account_id)
    for order in ({"to": TO}, {"to": TO, "from": FROM}):
        assert (await (await caller.post(INITIATE, json=order)).get_json())["from"] == FROM


async def test_nobody_else_calls_from_the_server_s_number(
    owner: Caller, stranger: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    response = await stranger.post(INITIATE, json={"to": TO})
    assert (response.status_code, await code(response)) == (400, "no_caller_number")
    add_number(database, stranger, "+4930444444", wall)
    response = await stranger.post(INITIATE, json={"to": TO, "from": FROM})
    assert (response.status_code, await code(response)) == (403, "house_only")
    assert (rows(database), twilio.placed) == ([], [])


async def test_the_server_s_number_is_another_account_s_once_it_has_been_given_to_it(
    owner: Caller, stranger: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    add_number(database, stranger, FROM, wall)
    assert (await stranger.post(INITIATE, json={"to": TO})).status_code == 201
    response = await owner.post(INITIATE, json={"to": TO})
    assert (response.status_code, await code(response)) == (400, "caller_number_unknown")
    assert len(twilio.placed) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"to": "030901820"},
        {"to": TO, "variables": {"name": "a\x00b"}},
        {"to": TO, "variables": {"name\n": "Mia"}},
        {"to": TO, "variables": {"name": "\ud800"}},
        {"to": TO, "variables": {"Name": "Mia"}},
        {"to": TO, "variables": {f"v{number}": "" for number in range(21)}},
        {"to": TO, "amd": "yes"},
        {"to": TO, "max_duration_s": 14_401},
        {"to": TO, "unknown": 1},
        {"to": "+10000000000"},
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(owner: Caller, twilio: FakeTwilio, wrong: Any) -> None:
    assert (await owner.post(INITIATE, json=wrong)).status_code == 400
    assert twilio.placed == []


async def test_what_may_not_be_called_is_refused_and_remembered(
    owner: Caller, twilio: FakeTwilio, database: Database
) -> None:
    response = await owner.post(INITIATE, json={"to": "+442079460000"})
    assert (response.status_code, await code(response)) == (403, "destination_not_allowed")
    assert (rows(database), twilio.placed) == ([], [])
    [entry] = rows(database, audit_log)
    assert (entry["action"], entry["actor_id"]) == ("call.refused", owner.user_id)
    assert entry["facts"] == {"to": "+442079460000", "code": "destination_not_allowed"}


async def test_nobody_is_called_at_night(owner: Caller, wall: WallClock) -> None:
    wall.passes(hours=11)
    response = await owner.post(INITIATE, json={"to": TO})
    assert (response.status_code, await code(response)) == (403, "quiet_hours")


async def test_who_may_only_look_places_no_call(make_caller: MakeCaller, twilio: FakeTwilio) -> None:
    assert (await make_caller("viewer").post(INITIATE, json={"to": TO})).status_code == 403
    assert twilio.placed == []


@pytest.mark.parametrize("rules", [msgspec.structs.replace(RULES, daily_calls_per_user=2, quiet_hours=None)])
async def test_a_users_daily_cap_holds_for_a_day_whatever_is_deleted(
    owner: Caller, stranger: Caller, database: Database, wall: WallClock
) -> None:
    add_number(database, stranger, "+4930444444", wall)
    for _ in range(2):
        assert (await owner.post(INITIATE, json={"to": TO})).status_code == 201
        change(database, status="completed")
        wall.passes(hours=1)
    with database.engine.begin() as connection:
        connection.execute(calls.delete())
    response = await owner.post(INITIATE, json={"to": TO})
    assert (response.status_code, await code(response)) == (429, "user_daily_calls_reached")
    assert response.headers["Retry-After"] == str(22 * 3600)
    assert (await stranger.post(INITIATE, json={"to": TO})).status_code == 201
    wall.passes(hours=22)
    assert (await owner.post(INITIATE, json={"to": TO})).status_code == 201


@pytest.mark.parametrize("rules", [msgspec.structs.replace(RULES, daily_calls=1)])
async def test_the_daily_cap_holds_for_all_together(
    owner: Caller, stranger: Caller, database: Database, wall: WallClock
) -> None:
    add_number(database, stranger, "+4930444444", wall)
    assert (await owner.post(INITIATE, json={"to": TO})).status_code == 201
    response = await stranger.post(INITIATE, json={"to": TO})
    assert (response.status_code, await code(response)) == (429, "daily_calls_reached")


@pytest.mark.parametrize("rules", [msgspec.structs.replace(RULES, calls_at_once=3, daily_calls=100)])
async def test_however_many_ask_at_once_no_cap_is_passed(owner: Caller, twilio: FakeTwilio, database: Database) -> None:
    codes: list[int] = []
    is_ringing = trio.Event()
    twilio.before_answer = is_ringing.wait  # no call is named before all have asked

    async def ask() -> None:
        codes.append((await owner.post(INITIATE, json={"to": TO})).status_code)
        if len(codes) == 9:  # all that were refused
            is_ringing.set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(ask)
    assert (codes.count(201), codes.count(429)) == (3, 9)
    assert len(rows(database)) == len(twilio.placed) == 3


async def test_calls_that_are_over_make_room(
    make_client: MakeClient, make_caller: MakeCaller, database: Database, twilio: FakeTwilio, wall: WallClock
) -> None:
    owner = make_caller()
    for _ in range(5):
        await owner.post(INITIATE, json={"to": TO})
    response = await owner.post(INITIATE, json={"to": TO})
    assert (response.status_code, await code(response)) == (429, "too_many_calls_at_once")
    change(database, status="no_answer")
    assert (await owner.post(INITIATE, json={"to": TO})).status_code == 201


async def test_the_same_key_again_does_not_call_again(
    owner: Caller, stranger: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    add_number(database, stranger, "+4930444444", wall)
    headers = {"Idempotency-Key": "order-1"}
    first = await owner.post(INITIATE, json={"to": TO}, headers=headers)
    again = await owner.post(INITIATE, json={"to": TO}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert await first.get_json() == await again.get_json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(twilio.placed) == 1
    other = await owner.post(INITIATE, json={"to": TO, "amd": "enable"}, headers=headers)
    assert (other.status_code, await code(other)) == (422, "idempotency_key_reused")
    assert (await stranger.post(INITIATE, json={"to": TO}, headers=headers)).status_code == 201
    assert len(twilio.placed) == 2  # keys are each account's own


async def test_a_key_is_forgotten_after_a_day(owner: Caller, twilio: FakeTwilio, wall: WallClock) -> None:
    headers = {"Idempotency-Key": "order-1"}
    await owner.post(INITIATE, json={"to": TO}, headers=headers)
    wall.passes(hours=24, seconds=1)
    assert (await owner.post(INITIATE, json={"to": TO}, headers=headers)).status_code == 201
    assert len(twilio.placed) == 2


async def test_of_requests_with_one_key_at_the_same_time_one_calls(owner: Caller, twilio: FakeTwilio) -> None:
    responses: list[Response] = []
    is_ringing = trio.Event()
    twilio.before_answer = is_ringing.wait

    async def ask() -> None:
        responses.append(await owner.post(INITIATE, json={"to": TO}, headers={"Idempotency-Key": "order-1"}))
        if len(responses) == 5:
            is_ringing.set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask)
    assert [await code(each) for each in responses[:5]] == ["in_progress"] * 5
    assert [each.status_code for each in responses] == [409] * 5 + [201]
    assert len(twilio.placed) == 1


@pytest.mark.parametrize("key", ["", "two words", "ä", "x" * 256])
async def test_a_key_that_cannot_be_one_is_refused(owner: Caller, key: str) -> None:
    response = await owner.post(INITIATE, json={"to": TO}, headers={"Idempotency-Key": key})
    assert response.status_code == 400


async def test_a_refused_request_leaves_its_key_free(owner: Caller, wall: WallClock) -> None:
    headers = {"Idempotency-Key": "order-1"}
    wall.passes(hours=11)
    assert (await owner.post(INITIATE, json={"to": TO}, headers=headers)).status_code == 403
    wall.passes(hours=12)
    assert (await owner.post(INITIATE, json={"to": TO}, headers=headers)).status_code == 201


async def test_where_twilio_is_not_reached_nothing_was_done(
    owner: Caller, twilio: FakeTwilio, database: Database
) -> None:
    headers = {"Idempotency-Key": "order-1"}
    twilio.fails_with = TwilioUnreachableError()
    response = await owner.post(INITIATE, json={"to": TO}, headers=headers)
    assert (response.status_code, await code(response)) == (503, "twilio_unreachable")
    assert (rows(database), rows(database, idempotency_keys)) == ([], [])
    twilio.fails_with = None
    assert (await owner.post(INITIATE, json={"to": TO}, headers=headers)).status_code == 201


@pytest.mark.parametrize("rules", [msgspec.structs.replace(RULES, daily_calls=1)])
async def test_an_order_that_never_reached_twilio_does_not_count(owner: Caller, twilio: FakeTwilio) -> None:
    twilio.fails_with = TwilioUnreachableError()
    await owner.post(INITIATE, json={"to": TO})
    twilio.fails_with = None
    assert (await owner.post(INITIATE, json={"to": TO})).status_code == 201


async def test_what_twilio_refuses_is_told_again_under_the_same_key(
    owner: Caller, twilio: FakeTwilio, database: Database
) -> None:
    twilio.fails_with = TwilioRefusedError(21215, "no permission to call Germany")
    headers = {"Idempotency-Key": "order-1"}
    answers = [await owner.post(INITIATE, json={"to": TO}, headers=headers) for _ in range(2)]
    for response in answers:
        assert response.status_code == 502
        error = (await response.get_json())["error"]
        assert (error["code"], "21215" in error["message"]) == ("twilio_refused", True)
    assert len(twilio.placed) == 1
    [row] = rows(database)
    assert (row["status"], row["error_code"], row["ended_at"] is not None) == ("failed", "21215", True)


async def test_a_lost_answer_never_makes_a_second_call(owner: Caller, twilio: FakeTwilio, database: Database) -> None:
    twilio.fails_with = TwilioSilentError()
    headers = {"Idempotency-Key": "order-1"}
    for _ in range(2):
        response = await owner.post(INITIATE, json={"to": TO}, headers=headers)
        assert (response.status_code, await code(response)) == (504, "twilio_answer_lost")
    assert len(twilio.placed) == 1
    [row] = rows(database)
    assert (row["status"], row["error_code"]) == ("queued", "twilio_answer_lost")


async def test_a_client_that_goes_away_does_not_make_the_call_be_forgotten(
    owner: Caller, twilio: FakeTwilio, database: Database
) -> None:
    with trio.CancelScope() as patience:

        async def lose_patience() -> None:
            patience.cancel()

        twilio.before_answer = lose_patience
        await owner.post(INITIATE, json={"to": TO})
    [row] = rows(database)
    assert row["call_sid"] == sid_of(1)


@pytest.mark.parametrize(
    ("telephone", "missing"),
    [
        (Telephone(public_url=PUBLIC_URL, rules=RULES), "TWILIO_ACCOUNT_SID"),
        (Telephone(rest=FakeTwilio(), rules=RULES), "PUBLIC_URL"),
    ],
)
async def test_without_a_twilio_account_or_an_address_no_call_is_placed(
    make_client: MakeClient, database: Database, wall: WallClock, owner: Caller, telephone: Telephone, missing: str
) -> None:
    client = make_client(api=open_api(database, wall, telephone=telephone))
    response = await client.post(INITIATE, json={"to": TO}, headers={"Authorization": f"Bearer {owner.secret}"})
    error = (await response.get_json())["error"]
    assert (response.status_code, error["code"], missing in error["message"]) == (503, "twilio_not_configured", True)


async def test_an_account_without_any_number_places_no_call(
    make_client: MakeClient, database: Database, wall: WallClock, owner: Caller, twilio: FakeTwilio
) -> None:
    rules = msgspec.structs.replace(RULES, caller_number=None)
    telephone = Telephone(rest=twilio, public_url=PUBLIC_URL, rules=rules)
    client = make_client(api=open_api(database, wall, telephone=telephone))
    response = await client.post(INITIATE, json={"to": TO}, headers={"Authorization": f"Bearer {owner.secret}"})
    assert (response.status_code, await code(response)) == (400, "no_caller_number")


async def webhook(client: Client, call_id: UUID, **fields: str) -> str:
    form = {"CallSid": sid_of(1), "From": FROM, "To": TO, "Direction": "outbound-api", **fields}
    query = "?refuse_machines=1" if "AnsweredBy" in fields else ""
    response = await client.post(f"/outbound-call/{call_id}{query}", form=form)
    assert response.status_code == 200
    return (await response.get_data(as_text=False)).decode()


async def test_an_answered_call_is_connected_to_the_stream_with_its_facts(
    owner: Caller, client: Client, database: Database, wall: WallClock
) -> None:
    await owner.post(INITIATE, json={"to": TO, "variables": {"name": "Mia"}})
    twiml = await webhook(client, rows(database)[0]["id"])
    assert 'url="wss://relay.example.com/media-stream">' in twiml
    assert '<Parameter name="var_name" value="Mia"' in twiml
    assert f'<Parameter name="called" value="{TO}"' in twiml


async def test_an_answered_call_is_shown_live_to_whom_it_belongs(
    make_client: MakeClient, make_caller: MakeCaller, database: Database, wall: WallClock, twilio: FakeTwilio
) -> None:
    owner, number_owner = make_caller(), make_caller()
    persona_id = add_persona(database, owner, wall, is_active=True, version=3)
    await owner.post(INITIATE, json={"to": TO})
    live = Live(wall)
    reception = Reception(find=lambda _: Route(account_id=number_owner.account_id), book=live.rung, now=wall)
    api = open_api(database, wall, telephone=Telephone(rest=twilio, public_url=PUBLIC_URL, rules=RULES), live=live)
    await webhook(make_client(api=api, signature=None, reception=reception), rows(database)[0]["id"])
    live.offer(sid_of(1), CallStarted(stream_sid="MZ1"))
    [call] = live.calls(Viewer(account_id=owner.account_id))
    assert (call.direction, call.caller, call.called) == ("outbound", FROM, TO)
    assert call.persona_id == persona_id
    assert live.calls(Viewer(account_id=number_owner.account_id)) == []


async def test_the_streams_token_names_the_pinned_version(
    make_client: MakeClient, owner: Caller, database: Database, wall: WallClock, twilio: FakeTwilio
) -> None:
    persona_id = add_persona(database, owner, wall, is_active=True, version=3)
    await owner.post(INITIATE, json={"to": TO})
    with database.engine.begin() as connection:
        connection.execute(update(personas).values(version=4))
    api = open_api(database, wall, telephone=Telephone(rest=twilio, public_url=PUBLIC_URL, rules=RULES))
    client = make_client(api=api, signature=None, issue_token=lambda *said: "/".join(said))
    assert f"{sid_of(1)}/outbound/{persona_id}:3" in await webhook(client, rows(database)[0]["id"])


async def test_a_call_answered_before_twilio_has_told_us_its_name_is_named_by_the_webhook(
    owner: Caller, client: Client, database: Database, twilio: FakeTwilio
) -> None:
    async def answer() -> None:
        [row] = rows(database)
        assert row["call_sid"] != sid_of(1)
        await webhook(client, row["id"])
        assert rows(database)[0]["call_sid"] == sid_of(1)

    twilio.before_answer = answer
    assert (await owner.post(INITIATE, json={"to": TO})).status_code == 201
    assert len(rows(database)) == 1


@pytest.mark.parametrize("is_answered_first", [False, True])
async def test_a_row_that_a_callback_has_made_takes_over_what_was_ordered(
    owner: Caller, client: Client, database: Database, twilio: FakeTwilio, wall: WallClock, is_answered_first: bool
) -> None:
    other = new_id()

    async def report() -> None:
        [reserved] = rows(database)
        with database.engine.begin() as connection:
            _ring(connection, other, wall)
        if is_answered_first:
            assert 'value="Mia"' in await webhook(client, reserved["id"])

    twilio.before_answer = report
    body = await (await owner.post(INITIATE, json={"to": TO, "variables": {"name": "Mia"}})).get_json()
    [row] = rows(database)
    assert (row["id"], body["id"]) == (other, str(other))
    assert (row["status"], row["account_id"], row["variables"]) == ("ringing", owner.account_id, {"name": "Mia"})
    assert 'value="Mia"' in await webhook(client, other)


async def test_a_row_that_is_made_while_the_call_is_answered_does_not_lose_what_was_ordered(
    owner: Caller, client: Client, database: Database, wall: WallClock
) -> None:
    await owner.post(INITIATE, json={"to": TO, "variables": {"name": "Mia"}})
    change(database, call_sid=f"{store.UNNAMED}{sid_of(1)}")
    heard: list[str] = []

    async def answer(call_id: UUID) -> None:
        heard.append(await webhook(client, call_id))

    async with trio.open_nursery() as nursery:
        with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
            [reserved] = connection.execute(select(calls)).mappings()
            _ring(connection, new_id(), wall)
            nursery.start_soon(answer, reserved["id"])
            await waits_for_a_lock(database)
    assert 'value="Mia"' in heard[0]
    assert [row["variables"] for row in rows(database)] == [{"name": "Mia"}]


def _ring(connection: Connection, call_id: UUID, wall: WallClock) -> None:
    """What a callback makes of a call that nobody knows."""
    values = {"direction": "outbound", "status": "ringing", "created_at": wall()}
    connection.execute(insert(calls).values(id=call_id, call_sid=sid_of(1), **values))


async def waits_for_a_lock(database: Database) -> None:
    """Until somebody waits for another's transaction. SQLite does not tell: there it lets everybody go on."""
    if database.engine.dialect.name == "sqlite":
        await trio.testing.wait_all_tasks_blocked()
        return
    waiting = text("select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while connection.execute(waiting).first() is None:
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("answered_by", "is_connected"), [("human", True), ("unknown", True), ("machine_start", False), ("fax", False)]
)
async def test_machines_are_hung_up_on_where_that_was_asked_for(
    owner: Caller, client: Client, database: Database, twilio: FakeTwilio, answered_by: str, is_connected: bool
) -> None:
    await owner.post(INITIATE, json={"to": TO, "amd": "enable"})
    assert twilio.placed[0].url.endswith("?refuse_machines=1")
    twiml = await webhook(client, rows(database)[0]["id"], AnsweredBy=answered_by)
    assert ("<Stream" in twiml) == is_connected


async def test_a_call_that_nobody_knows_is_still_answered(client: Client) -> None:
    assert "<Stream" in await webhook(client, new_id())


async def test_a_call_whose_order_cannot_be_read_is_still_answered(
    make_client: MakeClient, wall: WallClock, twilio: FakeTwilio
) -> None:
    database = Database("postgresql://tautline@127.0.0.1:1/nowhere")
    telephone = Telephone(rest=twilio, public_url=PUBLIC_URL, rules=RULES)
    client = make_client(api=open_api(database, wall, telephone=telephone), signature=None)
    assert "<Stream" in await webhook(client, new_id())
    database.close()


async def test_a_call_is_answered_in_time_however_busy_the_database_is(
    client: Client, database: Database, autojump_clock: MockClock
) -> None:
    is_free = Event()
    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            nursery.start_soon(database.read, lambda _: is_free.wait())
        try:
            with trio.fail_after(15):  # then Twilio gives up
                assert "<Stream" in await webhook(client, new_id())
        finally:
            is_free.set()

"""Calls in progress, changed from outside: only one's own, only while they last, and never to where none may go."""

from typing import Any

import pytest
import trio
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import insert, select
from structlog.testing import capture_logs

from admin.api import Telephone, open_api
from admin.principal import SCOPES, Principal
from admin.services.outbound.live_calls import LiveCalls
from admin.services.outbound.outbound_rules import OutboundRules
from admin.services.outbound.twilio_errors import TwilioGoneError, TwilioUnreachableError
from admin.store.column_types import new_id
from admin.store.database import Database, open_engine
from admin.store.schema import audit_log, calls
from tests.admin.api.conftest import Caller, MakeCaller, WallClock
from tests.admin.api.telephone import FakeTwilio, sid_of
from tests.admin.conftest import PUBLIC_URL, MakeClient

CALLER, OURS, STAFF = "+4930901820", "+4930123456", "+4930111111"
SID = sid_of(1)


@pytest.fixture
def twilio() -> FakeTwilio:
    return FakeTwilio()


@pytest.fixture
def client(make_client: MakeClient, database: Database, wall: WallClock, twilio: FakeTwilio) -> Client:
    rules = OutboundRules(countries=frozenset({"DE"}))
    telephone = Telephone(rest=twilio, public_url=PUBLIC_URL, rules=rules, staff_number=STAFF)
    return make_client(api=open_api(database, wall, telephone=telephone))


def add_call(database: Database, owner: Caller, wall: WallClock, **values: Any) -> None:
    row = {
        "id": new_id(),
        "call_sid": SID,
        "account_id": owner.account_id,
        "direction": "inbound",
        "status": "in_progress",
        "caller": CALLER,
        "called": OURS,
        "created_at": wall(),
    }
    with database.engine.begin() as connection:
        connection.execute(insert(calls).values(**(row | values)))


async def code(response: Response) -> str:
    found: str = (await response.get_json())["error"]["code"]
    return found


CHANGES: dict[str, Any] = {"hangup": None, "transfer": {}, "say": {"text": "One moment."}}


async def test_a_call_is_ended(owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock) -> None:
    add_call(database, owner, wall)
    response = await owner.post(f"/api/calls/{SID}/hangup")
    assert (response.status_code, await response.get_json()) == (200, {"call_sid": SID, "change": "hung_up"})
    assert twilio.ended == [SID]
    with database.engine.connect() as connection:
        [entry] = connection.execute(select(audit_log)).mappings()
    assert (entry["action"], entry["subject"], entry["actor_id"]) == ("call.hung_up", SID, owner.user_id)


async def test_a_call_that_came_in_is_handed_to_the_staff_who_see_who_calls(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    add_call(database, owner, wall)
    assert (await owner.post(f"/api/calls/{SID}/transfer", json={})).status_code == 200
    [(call_sid, twiml)] = twilio.redirected
    assert call_sid == SID
    assert f"<Number>{STAFF}</Number>" in twiml
    assert f'action="{PUBLIC_URL}/after-dial"' in twiml  # absolute: the document did not come from an address
    assert "callerId" not in twiml


async def test_a_call_that_we_placed_is_handed_on_with_our_own_number(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    add_call(database, owner, wall, direction="outbound", caller=OURS, called=CALLER)
    await owner.post(f"/api/calls/{SID}/transfer", json={"to": "+4930222222"})
    [(_, twiml)] = twilio.redirected
    assert "<Number>+4930222222</Number>" in twiml
    assert f'callerId="{OURS}"' in twiml


@pytest.mark.parametrize("to", ["+442079460000", "+499001234567"])
async def test_a_call_is_not_handed_on_to_where_none_may_be_placed(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock, to: str
) -> None:
    add_call(database, owner, wall)
    response = await owner.post(f"/api/calls/{SID}/transfer", json={"to": to})
    assert (response.status_code, await code(response)) == (403, "destination_not_allowed")
    assert twilio.redirected == []
    with database.engine.connect() as connection:
        [entry] = connection.execute(select(audit_log)).mappings()
    assert (entry["action"], entry["facts"]["to"]) == ("call.transfer_refused", to)


@pytest.mark.parametrize(("staff", "to", "status"), [(None, None, 400), (STAFF, STAFF, 200), (STAFF, CALLER, 403)])
async def test_where_outbound_calls_are_off_only_the_staff_is_reached(
    make_client: MakeClient,
    owner: Caller,
    twilio: FakeTwilio,
    database: Database,
    wall: WallClock,
    staff: str | None,
    to: str | None,
    status: int,
) -> None:
    add_call(database, owner, wall)
    telephone = Telephone(rest=twilio, public_url=PUBLIC_URL, staff_number=staff)
    client = make_client(api=open_api(database, wall, telephone=telephone))
    headers = {"Authorization": f"Bearer {owner.secret}"}
    response = await client.post(f"/api/calls/{SID}/transfer", json={"to": to}, headers=headers)
    assert response.status_code == status


async def test_words_are_spoken_and_the_call_is_connected_again(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    add_call(database, owner, wall)
    response = await owner.post(f"/api/calls/{SID}/say", json={"text": "Bitte <warten> Sie.", "language": "de-DE"})
    assert response.status_code == 200
    [(_, twiml)] = twilio.redirected
    assert '<Say language="de-DE">Bitte &lt;warten&gt; Sie.</Say>' in twiml
    assert f"<Redirect>{PUBLIC_URL}/incoming-call</Redirect>" in twiml


async def test_a_call_that_we_placed_is_connected_to_its_own_persona_again(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    call_id = new_id()
    add_call(database, owner, wall, id=call_id, direction="outbound")
    await owner.post(f"/api/calls/{SID}/say", json={"text": "One moment."})
    assert f"<Redirect>{PUBLIC_URL}/outbound-call/{call_id}</Redirect>" in twilio.redirected[0][1]


@pytest.mark.parametrize("change", CHANGES)
async def test_anothers_call_is_not_there(
    owner: Caller, stranger: Caller, twilio: FakeTwilio, database: Database, wall: WallClock, change: str
) -> None:
    add_call(database, owner, wall)
    for call_sid in (SID, sid_of(2), "CA1", str(new_id())):
        response = await stranger.post(f"/api/calls/{call_sid}/{change}", json=CHANGES[change])
        assert (response.status_code, await code(response)) == (404, "call_not_found")
    assert (twilio.ended, twilio.redirected) == ([], [])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("status", ["completed", "no_answer", "aborted"])
async def test_a_call_that_is_over_cannot_be_changed(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock, change: str, status: str
) -> None:
    add_call(database, owner, wall, status=status, sequence_number=3)
    response = await owner.post(f"/api/calls/{SID}/{change}", json=CHANGES[change])
    assert (response.status_code, await code(response)) == (409, "call_is_over")
    assert (twilio.ended, twilio.redirected) == ([], [])


@pytest.mark.parametrize("change", CHANGES)
async def test_a_call_of_which_only_the_stream_is_known_to_have_ended_is_changed(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock, change: str
) -> None:
    add_call(database, owner, wall, status="completed")
    response = await owner.post(f"/api/calls/{SID}/{change}", json=CHANGES[change])
    assert response.status_code == 200
    assert len(twilio.ended) + len(twilio.redirected) == 1


@pytest.mark.parametrize("change", ["transfer", "say"])
async def test_a_call_that_twilio_knows_to_be_over_or_still_ringing_is_not_redirected(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock, change: str
) -> None:
    add_call(database, owner, wall)
    twilio.fails_with = TwilioGoneError(21220, "Call is not in-progress. Cannot redirect.")
    response = await owner.post(f"/api/calls/{SID}/{change}", json=CHANGES[change])
    assert (response.status_code, await code(response)) == (409, "call_not_in_progress")


async def test_without_twilio_it_is_said_that_nothing_was_done(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    add_call(database, owner, wall)
    twilio.fails_with = TwilioUnreachableError()
    response = await owner.post(f"/api/calls/{SID}/hangup")
    assert (response.status_code, await code(response)) == (503, "twilio_unreachable")


@pytest.mark.parametrize(
    "wrong", [{}, {"text": ""}, {"text": "x" * 1001}, {"text": "a\x00"}, {"text": "a", "language": '"/>'}]
)
async def test_words_that_cannot_be_spoken_are_refused(owner: Caller, wrong: dict[str, str]) -> None:
    assert (await owner.post(f"/api/calls/{SID}/say", json=wrong)).status_code == 400


async def test_who_may_only_look_changes_no_call(
    owner: Caller, make_caller: MakeCaller, database: Database, wall: WallClock, twilio: FakeTwilio
) -> None:
    add_call(database, owner, wall)
    viewer = make_caller("viewer", account_id=owner.account_id)
    assert (await viewer.post(f"/api/calls/{SID}/hangup")).status_code == 403
    assert twilio.ended == []


async def test_what_was_done_to_a_call_is_noted_when_who_asked_for_it_has_gone_away(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    add_call(database, owner, wall)
    rules = OutboundRules()
    live_calls = LiveCalls(database, wall, rest=twilio, public_url=PUBLIC_URL, rules=rules, staff_number=STAFF)
    asking = Principal(
        user_id=owner.user_id, account_id=owner.account_id, role="owner", scopes=SCOPES["owner"], via="api_key"
    )

    async def go_away() -> None:
        scope.cancel()

    twilio.before_answer = go_away
    with trio.CancelScope() as scope:
        await live_calls.hang_up(asking, SID)
    with database.engine.connect() as connection:
        assert [entry["action"] for entry in connection.execute(select(audit_log)).mappings()] == ["call.hung_up"]


async def test_what_was_done_to_a_call_is_not_told_as_a_failure_when_it_cannot_be_noted(
    owner: Caller, twilio: FakeTwilio, database: Database, wall: WallClock
) -> None:
    add_call(database, owner, wall)
    there = database.engine

    async def lose_the_database() -> None:
        database.engine = open_engine("postgresql://nobody@127.0.0.1:1/nothing")

    twilio.before_answer = lose_the_database
    with capture_logs() as logs:
        response = await owner.post(f"/api/calls/{SID}/say", json={"text": "One moment."})
    database.engine = there
    assert (response.status_code, len(twilio.redirected)) == (200, 1)
    assert [each["event"] for each in logs] == ["call.spoken_into", "call.change_not_noted"]

"""The calls that were, as the people see whose they are: lists, filters, pages, one call in full, files, sums."""

import csv
import io
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from quart import Response
from sqlalchemy import func, select

from admin.routes import calls as calls_routes
from admin.services.calls.prices import prices
from admin.store import call_search
from admin.store.database import Database
from admin.store.paging import cursor_of
from admin.store.schema import audit_log, call_events, transcript_turns
from relay.log import AnswerBegan, AnswerSounded, BargedIn, KeyPressed
from tests.admin.api.call_rows import add_call, add_events, add_turns
from tests.admin.api.conftest import Caller, MakeCaller, WallClock


async def listed(caller: Caller, **query: Any) -> list[str]:
    """The CallSids of a page, "" for an answer that is an error."""
    response = await caller.get("/api/calls", query_string=query)
    assert response.status_code == 200, await response.get_data()
    return [item["call_sid"] for item in (await response.get_json())["items"]]


async def code_of(response: Response) -> tuple[int, str]:
    return response.status_code, (await response.get_json())["error"]["code"]


async def test_calls_are_listed_newest_first_page_by_page(owner: Caller, database: Database, wall: WallClock) -> None:
    sids = [add_call(database, owner.account_id, wall() + timedelta(minutes=minute)) for minute in (0, 1, 2, 2, 3)]
    seen, cursor, pages = [], None, 0
    while cursor is not None or pages == 0:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = await (await owner.get("/api/calls", query_string=query)).get_json()
        seen += [item["call_sid"] for item in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert (seen[0], set(seen), seen[-1], pages) == (sids[4], set(sids), sids[0], 3)


async def test_a_listed_call_says_what_became_of_it(owner: Caller, database: Database, wall: WallClock) -> None:
    persona_id = uuid4()
    sid = add_call(
        database, owner.account_id, wall(), persona_id=persona_id, persona_version=3, cost_usd_millionths=123_456
    )
    [item] = (await (await owner.get("/api/calls")).get_json())["items"]
    assert item | {"id": ""} == {
        "id": "",
        "call_sid": sid,
        "direction": "inbound",
        "caller": "+15551230001",
        "called": "+15551230002",
        "persona_id": str(persona_id),
        "persona_version": 3,
        "status": "completed",
        "created_at": "2026-03-02T10:00:00Z",
        "answered_at": "2026-03-02T10:00:00Z",
        "ended_at": "2026-03-02T10:01:00Z",
        "duration_ms": 60000,
        "answered_by": "",
        "end_reason": "",
        "outcome": "",
        "error_code": "",
        "barge_ins": 0,
        "cost_usd_millionths": 123456,
    }


async def test_a_filter_leaves_out_what_it_does_not_name(owner: Caller, database: Database, wall: WallClock) -> None:
    persona_id = uuid4()
    plain = add_call(database, owner.account_id, wall())
    other = add_call(
        database,
        owner.account_id,
        wall() + timedelta(hours=1),
        caller="+4930901820",
        status="failed",
        direction="outbound",
        persona_id=persona_id,
    )
    boundary = (wall() + timedelta(hours=1)).isoformat()
    for query, expected in (
        ({"from": boundary}, [other]),
        ({"to": boundary}, [plain]),
        ({"number": "+4930901820"}, [other]),
        ({"number": "4930901820"}, [other]),
        ({"number": "+15551230002"}, [other, plain]),
        ({"number": "+4930"}, []),
        ({"persona_id": str(persona_id)}, [other]),
        ({"status": "failed"}, [other]),
        ({"direction": "inbound"}, [plain]),
        ({"direction": "inbound", "status": "failed"}, []),
    ):
        assert await listed(owner, **query) == expected, query


@pytest.mark.parametrize(
    ("words", "is_found"),
    [
        ("margherita", True),
        ("MIT EXTRA", True),
        ("KÄSE", True),
        ("100%", True),
        ("a_b", True),
        ("[gross] (x)", True),
        ("1_0", False),
        ("Marg%rita", False),
        ("M*a", False),
        ("m.rgherita", False),
        ("funghi", False),
    ],
)
async def test_words_are_found_whatever_their_case_and_mean_only_themselves(
    owner: Caller, database: Database, wall: WallClock, words: str, is_found: bool
) -> None:
    said = add_call(database, owner.account_id, wall())
    silent = add_call(database, owner.account_id, wall())
    add_turns(
        database, said, wall(), ("agent", "Guten Tag"), ("caller", "Margherita mit extra Käse, 100% a_b [gross] (x)")
    )
    add_turns(database, silent, wall(), ("caller", "Nichts"))
    assert await listed(owner, text=words) == ([said] if is_found else [])


async def test_a_search_looks_through_some_calls_at_a_time_and_misses_none(
    owner: Caller, database: Database, wall: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_search, "SEARCHED_CALLS", 3)
    sids = [add_call(database, owner.account_id, wall() + timedelta(minutes=minute)) for minute in range(8)]
    for sid in (sids[7], sids[6], sids[1]):
        add_turns(database, sid, wall(), ("caller", "pizza"))
    seen, lengths, cursor = [], [], ""
    while cursor is not None:
        query = {"text": "Pizza", "limit": 1} | ({"cursor": cursor} if cursor else {})
        page = await (await owner.get("/api/calls", query_string=query)).get_json()
        seen += [item["call_sid"] for item in page["items"]]
        lengths.append(len(page["items"]))
        cursor = page["next_cursor"]
    assert seen == [sids[7], sids[6], sids[1]]
    assert 0 in lengths


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"cursor": "no cursor"},
        {"cursor": cursor_of("2026-03-02T10:00:00\x00", uuid4())},
        {"cursor": cursor_of("2026-03-02T10:00:00", uuid4())},
        {"cursor": cursor_of("0001-01-01T00:00:00+23:59", uuid4())},
        {"from": "yesterday"},
        {"from": "0.5"},
        {"from": "2026-03-02T10:00:00"},
        {"from": "0001-01-01T00:00:00+23:00"},
        {"status": "well"},
        {"text": "a\x00b"},
        {"text": ""},
        {"number": "\x00"},
        {"persona_id": "1"},
        {"colour": "red"},
    ],
)
async def test_a_list_that_cannot_be_is_refused(owner: Caller, query: dict[str, Any]) -> None:
    assert (await owner.get("/api/calls", query_string=query)).status_code == 400


async def test_one_call_is_shown_with_all_that_happened_in_it(
    owner: Caller, database: Database, wall: WallClock
) -> None:
    sid = add_call(database, owner.account_id, wall(), usage={"total_tokens": 7}, variables={"guests": 2})
    add_turns(
        database, sid, wall(), ("agent", "Hello."), ("caller", "Hi."), heard_ms=400, generated_ms=900, was_cut=True
    )
    add_events(
        database,
        sid,
        wall(),
        AnswerBegan(response_id="r1", item_id="i1", model_ms=310.5, relay_ms=0.4),
        AnswerSounded(response_id="r1", playout_ms=120.0),
        AnswerBegan(response_id="r2", item_id="i2", model_ms=290.0, relay_ms=0.3),
        BargedIn(item_id="i2", heard_ms=640, unheard_ms=1200, truncate_error_bound_ms=45, clear_ms=1.2),
        KeyPressed(digit="5"),
    )
    response = await owner.get(f"/api/calls/{sid}")
    assert response.status_code == 200
    call = await response.get_json()
    assert [(turn["speaker"], turn["words"], turn["heard_ms"], turn["was_cut"]) for turn in call["turns"]] == [
        ("agent", "Hello.", 400, True),
        ("caller", "Hi.", 400, True),
    ]
    assert call["answers"] == [
        {"at": "2026-03-02T10:00:00Z", "response_id": "r1", "model_ms": 310.5, "relay_ms": 0.4, "playout_ms": 120.0},
        {"at": "2026-03-02T10:00:02Z", "response_id": "r2", "model_ms": 290.0, "relay_ms": 0.3, "playout_ms": None},
    ]
    assert call["barge_in_moments"] == [
        {
            "at": "2026-03-02T10:00:03Z",
            "item_id": "i2",
            "heard_ms": 640,
            "error_bound_ms": 45,
            "unheard_ms": 1200,
            "clear_ms": 1.2,
        }
    ]
    assert (call["usage"], call["variables"], call["has_more_turns"]) == (
        {"total_tokens": 7},
        {"guests": 2},
        False,
    )
    assert call["prices_as_of"] == prices().as_of.isoformat()
    by_id = await (await owner.get(f"/api/calls/{call['id']}")).get_json()
    assert by_id == call


async def test_events_come_in_order_and_page_by_page(owner: Caller, database: Database, wall: WallClock) -> None:
    sid = add_call(database, owner.account_id, wall())
    add_events(database, sid, wall(), *(KeyPressed(digit=str(digit)) for digit in range(5)))
    first = await (await owner.get(f"/api/calls/{sid}/events", query_string={"limit": 3})).get_json()
    assert [each["body"]["digit"] for each in first["items"]] == ["0", "1", "2"]
    assert {each["name"] for each in first["items"]} == {"dtmf.received"}
    query = {"cursor": first["next_cursor"]}
    rest = await (await owner.get(f"/api/calls/{sid}/events", query_string=query)).get_json()
    assert ([each["number"] for each in rest["items"]], rest["next_cursor"]) == ([3, 4], None)
    for cursor in ("-1", "x", "9" * 30, "٣"):
        assert (await owner.get(f"/api/calls/{sid}/events", query_string={"cursor": cursor})).status_code == 400


async def test_a_transcript_is_json_or_a_text_to_read(owner: Caller, database: Database, wall: WallClock) -> None:
    sid = add_call(database, owner.account_id, wall())
    add_turns(database, sid, wall() + timedelta(seconds=61), ("agent", "Good\nevening."), ("caller", "Grüezi."))
    as_json = await owner.get(f"/api/calls/{sid}/transcript")
    assert [turn["words"] for turn in (await as_json.get_json())["turns"]] == ["Good\nevening.", "Grüezi."]
    as_text = await owner.get(f"/api/calls/{sid}/transcript", headers={"Accept": "text/plain"})
    assert as_text.content_type == "text/plain; charset=utf-8"
    assert await as_text.get_data(as_text=True) == "[00:01:01] agent: Good evening.\n[00:01:02] caller: Grüezi.\n"


async def test_words_that_were_cut_are_said_to_be(owner: Caller, database: Database, wall: WallClock) -> None:
    sid = add_call(database, owner.account_id, wall())
    add_turns(database, sid, wall(), ("agent", "We are open until"), was_cut=True)
    text = await owner.get(f"/api/calls/{sid}/transcript", headers={"Accept": "text/plain"})
    assert await text.get_data(as_text=True) == "[00:00:00] agent: We are open until [interrupted]\n"


@pytest.mark.parametrize("chosen", ["csv", "json"])
async def test_an_export_holds_every_call_once_however_many_pieces_it_is_made_of(
    owner: Caller, database: Database, wall: WallClock, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setattr(calls_routes, "EXPORTED_AT_ONCE", 2)
    sids = [add_call(database, owner.account_id, wall() + timedelta(minutes=minute)) for minute in range(5)]
    add_call(database, owner.account_id, wall(), status="failed")
    response = await owner.get("/api/calls/export", query_string={"format": chosen, "status": "completed"})
    assert response.headers["Content-Disposition"] == f'attachment; filename="calls.{chosen}"'
    if chosen == "json":
        rows = await response.get_json()
    else:
        rows = list(csv.DictReader(io.StringIO(await response.get_data(as_text=True))))
    assert [row["call_sid"] for row in rows] == sids[::-1]


async def test_an_export_of_no_calls_is_a_file_all_the_same(owner: Caller) -> None:
    response = await owner.get("/api/calls/export", query_string={"format": "json"})
    assert await response.get_json() == []
    response = await owner.get("/api/calls/export")
    assert response.content_type == "text/csv; charset=utf-8"
    assert (await response.get_data(as_text=True)).startswith("id,call_sid,direction")


async def test_no_cell_of_an_export_is_a_formula(owner: Caller, database: Database, wall: WallClock) -> None:
    add_call(
        database,
        owner.account_id,
        wall(),
        caller="+4930901820",
        called="=HYPERLINK(1)",
        outcome="\t-1",
        error_code="@x",
    )
    response = await owner.get("/api/calls/export")
    [row] = csv.DictReader(io.StringIO(await response.get_data(as_text=True), newline=""))
    assert (row["caller"], row["called"]) == ("'+4930901820", "'=HYPERLINK(1)")
    assert (row["outcome"], row["error_code"]) == ("'\t-1", "'@x")
    assert row["duration_ms"] == "60000"


async def test_sums_are_by_day_and_in_all(owner: Caller, database: Database, wall: WallClock) -> None:
    day = timedelta(days=1)
    add_call(database, owner.account_id, wall() - 2 * day, cost_usd_millionths=500_000, barge_ins=2)
    add_call(database, owner.account_id, wall() - 2 * day, direction="outbound", answered_at=None, duration_ms=None)
    add_call(database, owner.account_id, wall() - timedelta(hours=1), duration_ms=90_000, cost_usd_millionths=20_000)
    add_call(database, owner.account_id, wall() - 60 * day)
    summary = await (await owner.get("/api/calls/summary")).get_json()
    days = {each["day"]: each for each in summary["days"]}
    assert (len(days), min(days), max(days)) == (31, "2026-01-31", "2026-03-02")
    assert days["2026-02-28"] == {
        "day": "2026-02-28",
        "calls": 2,
        "inbound": 1,
        "outbound": 1,
        "answered": 1,
        "barge_ins": 2,
        "minutes": 1.0,
        "cost_usd_millionths": 500_000,
        "uncosted": 1,
    }
    assert days["2026-03-01"]["calls"] == 0
    total = summary["total"]
    assert (total["calls"], total["minutes"], total["cost_usd_millionths"]) == (3, 2.5, 520_000)


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-03-03T00:00:00Z", "to": "2026-03-02T00:00:00Z"},
        {"from": "2020-01-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"},
        {"to": "0001-01-01T00:00:00Z"},
        {"from": "9999-12-31T23:59:59-12:00"},
        {"to": "0.5"},
    ],
)
async def test_days_that_cannot_be_are_refused(owner: Caller, query: dict[str, str]) -> None:
    assert (await owner.get("/api/calls/summary", query_string=query)).status_code == 400


async def test_a_deleted_call_is_gone_with_its_words(owner: Caller, database: Database, wall: WallClock) -> None:
    sid = add_call(database, owner.account_id, wall())
    add_turns(database, sid, wall(), ("caller", "Forget me."))
    add_events(database, sid, wall(), KeyPressed(digit="1"))
    assert (await owner.delete(f"/api/calls/{sid}")).status_code == 204
    assert await code_of(await owner.get(f"/api/calls/{sid}")) == (404, "call_not_found")
    with database.engine.connect() as connection:
        for table in (transcript_turns, call_events):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0
        noted = connection.execute(select(audit_log)).mappings().one()
    assert (noted["action"], noted["actor_id"], noted["facts"]) == ("call.deleted", owner.user_id, {"call_sid": sid})


async def test_a_call_in_progress_is_not_deleted(owner: Caller, database: Database, wall: WallClock) -> None:
    sid = add_call(database, owner.account_id, wall(), status="in_progress", ended_at=None)
    assert await code_of(await owner.delete(f"/api/calls/{sid}")) == (409, "call_in_progress")
    assert (await owner.get(f"/api/calls/{sid}")).status_code == 200


async def test_a_viewer_reads_and_does_not_delete(
    owner: Caller, make_caller: MakeCaller, database: Database, wall: WallClock
) -> None:
    viewer = make_caller("viewer", account_id=owner.account_id)
    sid = add_call(database, owner.account_id, wall())
    assert await listed(viewer) == [sid]
    assert await code_of(await viewer.delete(f"/api/calls/{sid}")) == (403, "not_allowed")


async def test_another_accounts_calls_are_not_there(
    owner: Caller, stranger: Caller, database: Database, wall: WallClock
) -> None:
    sid = add_call(database, owner.account_id, wall())
    assert await listed(stranger) == []
    assert await listed(stranger, text="x") == []
    for path in ("", "/events", "/transcript"):
        assert await code_of(await stranger.get(f"/api/calls/{sid}{path}")) == (404, "call_not_found")
    assert await code_of(await stranger.delete(f"/api/calls/{sid}")) == (404, "call_not_found")
    assert await (await stranger.get("/api/calls/export", query_string={"format": "json"})).get_json() == []
    assert (await (await stranger.get("/api/calls/summary")).get_json())["total"]["calls"] == 0


async def test_nobodys_calls_are_seen_by_the_first_accounts_owners_only(
    owner: Caller, make_caller: MakeCaller, database: Database, wall: WallClock
) -> None:
    manager = make_caller("manager", account_id=owner.account_id)
    wall.passes(minutes=1)
    later = make_caller()
    sid = add_call(database, None, wall())
    assert await listed(owner) == [sid]
    assert await listed(manager) == []
    assert await listed(later) == []
    assert (await owner.get(f"/api/calls/{sid}")).status_code == 200
    assert (await later.get(f"/api/calls/{sid}")).status_code == 404


NOBODYS_ID = "018f0000-0000-7000-8000-000000000000"


@pytest.mark.parametrize("sid", ["CA1", "CA" + "f" * 32, NOBODYS_ID, f"ordered:{NOBODYS_ID}"])
async def test_a_call_that_is_not_there_is_not_found(owner: Caller, sid: str) -> None:
    assert await code_of(await owner.get(f"/api/calls/{sid}")) == (404, "call_not_found")


@pytest.mark.parametrize("sid", ["CA", "CA%00", "%C3%A4", "x" * 300, "CA" + "f" * 63, "ordered:CA1", "live"])
async def test_what_could_be_no_calls_name_is_no_path(owner: Caller, sid: str) -> None:
    for path in (sid, f"{sid}/events", f"{sid}/transcript"):
        assert await code_of(await owner.get(f"/api/calls/{path}")) == (404, "not_found")


@pytest.mark.parametrize("name", ["export", "summary"])
async def test_the_name_of_another_route_is_no_calls(owner: Caller, name: str) -> None:
    response = await owner.delete(f"/api/calls/{name}")
    assert await code_of(response) == (405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert (await owner.get(f"/api/calls/{name}/events")).status_code == 404


async def test_a_call_that_twilio_has_not_named_is_found_by_the_name_that_it_is_listed_under(
    owner: Caller, database: Database, wall: WallClock
) -> None:
    sid = add_call(database, owner.account_id, wall(), call_sid=f"ordered:{uuid4()}")
    assert (await owner.get(f"/api/calls/{sid}")).status_code == 200

"""Records in the database, on SQLite and on PostgreSQL: each event once, in order, whoever writes and however often."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import trio
from sqlalchemy import Connection, Table, select

from admin.principal import SCOPES, Principal
from admin.services.calls.call_history import CallHistory
from admin.services.calls.call_record import Record, Rung
from admin.services.calls.call_status import StatusReport
from admin.services.calls.call_writing import write_records
from admin.store import calls, users
from admin.store.column_types import new_id
from admin.store.database import Database
from admin.store.schema import call_events, transcript_turns
from relay import LogEvent
from relay.log import AgentHeard, CallerTranscribed, KeyPressed
from tests.admin.services import records as made

OURS = new_id()
WHOLE_CALL: tuple[LogEvent | Rung, ...] = (
    made.RUNG,
    made.STARTED,
    made.HELLO,
    *made.answer(300, 1, 40),
    made.ANSWER,
    made.barged_in(),
    made.ended(),
)


async def write(database: Database, records: Sequence[Record]) -> None:
    await database.write(partial(write_records, records=records, process_id=OURS, models=made.MODELS))


async def rows(database: Database, table: Table) -> list[dict[str, Any]]:
    def read(connection: Connection) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(select(table).order_by(table.c.number)).mappings()]

    return await database.read(read)


async def call(database: Database, call_sid: str = "CA1") -> dict[str, Any]:
    found = await database.read(partial(calls.by_sid, call_sid=call_sid))
    assert found is not None
    assert await database.read(partial(calls.by_id, call_id=found["id"])) == found
    return dict(found)


async def test_a_call_is_there_with_all_that_happened(database: Database) -> None:
    records = made.records(*WHOLE_CALL)
    await write(database, records)
    row = await call(database)
    assert (row["status"], row["caller"], row["stream_sid"]) == ("completed", "+15551230001", "MZ1")
    assert (row["created_at"], row["answered_at"], row["ended_at"]) == (made.AT, made.after(1), made.after(7))
    assert (row["process_id"], row["end_reason"], row["barge_ins"]) == (OURS, "caller_hung_up", 1)
    assert row["latency"]["model_ms"] == {"p50": 300, "p95": 300, "max": 300}
    assert row["usage"]["model"] == "gpt-realtime-2.1"
    assert row["cost_usd_millionths"] == 0
    events = await rows(database, call_events)
    assert [(each["number"], each["name"], each["at"]) for each in events] == [
        (number, record.name, record.at) for number, record in enumerate(records[1:], start=1)
    ]
    assert events[5]["body"] == {
        "item_id": "item_2", "heard_ms": 900, "unheard_ms": 600, "truncate_error_bound_ms": 20, "clear_ms": 0.0
    }  # fmt: skip


async def test_the_transcript_says_who_said_what_and_how_much_of_it_was_heard(database: Database) -> None:
    await write(database, made.records(*WHOLE_CALL))
    caller, agent = await rows(database, transcript_turns)
    assert (caller["number"], caller["speaker"], caller["words"], caller["item_id"]) == (
        2,
        "caller",
        "Hello.",
        "item_1",
    )
    assert (caller["heard_ms"], caller["was_cut"]) == (None, False)
    assert (agent["number"], agent["speaker"], agent["words"]) == (5, "agent", "Good evening")
    assert (agent["heard_ms"], agent["generated_ms"], agent["was_cut"]) == (900, 1500, True)
    assert "words" not in (await rows(database, call_events))[1]["body"]


async def test_words_that_may_not_be_kept_are_nowhere(database: Database) -> None:
    silent = msgspec.structs.replace(made.ANSWER, words=None)
    await write(database, made.records(made.STARTED, silent))
    assert await rows(database, transcript_turns) == []
    assert (await rows(database, call_events))[1]["body"]["heard_ms"] == 900


async def test_writing_the_same_records_again_changes_nothing(database: Database) -> None:
    records = made.records(*WHOLE_CALL)
    await write(database, records[:4])
    await write(database, records)
    before = (await call(database), await rows(database, call_events), await rows(database, transcript_turns))
    await write(database, records)
    await write(database, records[2:5])
    after = (await call(database), await rows(database, call_events), await rows(database, transcript_turns))
    assert before == after
    assert [each["number"] for each in before[1]] == list(range(1, 8))


async def test_what_twilio_tells_changes_the_row_is_no_event_and_says_once_that_a_call_is_over(
    database: Database,
) -> None:
    over = msgspec.structs.replace(made.REPORTED, status=StatusReport(at=made.after(9), status="busy"))
    records = made.records(made.RUNG, made.REPORTED, over)
    work = partial(write_records, records=records, process_id=OURS, models=made.MODELS)
    assert await database.write(work) == {"CA1": "busy"}
    before = await call(database)
    assert (before["status"], before["ended_at"], before["answered_by"]) == ("busy", made.after(9), "human")
    assert await database.write(work) == {}
    assert await call(database) == before
    assert await rows(database, call_events) == []


async def test_two_processes_may_tell_of_one_call_at_once(database: Database) -> None:
    pieces = [made.records(made.STARTED, *[KeyPressed(digit=str(n))] * 5, call_sid=f"CA{n % 3}") for n in range(12)]
    async with trio.open_nursery() as nursery:
        for first, second in pairwise(pieces):
            nursery.start_soon(write, database, [*second, *first])
    numbers: dict[Any, list[int]] = {}
    for event in await rows(database, call_events):
        numbers.setdefault(event["call_id"], []).append(event["number"])
    assert [sorted(each) for each in numbers.values()] == [list(range(1, 25))] * 3


async def test_a_second_stream_of_a_call_goes_on_where_the_first_ended(database: Database) -> None:
    await write(database, made.records(made.STARTED, made.ended()))
    await write(database, made.records(made.STARTED, made.HELLO, began_s=10))
    assert [each["number"] for each in await rows(database, call_events)] == [1, 2, 3, 4]


async def test_a_call_of_nobody_belongs_to_the_first_account(database: Database) -> None:
    account = await database.write(lambda connection: users.add(connection, role="owner", at=made.AT))
    await write(database, made.records(made.STARTED))
    assert (await call(database))["account_id"] is None  # whoever knows the number may yet say whose it is
    await write(database, made.records(made.RUNG))
    assert (await call(database))["account_id"] == account


async def test_whose_call_it_is_is_said_by_who_knows_the_number(database: Database) -> None:
    await database.write(lambda connection: users.add(connection, role="owner", at=made.AT))
    other = await database.write(lambda connection: users.add(connection, role="owner", at=made.after(1)))
    await write(database, made.records(made.STARTED, made.ended()))
    await write(database, made.records(msgspec.structs.replace(made.RUNG, account_id=other)))
    assert (await call(database))["account_id"] == other


@pytest.mark.parametrize("words", ["\0", "a\0b", "日本語 🎈", "", "'; DROP TABLE calls; --", "\\u0000"])
async def test_a_caller_may_say_anything(database: Database, words: str) -> None:
    told = CallerTranscribed(item_id="i", words=words), AgentHeard(item_id="j", heard_ms=0, generated_ms=0, words=words)
    await write(database, made.records(made.STARTED, *told))
    kept = words.replace("\0", "\N{REPLACEMENT CHARACTER}")
    assert [each["words"] for each in await rows(database, transcript_turns)] == [kept, kept]


async def test_an_id_is_the_records_own(database: Database) -> None:
    records = made.records(made.STARTED, made.HELLO)
    await write(database, records)
    assert [each["id"] for each in await rows(database, call_events)] == [each.id for each in records]


async def test_what_is_told_late_does_not_bring_a_deleted_call_back(database: Database) -> None:
    user_id = await database.write(lambda connection: users.add(connection, role="owner", at=made.AT))
    await write(database, made.records(*WHOLE_CALL))
    account_id = (await call(database))["account_id"]
    asking = Principal(user_id=user_id, account_id=account_id, role="owner", scopes=SCOPES["owner"], via="api_key")
    await CallHistory(database, lambda: made.after(60)).remove(asking, "CA1")
    late, another = made.records(made.HELLO, began_s=61), made.records(made.STARTED, call_sid="CA2", began_s=61)
    await write(database, [*late, *another])
    assert await database.read(partial(calls.known, call_sids=["CA1", "CA2"])) == {"CA2"}

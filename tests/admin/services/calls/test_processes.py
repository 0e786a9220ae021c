"""Who is dead, and what becomes of their calls; whoever lives is left alone, whatever clocks and databases do."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import trio
from sqlalchemy import func, select
from structlog.testing import capture_logs
from trio.testing import MockClock

from admin.services.calls.call_record import Record
from admin.services.calls.call_writing import write_records
from admin.services.calls.processes import DEAD_AFTER_S, SEEN_EVERY_S, Process, Processes, Seen, Watch, this_process
from admin.store import calls, users
from admin.store import processes as table
from admin.store.column_types import new_id
from admin.store.database import Database
from admin.store.schema import processes as rows
from tests.admin.api.conftest import WallClock
from tests.admin.services import records as made

HERE, THERE = "here 1", "there 2"


def process(host: str = HERE, pid: int = 100) -> Process:
    return Process(id=new_id(), host=host, pid=pid)


OWN = process(pid=1)


def seen(*each: Process, at: datetime = made.AT) -> dict[Any, Seen]:
    return {one.id: Seen(one, at) for one in each}


def watch(*living_pids: int) -> Watch:
    return Watch(OWN, lambda pid: pid in living_pids)


def test_a_process_that_is_gone_from_this_machine_is_dead_at_once() -> None:
    gone, alive = process(pid=2), process(pid=3)
    assert watch(3).dead([], seen(gone, alive, OWN), now=0.0) == {gone.id}


def test_a_pid_means_nothing_on_another_machine() -> None:
    assert watch().dead([], seen(process(THERE, pid=2), OWN), now=0.0) == set()


def test_a_pid_that_is_ours_now_was_somebody_elses_before() -> None:
    before_us = process(pid=OWN.pid)
    assert watch(OWN.pid).dead([], seen(before_us, OWN), now=0.0) == {before_us.id}


def test_a_process_that_nobody_sees_any_more_is_dead_after_a_while() -> None:
    other, watching = process(THERE), watch()
    for now, at, is_dead in [(0, 0, False), (20, 5, False), (49, 5, False), (50, 5, True), (51, 6, False)]:
        known = seen(other, at=made.after(at))
        assert (other.id in watching.dead([], known, float(now))) == is_dead


def test_a_clock_that_is_hours_ahead_buries_nobody() -> None:
    other = process(THERE)
    assert watch().dead([other.id], seen(other, at=made.AT - timedelta(hours=9)), now=1e9) == set()


def test_a_carrier_that_nobody_ever_saw_is_given_the_same_while() -> None:
    unknown, watching = new_id(), watch()
    assert watching.dead([unknown], {}, now=0.0) == set()
    assert watching.dead([unknown], {}, now=DEAD_AFTER_S) == {unknown}


def test_while_nobody_could_be_seen_nobody_dies() -> None:
    other, watching = process(THERE), watch()
    watching.dead([], seen(other), now=0.0)
    watching.interrupted()
    assert watching.dead([], seen(other), now=1000.0) == set()


def test_we_live() -> None:
    watching = watch()
    for now in (0.0, 1000.0):
        assert watching.dead([OWN.id], seen(OWN), now) == set()


def test_a_process_is_a_new_one_whenever_it_begins() -> None:
    one, other = this_process(), this_process()
    assert (one.host, one.pid) == (other.host, other.pid)
    assert one.id != other.id


async def write(database: Database, records: Sequence[Record], owner: Process) -> None:
    await database.write(partial(write_records, records=records, process_id=owner.id, models=made.MODELS))


async def call(database: Database, call_sid: str) -> dict[str, Any]:
    found = await database.read(partial(calls.by_sid, call_sid=call_sid))
    return dict(found or {})


async def enter(database: Database, each: Process) -> None:
    await database.write(partial(table.see, process_id=each.id, host=each.host, pid=each.pid, at=made.AT))


def attending(database: Database, wall: WallClock, adopted: Sequence[Record] = (), owner: Process = OWN) -> Processes:
    async def adopt() -> None:
        await write(database, adopted, owner)

    return Processes(database, wall, own=OWN, models=made.MODELS, adopt=adopt, exists=lambda pid: pid == OWN.pid)


async def test_the_calls_of_a_dead_process_are_closed_with_what_is_known(database: Database) -> None:
    dead, wall = process(pid=2), WallClock()
    account = await database.write(lambda connection: users.add(connection, role="owner", at=made.AT))
    await enter(database, dead)
    told = [made.STARTED, made.HELLO, *made.answer(300, 1, 40), made.barged_in()]
    await write(database, made.records(*told, call_sid="CA1"), dead)
    await write(database, made.records(made.STARTED, made.ended(), call_sid="CA2"), dead)
    left_on_disk = made.records(made.HELLO, call_sid="CA1", began_s=30)
    with capture_logs() as logs:
        await attending(database, wall, left_on_disk, dead).attend()
    row = await call(database, "CA1")
    assert (row["status"], row["end_reason"], row["ended_at"]) == ("aborted", "process_died", made.after(30))
    assert (row["duration_ms"], row["barge_ins"], row["account_id"]) == (30_000, 1, account)
    assert row["latency"]["model_ms"]["max"] == 300
    assert (await call(database, "CA2"))["status"] == "completed"
    assert [each["event"] for each in logs] == ["calls.aborted"]
    remaining = await database.read(lambda connection: list(connection.execute(select(rows.c.id)).scalars()))
    assert remaining == [OWN.id]


async def test_the_calls_of_who_lives_are_left_alone(database: Database, autojump_clock: MockClock) -> None:
    other, wall = process(THERE), WallClock()
    await write(database, made.records(made.STARTED, call_sid="CA1"), OWN)
    await write(database, made.records(made.STARTED, call_sid="CA2"), other)
    attends = attending(database, wall)
    for second in range(0, 120, int(SEEN_EVERY_S)):
        await database.write(partial(table.see, process_id=other.id, host=THERE, pid=other.pid, at=made.after(second)))
        await attends.attend()
        await trio.sleep(SEEN_EVERY_S)
    assert [(await call(database, sid))["status"] for sid in ("CA1", "CA2")] == ["in_progress", "in_progress"]


async def test_a_call_that_only_rings_may_be_carried_by_another_for_a_while(database: Database) -> None:
    dead, wall = process(pid=2), WallClock()
    await enter(database, dead)
    rung = msgspec.structs.replace(made.RUNG, direction="outbound")
    await write(database, made.records(rung), dead)
    with capture_logs():
        await attending(database, wall).attend()
        assert (await call(database, "CA1"))["status"] == "queued"
        wall.passes(minutes=11)
        await enter(database, dead)
        await attending(database, wall).attend()
    assert (await call(database, "CA1"))["status"] == "aborted"


async def test_more_calls_than_one_transaction_takes_are_all_closed(database: Database) -> None:
    dead = process(pid=2)
    await enter(database, dead)
    records = [each for n in range(230) for each in made.records(made.STARTED, call_sid=f"CA{n}")]
    await write(database, records, dead)
    with capture_logs() as logs:
        await attending(database, WallClock()).attend()
    assert [each["calls"] for each in logs] == [100, 100, 30]
    assert await database.read(calls.carriers) == []


async def test_a_call_goes_on_when_its_process_was_only_asleep(database: Database) -> None:
    asleep = process(pid=2)
    await enter(database, asleep)
    await write(database, made.records(made.STARTED), asleep)
    with capture_logs():
        await attending(database, WallClock()).attend()
    await write(database, made.records(made.HELLO, began_s=60), asleep)
    assert (await call(database, "CA1"))["status"] == "in_progress"


async def test_a_database_that_is_away_is_no_reason_to_stop(autojump_clock: MockClock) -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with trio.move_on_after(60) as scope, capture_logs() as logs:
        await attending(database, WallClock()).run()
    assert scope.cancelled_caught
    assert logs == []  # who writes the records says so
    database.close()


async def test_who_is_busy_with_what_the_dead_have_left_is_not_taken_for_one_of_them(
    database: Database, mock_clock: MockClock
) -> None:
    mock_clock.rate = 100
    wall = WallClock()
    enough = wall() + timedelta(seconds=DEAD_AFTER_S)
    seen_at = select(func.max(rows.c.seen_at))
    attends = Processes(database, wall, own=OWN, models=made.MODELS, adopt=trio.sleep_forever)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attends.run)
        with trio.fail_after(10 * DEAD_AFTER_S):
            while (await database.read(lambda c: c.execute(seen_at).scalar()) or made.AT) < enough:
                wall.passes(seconds=1)
                await trio.sleep(1)
        nursery.cancel_scope.cancel()

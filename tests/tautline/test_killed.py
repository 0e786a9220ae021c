"""`tautline serve` as a real process, killed in the middle of its calls: the next one accounts for all of them."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from sqlalchemy import select

from admin.store.database import Database
from admin.store.schema import calls, transcript_turns
from benchmarks.simulators.twilio import (
    AfterSilence,
    Caller,
    CallOptions,
    CallReport,
    Conversation,
    Utterance,
    place_call,
)
from benchmarks.speech import clip
from tests.services.databases import BACKENDS, Backend, Databases
from tests.tautline.patient_caller import PatientCaller
from tests.tautline.test_serve import PUBLIC_URL, TOKEN
from tests.tautline.test_workers import Crewed, started

FINISHED, CUT = 5, 20  # calls that are over before the process is killed, and that it still carries
LOST_AT_MOST = timedelta(seconds=2)
WITHIN_S = 120.0  # for all of it, on a machine that does much else
GREETING = clip("greeting")
TURNS = ("turn.agent_heard", "turn.caller_transcribed")


async def call(port: int, caller: Caller) -> CallReport:
    options = CallOptions(
        webhook_url=f"{PUBLIC_URL}/incoming-call",
        status_callback_url=f"{PUBLIC_URL}/voice/status",
        status_callback_events=("initiated", "ringing", "answered", "completed"),
        auth_token=TOKEN,
        connect_to=("127.0.0.1", port),
    )
    return await place_call(options, caller)


def asks_on_and_on() -> Caller:
    return Conversation([Utterance(clip("ask_hours").mulaw, AfterSilence(500))] * 50)


def told(server: Crewed) -> list[tuple[datetime, str, str]]:
    """When which item of which call was spoken, by the server's log."""
    return [
        (datetime.fromisoformat(line["at"]), line["call_sid"], line["item_id"])
        for name in TURNS
        for line in server.lines(name)
    ]


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - another process tells nobody here
        await trio.sleep(0.05)


def rows(database: Database) -> dict[str, dict[str, Any]]:
    with database.engine.connect() as connection:
        return {row["call_sid"]: dict(row) for row in connection.execute(select(calls)).mappings()}


def transcript(database: Database) -> set[tuple[str, str]]:
    """Which item of which call is in the database with its words."""
    query = select(calls.c.call_sid, transcript_turns.c.item_id).join_from(calls, transcript_turns)
    with database.engine.connect() as connection:
        return {(call_sid, item_id) for call_sid, item_id in connection.execute(query)}


async def killed_in_mid_call(server: Crewed) -> tuple[set[str], set[str], set[tuple[str, str]]]:
    """Some calls end, others go on until the process is killed.

    Returns: the SIDs of those that have ended, and of those that were cut; which of their items were said early enough
    before that.
    """
    port: int = (await server.line("server.started"))["port"]
    finished: set[str] = set()
    async with trio.open_nursery() as line:

        async def end_one() -> None:
            finished.add((await call(port, PatientCaller([GREETING]))).call_sid)

        for _ in range(FINISHED):
            line.start_soon(end_one)
    await server.line("call.ended", times=FINISHED)

    def said_by(at: datetime) -> set[tuple[str, str]]:
        return {(call_sid, item_id) for said_at, call_sid, item_id in told(server) if said_at <= at}

    def cut_ones_said() -> set[str]:
        return {call_sid for call_sid, _ in said_by(datetime.now(UTC) - LOST_AT_MOST)} - finished

    async with trio.open_nursery() as line:
        for _ in range(CUT):
            line.start_soon(call, port, asks_on_and_on())
        await until(lambda: len(cut_ones_said()) == CUT)
        killed_at = datetime.now(UTC)
        server.process.kill()
        await trio.to_thread.run_sync(server.process.wait)
    begun = {line["call_sid"] for line in server.lines("call.started")}
    return finished, begun - finished, said_by(killed_at - LOST_AT_MOST)


def require_complete(row: dict[str, Any]) -> None:
    assert (row["status"], row["end_reason"]) == ("completed", "caller_hung_up")
    assert None not in [row[name] for name in ("answered_at", "ended_at", "duration_ms", "usage")]


def require_closed(row: dict[str, Any]) -> None:
    assert (row["status"], row["end_reason"]) == ("aborted", "process_died")
    assert None not in [row[name] for name in ("answered_at", "ended_at", "duration_ms")]


# httpx leaves a request as it is when the server dies under it.
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
@pytest.mark.timeout(WITHIN_S + 60)
@pytest.mark.parametrize("backend", BACKENDS)
async def test_of_a_server_that_was_killed_every_call_is_accounted_for_and_the_next_takes_calls(
    backend: Backend, databases: Databases, tmp_path: Path
) -> None:
    with databases.open_url(backend) as url, closing(Database(url)) as database, trio.fail_after(WITHIN_S):
        settings = {"WORKERS": "1", "DATABASE_URL": url, "DATA_DIR": str(tmp_path)}
        with started(**settings) as server:
            finished, cut, said = await killed_in_mid_call(server)
        assert len(cut) == CUT
        with started(**settings) as server:
            port = (await server.line("server.started"))["port"]
            await until(lambda: cut <= {sid for sid, row in rows(database).items() if row["status"] == "aborted"})
            found = rows(database)
            assert set(found) == cut | finished
            for call_sid, row in found.items():
                (require_closed if call_sid in cut else require_complete)(row)
            assert {call_sid for call_sid, _ in said} == cut | finished
            assert said <= transcript(database)
            report = await call(port, PatientCaller([GREETING]))
            assert (report.error, report.ended_by, report.heard_ms) == (None, "caller", GREETING.duration_ms)
            await until(lambda: rows(database).get(report.call_sid, {}).get("status") == "completed")

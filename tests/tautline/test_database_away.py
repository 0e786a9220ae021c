"""A served server whose PostgreSQL is stopped and started again in the middle of its calls: callers notice nothing, and
afterwards the database knows all of it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import trio
from sqlalchemy import Table, select

from admin.store import migrating
from admin.store.database import Database
from admin.store.schema import call_events, calls, transcript_turns
from benchmarks.simulators.openai import Reply, Script, SimulatorConfig
from benchmarks.simulators.openai import serve as serve_openai
from benchmarks.simulators.twilio import (
    CallOptions,
    CallReport,
    Event,
    StreamStarted,
    place_call,
)
from benchmarks.speech import clip
from relay.log import CallStarted
from tautline.serve import Server
from tests.relay.calls import Records
from tests.services.postgres import Postgres, open_postgres
from tests.tautline.patient_caller import PatientCaller
from tests.tautline.test_serve import PUBLIC_URL, SETTINGS, TOKEN
from tests.tautline.test_serve_directory import NUMBER, set_up

BEFORE, MEANWHILE = 25, 25  # calls that begin before the database is stopped, and while it is away
WITHIN_S = 120.0  # for all of it, on a machine that does much else
GREETING, ANSWER, QUESTION = clip("one_moment"), clip("anything_else"), clip("ask_menu")
TURNS = [("agent", GREETING.transcript), ("caller", QUESTION.transcript), ("agent", ANSWER.transcript)]


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A server of this test's own, which may be stopped; like one in production, it then keeps what it has said."""
    with open_postgres() as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("ALTER ROLE tautline SET synchronous_commit = on")
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """One of that server's, with the present schema."""
    with closing(Database(postgres.create("served"))) as made:
        migrating.upgrade(made.engine)
        yield made


class Callers:
    """People who ask one thing, hear the answer and hang up. Attributes: reports, of the calls that are over."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._begun = 0
        self.reports: list[CallReport] = []

    async def call(self) -> None:
        options = CallOptions(
            webhook_url=f"{PUBLIC_URL}/incoming-call",
            status_callback_url=f"{PUBLIC_URL}/voice/status",
            status_callback_events=("initiated", "ringing", "answered", "completed"),
            auth_token=TOKEN,
            to_number=NUMBER,
            connect_to=("127.0.0.1", self._port),
        )
        caller = PatientCaller([GREETING, ANSWER], asks=[QUESTION])
        self.reports.append(await place_call(options, caller, self._observe))

    async def have_begun(self, number: int) -> None:
        while self._begun < number:  # noqa: ASYNC110 - waking up for each of them would be longer
            await trio.sleep(0.01)

    async def have_ended(self, number: int) -> None:
        while len(self.reports) < number:  # noqa: ASYNC110 - as above
            await trio.sleep(0.01)

    def _observe(self, event: Event) -> None:
        self._begun += isinstance(event, StreamStarted)


@asynccontextmanager
async def serving(database: Database, data_dir: Path) -> AsyncIterator[tuple[Server, int, Records]]:
    """A server before a simulated model, its port and what its calls told. When the context ends it has drained."""
    records = Records()
    script = Script(
        greeting=Reply(GREETING.name), steps=(Reply(ANSWER.name),), input_transcripts=(QUESTION.transcript,)
    )
    config = SimulatorConfig(first_audio_delay_s=0.0, pace=20.0, script=script)
    async with trio.open_nursery() as nursery:
        model_port = await nursery.start(partial(serve_openai, config))
        url = f"ws://127.0.0.1:{model_port}/v1/realtime"
        settings = msgspec.structs.replace(SETTINGS, openai_realtime_url=url, data_dir=data_dir)
        server = Server(settings, records, database=database)
        yield server, await nursery.start(server.run), records
        await server.drain()
        nursery.cancel_scope.cancel()


async def fifty_calls(postgres: Postgres, port: int) -> list[CallReport]:
    """Half of them begin before the database is stopped and end without it; the others begin without it."""
    callers = Callers(port)
    async with trio.open_nursery() as line:
        for _ in range(BEFORE):
            line.start_soon(callers.call)
        await callers.have_begun(BEFORE)
        await trio.to_thread.run_sync(postgres.stop)
        for _ in range(MEANWHILE):
            line.start_soon(callers.call)
        await callers.have_begun(BEFORE + MEANWHILE)
        await callers.have_ended(BEFORE)
        await trio.to_thread.run_sync(postgres.start)
    return callers.reports


def by_call(database: Database, table: Table, *columns: str) -> dict[str, list[tuple[Any, ...]]]:
    """A table's rows in their order, by the call's SID."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    wanted = [table.c[name] for name in columns]
    query = select(calls.c.call_sid, *wanted).join_from(calls, table).order_by(table.c.number)
    with database.engine.connect() as connection:
        for call_sid, *values in connection.execute(query):
            found.setdefault(call_sid, []).append(tuple(values))
    return found


def rows_of(database: Database) -> dict[str, dict[str, Any]]:
    with database.engine.connect() as connection:
        return {row["call_sid"]: dict(row) for row in connection.execute(select(calls)).mappings()}


def require_unharmed(report: CallReport) -> None:
    assert (report.error, report.ended_by, report.warnings, report.said) == (None, "caller", (), ())
    assert set(report.http_statuses) == {200, 204}
    # On a machine that does much else there may be pauses in it.
    assert report.heard_ms >= GREETING.duration_ms + ANSWER.duration_ms


@pytest.mark.timeout(WITHIN_S + 60)
async def test_fifty_callers_notice_nothing_of_a_database_that_was_away_and_their_records_are_complete(
    postgres: Postgres, database: Database, tmp_path: Path
) -> None:
    account_id = set_up(database)
    with trio.fail_after(WITHIN_S):
        async with serving(database, tmp_path) as (server, port, told):
            reports = await fifty_calls(postgres, port)
    for report in reports:
        require_unharmed(report)
    # The number's own persona answered them all, also while nobody could look it up.
    assert len({event.persona_version for event in told.of(CallStarted)}) == 1
    assert server.office is not None
    records = server.office.records
    assert (records.dropped, records.is_away) == (0, False)
    assert records.spooled > 0
    assert [each for each in (tmp_path / "spool").rglob("*") if each.is_file()] == []
    rows, sids = rows_of(database), {report.call_sid for report in reports}
    assert len(sids) == BEFORE + MEANWHILE
    assert set(rows) == sids
    for row in rows.values():
        assert (row["status"], row["end_reason"], row["account_id"]) == ("completed", "caller_hung_up", account_id)
        assert None not in [row[name] for name in ("persona_id", "answered_at", "ended_at", "duration_ms", "usage")]
    assert by_call(database, transcript_turns, "speaker", "words") == dict.fromkeys(sids, TURNS)
    for events in by_call(database, call_events, "number", "name").values():
        assert [number for number, _ in events] == list(range(1, len(events) + 1))
        assert (events[0][1], events[-1][1]) == ("call.started", "call.ended")

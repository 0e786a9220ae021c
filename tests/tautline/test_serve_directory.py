"""The server with a database, as Twilio meets it: the stored persona answers, and what Twilio tells is written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio
from sqlalchemy import select

from admin.services.personas.persona_body import PersonaBody
from admin.store import directory, personas, phone_numbers, users
from admin.store.database import Database
from admin.store.schema import calls
from benchmarks.simulators.openai import SimulatorConfig
from benchmarks.simulators.openai import serve as serve_openai
from benchmarks.simulators.twilio import CallOptions, CallReport, Delivery, HangUp, Recording, place_call
from relay import Arrival, CallStarted
from tautline.phrases import APOLOGY_CLIP
from tautline.serve import Server
from tests.relay.calls import Records
from tests.tautline.test_serve import PUBLIC_URL, SETTINGS, TOKEN

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
NUMBER = "+15551230002"


def set_up(database: Database, **number: Any) -> UUID:
    """An account with one persona and one number. Returns: the account."""
    with database.engine.begin() as connection:
        account_id = users.add(connection, role="owner", at=AT)
        body = msgspec.to_builtins(PersonaBody(name="Luna", greeting="Luna's, good evening."))
        persona_id = personas.add(
            connection,
            account_id=account_id,
            name="Luna",
            language="",
            body=body,
            change="created",
            by=account_id,
            at=AT,
        )
        personas.activate(connection, account_id, persona_id)
        values = {"fallback": {"kind": "message"}, **number}
        phone_numbers.add(connection, account_id=account_id, at=AT, number=NUMBER, **values)
        directory.bump(connection)
        return account_id


@asynccontextmanager
async def serving(database: Database, **changed: Any) -> AsyncIterator[tuple[int, Records]]:
    records = Records()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve_openai, SimulatorConfig(first_audio_delay_s=0.0, pace=20.0)))
        url = f"ws://127.0.0.1:{port}/v1/realtime"
        settings = msgspec.structs.replace(SETTINGS, openai_realtime_url=url, **changed)
        server = Server(settings, records, database=database)
        yield await nursery.start(server.run), records
        await server.drain()
        nursery.cancel_scope.cancel()


async def call(port: int, **options: Any) -> CallReport:
    placed = CallOptions(
        webhook_url=f"{PUBLIC_URL}/twilio/voice",
        to_number=NUMBER,
        status_callback_url=f"{PUBLIC_URL}/twilio/status",
        status_callback_events=("initiated", "ringing", "answered", "completed"),
        auth_token=TOKEN,
        connect_to=("127.0.0.1", port),
        max_seconds=10,
        **options,
    )
    return await place_call(placed, Recording(b"", actions=[HangUp(300)]))


def row(database: Database) -> dict[str, Any]:
    with database.engine.connect() as connection:
        return dict(connection.execute(select(calls)).mappings().one())


async def test_a_stored_persona_answers_and_its_call_is_known_afterwards(
    database: Database,
) -> None:
    account_id = set_up(database)
    with database.engine.connect() as connection:
        [persona] = personas.all_current(connection)
    async with serving(database) as (port, records):
        report = await call(port, delivery=Delivery(order="shuffled", is_doubled=True), seed=7)
    assert report.warnings == ()
    assert [event.persona_version for event in records.of(CallStarted)] == [f"{persona['id'].hex}:1"]
    found = row(database)
    assert (found["status"], found["end_reason"], found["account_id"]) == ("completed", "caller_hung_up", account_id)
    assert found["stream_sid"].startswith("MZ")
    assert found["answered_at"] is not None


@pytest.mark.parametrize(("kind", "outcome"), [("voicemail", "voicemail"), ("message", "message")])
async def test_a_caller_who_comes_too_late_meets_the_fallback(kind: str, outcome: str, database: Database) -> None:
    never = {"time_zone": "UTC", "weekly": []}
    set_up(database, hours=never, fallback={"kind": kind, "message": "Closed."})
    async with serving(database) as (port, records):
        report = await call(port)
    assert report.warnings == ()
    assert records.of(CallStarted) == []
    assert (row(database)["status"], row(database)["outcome"]) == ("completed", outcome)


async def test_without_its_database_the_server_starts_and_the_settings_persona_answers(tmp_path: Path) -> None:
    gone = Database(f"sqlite:///{tmp_path}")  # a folder, which no database can be
    async with serving(gone, data_dir=tmp_path / "data") as (port, records):  # where what cannot be written stays
        report = await call(port)
    assert report.warnings == ()
    assert [event.persona_version for event in records.of(CallStarted)] == [""]
    gone.close()


async def test_without_a_token_the_numbers_own_persona_answers_and_knows_who_calls(
    database: Database, tmp_path: Path
) -> None:
    set_up(database, label="Luna")
    settings = msgspec.structs.replace(SETTINGS, data_dir=tmp_path, staff_number="+4930901820", staff_key="9")
    server = Server(settings, Records(), database=database)
    assert server.office is not None
    arrival = Arrival(call_sid="CA1", parameters={"called": NUMBER, "caller": "+15551230001"})
    assert server.office.who_answers(arrival).greeting != "Luna's, +15551230001!"
    with database.engine.begin() as connection:
        [persona] = personas.all_current(connection)
        body = persona["body"] | {"greeting": "{{shop.name}}'s, {{caller.number}}!"}
        renewed = {"name": "Luna", "language": "", "body": body, "change": "edited"}
        personas.renew(connection, persona["id"], 2, **renewed, by=persona["account_id"], at=AT)
    async with server.office.at_work():
        luna = server.office.who_answers(arrival)
    assert luna.greeting == "Luna's, +15551230001!"
    assert luna.dtmf.actions == {"9": "staff"}  # the server's
    assert luna.apology_audio == APOLOGY_CLIP.read_bytes()  # until her own is rendered

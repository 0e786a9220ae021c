"""Calls as the relay's process writes them, put straight into the tables."""

from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import insert, select

from admin.store.column_types import new_id
from admin.store.database import Database
from admin.store.schema import call_events, calls, transcript_turns
from relay import LogEvent

_sids = count(1)


def add_call(database: Database, account_id: UUID | None, at: datetime, **given: Any) -> str:
    """A call that came at this moment and was over a minute later, unless told otherwise. Returns its CallSid."""
    row = {
        "id": new_id(),
        "call_sid": f"CA{next(_sids):032x}",
        "account_id": account_id,
        "direction": "inbound",
        "caller": "+15551230001",
        "called": "+15551230002",
        "status": "completed",
        "created_at": at,
        "answered_at": at,
        "ended_at": at + timedelta(minutes=1),
        "duration_ms": 60_000,
    }
    row |= given
    with database.engine.begin() as connection:
        connection.execute(insert(calls).values(row))
    return str(row["call_sid"])


def add_turns(database: Database, call_sid: str, at: datetime, *said: tuple[str, str], **given: Any) -> None:
    """What was said, one turn a second: speaker and words."""
    call_id = _id_of(database, call_sid)
    with database.engine.begin() as connection:
        for number, (speaker, words) in enumerate(said):
            row = {"number": number, "at": at + timedelta(seconds=number), "speaker": speaker, "words": words}
            row |= {"id": new_id(), "call_id": call_id, "item_id": f"item_{number}"} | given
            connection.execute(insert(transcript_turns).values(row))


def add_events(database: Database, call_sid: str, at: datetime, *happened: LogEvent) -> None:
    """What happened, one event a second."""
    call_id = _id_of(database, call_sid)
    with database.engine.begin() as connection:
        for number, event in enumerate(happened):
            row = {"id": new_id(), "call_id": call_id, "number": number, "at": at + timedelta(seconds=number)}
            facts = {"name": event.__struct_config__.tag, "body": msgspec.to_builtins(event)}
            connection.execute(insert(call_events).values(row | facts))


def _id_of(database: Database, call_sid: str) -> UUID:
    with database.engine.connect() as connection:
        found: UUID = connection.execute(select(calls.c.id).where(calls.c.call_sid == call_sid)).scalar_one()
    return found

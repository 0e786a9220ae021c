"""The server with a database, as Twilio meets it: the stored persona answers, and what Twilio tells is written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio
from sqlalchemy import select

from admin.services.persona_body import PersonaBody
from admin.store import directory, personas, phone_numbers, users
from admin.store.database import Database
from admin.store.schema import calls
from benchmarks.simulators.openai import serve as serve_openai
from benchmarks.simulators.twilio import CallOptions, Delivery, HangUp, Recording, place_call
from tautline.serve import LineLog, Server
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

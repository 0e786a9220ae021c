"""Personas put straight into the tables."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from admin.services.personas.persona_body import PersonaBody
from admin.store import personas
from admin.store.database import Database
from benchmarks.speech import clip

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def add_persona(database: Database, account_id: UUID, **given: Any) -> UUID:
    """One that greets as the clip "greeting" does, unless it is given otherwise."""
    body = PersonaBody(name="Luna", **({"greeting": clip("greeting").transcript} | given))
    with database.engine.begin() as connection:
        return personas.add(
            connection,
            account_id=account_id,
            name=body.name,
            language="",
            body=msgspec.to_builtins(body),
            change="created",
            by=account_id,
            at=AT,
        )

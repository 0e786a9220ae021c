"""The stored personas, as the directory wants them: each with what makes of it who answers one call."""

from functools import partial

import msgspec
import structlog
from sqlalchemy import Connection

from admin.services.personas import templates
from admin.services.personas.persona_body import PersonaBody, to_relay
from admin.services.telephone.directory import StoredPersona
from admin.store import personas
from relay import KeyPolicy

_logger = structlog.stdlib.get_logger("tautline.directory")


def read_personas(connection: Connection, usual_keys: KeyPolicy | None = None) -> list[StoredPersona]:
    """Every account's, in their newest versions. One that a newer Tautline has written may be none that we can read.

    usual_keys: of those that do not say what their keys stand for, None for none.
    """
    stored = []
    for row in personas.all_current(connection):
        try:
            body = msgspec.convert(row["body"], PersonaBody)
        except msgspec.ValidationError as error:
            _logger.error("persona.unusable", persona_id=str(row["id"]), version=row["version"], why=str(error))
            continue
        stored.append(
            StoredPersona(
                id=row["id"],
                account_id=row["account_id"],
                is_active=row["is_active"],
                number=row["version"],
                greeting_gaps=templates.gaps(body.greeting),
                render=partial(to_relay, body, usual_keys=usual_keys or KeyPolicy()),
            )
        )
    return stored

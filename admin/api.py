"""The REST API: what it is configured with, what it is made of, and its routes."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec
from quart import Blueprint

from admin.routes.access import Access
from admin.routes.audit import audit_blueprint
from admin.routes.me import me_blueprint
from admin.routes.personas import personas_alias, personas_blueprint
from admin.services.api_keys import ApiKeys
from admin.services.audit_trail import AuditTrail
from admin.services.personas import USUAL_RULES, PersonaRules, Personas, nobody_listens
from admin.store.database import Database


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """The services behind the routes. access: lets requests in."""

    access: Access
    audit_trail: AuditTrail
    personas: Personas


def open_api(
    database: Database,
    now: Callable[[], datetime],
    *,
    persona_rules: PersonaRules = USUAL_RULES,
    on_persona_change: Callable[[UUID], None] = nobody_listens,
) -> Api:
    """The services over this database.

    Args: now, wall time, in UTC; on_persona_change, told the account whose personas are not what they were.
    """
    return Api(
        access=Access(by_key=ApiKeys(database, now).principal),
        audit_trail=AuditTrail(database),
        personas=Personas(database, now, persona_rules, on_persona_change),
    )


def blueprints(api: Api) -> list[Blueprint]:
    """Everything under /api."""
    return [
        me_blueprint(api.access),
        audit_blueprint(api.access, api.audit_trail),
        personas_blueprint(api.access, api.personas),
        personas_alias(api.access, api.personas),
    ]

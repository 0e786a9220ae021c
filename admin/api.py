"""The REST API: what it is configured with, what it is made of, and its routes."""

from collections.abc import Callable
from datetime import datetime

import msgspec
from quart import Blueprint

from admin.routes.access import Access
from admin.routes.audit import audit_blueprint
from admin.routes.me import me_blueprint
from admin.services.api_keys import ApiKeys
from admin.services.audit_trail import AuditTrail
from admin.store.database import Database


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """The services behind the routes. access: lets requests in."""

    access: Access
    audit_trail: AuditTrail


def open_api(database: Database, now: Callable[[], datetime]) -> Api:
    """The services over this database. now: wall time, in UTC."""
    return Api(
        access=Access(by_key=ApiKeys(database, now).principal),
        audit_trail=AuditTrail(database),
    )


def blueprints(api: Api) -> list[Blueprint]:
    """Everything under /api."""
    return [
        me_blueprint(api.access),
        audit_blueprint(api.access, api.audit_trail),
    ]

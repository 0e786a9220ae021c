"""The audit trail over HTTP."""

from typing import Annotated

import msgspec
from quart import Blueprint
from quart_schema import validate_querystring, validate_response

from admin.routes.access import Access
from admin.routes.inputs import PageQuery
from admin.services.people.audit_trail import AuditPage, AuditTrail


class AuditQuery(PageQuery, frozen=True, kw_only=True):
    """action: such as `persona.activated`; subject: the id of what it was done to."""

    action: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[a-z0-9_.]+$")] | None = None
    subject: Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[\x20-\x7e]+$")] | None = None


def audit_blueprint(access: Access, trail: AuditTrail) -> Blueprint:
    """GET /api/audit."""
    blueprint = Blueprint("audit", __name__)

    @blueprint.get("/api/audit")
    @validate_querystring(AuditQuery)
    @validate_response(AuditPage)
    async def list_audit(query_args: AuditQuery) -> AuditPage:
        """Say what was changed in the account, the newest first. 400 invalid_cursor, 401, 403."""
        principal = await access.require("settings:read")
        return await trail.page(
            principal,
            cursor=query_args.cursor,
            limit=query_args.limit,
            action=query_args.action,
            subject=query_args.subject,
        )

    return blueprint

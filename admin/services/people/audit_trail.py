"""The audit trail as an account's owners read it: what was changed, by whom, the newest first."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from admin.principal import Principal, Via
from admin.store import audit
from admin.store.database import Database
from admin.store.paging import next_cursor


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change. actor_id: the user, None for the command line and for whoever was not let in."""

    id: UUID
    at: datetime
    actor_id: UUID | None
    via: Via
    action: str
    subject: str
    facts: dict[str, Any]
    address: str
    request_id: str


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of them. next_cursor: None on the last one."""

    items: list[AuditEntry]
    next_cursor: str | None


class AuditTrail:
    """Reads it. Args: database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, principal: Principal, *, cursor: str | None, limit: int, action: str | None, subject: str | None
    ) -> AuditPage:
        """What was done in the principal's account. Raises: InvalidCursorError."""
        rows = await self._database.read(
            lambda connection: audit.page(
                connection, principal.account_id, cursor=cursor, limit=limit, action=action, subject=subject
            )
        )
        entries = [AuditEntry(**{name: row[name] for name in AuditEntry.__struct_fields__}) for row in rows[:limit]]
        return AuditPage(items=entries, next_cursor=next_cursor(rows, limit, "at"))

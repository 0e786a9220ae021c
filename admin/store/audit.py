"""The table of what was changed, and by whom. Rows are added beside the change, in its transaction, and never changed.

`record` is for every service that changes what is configured; `page` is for whoever asks later.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection, insert, select
from sqlalchemy.engine import RowMapping

from admin.principal import Principal, Via
from admin.store.column_types import new_id
from admin.store.paging import after
from admin.store.schema import audit_log

CALL_DELETED: Final = "call.deleted"  # its facts name the call


def record(
    connection: Connection,
    principal: Principal | None,
    action: str,
    *,
    subject: str | UUID = "",
    facts: Mapping[str, Any] | None = None,
    at: datetime,
    account_id: UUID | None = None,
    address: str = "",
    request_id: str = "",
    via: Via | None = None,
) -> None:
    """Note what was done.

    Args: principal, who did it, None for the command line and for whoever was not let in; action, `persona.activated`;
    subject, the id of what it was done to; facts, what is worth knowing of it, never a secret; account_id, whose it is
    where no principal says so; request_id, without it that of the request under way, as its log lines have it; via,
    without it the principal's, and `command` where there is none.
    """
    connection.execute(
        insert(audit_log).values(
            id=new_id(),
            at=at,
            account_id=account_id if principal is None else principal.account_id,
            actor_id=None if principal is None else principal.user_id,
            via=via or ("command" if principal is None else principal.via),
            action=action,
            subject=str(subject),
            facts=msgspec.to_builtins(dict(facts or {})),
            address=address,
            request_id=request_id or structlog.contextvars.get_contextvars().get("request_id", ""),
        )
    )


def page(
    connection: Connection,
    account_id: UUID,
    *,
    cursor: str | None,
    limit: int,
    action: str | None = None,
    subject: str | None = None,
) -> Sequence[RowMapping]:
    """The account's rows, the newest first, and one more than `limit` if there is one. Raises: InvalidCursorError."""
    found = select(audit_log).where(audit_log.c.account_id == account_id)
    if action is not None:
        found = found.where(audit_log.c.action == action)
    if subject is not None:
        found = found.where(audit_log.c.subject == subject)
    paged = after(found, cursor, by=audit_log.c.at, row_id=audit_log.c.id, limit=limit, descending=True)
    return connection.execute(paged).mappings().all()


def deleted_calls(connection: Connection, call_sids: Collection[str], *, since: datetime) -> set[str]:
    """Those of these calls that somebody has deleted since then."""
    name = audit_log.c.facts["call_sid"].as_string()
    found = select(name).where(audit_log.c.action == CALL_DELETED, audit_log.c.at > since, name.in_(call_sids))
    return set(connection.execute(found).scalars())

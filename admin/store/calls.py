"""The table of calls: read and written, no rules. How a call gets on: admin.services.calls.call_progress."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, and_, delete, or_, select, update
from sqlalchemy.engine import RowMapping

from admin.store.column_types import new_id
from admin.store.inserting import insert_new
from admin.store.schema import calls

_BEFORE_SOUND: Final = ("queued", "ringing")
_WITH_SOUND: Final = ("in_progress",)


def by_sid(connection: Connection, call_sid: str) -> RowMapping | None:
    """The call that Twilio names so, whoever's it is."""
    return connection.execute(select(calls).where(calls.c.call_sid == call_sid)).mappings().one_or_none()


def by_id(connection: Connection, call_id: UUID) -> RowMapping | None:
    """The call, whoever's it is."""
    return connection.execute(select(calls).where(calls.c.id == call_id)).mappings().one_or_none()


def known(connection: Connection, call_sids: Collection[str]) -> set[str]:
    """Those of them that are there."""
    return set(connection.execute(select(calls.c.call_sid).where(calls.c.call_sid.in_(call_sids))).scalars())


def ensure(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Make these calls, but for those that are there: a call_sid is there once. The rows need no id.

    In the order of their names: two processes that make the same ones wait for each other, and never both.
    """
    ordered = sorted(rows, key=lambda row: str(row["call_sid"]))
    insert_new(connection, calls, [{"id": new_id(), **row} for row in ordered])


def locked(connection: Connection, call_sids: Collection[str]) -> dict[str, RowMapping]:
    """These calls by call_sid; nobody else changes them, or writes what belongs to them, until the transaction ends."""
    found = select(calls).where(calls.c.call_sid.in_(call_sids)).order_by(calls.c.call_sid).with_for_update()
    return {row["call_sid"]: row for row in connection.execute(found).mappings()}


def change(connection: Connection, call_id: UUID, changes: Mapping[str, Any]) -> None:
    """Set these columns."""
    if changes:
        connection.execute(update(calls).where(calls.c.id == call_id).values(**changes))


def carriers(connection: Connection) -> list[UUID]:
    """The processes that have calls which are not over."""
    found = select(calls.c.process_id).distinct().where(is_open(), calls.c.process_id.is_not(None))
    return [process_id for process_id in connection.execute(found).scalars() if process_id is not None]


def left_by(
    connection: Connection, process_ids: Collection[UUID], *, rung_before: datetime, limit: int
) -> list[RowMapping]:
    """Calls of these processes that are not over, locked, at most so many.

    Those that only ring are among them if they began to before `rung_before`: another process may yet carry them.
    """
    is_left = or_(
        calls.c.status.in_(_WITH_SOUND), and_(calls.c.status.in_(_BEFORE_SOUND), calls.c.created_at < rung_before)
    )
    found = select(calls).where(calls.c.process_id.in_(process_ids), is_left).order_by(calls.c.call_sid).limit(limit)
    return list(connection.execute(found.with_for_update()).mappings())


def delete_before(connection: Connection, before: datetime, *, limit: int) -> int:
    """Delete the oldest calls from before this moment with all that belongs to them. Returns how many there were."""
    # What another process is writing to, or deleting, is left for another time.
    oldest = select(calls.c.id).where(calls.c.created_at < before).order_by(calls.c.created_at).limit(limit)
    found = list(connection.execute(oldest.with_for_update(skip_locked=True)).scalars())
    if found:
        connection.execute(delete(calls).where(calls.c.id.in_(found)))
    return len(found)


def is_open() -> Any:
    """Whether a call is not over, as a condition."""
    return calls.c.status.in_((*_BEFORE_SOUND, *_WITH_SOUND))

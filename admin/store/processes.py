"""The table of processes that carry calls: read and written, no rules."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.engine import RowMapping

from admin.store.inserting import insert_new
from admin.store.schema import processes


def see(connection: Connection, process_id: UUID, *, host: str, pid: int, at: datetime) -> None:
    """It lives at this moment. The first time, it is entered."""
    seen = connection.execute(update(processes).where(processes.c.id == process_id).values(seen_at=at))
    if seen.rowcount == 0:
        insert_new(
            connection, processes, [{"id": process_id, "host": host, "pid": pid, "started_at": at, "seen_at": at}]
        )


def everyone(connection: Connection) -> list[RowMapping]:
    """All of them, in the order in which they began."""
    return list(connection.execute(select(processes).order_by(processes.c.id)).mappings())


def forget(connection: Connection, process_ids: Collection[UUID]) -> None:
    """Delete these."""
    connection.execute(delete(processes).where(processes.c.id.in_(process_ids)))

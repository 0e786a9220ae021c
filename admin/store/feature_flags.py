"""The table of feature flags: read and written, no rules."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import RowMapping

from admin.store.schema import feature_flags


def every(connection: Connection) -> Sequence[RowMapping]:
    """All of them, by name."""
    return connection.execute(select(feature_flags).order_by(feature_flags.c.name)).mappings().all()


def count(connection: Connection) -> int:
    """How many there are."""
    return connection.execute(select(func.count()).select_from(feature_flags)).scalar_one()


def put(
    connection: Connection,
    name: str,
    *,
    description: str,
    is_enabled: bool,
    percentage: int,
    user_ids: Sequence[UUID],
    at: datetime,
) -> bool:
    """Set the flag of this name, or make it. Whether it was made.

    Raises: sqlalchemy's IntegrityError if somebody else makes it at the same time.
    """
    values = {
        "description": description,
        "is_enabled": is_enabled,
        "percentage": percentage,
        "user_ids": [str(each) for each in user_ids],
        "updated_at": at,
    }
    changed = connection.execute(update(feature_flags).where(feature_flags.c.name == name).values(values))
    if changed.rowcount:
        return False
    connection.execute(insert(feature_flags).values(name=name, **values))
    return True


def remove(connection: Connection, name: str) -> bool:
    """Whether there was one."""
    return bool(connection.execute(delete(feature_flags).where(feature_flags.c.name == name)).rowcount)

"""The table of phone numbers: read and written, no rules."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.engine import RowMapping

from admin.store import paging
from admin.store.column_types import new_id
from admin.store.schema import personas, phone_numbers


def add(connection: Connection, *, account_id: UUID, at: datetime, **values: Any) -> RowMapping:
    """A new number. Raises: sqlalchemy's IntegrityError if it is somebody's, or its persona is not there."""
    added = insert(phone_numbers).values(
        id=new_id(), account_id=account_id, version=1, created_at=at, updated_at=at, **values
    )
    return connection.execute(added.returning(phone_numbers)).mappings().one()


def by_id(connection: Connection, account_id: UUID, number_id: UUID, *, locked: bool = False) -> RowMapping | None:
    """The number, if it is this account's. locked: nobody else changes it until the transaction ends."""
    found = select(phone_numbers).where(phone_numbers.c.id == number_id, phone_numbers.c.account_id == account_id)
    return connection.execute(found.with_for_update() if locked else found).mappings().one_or_none()


def page(connection: Connection, account_id: UUID, cursor: str | None, limit: int) -> Sequence[RowMapping]:
    """One page of an account's numbers and one row more, by number. Raises: InvalidCursorError."""
    listed = select(phone_numbers).where(phone_numbers.c.account_id == account_id)
    paged = paging.after(listed, cursor, by=phone_numbers.c.number, row_id=phone_numbers.c.id, limit=limit)
    return connection.execute(paged).mappings().all()


def change(connection: Connection, number_id: UUID, *, at: datetime, **values: Any) -> RowMapping:
    """A number as it is from now on. Raises: sqlalchemy's IntegrityError as `add` does."""
    changed = (
        update(phone_numbers)
        .where(phone_numbers.c.id == number_id)
        .values(version=phone_numbers.c.version + 1, updated_at=at, **values)
    )
    return connection.execute(changed.returning(phone_numbers)).mappings().one()


def remove(connection: Connection, number_id: UUID) -> None:
    """Forget a number. Calls to it keep it in their records."""
    connection.execute(delete(phone_numbers).where(phone_numbers.c.id == number_id))


def all_of_them(connection: Connection) -> Sequence[RowMapping]:
    """Every account's numbers."""
    return connection.execute(select(phone_numbers)).mappings().all()


def has_persona(connection: Connection, account_id: UUID, persona_id: UUID) -> bool:
    """Whether the account has this persona."""
    found = select(personas.c.id).where(personas.c.id == persona_id, personas.c.account_id == account_id)
    return connection.execute(found).one_or_none() is not None

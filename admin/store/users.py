"""The table of users: read and written, no rules. Their passwords and how they are let in: admin.services.people."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, insert, select
from sqlalchemy.engine import RowMapping

from admin.services.principal import Role
from admin.store.column_types import new_id
from admin.store.schema import users


def add(
    connection: Connection,
    *,
    role: Role,
    at: datetime,
    account_id: UUID | None = None,
    email: str | None = None,
    name: str = "",
    password_hash: str | None = None,
    supabase_id: str | None = None,
) -> UUID:
    """A new user, in an account of their own if none is named. Raises: sqlalchemy's IntegrityError if they exist."""
    user_id = new_id()
    connection.execute(
        insert(users).values(
            id=user_id,
            account_id=account_id or user_id,
            email=email,
            name=name,
            role=role,
            password_hash=password_hash,
            supabase_id=supabase_id,
            created_at=at,
        )
    )
    return user_id


def by_id(connection: Connection, user_id: UUID) -> RowMapping | None:
    """The user, also one who was disabled."""
    return connection.execute(select(users).where(users.c.id == user_id)).mappings().one_or_none()


def first_account(connection: Connection) -> UUID | None:
    """The account that owns what nobody else does, such as a call to a number that is in no account."""
    return connection.execute(select(users.c.account_id).order_by(users.c.created_at, users.c.id).limit(1)).scalar()

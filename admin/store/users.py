"""The table of users: read and written, no rules. How they are let in: admin.services.people.logins and .supabase."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, delete, exists, insert, select, update
from sqlalchemy.engine import RowMapping

from admin.principal import Role
from admin.store.column_types import new_id
from admin.store.inserting import insert_new
from admin.store.paging import after
from admin.store.schema import settings, users

# The first account, the house, is written down as it begins. Made out by its age it would change hands when whoever
# began it is deleted, or a clock was wrong.
_HOUSE: Final = "house"
_house_id = select(settings.c.value).where(settings.c.name == _HOUSE)

# A column for whoever looks for somebody in any case: then `is_house` can be asked of the row.
HOUSE_ID: Final = _house_id.scalar_subquery().label("house_id")


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
    """A new user, in an account of their own if none is named; the first account that begins is the house.

    Raises: sqlalchemy's IntegrityError if they exist.
    """
    user_id = new_id()
    if account_id is None:
        insert_new(connection, settings, [{"name": _HOUSE, "value": str(user_id), "updated_at": at}])
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


def by_id(connection: Connection, user_id: UUID, *, locks: bool = False) -> RowMapping | None:
    """The user, also one who was disabled. locks: nobody else changes them before this transaction ends."""
    found = select(users).where(users.c.id == user_id)
    return connection.execute(found.with_for_update() if locks else found).mappings().one_or_none()


def by_email(connection: Connection, email: str, *, locks: bool = False) -> RowMapping | None:
    """The user with this email, as `normal_email` writes it."""
    found = select(users).where(users.c.email == email)
    return connection.execute(found.with_for_update() if locks else found).mappings().one_or_none()


def by_supabase_id(connection: Connection, supabase_id: str) -> RowMapping | None:
    """The user whom Supabase knows by this id, and HOUSE_ID."""
    found = select(users, HOUSE_ID).where(users.c.supabase_id == supabase_id)
    return connection.execute(found).mappings().one_or_none()


def page(connection: Connection, account_id: UUID, *, cursor: str | None, limit: int) -> Sequence[RowMapping]:
    """The account's users, the first one first, and one more than `limit` if there is one."""
    found = select(users).where(users.c.account_id == account_id)
    paged = after(found, cursor, by=users.c.created_at, row_id=users.c.id, limit=limit)
    return connection.execute(paged).mappings().all()


def all_of_them(connection: Connection) -> Sequence[RowMapping]:
    """Everybody's, by account, for the command line."""
    return connection.execute(select(users).order_by(users.c.account_id, users.c.created_at)).mappings().all()


def is_account(connection: Connection, account_id: UUID) -> bool:
    """Whether there is such an account."""
    return connection.execute(select(exists().where(users.c.account_id == account_id))).scalar_one()


def enabled_owners(connection: Connection, account_id: UUID) -> set[UUID]:
    """The account's, locked: of two who let each other go at once, the second waits and sees what the first did."""
    found = (
        select(users.c.id)
        .where(users.c.account_id == account_id, users.c.role == "owner", users.c.disabled_at.is_(None))
        .order_by(users.c.id)
        .with_for_update()
    )
    return set(connection.execute(found).scalars())


def change(connection: Connection, user_id: UUID, **values: Any) -> None:
    """Set these columns. Raises: sqlalchemy's IntegrityError for somebody else's email."""
    connection.execute(update(users).where(users.c.id == user_id).values(**values))


def count_attempt(connection: Connection, user_id: UUID, failures: int, locked_until: datetime | None) -> None:
    """They have failed to come in so many times, this attempt included, until it has succeeded."""
    change(connection, user_id, failed_logins=failures, locked_until=locked_until)


def note_login(connection: Connection, user_id: UUID, *, at: datetime, password_hash: str) -> None:
    """They have come in."""
    change(connection, user_id, failed_logins=0, locked_until=None, last_login_at=at, password_hash=password_hash)


def set_password(connection: Connection, user_id: UUID, password_hash: str) -> None:
    """They have another password, and failures with the old one are forgotten."""
    change(connection, user_id, failed_logins=0, locked_until=None, password_hash=password_hash)


def remove(connection: Connection, user_id: UUID) -> None:
    """Delete them, with their sessions, keys and invitation."""
    connection.execute(delete(users).where(users.c.id == user_id))


def first_account(connection: Connection) -> UUID | None:
    """The house: the account of whoever runs the server, and of what is nobody else's. None while nobody is there."""
    house_id = connection.execute(_house_id).scalar_one_or_none()
    return None if house_id is None else UUID(house_id)


def is_house(row: RowMapping) -> bool:
    """Whether the row's account is the house. The row has an account_id, and HOUSE_ID."""
    found: bool = row["house_id"] == str(row["account_id"])
    return found


def normal_email(email: str) -> str:
    """An email as it is kept and looked up."""
    return email.strip().lower()

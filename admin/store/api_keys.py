"""The table of API keys. A key's secret is not in it, only what it hashes to."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, func, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from admin.principal import Scope
from admin.store.column_types import new_id
from admin.store.paging import after
from admin.store.schema import api_keys, users
from admin.store.users import HOUSE_ID

USE_NOTED_EVERY = timedelta(minutes=1)  # or each request would write


def add(
    connection: Connection,
    *,
    account_id: UUID,
    user_id: UUID,
    name: str,
    scopes: Iterable[Scope],
    shown_prefix: str,
    secret_hash: bytes,
    at: datetime,
    expires_at: datetime | None = None,
) -> UUID:
    """A new key."""
    key_id = new_id()
    connection.execute(
        insert(api_keys).values(
            id=key_id,
            account_id=account_id,
            user_id=user_id,
            name=name,
            scopes=sorted(scopes),
            shown_prefix=shown_prefix,
            secret_hash=secret_hash,
            created_at=at,
            expires_at=expires_at,
        )
    )
    return key_id


def usable(connection: Connection, secret_hash: bytes, at: datetime) -> RowMapping | None:
    """The key with this secret, its user's role and HOUSE_ID: neither revoked nor expired, its user not disabled."""
    shown = api_keys.c
    found = (
        select(*(shown.id, shown.account_id, shown.user_id, shown.scopes, shown.last_used_at), users.c.role, HOUSE_ID)
        .join(users, users.c.id == api_keys.c.user_id)
        .where(
            api_keys.c.secret_hash == secret_hash,
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > at),
            users.c.disabled_at.is_(None),
        )
    )
    return connection.execute(found).mappings().one_or_none()


def note_use(connection: Connection, key_id: UUID, at: datetime) -> None:
    """It was used at this moment, to the minute."""
    stale = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < at - USE_NOTED_EVERY)
    connection.execute(update(api_keys).where(api_keys.c.id == key_id, stale).values(last_used_at=at))


def by_id(connection: Connection, key_id: UUID) -> RowMapping | None:
    """The key, also one that was revoked."""
    return connection.execute(select(api_keys).where(api_keys.c.id == key_id)).mappings().one_or_none()


def page(
    connection: Connection, account_id: UUID, *, user_id: UUID | None, cursor: str | None, limit: int
) -> Sequence[RowMapping]:
    """The account's keys, or one user's of it, the newest first, and one more than `limit` if there is one."""
    found = select(api_keys).where(api_keys.c.account_id == account_id)
    if user_id is not None:
        found = found.where(api_keys.c.user_id == user_id)
    paged = after(found, cursor, by=api_keys.c.created_at, row_id=api_keys.c.id, limit=limit, descending=True)
    return connection.execute(paged).mappings().all()


def count_of(connection: Connection, user_id: UUID, at: datetime) -> int:
    """How many keys of the user's are good."""
    found = (
        select(func.count())
        .select_from(api_keys)
        .where(
            api_keys.c.user_id == user_id,
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > at),
        )
    )
    return connection.execute(found).scalar_one()


def revoke(connection: Connection, key_id: UUID, at: datetime) -> bool:
    """It is good for nothing from now on. False if it was not before either."""
    revoked = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=at)
    return connection.execute(revoked).rowcount == 1


def revoke_all_of(connection: Connection, user_id: UUID, at: datetime) -> None:
    """All of the user's are good for nothing from now on."""
    connection.execute(
        update(api_keys).where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=at)
    )

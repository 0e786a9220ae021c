"""The table of invitations: who may set a password with a link. The link's token is kept as a hash."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.engine import RowMapping

from admin.store.schema import invitations, users


def put(connection: Connection, user_id: UUID, token_hash: bytes, *, at: datetime, expires_at: datetime) -> None:
    """The user's invitation from now on; an older one is void."""
    void(connection, user_id)
    connection.execute(
        insert(invitations).values(user_id=user_id, token_hash=token_hash, created_at=at, expires_at=expires_at)
    )


def void(connection: Connection, user_id: UUID) -> bool:
    """The user has none from now on. Whether they had: of two who void it at once, one is told so."""
    return connection.execute(delete(invitations).where(invitations.c.user_id == user_id)).rowcount == 1


def waiting(connection: Connection, email: str, at: datetime) -> RowMapping | None:
    """The user of this email, if they are invited and have no way in yet."""
    found = (
        select(users)
        .join(invitations, invitations.c.user_id == users.c.id)
        .where(
            users.c.email == email,
            users.c.password_hash.is_(None),
            users.c.supabase_id.is_(None),
            users.c.disabled_at.is_(None),
            invitations.c.expires_at > at,
        )
    )
    return connection.execute(found).mappings().one_or_none()


def invited(connection: Connection, token_hash: bytes, at: datetime) -> UUID | None:
    """Whom the link with this token invites; None if it is void, or over, or they are disabled."""
    found = (
        select(invitations.c.user_id)
        .join(users, users.c.id == invitations.c.user_id)
        .where(invitations.c.token_hash == token_hash, invitations.c.expires_at > at, users.c.disabled_at.is_(None))
    )
    return connection.execute(found).scalar_one_or_none()


def use(connection: Connection, token_hash: bytes, at: datetime) -> UUID | None:
    """The same, and the link is void: of two who come with it at once, one is told None."""
    user_id = invited(connection, token_hash, at)
    used = connection.execute(delete(invitations).where(invitations.c.token_hash == token_hash))
    return user_id if used.rowcount == 1 else None

"""The table of the console's sessions. A session's token is not in it, only what it hashes to."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from admin.store.column_types import new_id
from admin.store.schema import sessions, users
from admin.store.users import HOUSE_ID

SEEN_NOTED_EVERY = timedelta(minutes=1)  # or each request would write


def add(
    connection: Connection,
    *,
    user_id: UUID,
    token_hash: bytes,
    csrf_token: str,
    at: datetime,
    expires_at: datetime,
    address: str = "",
    user_agent: str = "",
) -> UUID:
    """A new session."""
    session_id = new_id()
    connection.execute(
        insert(sessions).values(
            id=session_id,
            user_id=user_id,
            token_hash=token_hash,
            csrf_token=csrf_token,
            created_at=at,
            seen_at=at,
            expires_at=expires_at,
            address=address,
            user_agent=user_agent,
        )
    )
    return session_id


def usable(connection: Connection, token_hash: bytes, *, at: datetime, idle: timedelta) -> RowMapping | None:
    """The session with this token, its user and HOUSE_ID: not expired, left alone for `idle` at most, not disabled."""
    found = (
        select(sessions, users.c.account_id, users.c.role, HOUSE_ID)
        .join(users, users.c.id == sessions.c.user_id)
        .where(
            sessions.c.token_hash == token_hash,
            sessions.c.expires_at > at,
            sessions.c.seen_at > at - idle,
            users.c.disabled_at.is_(None),
        )
    )
    return connection.execute(found).mappings().one_or_none()


def by_id(connection: Connection, session_id: UUID) -> RowMapping | None:
    """The session."""
    return connection.execute(select(sessions).where(sessions.c.id == session_id)).mappings().one_or_none()


def note_seen(connection: Connection, session_id: UUID, at: datetime) -> None:
    """Somebody came with it at this moment, to the minute."""
    stale = sessions.c.seen_at < at - SEEN_NOTED_EVERY
    connection.execute(update(sessions).where(sessions.c.id == session_id, stale).values(seen_at=at))


def end(connection: Connection, session_id: UUID) -> None:
    """It is over."""
    connection.execute(delete(sessions).where(sessions.c.id == session_id))


def end_by_token(connection: Connection, token_hash: bytes) -> None:
    """It is over, if it is one."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash))


def end_all_of(connection: Connection, user_id: UUID, *, but: UUID | None = None) -> None:
    """All of the user's are over, except for one, if one is named."""
    ended = delete(sessions).where(sessions.c.user_id == user_id)
    connection.execute(ended if but is None else ended.where(sessions.c.id != but))


def end_oldest_of(connection: Connection, user_id: UUID, *, keep: int) -> None:
    """All of the user's are over but the newest."""
    newest = (
        select(sessions.c.id)
        .where(sessions.c.user_id == user_id)
        .order_by(sessions.c.created_at.desc(), sessions.c.id.desc())
        .limit(keep)
    )
    kept = connection.execute(newest).scalars().all()
    connection.execute(delete(sessions).where(sessions.c.user_id == user_id, sessions.c.id.not_in(kept)))


def sweep(connection: Connection, *, at: datetime, idle: timedelta) -> None:
    """Forget everybody's that are good for nothing any more."""
    connection.execute(delete(sessions).where(or_(sessions.c.expires_at <= at, sessions.c.seen_at <= at - idle)))

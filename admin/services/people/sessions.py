"""Sessions of the console: a cookie that says who somebody is, until they leave, or stay away, or a week is over.

Only a hash of the cookie is kept, so who reads the database cannot come in with what is found there. Each log-in gets a
token of its own, and the one that the browser brought before is ended.
"""

import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from admin.errors import NotAllowedError, NotFoundError
from admin.principal import SCOPES, Principal, Role
from admin.services.people.api_keys import hash_of
from admin.store import audit, sessions, users
from admin.store.database import Database

TOKEN_BYTES: Final = 32
MAX_TOKEN_CHARACTERS: Final = 128
MAX_AGENT_CHARACTERS: Final = 256


class SessionRules(msgspec.Struct, frozen=True, kw_only=True):
    """idle: without a request a session ends after this; lifetime: it ends whatever happens; at_most: of one user."""

    idle: timedelta = timedelta(hours=12)
    lifetime: timedelta = timedelta(days=7)
    at_most: int = 20


class OpenedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session that has just begun. token: the cookie's value, which cannot be had again."""

    token: str
    lasts: timedelta
    principal: Principal


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in. csrf_token: goes into the header X-CSRF-Token of each request that changes something."""

    user_id: UUID
    account_id: UUID
    email: str | None
    name: str
    role: Role
    csrf_token: str
    expires_at: datetime


class Sessions:
    """Begins, recognises and ends them. Args: database; now, wall time; rules."""

    def __init__(self, database: Database, now: Callable[[], datetime], rules: SessionRules | None = None) -> None:
        self._database, self._now, self._rules = database, now, rules or SessionRules()

    async def principal(self, token: str, csrf_token: str | None) -> Principal | None:
        """Who comes with this cookie; None if it is no session's. csrf_token: None where nothing is to be changed.

        Raises: NotAllowedError when the CSRF token is not the session's.
        """
        if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            return None
        now, token_hash = self._now(), hash_of(token)
        row = await self._database.read(partial(sessions.usable, token_hash=token_hash, at=now, idle=self._rules.idle))
        if row is None:
            return None
        if csrf_token is not None and not hmac.compare_digest(csrf_token.encode(), row["csrf_token"].encode()):
            raise NotAllowedError("the CSRF token is missing, or not this session's", code="csrf_token_invalid")
        if row["seen_at"] < now - sessions.SEEN_NOTED_EVERY:
            await self._database.write(partial(sessions.note_seen, session_id=row["id"], at=now))
        return _principal(row["user_id"], row["account_id"], row["role"], row["id"], is_house=users.is_house(row))

    async def signed_in(self, principal: Principal) -> SignedIn:
        """What a console wants to know first. Raises: NotFoundError for who came without a session."""
        session_id = principal.session_id

        def find(connection: Connection) -> SignedIn | None:
            session = None if session_id is None else sessions.by_id(connection, session_id)
            user = users.by_id(connection, principal.user_id)
            return None if session is None or user is None else _signed_in(session, user)

        found = await self._database.read(find)
        if found is None:
            raise NotFoundError("session")
        return found

    async def end(self, principal: Principal) -> None:
        """Sign out. Raises: NotFoundError for who came without a session."""
        session_id = principal.session_id
        if session_id is None:
            raise NotFoundError("session")
        now = self._now()

        def leave(connection: Connection) -> None:
            sessions.end(connection, session_id)
            audit.record(connection, principal, "session.ended", subject=session_id, at=now)

        await self._database.write(leave)

    def begin(
        self, connection: Connection, user: RowMapping, *, replaces: str | None, address: str, user_agent: str
    ) -> OpenedSession:
        """A new session for this user, within a transaction. replaces: the cookie that the browser brought, if any."""
        now, rules = self._now(), self._rules
        sessions.sweep(connection, at=now, idle=rules.idle)
        if replaces is not None:
            sessions.end_by_token(connection, hash_of(replaces))
        sessions.end_oldest_of(connection, user["id"], keep=rules.at_most - 1)
        token, csrf_token = secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES)
        session_id = sessions.add(
            connection,
            user_id=user["id"],
            token_hash=hash_of(token),
            csrf_token=csrf_token,
            at=now,
            expires_at=now + rules.lifetime,
            address=address,
            user_agent=user_agent[:MAX_AGENT_CHARACTERS],
        )
        is_house = users.first_account(connection) == user["account_id"]
        principal = _principal(user["id"], user["account_id"], user["role"], session_id, is_house=is_house)
        audit.record(connection, principal, "session.started", subject=session_id, at=now, address=address)
        return OpenedSession(token=token, lasts=rules.lifetime, principal=principal)


def _principal(user_id: UUID, account_id: UUID, role: Role, session_id: UUID, *, is_house: bool) -> Principal:
    return Principal(
        user_id=user_id,
        account_id=account_id,
        role=role,
        scopes=SCOPES[role],
        via="session",
        is_house=is_house,
        session_id=session_id,
    )


def _signed_in(session: RowMapping, user: RowMapping) -> SignedIn:
    return SignedIn(
        user_id=user["id"],
        account_id=user["account_id"],
        email=user["email"],
        name=user["name"],
        role=user["role"],
        csrf_token=session["csrf_token"],
        expires_at=session["expires_at"],
    )

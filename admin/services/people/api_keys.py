"""API keys: made once, shown once, kept as a hash, and recognised by it.

A key is 32 random bytes, so a plain hash keeps it as safe as a slow one would, and a request need not wait for it.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from admin.errors import ConflictError, InvalidInputError, NotAllowedError, NotAuthenticatedError, NotFoundError
from admin.principal import SCOPES, Principal, Role, Scope
from admin.store import api_keys, audit, users
from admin.store.database import Database
from admin.store.paging import next_cursor

PREFIX: Final = "tl_"  # so that a key is known for one, by us and by whoever finds it in a log
SHOWN_CHARACTERS: Final = 8
SECRET_BYTES: Final = 32
LONGEST: Final = timedelta(days=3650)
MAX_KEYS: Final = 100  # of one user, that are good


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made. secret: cannot be had again."""

    secret: str
    secret_hash: bytes
    shown_prefix: str


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without its secret. shown_prefix: how the secret begins; last_used_at: to the minute."""

    id: UUID
    user_id: UUID
    name: str
    shown_prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of them. next_cursor: None on the last one."""

    items: list[Key]
    next_cursor: str | None


class AddedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made. secret: is shown this once."""

    key: Key
    secret: str


def make_key() -> NewKey:
    """A key that nobody has."""
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    return NewKey(secret=secret, secret_hash=hash_of(secret), shown_prefix=secret[:SHOWN_CHARACTERS])


def hash_of(secret: str) -> bytes:
    """What a key is kept as."""
    return hashlib.sha256(secret.encode()).digest()


class ApiKeys:
    """Knows the keys. Args: database; now, wall time."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database, self._now = database, now

    async def principal(self, secret: str) -> Principal | None:
        """Who comes with this key; None if it is none of ours, revoked, expired, or its user is disabled."""
        now = self._now()
        row = await self._database.read(partial(api_keys.usable, secret_hash=hash_of(secret), at=now))
        if row is None:
            return None
        if row["last_used_at"] is None or row["last_used_at"] < now - api_keys.USE_NOTED_EVERY:
            await self._database.write(partial(api_keys.note_use, key_id=row["id"], at=now))
        return Principal(
            user_id=row["user_id"],
            account_id=row["account_id"],
            role=row["role"],
            scopes=allowed(row["role"], row["scopes"]),
            via="api_key",
            is_house=users.is_house(row),
            key_id=row["id"],
        )

    async def page(self, principal: Principal, *, cursor: str | None, limit: int) -> KeyPage:
        """The newest first: one's own keys, and for who manages people all of the account's."""
        user_id = None if principal.may("people:read") else principal.user_id
        rows = await self._database.read(
            partial(api_keys.page, account_id=principal.account_id, user_id=user_id, cursor=cursor, limit=limit)
        )
        return KeyPage(items=[_key(row) for row in rows[:limit]], next_cursor=next_cursor(rows, limit, "created_at"))

    async def add(
        self, principal: Principal, *, name: str, scopes: Iterable[Scope], expires_at: datetime | None
    ) -> AddedKey:
        """A new key for who asks, with no more scopes than they have here.

        Raises: NotAllowedError for more; InvalidInputError, code expiry_invalid; ConflictError, code too_many_keys;
        NotAuthenticatedError for who has just been shut out.
        """
        now, made, wanted = self._now(), make_key(), frozenset(scopes)
        if missing := sorted(scope for scope in wanted if not principal.may(scope)):
            raise NotAllowedError(f"you cannot give what you do not have: {', '.join(missing)}")
        if expires_at is not None and not now < expires_at <= now + LONGEST:
            raise InvalidInputError(
                f"expires_at must be within the next {LONGEST.days} days, or null for never", code="expiry_invalid"
            )

        def add(connection: Connection) -> AddedKey:
            user = users.by_id(connection, principal.user_id, locks=True)  # they may make another one at this moment
            if user is None or user["disabled_at"] is not None:
                raise NotAuthenticatedError
            _require_not_later(connection, principal, expires_at)
            if api_keys.count_of(connection, principal.user_id, now) >= MAX_KEYS:
                raise ConflictError(f"you have {MAX_KEYS} keys; revoke one first", code="too_many_keys")
            key_id = api_keys.add(
                connection,
                account_id=principal.account_id,
                user_id=principal.user_id,
                name=name,
                scopes=wanted,
                shown_prefix=made.shown_prefix,
                secret_hash=made.secret_hash,
                at=now,
                expires_at=expires_at,
            )
            facts = {"name": name, "scopes": sorted(wanted)}
            audit.record(connection, principal, "api_key.added", subject=key_id, facts=facts, at=now)
            return AddedKey(key=_key(_known(connection, key_id)), secret=made.secret)

        return await self._database.write(add)

    async def revoke(self, principal: Principal, key_id: UUID) -> None:
        """Make a key good for nothing: one's own, or, for who manages people, any of the account's.

        Raises: NotFoundError.
        """
        now = self._now()

        def revoke(connection: Connection) -> None:
            row = _known(connection, key_id)
            is_own, is_near = row["user_id"] == principal.user_id, row["account_id"] == principal.account_id
            if not is_own and not (is_near and principal.may("people:write")):
                raise NotFoundError("key")
            if api_keys.revoke(connection, key_id, now):
                audit.record(
                    connection, principal, "api_key.revoked", subject=key_id, facts={"name": row["name"]}, at=now
                )

        await self._database.write(revoke)


def allowed(role: Role, scopes: Iterable[Scope]) -> frozenset[Scope]:
    """What a key may do: what it was given, as far as its user's role still goes."""
    return SCOPES[role] & frozenset(scopes)


def _key(row: RowMapping) -> Key:
    return Key(**{name: row[name] for name in Key.__struct_fields__})


def _known(connection: Connection, key_id: UUID) -> RowMapping:
    row = api_keys.by_id(connection, key_id)
    if row is None:
        raise NotFoundError("key")
    return row


def _require_not_later(connection: Connection, principal: Principal, expires_at: datetime | None) -> None:
    """A key that ends cannot leave one behind that does not. Raises: InvalidInputError."""
    maker = None if principal.key_id is None else api_keys.by_id(connection, principal.key_id)
    limit = None if maker is None else maker["expires_at"]
    if limit is not None and (expires_at is None or expires_at > limit):
        raise InvalidInputError("a key cannot make one that outlives it", code="expiry_invalid")

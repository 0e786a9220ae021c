"""API keys: made once, shown once, kept as a hash, and recognised by it.

A key is 32 random bytes, so a plain hash keeps it as safe as a slow one would, and a request need not wait for it.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import Connection

from admin.services.principal import SCOPES, Principal, Role, Scope
from admin.store import api_keys
from admin.store.database import Database

PREFIX: Final = "tl_"  # so that a key is known for one, by us and by whoever finds it in a log
SHOWN_CHARACTERS: Final = 8
SECRET_BYTES: Final = 32


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made. secret: cannot be had again."""

    secret: str
    secret_hash: bytes
    shown_prefix: str


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
        now, key_hash = self._now(), hash_of(secret)

        def find(connection: Connection) -> Principal | None:
            row = api_keys.usable(connection, key_hash, now)
            if row is None:
                return None
            return Principal(
                user_id=row["user_id"],
                account_id=row["account_id"],
                role=row["role"],
                scopes=allowed(row["role"], row["scopes"]),
                via="api_key",
                key_id=row["id"],
            )

        found = await self._database.read(find)
        if found is not None and found.key_id is not None:
            key_id = found.key_id
            await self._database.write(lambda connection: api_keys.note_use(connection, key_id, now))
        return found


def allowed(role: Role, scopes: Iterable[Scope]) -> frozenset[Scope]:
    """What a key may do: what it was given, as far as its user's role still goes."""
    return SCOPES[role] & frozenset(scopes)

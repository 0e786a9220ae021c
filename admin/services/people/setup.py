"""The first owner, of the first account, the house. Who starts a server that knows nobody is handed a token, once, and
makes themselves its owner.

The token proves that somebody reads the server's terminal. It is burnt as it is used, and a later start that still
finds nobody hands out another one.
"""

import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from admin.errors import NotAllowedError
from admin.services.people.api_keys import hash_of
from admin.services.people.passwords import Passwords
from admin.services.people.people import Person, person_of
from admin.store import audit, setup, users
from admin.store.database import Database

TOKEN_BYTES: Final = 32
OFFERED_FOR: Final = timedelta(hours=24)


class Setup:
    """Makes the first owner. Args: database; now, wall time; passwords."""

    def __init__(self, database: Database, now: Callable[[], datetime], passwords: Passwords) -> None:
        self._database, self._now, self._passwords = database, now, passwords

    async def offer(self) -> str | None:
        """A token for whoever started the server; None when there is a user already."""
        token, now = secrets.token_urlsafe(TOKEN_BYTES), self._now()

        def offer(connection: Connection) -> str | None:
            if users.first_account(connection) is not None:
                return None
            setup.put(connection, hash_of(token), at=now, expires_at=now + OFFERED_FOR)
            return token

        try:
            return await self._database.write(offer)
        except IntegrityError:  # another process offers at this moment, on PostgreSQL: its token counts
            return None

    async def make_owner(self, token: str, *, email: str, name: str, password: str) -> Person:
        """The first owner. Raises: NotAllowedError, code setup_token_invalid; TooManyRequestsError."""
        given, now = hash_of(token), self._now()
        # Asked twice, because a hash is not made for whoever comes with any token.
        await self._database.write(lambda connection: _require(connection, given, now))
        password_hash = await self._passwords.hash(password)

        def make(connection: Connection) -> Person:
            _require(connection, given, now)
            if not setup.burn(connection) or users.first_account(connection) is not None:
                raise _refused()
            user_id = users.add(
                connection,
                role="owner",
                at=now,
                email=users.normal_email(email),
                name=name,
                password_hash=password_hash,
            )
            row = users.by_id(connection, user_id)
            assert row is not None  # noqa: S101 - for the type checker: it was added two lines above
            audit.record(
                connection, None, "person.added", subject=user_id, facts={"by": "setup"}, at=now, account_id=user_id
            )
            return person_of(row)

        return await self._database.write(make)


def _require(connection: Connection, given: bytes, now: datetime) -> None:
    """Raises: NotAllowedError unless this is what the token hashes to."""
    kept = setup.token_hash(connection, now)
    if kept is None or not hmac.compare_digest(kept, given):
        raise _refused()


def _refused() -> NotAllowedError:
    return NotAllowedError("this token makes no owner: it was used, or is over", code="setup_token_invalid")

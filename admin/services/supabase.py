"""People whom Supabase knows: who comes with a good token of its is a user here from the first time on.

They begin as the owner of an account of their own. An email that somebody here has already is not taken over: Supabase
may not have verified it, and nobody is let into another's account by what they call themselves.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Final

import msgspec
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from admin.errors import StoreUnavailableError
from admin.services.principal import SCOPES, Principal
from admin.services.supabase_tokens import Identity, SupabaseTokens
from admin.store import audit, users
from admin.store.database import Database

TRIES: Final = 3  # two first requests at once, and one more who takes the email meanwhile
_Email = Annotated[str, msgspec.Meta(max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]


class SupabasePeople:
    """Knows them. Args: database; now, wall time; tokens."""

    def __init__(self, database: Database, now: Callable[[], datetime], tokens: SupabaseTokens) -> None:
        self._database, self._now, self._tokens = database, now, tokens

    async def principal(self, token: str) -> Principal | None:
        """Who comes with this token; None if it is no good, or they are disabled.

        Raises: AuthUnreachableError, TooManyRequestsError, StoreUnavailableError.
        """
        identity = await self._tokens.identity(token)
        if identity is None:
            return None
        user = await self._database.read(partial(users.by_supabase_id, supabase_id=identity.supabase_id))
        if user is None:
            user = await self._add(identity)
        if user["disabled_at"] is not None:
            return None
        return Principal(
            user_id=user["id"],
            account_id=user["account_id"],
            role=user["role"],
            scopes=SCOPES[user["role"]],
            via="supabase",
            is_house=users.is_house(user),
        )

    async def _add(self, identity: Identity) -> RowMapping:
        """The user, made now unless another request has just made them."""
        now = self._now()

        def add(connection: Connection) -> RowMapping | None:
            found = users.by_supabase_id(connection, identity.supabase_id)
            if found is not None:
                return found
            email = _email(identity)
            if email is not None and users.by_email(connection, email) is not None:
                email = None
            user_id = users.add(connection, role="owner", at=now, email=email, supabase_id=identity.supabase_id)
            audit.record(
                connection, None, "person.appeared", subject=user_id, at=now, account_id=user_id, via="supabase"
            )
            return users.by_supabase_id(connection, identity.supabase_id)

        for _ in range(TRIES):
            try:
                user = await self._database.write(add)
            except IntegrityError:
                continue  # somebody was quicker: they are found now
            if user is not None:
                return user
        raise StoreUnavailableError


def _email(identity: Identity) -> str | None:
    """The email as we keep it, None for what is none."""
    if identity.email is None:
        return None
    try:
        return users.normal_email(msgspec.convert(identity.email, _Email))
    except ValueError:
        return None

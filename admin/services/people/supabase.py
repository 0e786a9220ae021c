"""People whom Supabase knows: who comes with a good token of its is a user here from then on, or is told why not.

Whoever can sign up at the project can come, so a newcomer is never made the house's owner, and nobody is let in while
there is no house: whoever runs the server comes first. An email that somebody here has is not taken over, because
Supabase may not have confirmed it; only who was invited under it is let in as that user, once Supabase says that it is
confirmed.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from admin.errors import NotAllowedError, StoreUnavailableError
from admin.patterns import EMAIL
from admin.principal import SCOPES, Newcomers, Principal, Role
from admin.services.people.supabase_tokens import Identity, SupabaseTokens
from admin.store import audit, invitations, users
from admin.store.database import Database

TRIES: Final = 3  # two first requests at once, and one more who takes the email meanwhile
_Email = Annotated[str, msgspec.Meta(max_length=254, pattern=EMAIL)]


class SupabasePeople:
    """Knows them. Args: database; now, wall time; tokens; newcomers, see SupabaseRules."""

    def __init__(
        self, database: Database, now: Callable[[], datetime], tokens: SupabaseTokens, newcomers: Newcomers = "account"
    ) -> None:
        self._database, self._now, self._tokens, self._newcomers = database, now, tokens, newcomers

    async def principal(self, token: str) -> Principal | None:
        """Who comes with this token; None if it is no good, or they are disabled.

        Raises: NotAllowedError, code not_set_up, sign_up_closed or email_not_confirmed, for newcomers;
        AuthUnreachableError, TooManyRequestsError, StoreUnavailableError.
        """
        identity = await self._tokens.identity(token)
        if identity is None:
            return None
        user = await self._database.read(partial(users.by_supabase_id, supabase_id=identity.supabase_id))
        if user is None:
            user = await self._welcome(identity, token)
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

    async def _welcome(self, identity: Identity, token: str) -> RowMapping:
        """The user of somebody new, unless another request of theirs has just been quicker."""
        # Refused without a transaction that writes: they may come as often as they like.
        is_invited = await self._database.read(partial(self._require_welcome, identity=identity))
        if is_invited and not await self._tokens.is_email_confirmed(token, identity):
            raise NotAllowedError(
                "your email is invited; confirm it at Supabase, or set a password with the invitation",
                code="email_not_confirmed",
            )
        for _ in range(TRIES):
            try:
                user = await self._database.write(partial(self._admit, identity=identity, is_invited=is_invited))
            except IntegrityError:
                continue  # somebody was quicker: they are found now
            if user is not None:
                return user
        raise StoreUnavailableError

    def _require_welcome(self, connection: Connection, identity: Identity) -> bool:
        """Whether they come as somebody who was invited, if the email is theirs. Raises: NotAllowedError."""
        # In this order: an invitation that is gone may just have been taken up by another request of theirs.
        if self._invited(connection, identity) is not None:
            return True
        if users.by_supabase_id(connection, identity.supabase_id) is None:
            self._place(connection)
        return False

    def _admit(self, connection: Connection, identity: Identity, is_invited: bool) -> RowMapping | None:
        """Their user, made now unless there is one; None if there is none yet. Raises: NotAllowedError."""
        invited = self._invited(connection, identity) if is_invited else None  # first, for the same reason
        found = users.by_supabase_id(connection, identity.supabase_id)
        if found is not None:
            return found
        if invited is None:
            self._add(connection, identity)
        elif invitations.void(connection, invited["id"]):
            self._accept(connection, identity, invited)
        return users.by_supabase_id(connection, identity.supabase_id)

    def _invited(self, connection: Connection, identity: Identity) -> RowMapping | None:
        """The user as whom they are invited to come.

        Where whoever signs up has an account, and may invite whom they like to it, only the house's invitations are
        taken up by signing in: nobody who meant the house is to find themselves in a stranger's account.
        """
        email = _email(identity)
        invited = None if email is None else invitations.waiting(connection, email, self._now())
        if invited is None or self._newcomers != "account":
            return invited
        return invited if invited["account_id"] == users.first_account(connection) else None

    def _place(self, connection: Connection) -> tuple[UUID | None, Role]:
        """What a newcomer is given: an account, None for one of their own, and a role. Raises: NotAllowedError."""
        house_id = users.first_account(connection)
        if house_id is None:
            raise NotAllowedError("this server has no owner yet, and whoever runs it comes first", code="not_set_up")
        match self._newcomers:
            case "account":
                return None, "owner"
            case "refused":
                raise NotAllowedError("only who is invited may use this server", code="sign_up_closed")
            case role:
                return house_id, role

    def _add(self, connection: Connection, identity: Identity) -> None:
        (account_id, role), email, now = self._place(connection), _email(identity), self._now()
        if email is not None and users.by_email(connection, email) is not None:
            email = None
        supabase_id = identity.supabase_id
        user_id = users.add(connection, role=role, at=now, account_id=account_id, email=email, supabase_id=supabase_id)
        _record(connection, "person.appeared", user_id, account_id or user_id, now)

    def _accept(self, connection: Connection, identity: Identity, invited: RowMapping) -> None:
        users.change(connection, invited["id"], supabase_id=identity.supabase_id)
        _record(connection, "invitation.accepted", invited["id"], invited["account_id"], self._now())


def _record(connection: Connection, action: str, user_id: UUID, account_id: UUID, at: datetime) -> None:
    audit.record(connection, None, action, subject=user_id, at=at, account_id=account_id, via="supabase")


def _email(identity: Identity) -> str | None:
    """The email as we keep it, None for what is none."""
    if identity.email is None:
        return None
    try:
        return users.normal_email(msgspec.convert(identity.email, _Email))
    except ValueError:
        return None

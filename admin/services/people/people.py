"""People of an account: who they are, what they may do, and how they get in for the first time.

Whoever is disabled or deleted is out at once: their sessions end and their keys are revoked in the same transaction.
An account keeps at least one owner who is not disabled, or nobody could ever let anybody in again.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from admin.errors import ConflictError, NotAllowedError, NotFoundError
from admin.principal import Principal, Role
from admin.services.people.api_keys import hash_of
from admin.services.people.logins import LogInRules
from admin.services.people.passwords import PasswordCost, Passwords
from admin.services.people.sessions import SessionRules
from admin.services.people.supabase_auth import SupabaseRules
from admin.store import api_keys, audit, invitations, sessions, users
from admin.store.database import Database
from admin.store.paging import next_cursor

TOKEN_BYTES: Final = 32
INVITED_FOR: Final = timedelta(days=7)


class PeopleRules(msgspec.Struct, frozen=True, kw_only=True):
    """How people are let in.

    secure_cookies: browsers reach us by https, and need not send the cookie otherwise; supabase: whose tokens are good,
    None for nobody's.
    """

    sessions: SessionRules = msgspec.field(default_factory=SessionRules)
    logins: LogInRules = msgspec.field(default_factory=LogInRules)
    password_cost: PasswordCost = msgspec.field(default_factory=PasswordCost)
    secure_cookies: bool = False
    supabase: SupabaseRules | None = None


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """One of an account's people. signs_in_with: [] until they accept; locked_until: by wrong passwords."""

    id: UUID
    email: str | None
    name: str
    role: Role
    is_disabled: bool
    signs_in_with: list[Literal["password", "supabase"]]
    locked_until: datetime | None
    created_at: datetime
    last_login_at: datetime | None


class PeoplePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of them. next_cursor: None on the last one."""

    items: list[Person]
    next_cursor: str | None


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """A link's token, with which a password can be set once. It cannot be had again."""

    token: str
    expires_at: datetime


class AddedPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody new. invitation: None where a password was given."""

    person: Person
    invitation: Invitation | None


class NewPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to be added. password: None to invite them to set one."""

    email: str
    role: Role
    name: str = ""
    password: str | None = None


class PersonChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different; None is left as it is."""

    name: str | None = None
    role: Role | None = None
    is_disabled: bool | None = None
    password: str | None = None


class People:
    """Knows them. Args: database; now, wall time; passwords."""

    def __init__(self, database: Database, now: Callable[[], datetime], passwords: Passwords) -> None:
        self._database, self._now, self._passwords = database, now, passwords

    async def page(self, principal: Principal, *, cursor: str | None, limit: int) -> PeoplePage:
        """The account's people, the first one first. Raises: InvalidCursorError."""
        rows = await self._database.read(
            partial(users.page, account_id=principal.account_id, cursor=cursor, limit=limit)
        )
        people = [person_of(row) for row in rows[:limit]]
        return PeoplePage(items=people, next_cursor=next_cursor(rows, limit, "created_at"))

    async def get(self, principal: Principal, user_id: UUID) -> Person:
        """One of them. Raises: NotFoundError."""
        return person_of(await self._database.read(lambda connection: _theirs(connection, principal, user_id)))

    async def add(self, principal: Principal | None, new: NewPerson, *, account_id: UUID | None = None) -> AddedPerson:
        """Somebody new, in the principal's account.

        Args: principal, None for the command line; account_id, where there is no principal: whose, None for their own.
        Raises: ConflictError, code email_taken.
        """
        password_hash = None if new.password is None else await self._passwords.hash(new.password)
        now, email = self._now(), users.normal_email(new.email)

        def add(connection: Connection) -> AddedPerson:
            user_id = users.add(
                connection,
                role=new.role,
                at=now,
                account_id=account_id if principal is None else principal.account_id,
                email=email,
                name=new.name,
                password_hash=password_hash,
            )
            row = _known(connection, user_id)
            facts = {"email": email, "role": new.role}
            _record(connection, principal, "person.added", row, facts=facts, at=now)
            invitation = None if password_hash else _invite(connection, user_id, now)
            return AddedPerson(person=person_of(row), invitation=invitation)

        try:
            return await self._database.write(add)
        except IntegrityError:
            raise ConflictError("somebody has this email already", code="email_taken") from None

    async def change(self, principal: Principal | None, user_id: UUID, change: PersonChange) -> Person:
        """Somebody, changed. Raises: NotFoundError; ConflictError, code last_owner."""
        password_hash = None if change.password is None else await self._passwords.hash(change.password)
        now = self._now()

        def apply(connection: Connection) -> Person:
            row = _theirs(connection, principal, user_id)
            if (change.role or row["role"]) != "owner" or change.is_disabled:
                _require_another_owner(connection, row)
            values = _columns(change, row, now)
            if values:
                users.change(connection, user_id, **values)
            if password_hash is not None:
                users.set_password(connection, user_id, password_hash)
                invitations.void(connection, user_id)
                sessions.end_all_of(connection, user_id, but=None if principal is None else principal.session_id)
            if change.is_disabled:
                _shut_out(connection, user_id, now)
            _record(connection, principal, "person.changed", row, facts=_facts(change), at=now)
            return person_of(_known(connection, user_id))

        return await self._database.write(apply)

    async def remove(self, principal: Principal, user_id: UUID) -> None:
        """Delete somebody. Raises: NotFoundError; ConflictError, code last_owner."""
        now = self._now()

        def remove(connection: Connection) -> None:
            row = _theirs(connection, principal, user_id)
            _require_another_owner(connection, row)
            users.remove(connection, user_id)
            _record(connection, principal, "person.removed", row, facts={"email": row["email"]}, at=now)

        await self._database.write(remove)

    async def invite(self, principal: Principal | None, user_id: UUID) -> Invitation:
        """A link for somebody who has no password, or has forgotten it. Raises: NotFoundError."""
        now = self._now()

        def invite(connection: Connection) -> Invitation:
            row = _theirs(connection, principal, user_id)
            _record(connection, principal, "person.invited", row, at=now)
            return _invite(connection, user_id, now)

        return await self._database.write(invite)

    async def accept(self, token: str, password: str) -> None:
        """Set a password with an invitation's token, which is used up; old sessions end.

        Raises: NotAllowedError, code invitation_invalid.
        """
        token_hash, now = hash_of(token), self._now()
        if await self._database.read(partial(invitations.invited, token_hash=token_hash, at=now)) is None:
            raise _void()  # before a hash is paid for
        password_hash = await self._passwords.hash(password)

        def accept(connection: Connection) -> None:
            user_id = invitations.use(connection, token_hash, now)
            if user_id is None:
                raise _void()
            users.set_password(connection, user_id, password_hash)
            sessions.end_all_of(connection, user_id)
            _record(connection, None, "invitation.accepted", _known(connection, user_id), at=now, via="session")

        await self._database.write(accept)

    async def everybody(self) -> list[tuple[UUID, Person]]:
        """All accounts' people, each with their account, for the command line."""
        rows = await self._database.read(users.all_of_them)
        return [(row["account_id"], person_of(row)) for row in rows]

    async def by_email(self, email: str) -> Person:
        """Somebody of whatever account, for the command line. Raises: NotFoundError."""
        row = await self._database.read(partial(users.by_email, email=users.normal_email(email)))
        if row is None:
            raise NotFoundError("person")
        return person_of(row)

    async def first_account(self) -> UUID | None:
        """The account that began first, None while there is none."""
        return await self._database.read(users.first_account)


def person_of(row: RowMapping) -> Person:
    """What is shown of a user."""
    ways: list[Literal["password", "supabase"]] = []
    if row["password_hash"] is not None:
        ways.append("password")
    if row["supabase_id"] is not None:
        ways.append("supabase")
    return Person(
        id=row["id"],
        email=row["email"],
        name=row["name"],
        role=row["role"],
        is_disabled=row["disabled_at"] is not None,
        signs_in_with=ways,
        locked_until=row["locked_until"],
        created_at=row["created_at"],
        last_login_at=row["last_login_at"],
    )


def _theirs(connection: Connection, principal: Principal | None, user_id: UUID) -> RowMapping:
    """The user, if they are of the principal's account, or, without one, whosever they are. Raises: NotFoundError."""
    row = _known(connection, user_id)
    if principal is not None and row["account_id"] != principal.account_id:
        raise NotFoundError("person")
    return row


def _known(connection: Connection, user_id: UUID) -> RowMapping:
    row = users.by_id(connection, user_id)
    if row is None:
        raise NotFoundError("person")
    return row


def _require_another_owner(connection: Connection, row: RowMapping) -> None:
    """Raises: ConflictError if this is the account's only owner who is not disabled."""
    if users.enabled_owners(connection, row["account_id"]) == {row["id"]}:
        raise ConflictError("an account keeps at least one owner who is not disabled", code="last_owner")


def _columns(change: PersonChange, row: RowMapping, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if change.name is not None:
        values["name"] = change.name
    if change.role is not None:
        values["role"] = change.role
    if change.is_disabled is not None:
        values["disabled_at"] = (row["disabled_at"] or now) if change.is_disabled else None
    return values


def _facts(change: PersonChange) -> dict[str, Any]:
    named = {"name": change.name, "role": change.role, "is_disabled": change.is_disabled}
    facts: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    return facts if change.password is None else facts | {"password": "changed"}


def _shut_out(connection: Connection, user_id: UUID, now: datetime) -> None:
    sessions.end_all_of(connection, user_id)
    api_keys.revoke_all_of(connection, user_id, now)
    invitations.void(connection, user_id)


def _invite(connection: Connection, user_id: UUID, now: datetime) -> Invitation:
    users.by_id(connection, user_id, locks=True)  # of two invitations at once the later one counts
    token, expires_at = secrets.token_urlsafe(TOKEN_BYTES), now + INVITED_FOR
    invitations.put(connection, user_id, hash_of(token), at=now, expires_at=expires_at)
    return Invitation(token=token, expires_at=expires_at)


def _record(connection: Connection, principal: Principal | None, action: str, row: RowMapping, **given: Any) -> None:
    audit.record(connection, principal, action, subject=row["id"], account_id=row["account_id"], **given)


def _void() -> NotAllowedError:
    return NotAllowedError("this invitation is void: it was used, or is over", code="invitation_invalid")

"""Log-in with email and password. Who is refused is never told which of the two was wrong, nor whether we know them.

Guessing is slowed down twice: by account, with waits that grow, and by address, for who tries one password on many
accounts. An unknown email is counted and hashed like a known one; its count is this process's own.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from math import ceil
from uuid import UUID

import msgspec
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from admin.errors import NotAllowedError, NotAuthenticatedError, TooManyRequestsError
from admin.principal import Principal
from admin.services.people.passwords import Passwords
from admin.services.people.sessions import OpenedSession, Sessions
from admin.services.people.throttle import LockRules, Throttle, network_of
from admin.store import audit, sessions, users
from admin.store.database import Database


class LogInRules(msgspec.Struct, frozen=True, kw_only=True):
    """How often somebody may try. account: with one email; address: from one address, with whatever email."""

    account: LockRules = msgspec.field(default_factory=LockRules)
    address: LockRules = msgspec.field(default_factory=lambda: LockRules(free=20, first=timedelta(minutes=1)))


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    user_id: UUID
    kept: str | None
    wait: timedelta | None  # before the next one, if this one fails


class LogIns:
    """Lets people in. Args: database; now, wall time; passwords; begun, which begins their sessions; rules."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        passwords: Passwords,
        begun: Sessions,
        rules: LogInRules | None = None,
    ) -> None:
        self._database, self._now, self._passwords, self._sessions = database, now, passwords, begun
        self._rules = rules or LogInRules()
        self._addresses, self._strangers = Throttle(self._rules.address), Throttle(self._rules.account)

    async def log_in(
        self, email: str, password: str, *, address: str, user_agent: str, replaces: str | None
    ) -> OpenedSession:
        """A new session. replaces: the cookie that the browser brought, if any.

        Raises: NotAuthenticatedError, code login_refused; TooManyRequestsError.
        """
        network = network_of(address)
        _let_wait(self._addresses.begin(network, self._now()))
        email = users.normal_email(email)
        attempt = await self._begin(lambda connection: users.by_email(connection, email, locks=True))
        if attempt is None:
            _let_wait(self._strangers.begin(email, self._now()))
        kept = None if attempt is None else attempt.kept
        opened = None
        if await self._passwords.check(kept, password) and attempt is not None and kept is not None:
            renewed = await self._passwords.hash(password) if self._passwords.is_outdated(kept) else None
            opened = await self._finish(attempt, renewed, address=address, user_agent=user_agent, replaces=replaces)
        if opened is None:
            await self._note_refusal(attempt, address)
            raise NotAuthenticatedError("the email or the password is wrong", code="login_refused")
        self._addresses.succeeded(network)
        return opened

    async def change_password(self, principal: Principal, current: str, new: str, *, address: str) -> None:
        """Let somebody have another password, and end their other sessions.

        Raises: NotAllowedError without a session, or, code password_wrong, when the current one is not theirs;
        TooManyRequestsError.
        """
        if principal.session_id is None:
            raise NotAllowedError("a password is changed by who signed in with it")
        network = network_of(address)
        _let_wait(self._addresses.begin(network, self._now()))
        attempt = await self._begin(lambda connection: users.by_id(connection, principal.user_id, locks=True))
        if attempt is None or not await self._passwords.check(attempt.kept, current):
            await self._note_refusal(attempt, address)
            raise _wrong_password()
        self._addresses.succeeded(network)
        password_hash = await self._passwords.hash(new)
        now = self._now()

        def change(connection: Connection) -> None:
            user = users.by_id(connection, principal.user_id, locks=True)
            if user is None or user["disabled_at"] is not None or user["password_hash"] != attempt.kept:
                raise _wrong_password()  # it was changed, or they were shut out, while theirs was being checked
            users.set_password(connection, principal.user_id, password_hash)
            sessions.end_all_of(connection, principal.user_id, but=principal.session_id)
            audit.record(connection, principal, "password.changed", subject=principal.user_id, at=now, address=address)

        await self._database.write(change)

    async def _begin(self, find: Callable[[Connection], RowMapping | None]) -> _Attempt | None:
        """Count an attempt to come in as this user; None for nobody. Raises: TooManyRequestsError."""
        now = self._now()

        def count(connection: Connection) -> _Attempt | None:
            user = find(connection)
            if user is None:
                return None
            if user["locked_until"] is not None and user["locked_until"] > now:
                _let_wait(user["locked_until"] - now)
            failures = user["failed_logins"] + 1
            wait = self._rules.account.wait(failures)
            users.count_attempt(connection, user["id"], failures, None if wait is None else now + wait)
            return _Attempt(user_id=user["id"], kept=user["password_hash"], wait=wait)

        return await self._database.write(count)

    async def _finish(
        self, attempt: _Attempt, renewed: str | None, *, address: str, user_agent: str, replaces: str | None
    ) -> OpenedSession | None:
        """Begin the session; None if the password was changed, or the user disabled, while it was being checked."""
        now = self._now()

        def finish(connection: Connection) -> OpenedSession | None:
            user = users.by_id(connection, attempt.user_id, locks=True)
            if user is None or user["disabled_at"] is not None or user["password_hash"] != attempt.kept:
                return None
            users.note_login(connection, attempt.user_id, at=now, password_hash=renewed or user["password_hash"])
            return self._sessions.begin(connection, user, replaces=replaces, address=address, user_agent=user_agent)

        return await self._database.write(finish)

    async def _note_refusal(self, attempt: _Attempt | None, address: str) -> None:
        """Leave a trace of who is being guessed at, once it is more than a slip of the fingers."""
        if attempt is None or attempt.wait is None:
            return
        now, user_id, wait_s = self._now(), attempt.user_id, round(attempt.wait.total_seconds())

        def note(connection: Connection) -> None:
            user = users.by_id(connection, user_id)
            if user is not None:
                audit.record(
                    connection,
                    None,
                    "login.locked",
                    subject=user_id,
                    facts={"wait_s": wait_s},
                    at=now,
                    account_id=user["account_id"],
                    address=address,
                    via="session",
                )

        await self._database.write(note)


def _wrong_password() -> NotAllowedError:
    return NotAllowedError("the current password is wrong", code="password_wrong")


def _let_wait(wait: timedelta | None) -> None:
    if wait is not None:
        seconds = ceil(wait.total_seconds())
        raise TooManyRequestsError(
            "too many attempts to sign in; try again later",
            code="too_many_logins",
            headers={"Retry-After": str(seconds)},
        )

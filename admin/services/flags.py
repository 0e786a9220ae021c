"""Feature flags: what is switched on for whom. Deciding is pure, and done from memory.

Each user has a fixed place from 0 to 99 within each flag, made from both names, and the flag is on for the places below
its percentage: raising the percentage switches nobody off, and two flags of 10 % have different users.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from admin.errors import ConflictError, NotFoundError, StoreUnavailableError
from admin.principal import Principal
from admin.store import audit, feature_flags
from admin.store.database import Database

MAX_FLAGS: Final = 200
FRESH_FOR: Final = timedelta(seconds=5)  # so long a change that another process has made may go unseen
PLACES: Final = 100

_logger = structlog.stdlib.get_logger("tautline.flags")


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """A flag. is_enabled: off for everybody if not; percentage: of users for whom it is on; user_ids: always for these.

    The percentage is a whole number from 0 to 100.
    """

    name: str
    description: str
    is_enabled: bool
    percentage: int
    user_ids: list[UUID]
    updated_at: datetime


class FlagChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be set of a flag."""

    description: str
    is_enabled: bool
    percentage: int
    user_ids: list[UUID]


def is_on(flag: Flag, user_id: UUID) -> bool:
    """Whether the flag is on for this user."""
    return flag.is_enabled and (user_id in flag.user_ids or place(flag.name, user_id) < flag.percentage)


def place(name: str, user_id: UUID) -> int:
    """Where this user stands within the flag of this name, 0 to 99: the same on every machine and every day."""
    digest = hashlib.sha256(f"{name}:{user_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % PLACES


class Flags:
    """Keeps the flags. Args: database; now, wall time."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database, self._now = database, now
        self._known: tuple[Flag, ...] | None = None
        self._fresh_until = now()
        self._changes = 0  # that were made here

    async def all(self) -> list[Flag]:
        """Every flag, by name, as the database has it."""
        changes = self._changes
        rows = await self._database.read(feature_flags.every)
        flags = [Flag(**{**row, "user_ids": [UUID(each) for each in row["user_ids"]]}) for row in rows]
        if changes == self._changes:  # or they may have been read before a change, and would hide it
            self._known, self._fresh_until = tuple(flags), self._now() + FRESH_FOR
        return flags

    async def evaluate(self, user_id: UUID) -> dict[str, bool]:
        """Each flag's name, and whether it is on for this user. While the database is away, by what was known last.

        Raises: StoreUnavailableError if nothing was ever known.
        """
        return {flag.name: is_on(flag, user_id) for flag in await self._fresh()}

    async def _fresh(self) -> Sequence[Flag]:
        if self._known is not None and self._now() < self._fresh_until:
            return self._known
        try:
            return await self.all()
        except StoreUnavailableError:
            if self._known is None:
                raise
            self._fresh_until = self._now() + FRESH_FOR  # not again with each request
            _logger.warning("flags.not_refreshed", consequence="They stay as they were.")
            return self._known

    def _changed(self, at: datetime) -> None:
        self._changes, self._fresh_until = self._changes + 1, at

    async def put(self, principal: Principal, name: str, change: FlagChange) -> tuple[Flag, bool]:
        """Set the flag of this name, or make it. The flag, and whether it was made.

        Raises: ConflictError when there are too many, or somebody else makes it at the same time.
        """
        at = self._now()

        def write(connection: Connection) -> bool:
            is_new = feature_flags.put(
                connection,
                name,
                description=change.description,
                is_enabled=change.is_enabled,
                percentage=change.percentage,
                user_ids=change.user_ids,
                at=at,
            )
            if is_new and feature_flags.count(connection) > MAX_FLAGS:
                raise ConflictError(f"there are {MAX_FLAGS} flags already", code="too_many_flags")
            facts = {"is_enabled": change.is_enabled, "percentage": change.percentage, "user_ids": change.user_ids}
            audit.record(connection, principal, "flag.set", subject=name, facts=facts, at=at)
            return is_new

        try:
            is_new = await self._database.write(write)
        except IntegrityError:
            raise ConflictError("somebody else is making this flag at this moment") from None
        self._changed(at)
        return Flag(name=name, updated_at=at, **msgspec.structs.asdict(change)), is_new

    async def remove(self, principal: Principal, name: str) -> None:
        """Forget a flag; it is off then. Raises: NotFoundError."""
        at = self._now()

        def write(connection: Connection) -> None:
            if not feature_flags.remove(connection, name):
                raise NotFoundError("flag")
            audit.record(connection, principal, "flag.removed", subject=name, at=at)

        await self._database.write(write)
        self._changed(at)

"""Passwords: hashed with argon2id, in threads of their own, at the same cost whether or not there is such a user.

A hash takes some 20 ms of a core on purpose, so only few are worked on at once and few more may wait: whoever floods
the log-in is told to come again, and the calls that share the machine hear nothing of it.
"""

import secrets
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final, TypeVar

import msgspec
import trio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from admin.errors import TooManyRequestsError
from admin.patterns import KEEPABLE

MIN_CHARACTERS: Final = 10
MAX_CHARACTERS: Final = 256  # or hashing would be a way to keep us busy
MAX_WAITING: Final = 16
RETRY_AFTER_S: Final = 2

Result = TypeVar("Result")
Password = Annotated[str, msgspec.Meta(min_length=MIN_CHARACTERS, max_length=MAX_CHARACTERS, pattern=KEEPABLE)]


class PasswordCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a hash costs. The values are OWASP's for argon2id with the least memory that they advise.

    memory_kib; rounds; lanes, threads that one hash takes; at_once, hashes that are worked on at the same time.
    """

    memory_kib: int = 19_456
    rounds: int = 2
    lanes: int = 1
    at_once: int = 2


class Passwords:
    """Hashes and checks them. Args: cost, of hashes from now on; old ones are made anew when they are next used."""

    def __init__(self, cost: PasswordCost | None = None) -> None:
        cost = cost or PasswordCost()
        self._hasher = PasswordHasher(time_cost=cost.rounds, memory_cost=cost.memory_kib, parallelism=cost.lanes)
        self._limiter = trio.CapacityLimiter(cost.at_once)
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        """What to keep of it. Raises: TooManyRequestsError."""
        return await self._in_thread(partial(self._hasher.hash, password))

    async def check(self, kept: str | None, password: str) -> bool:
        """Whether it is the one. kept: its hash, None for who has none, which takes as long and is False.

        Raises: TooManyRequestsError.
        """
        return await self._in_thread(partial(self._check, kept, password))

    def is_outdated(self, kept: str) -> bool:
        """Whether the hash was made at another cost than hashes are now."""
        return self._hasher.check_needs_rehash(kept)

    def _check(self, kept: str | None, password: str) -> bool:
        if self._nobodys is None:
            self._nobodys = self._hasher.hash(secrets.token_urlsafe())
        try:
            self._hasher.verify(kept or self._nobodys, password)
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if self._limiter.statistics().tasks_waiting >= MAX_WAITING:
            raise TooManyRequestsError(
                "too many people sign in at once; try again", headers={"Retry-After": str(RETRY_AFTER_S)}
            )
        return await trio.to_thread.run_sync(work, limiter=self._limiter)

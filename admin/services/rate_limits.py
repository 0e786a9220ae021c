"""How often somebody may ask: so many requests in a minute that begins with the first of them.

Counted in this process, or in Redis, so that several count together. Redis is asked in a thread, with little patience:
while it is away each process counts for itself, and nobody is turned away for that.
"""

import time
from collections.abc import Callable
from datetime import datetime
from math import ceil
from typing import Final

import msgspec
import redis
import structlog
import trio
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import RedisStorage, Storage
from limits.strategies import FixedWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

WINDOWS: Final = 50_000  # of this process; beyond them the oldest are forgotten
REDIS_CONNECTIONS: Final = 4  # and as many threads
REDIS_PATIENCE_S: Final = 0.25
REDIS_AWAY_S: Final = 5.0  # so long nobody asks it again after it has failed

_logger = structlog.stdlib.get_logger("tautline.rate_limits")


class RateRules(msgspec.Struct, frozen=True, kw_only=True):
    """Requests a minute. per_principal: by one key or one user; per_address: from one address without a good key."""

    per_principal: int = 600
    per_address: int = 60


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where somebody stands after a request. reset_s: until everything is forgotten."""

    limit: int
    remaining: int
    reset_s: int
    is_over: bool

    def headers(self) -> dict[str, str]:
        """For the answer: the RateLimit fields, and, beyond the limit, when to come again."""
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
        }
        return {**told, "Retry-After": str(self.reset_s)} if self.is_over else told


class RateLimits:
    """Counts. Args: now, wall time; redis_url, where to count together with others, None to count alone."""

    def __init__(self, now: Callable[[], datetime], redis_url: str | None = None) -> None:
        self._now_s: Callable[[], float] = lambda: now().timestamp()
        self._own = _Counter(_Windows(self._now_s), self._now_s)
        self._shared = None if redis_url is None else _Counter(_redis_storage(redis_url), time.time)
        self._limiter = trio.CapacityLimiter(REDIS_CONNECTIONS)
        self._away_until_s: float | None = None

    async def take(self, who: str, per_minute: int) -> Standing:
        """Count one request of theirs."""
        item = RateLimitItemPerMinute(per_minute)
        if self._shared is not None and (self._away_until_s is None or self._now_s() >= self._away_until_s):
            try:
                standing = await trio.to_thread.run_sync(self._shared.take, item, who, limiter=self._limiter)
            except StorageError as error:
                self._note_away(error)
            else:
                self._note_back()
                return standing
        return self._own.take(item, who)

    def _note_away(self, error: StorageError) -> None:
        if self._away_until_s is None:
            why = type(error.storage_error).__name__
            _logger.warning("rate_limits.redis_away", consequence="Each process counts for itself.", why=why)
        self._away_until_s = self._now_s() + REDIS_AWAY_S

    def _note_back(self) -> None:
        if self._away_until_s is not None:
            _logger.info("rate_limits.redis_back")
        self._away_until_s = None


class _Counter:
    """One place to count in. clock_s: the storage's."""

    def __init__(self, storage: Storage, clock_s: Callable[[], float]) -> None:
        self._limiter, self._clock_s = FixedWindowRateLimiter(storage), clock_s

    def take(self, item: RateLimitItem, who: str) -> Standing:
        is_within = self._limiter.hit(item, who)
        stats = self._limiter.get_window_stats(item, who)
        reset_s = max(1, ceil(stats.reset_time - self._clock_s()))
        return Standing(limit=item.amount, remaining=stats.remaining, reset_s=reset_s, is_over=not is_within)


class _Windows(Storage):
    """The storage of `limits` in this process. Its own would start a thread with each request to tidy up."""

    STORAGE_SCHEME = None

    def __init__(self, clock_s: Callable[[], float]) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._windows: dict[str, tuple[int, float]] = {}  # how many, and when they are forgotten; the oldest first

    @property
    def base_exceptions(self) -> type[Exception]:
        """See Storage: nothing can fail here."""
        return StorageError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """See Storage."""
        count, ends_at_s = self._window(key)
        if count == 0:
            self._windows.pop(key, None)
            self._make_room()
            ends_at_s = self._clock_s() + expiry
        self._windows[key] = (count + amount, ends_at_s)
        return count + amount

    def get(self, key: str) -> int:
        """See Storage."""
        return self._window(key)[0]

    def get_expiry(self, key: str) -> float:
        """See Storage."""
        return self._window(key)[1]

    def check(self) -> bool:
        """See Storage."""
        return True

    def reset(self) -> int | None:
        """See Storage."""
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        """See Storage."""
        self._windows.pop(key, None)

    def _window(self, key: str) -> tuple[int, float]:
        now_s = self._clock_s()
        count, ends_at_s = self._windows.get(key, (0, now_s))
        return (count, ends_at_s) if ends_at_s > now_s else (0, now_s)

    def _make_room(self) -> None:
        """All windows are equally long, so the oldest is the first to end."""
        now_s = self._clock_s()
        while self._windows:
            oldest = next(iter(self._windows))
            if self._windows[oldest][1] > now_s and len(self._windows) < WINDOWS:
                return
            del self._windows[oldest]


def _redis_storage(url: str) -> RedisStorage:
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=REDIS_CONNECTIONS,
        timeout=REDIS_PATIENCE_S,
        socket_timeout=REDIS_PATIENCE_S,
        socket_connect_timeout=REDIS_PATIENCE_S,
        retry=Retry(NoBackoff(), 0),  # the next request is the next try
    )
    return RedisStorage(url, connection_pool=pool, key_prefix="tautline:rate", wrap_exceptions=True)

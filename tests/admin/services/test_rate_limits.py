"""Counting requests: so many a minute each, in this process or together in Redis, and never in nobody's way."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from admin.services import rate_limits
from admin.services.rate_limits import RateLimits, Standing
from tests.services.redis import Redis, open_redis


class Wall:
    """Wall time that stands still until a test moves it."""

    at = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def passes(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with open_redis() as made:
        yield made


async def take(limits: RateLimits, who: str = "key:1", *, times: int, per_minute: int = 3) -> list[bool]:
    return [(await limits.take(who, per_minute)).is_over for _ in range(times)]


async def test_the_one_request_too_many_is_over_the_limit_and_the_next_minute_begins_anew(wall: Wall) -> None:
    limits = RateLimits(wall)
    assert await take(limits, times=4) == [False, False, False, True]
    wall.passes(59)
    assert await take(limits, times=1) == [True]
    wall.passes(1)
    assert await take(limits, times=1) == [False]


async def test_one_s_requests_are_not_another_s(wall: Wall) -> None:
    limits = RateLimits(wall)
    await take(limits, "key:1", times=4)
    assert await take(limits, "key:2", times=1) == [False]


async def test_who_asks_is_told_where_they_stand(wall: Wall) -> None:
    limits = RateLimits(wall)
    assert (await limits.take("key:1", 2)) == Standing(limit=2, remaining=1, reset_s=60, is_over=False)
    wall.passes(19.5)
    assert (await limits.take("key:1", 2)).headers() == {
        "RateLimit-Limit": "2",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "41",
    }
    assert (await limits.take("key:1", 2)).headers()["Retry-After"] == "41"


async def test_many_addresses_do_not_fill_the_memory(wall: Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "WINDOWS", 3)
    limits = RateLimits(wall)
    await take(limits, "first", times=1, per_minute=1)
    for other in ("second", "third", "fourth"):
        await take(limits, other, times=1, per_minute=1)
    assert await take(limits, "third", times=1, per_minute=1) == [True]
    assert await take(limits, "first", times=1, per_minute=1) == [False]  # forgotten: the oldest made room


async def test_several_processes_count_together_in_redis(wall: Wall, server: Redis) -> None:
    one, other = RateLimits(wall, server.url), RateLimits(wall, server.url)
    assert await take(one, "together", times=2) == [False, False]
    assert await take(other, "together", times=2) == [False, True]
    standing = await one.take("together", 3)
    assert (standing.remaining, 0 < standing.reset_s <= 60) == (0, True)


async def test_while_redis_is_away_each_counts_alone_and_says_so_once(wall: Wall, server: Redis) -> None:
    limits = RateLimits(wall, server.url)
    await take(limits, "away", times=3)
    server.stop()
    with capture_logs() as logs:
        assert await take(limits, "away", times=4) == [False, False, False, True]
        wall.passes(rate_limits.REDIS_AWAY_S)
        await take(limits, "away", times=1)
    assert [entry["event"] for entry in logs] == ["rate_limits.redis_away"]
    server.start()
    with capture_logs() as logs:
        assert await take(limits, "away", times=1) == [True]  # nobody asks Redis again so soon
        wall.passes(rate_limits.REDIS_AWAY_S)
        assert await take(limits, "away", times=1) == [False]
    assert [entry["event"] for entry in logs] == ["rate_limits.redis_back"]

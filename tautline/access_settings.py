"""The part of the settings that says who is let in, from where, how many and how often.

`Settings` has these variables among its own, and is read, checked and shown as one.
"""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Annotated

import msgspec

from admin.principal import Newcomers
from relay import Limits, Networks
from tautline.documented import Documented
from tautline.setting_types import Word, is_local, origin
from tautline.store_settings import StoreSettings

Rate = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]  # requests a minute


class AccessSettings(StoreSettings, frozen=True, kw_only=True, rename="upper"):
    """What ACCESS_DOCUMENTED describes, checked. It continues StoreSettings, because structs have one parent."""

    supabase_url: str | None = None  # without a trailing slash, without a default port
    supabase_key: Word | None = None
    supabase_jwt_audience: Word = "authenticated"
    supabase_newcomers: Newcomers = "account"
    redis_url: Annotated[str, msgspec.Meta(pattern=r"\A(rediss?|unix)://")] | None = None
    max_calls: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    max_calls_per_address: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    max_personas: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 50
    trusted_proxies: str = ""
    cors_origins: str = ""
    rate_limit_per_minute: Rate = 600
    rate_limit_per_address_per_minute: Rate = 60

    def limits(self) -> Limits:
        """How many media sockets may be open at once; half of them, and at least one, may wait for their `start`."""
        return Limits(calls=self.max_calls, waiting=max(1, self.max_calls // 2), per_address=self.max_calls_per_address)

    def proxy_networks(self) -> Networks:
        """TRUSTED_PROXIES, taken apart."""
        return tuple(ip_network(each) for each in self.trusted_proxies.split(",") if each)

    def allowed_origins(self) -> frozenset[str]:
        """CORS_ORIGINS, taken apart."""
        return frozenset(each for each in self.cors_origins.split(",") if each)


def supabase_address(text: str) -> str:
    """SUPABASE_URL as the project's tokens name it. Raises: ValueError."""
    return origin(text).lower()


def origins(text: str) -> str:
    """CORS_ORIGINS as browsers write them: the host in lower case, no default port, no path. Raises: ValueError."""
    return ",".join(origin(each.strip().lower()) for each in text.split(","))


def networks(text: str) -> str:
    """TRUSTED_PROXIES in one way of writing. Raises: ValueError."""
    return ",".join(str(ip_network(each.strip())) for each in text.split(","))


def _is_plain_http(url: str) -> bool:
    return url.startswith("http://") and not is_local(url)


ACCESS_DOCUMENTED: tuple[Documented, ...] = (
    Documented(
        variable="SUPABASE_URL",
        meaning="The Supabase project whose users may come with its tokens; unset, nobody's tokens but our keys count.",
        must_be="https:// (in development also http://) and a host name, without user, path or query",
        example="https://abcdefghijklmnopqrst.supabase.co",
    ),
    Documented(
        variable="SUPABASE_KEY",
        meaning="The project's publishable (or anon) key; never the secret (or service_role) one.",
        must_be="the key as Supabase shows it, without spaces",
        example="sb_publishable_...",
        secrecy="secret",
    ),
    Documented(
        variable="SUPABASE_JWT_AUDIENCE",
        meaning="Whom the project's tokens must be for.",
        must_be="an audience's name, without spaces",
        example="authenticated",
    ),
    Documented(
        variable="SUPABASE_NEWCOMERS",
        meaning="What becomes of the project's users who come for the first time: they begin an account of their own, "
        "join the first account with a role, or are refused unless they were invited.",
        must_be="account, viewer, manager or refused",
        example="refused",
    ),
    Documented(
        variable="REDIS_URL",
        meaning="Shares rate limits between several machines.",
        must_be="a redis://, rediss:// or unix:// address",
        example="redis://:password@redis:6379/0",
        secrecy="password inside",
    ),
    Documented(
        variable="MAX_CALLS",
        meaning="The most media streams this server holds open; beyond them callers are told that all lines are busy.",
        must_be="a whole number from 1 to 100000",
        example="200",
    ),
    Documented(
        variable="MAX_CALLS_PER_ADDRESS",
        meaning="The most of them from one address; 0 is no limit, because Twilio brings all calls from few addresses.",
        must_be="a whole number from 0 to 100000",
        example="0",
    ),
    Documented(
        variable="MAX_PERSONAS",
        meaning="How many personas one account may keep.",
        must_be="a whole number from 1 to 10000",
        example="200",
    ),
    Documented(
        variable="TRUSTED_PROXIES",
        meaning="The proxies whose X-Forwarded-For says where a connection comes from; empty believes nobody's.",
        must_be="IP addresses or networks, separated by commas",
        example="127.0.0.1,10.0.0.0/8",
    ),
    Documented(
        variable="CORS_ORIGINS",
        meaning="The other sites whose pages may call the API from a browser, cookies included; empty is none.",
        must_be="origins, https://host or https://host:port, separated by commas; never *",
        example="https://console.example.com",
    ),
    Documented(
        variable="RATE_LIMIT_PER_MINUTE",
        meaning="How many requests of one key or user the API serves in a minute; each worker counts alone unless "
        "REDIS_URL is set.",
        must_be="a whole number from 1 to 1000000",
        example="600",
    ),
    Documented(
        variable="RATE_LIMIT_PER_ADDRESS_PER_MINUTE",
        meaning="The same for requests from one address that bring no good key. Twilio's webhooks are never counted.",
        must_be="a whole number from 1 to 1000000",
        example="60",
    ),
)

ACCESS_WARNINGS: tuple[tuple[Callable[[AccessSettings], bool], str], ...] = (
    (
        lambda settings: (settings.supabase_url is None) != (settings.supabase_key is None),
        "SUPABASE_URL and SUPABASE_KEY need each other: without both, Supabase's tokens are answered with 503.",
    ),
    (
        lambda settings: _is_plain_http(settings.supabase_url or ""),
        "SUPABASE_URL is http://: whoever is on the way can sign in as anybody.",
    ),
)

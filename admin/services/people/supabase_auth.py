"""Supabase Auth over HTTP: the questions that we ask it. All waiting is bounded, and so is what we read.

Each question has a connection of its own, so nothing outlives the request it was asked for. They are rare: keys are
asked for every few minutes, a token that only Supabase can check at most once a minute, and whether an address is
confirmed when somebody comes for the first time whose address was invited.
"""

import secrets
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import httpx
import msgspec
import structlog
import trio

from admin.errors import AuthUnreachableError, TooManyRequestsError
from admin.principal import Newcomers

TIMEOUT_S: Final = 3.0  # of connecting, and of each read
WITHIN_S: Final = 8.0  # of all tries together
TRIES: Final = 3
PAUSE_S: Final = 0.2
AT_ONCE: Final = 8
MAX_WAITING: Final = 32
MAX_ANSWER_BYTES: Final = 64 * 1024

Answer = TypeVar("Answer")
Pause = Callable[[float], Awaitable[None]]
_logger = structlog.stdlib.get_logger("tautline.supabase")


class SupabaseRules(msgspec.Struct, frozen=True, kw_only=True):
    """Which Supabase. url: of the project, without a path; key: anon or publishable; audience: of its tokens.

    newcomers: what becomes of its users when they come for the first time: they begin an account of their own, or are
    let into the house with this role, or refused.
    """

    url: str
    key: str
    audience: str = "authenticated"
    newcomers: Newcomers = "account"

    @property
    def issuer(self) -> str:
        """What its tokens name as their issuer, and where its Auth is reached."""
        return f"{self.url}/auth/v1"


class KnownUser(msgspec.Struct, frozen=True, kw_only=True):
    """Whom Supabase says a token belongs to. email_confirmed_at: None or "" if it never was."""

    id: str
    email: str | None = None
    email_confirmed_at: str | None = None


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class _Project(msgspec.Struct, frozen=True):
    """What is public of a project's settings. mailer_autoconfirm: addresses are confirmed as soon as they are given."""

    mailer_autoconfirm: bool = True


class SupabaseAuth:
    """Asks it. Args: rules; pause, between two tries, in seconds."""

    def __init__(self, rules: SupabaseRules, pause: Pause = trio.sleep) -> None:
        self._rules, self._pause = rules, pause
        self._tls = ssl.create_default_context()  # made once: it takes milliseconds, and calls share this thread
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._random = secrets.SystemRandom()

    async def keys(self) -> list[dict[str, Any]]:
        """The project's public keys, as JWKs (RFC 7517). Raises: AuthUnreachableError."""
        status, body = await self._ask("/.well-known/jwks.json", {})
        if status != 200:
            raise self._unusable(f"status {status}")
        return self._decoded(body, _KeySet).keys

    async def user(self, token: str) -> KnownUser | None:
        """Whom this token belongs to, None if Supabase refuses it.

        Raises: AuthUnreachableError; TooManyRequestsError when too many wait for an answer.
        """
        status, body = await self._ask("/user", {"Authorization": f"Bearer {token}"})
        if status == 200:
            return self._decoded(body, KnownUser)
        if status in (400, 401, 403, 404):
            return None
        raise self._unusable(f"status {status}")

    async def confirmed_email(self, token: str) -> str | None:
        """The address of whom this token belongs to, if they have shown that they read what is sent there.

        The token's own claims do not say: what stands there of it can be changed by whoever it belongs to.
        Raises: as `user`.
        """
        status, body = await self._ask("/settings", {})
        if status != 200:
            raise self._unusable(f"status {status}")
        if self._decoded(body, _Project).mailer_autoconfirm:
            return None
        user = await self.user(token)
        return user.email if user is not None and user.email_confirmed_at else None

    async def _ask(self, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._limiter.statistics().tasks_waiting >= MAX_WAITING:
            raise TooManyRequestsError("too many tokens are being checked; try again", headers={"Retry-After": "2"})
        why = f"no answer within {WITHIN_S} s"
        with trio.move_on_after(WITHIN_S):
            async with self._limiter:
                for number in range(TRIES):
                    if number > 0:
                        await self._pause(PAUSE_S * 2**number * self._random.uniform(0.5, 1))
                    try:
                        status, body = await self._get(path, headers)
                    except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout) as error:
                        why = type(error).__name__
                    except httpx.HTTPError as error:
                        raise self._unusable(type(error).__name__) from error
                    else:
                        if status < 500:
                            return status, body
                        why = f"status {status}"
        raise self._unusable(why)

    async def _get(self, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        headers = {"apikey": self._rules.key, "Accept": "application/json", **headers}
        async with (
            httpx.AsyncClient(verify=self._tls, timeout=TIMEOUT_S) as client,
            client.stream("GET", self._rules.issuer + path, headers=headers) as response,
        ):
            body = bytearray()
            async for part in response.aiter_bytes():
                if len(body) <= MAX_ANSWER_BYTES:  # the rest is read away, for as long as we wait at all
                    body += part
            return response.status_code, bytes(body)

    def _decoded(self, body: bytes, kind: type[Answer]) -> Answer:
        if len(body) > MAX_ANSWER_BYTES:
            raise self._unusable("too long an answer")
        try:
            return msgspec.json.decode(body, type=kind)
        except ValueError as error:
            raise self._unusable("an answer that is not the documented one") from error

    def _unusable(self, why: str) -> AuthUnreachableError:
        _logger.error("supabase.unreachable", url=self._rules.url, why=why)
        return AuthUnreachableError()

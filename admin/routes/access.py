"""Who asks? Looks at a request's credentials, and lets it on or not. Each route says which scope it needs.

A Bearer token is an API key of ours, known by its prefix, or Supabase's. A browser brings a session's cookie instead,
and, where it changes something, the session's CSRF token in a header, which another site's page cannot know.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from quart import g, request

from admin.errors import AuthNotConfiguredError, HouseOnlyError, NotAllowedError, NotAuthenticatedError
from admin.principal import Principal, Scope
from admin.routes.rates import Rates
from admin.services.people.api_keys import PREFIX

SESSION_COOKIE: Final = "tautline_session"
CSRF_HEADER: Final = "X-CSRF-Token"
MAX_TOKEN_CHARACTERS: Final = 8192  # of a JWT with many claims
_HARMLESS_METHODS: Final = ("GET", "HEAD", "OPTIONS")

FindByToken = Callable[[str], Awaitable[Principal | None]]
FindBySession = Callable[[str, str | None], Awaitable[Principal | None]]


def has_credentials() -> bool:
    """Whether the request brings any, good or not."""
    return "Authorization" in request.headers or SESSION_COOKIE in request.cookies


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Lets requests in.

    by_key: whom an API key belongs to; by_jwt: whom a token of Supabase's belongs to, None where it is not configured;
    by_session: whom a session belongs to, by its cookie and, where the request changes something, the CSRF token that
    came with it, else None; rates: who asks too often, None to let everybody ask.
    """

    by_key: FindByToken
    by_jwt: FindByToken | None = None
    by_session: FindBySession | None = None
    rates: Rates | None = None

    async def require(self, scope: Scope) -> Principal:
        """Who asks, if they may.

        Raises: NotAuthenticatedError, NotAllowedError, AuthNotConfiguredError, TooManyRequestsError.
        """
        principal = await self.signed_in()
        if not principal.may(scope):
            raise NotAllowedError(f"that needs the scope {scope}")
        return principal

    async def require_house(self, scope: Scope) -> Principal:
        """The same for what is the whole server's: who asks, if they may and theirs is the first account.

        Raises: as `require`, and HouseOnlyError.
        """
        principal = await self.require(scope)
        if not principal.is_house:
            raise HouseOnlyError("that")
        return principal

    async def signed_in(self) -> Principal:
        """Who asks, whatever they may.

        Raises: NotAuthenticatedError, NotAllowedError, AuthNotConfiguredError, TooManyRequestsError.
        """
        if "principal" not in g:
            try:
                principal = await self._find()
                if principal is None:
                    raise NotAuthenticatedError
            except (NotAuthenticatedError, NotAllowedError):  # somebody unknown, or known and not let in
                if self.rates is not None:
                    await self.rates.admit_nobody()
                raise
            g.principal = principal
            if self.rates is not None:
                await self.rates.admit(principal)
        found: Principal = g.principal
        return found

    async def _find(self) -> Principal | None:
        authorization = request.headers.get("Authorization", "")
        if authorization:
            return await self._by_bearer(authorization)
        cookie = request.cookies.get(SESSION_COOKIE)
        if cookie is None or self.by_session is None:
            return None
        if request.method in _HARMLESS_METHODS:
            return await self.by_session(cookie, None)
        return await self.by_session(cookie, request.headers.get(CSRF_HEADER, ""))

    async def _by_bearer(self, authorization: str) -> Principal | None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            return None
        if token.startswith(PREFIX):
            return await self.by_key(token)
        if self.by_jwt is None:
            raise AuthNotConfiguredError
        return await self.by_jwt(token)

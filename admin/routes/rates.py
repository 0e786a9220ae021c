"""Who asks too often? Whoever is known is counted by key or user, everybody else by address.

Only what people and programs ask for is counted. Twilio's webhooks never are, because a caller is waiting behind each
of them, nor are the probes.
"""

from typing import Final

from quart import current_app, g, request
from quart_schema.openapi import QUART_SCHEMA_SECURITY_ATTRIBUTE

from admin.errors import TooManyRequestsError
from admin.principal import Principal
from admin.services.people.throttle import network_of
from admin.services.rate_limits import RateLimits, RateRules, Standing

_PAGES: Final = ("/docs", "/openapi.json")
COUNTED: Final = ("/api/", "/personas", *_PAGES)


class Rates:
    """Counts requests and turns away. Each method counts one request once, however often it is called."""

    def __init__(self, limits: RateLimits, rules: RateRules) -> None:
        self._limits, self._rules = limits, rules

    async def admit_nobody(self) -> None:
        """Count a request of somebody unknown. Raises: TooManyRequestsError."""
        if "standing" not in g:
            await self._take(f"address:{network_of(g.address)}", self._rules.per_address)

    async def admit(self, principal: Principal) -> None:
        """Count a request of theirs. Raises: TooManyRequestsError."""
        who = f"user:{principal.user_id}" if principal.key_id is None else f"key:{principal.key_id}"
        await self._take(who, self._rules.per_principal)

    async def _take(self, who: str, per_minute: int) -> None:
        standing = g.standing = await self._limits.take(who, per_minute)
        if standing.is_over:
            raise TooManyRequestsError(f"more than {per_minute} requests in a minute", headers=standing.headers())


def needs_somebody() -> bool:
    """Whether this request's route looks at credentials, as it does unless its security scheme is none.

    Whoever brings some anywhere else is nobody, all the same.
    """
    if request.endpoint is None or request.path.startswith(_PAGES):
        return False
    return getattr(current_app.view_functions[request.endpoint], QUART_SCHEMA_SECURITY_ATTRIBUTE, None) != []


def is_counted() -> bool:
    """Whether this request is one of those that are counted."""
    return request.path.startswith(COUNTED)


def standing() -> Standing | None:
    """Where whoever asks stands, None if nobody has counted."""
    found: Standing | None = g.get("standing")
    return found

"""Which other origins' pages may call the API from a browser: those that are listed, letter by letter, and no others.

Fetch standard, "CORS protocol". A listed origin may send cookies, so there is no `*`.
"""

from typing import Final

from quart import Response, request
from quart.typing import ResponseTypes
from quart_trio import QuartTrio

PREFLIGHT_AGE_S: Final = 600
METHODS: Final = "GET, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS: Final = (
    "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, Last-Event-ID, X-CSRF-Token, X-Request-Id"
)
ANSWER_HEADERS: Final = (
    "Content-Disposition, ETag, Idempotency-Replayed, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
    "Retry-After, X-Request-Id"
)


def allow_origins(app: QuartTrio, origins: frozenset[str]) -> None:
    """Answer these origins' preflights, and let their pages read what the API says. None listed: nothing is added."""
    if not origins:
        return

    async def answer_preflight() -> Response | None:
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        if request.headers.get("Origin") not in origins:
            return None
        allowed = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
        }
        return Response("", status=204, headers=allowed)

    async def let_read(response: ResponseTypes) -> ResponseTypes:
        response.vary.add("Origin")  # also where it is not listed: a cache must not hand that answer to one that is
        origin = request.headers.get("Origin")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
            response.headers["Access-Control-Expose-Headers"] = ANSWER_HEADERS
        return response

    app.before_request(answer_preflight)
    app.after_request(let_read)

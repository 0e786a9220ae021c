"""Headers that keep a browser from doing more with an answer than was meant, unless the route has said otherwise."""

from typing import Final

from quart.typing import ResponseTypes
from quart_trio import QuartTrio

NO_PAGE: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
OWN_PAGE: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HSTS: Final = "max-age=31536000"


def add_safe_headers(app: QuartTrio, *, is_https: bool) -> None:
    """Add them to every answer. is_https: whether browsers reach us so, and are to go on doing it."""
    usual = {
        "Content-Security-Policy": NO_PAGE,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        **({"Strict-Transport-Security": HSTS} if is_https else {}),
    }

    async def add(response: ResponseTypes) -> ResponseTypes:
        for name, value in usual.items():
            response.headers.setdefault(name, value)
        return response

    app.after_request(add)

"""How large a request may be: small, unless its route says that it takes more."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from quart_trio import QuartTrio
from quart_trio.wrappers import TrioRequest
from werkzeug.exceptions import HTTPException

MAX_BODY_BYTES: Final = 64 * 1024  # Twilio's webhooks are a few KB, and so is most of what people send
_LIMIT: Final = "tautline_body_limit"

View = TypeVar("View", bound=Callable[..., Any])


def takes_bytes(limit: int) -> Callable[[View], View]:
    """A route whose body may be so large. Put it below the route's own decorator."""

    def mark(view: View) -> View:
        setattr(view, _LIMIT, limit)
        return view

    return mark


def bound_requests(app: QuartTrio) -> None:
    """Bound each request's body as its route says; the size is looked at before and while it comes in."""

    class BoundedRequest(TrioRequest):
        def __init__(
            self, method: str, scheme: str, path: str, *args: Any, max_content_length: int | None = None, **given: Any
        ) -> None:
            limit = _limit_of(app, method, path) or max_content_length
            super().__init__(method, scheme, path, *args, max_content_length=limit, **given)

    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.request_class = BoundedRequest


def _limit_of(app: QuartTrio, method: str, path: str) -> int | None:
    """What the route has said, None if it has said nothing, or there is none."""
    if method not in ("POST", "PUT", "PATCH"):
        return None
    try:
        endpoint, _ = app.url_map.bind("").match(path, method)
    except HTTPException:
        return None
    limit: int | None = getattr(app.view_functions[endpoint], _LIMIT, None)
    return limit

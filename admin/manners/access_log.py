"""One log line for each request: what was asked for, by whom, and how it went, without anything secret.

The route's pattern stands for its path, so that no identifier gets into a log by itself; query strings, headers and
bodies are never in it. A probe that goes well is told only to who asks for every detail.
"""

import time
from typing import Final

import structlog
from quart import Response, g, request
from quart.typing import ResponseTypes
from quart.wrappers.response import DataBody
from quart_trio import QuartTrio

PROBES: Final = ("/health", "/ready", "/metrics")

_logger = structlog.stdlib.get_logger("tautline.access")


def log_requests(app: QuartTrio) -> None:
    """Log every request when its answer is ready. Call it first: what is registered first runs last."""

    async def begin() -> None:
        g.began_s = time.monotonic()

    async def log(response: ResponseTypes) -> ResponseTypes:
        principal = g.get("principal")
        say = _logger.debug if request.path in PROBES and response.status_code < 400 else _logger.info
        say(
            "request.served",
            method=request.method,
            route=request.url_rule.rule if request.url_rule is not None else None,
            status=response.status_code,
            ms=round((time.monotonic() - g.began_s) * 1000, 1),
            bytes=_size(response),
            address=g.address,
            user_id=None if principal is None else str(principal.user_id),
        )
        return response

    app.before_request(begin)
    app.after_request(log)


def _size(response: ResponseTypes) -> int | None:
    """None for a stream: it is not over yet."""
    if isinstance(response, Response) and isinstance(response.response, DataBody):
        return len(response.response.data)
    return None

"""gzip for text that is long enough, for clients that take it. Streams and audio are left as they are.

The calls' audio goes through the same thread, so what takes longer than a moment is compressed in another one.
"""

import gzip
from typing import Final

import trio
from quart import Response, request
from quart.typing import ResponseTypes
from quart.wrappers.response import DataBody
from quart_trio import QuartTrio

MIN_BYTES: Final = 1024  # below, the headers that are added outweigh what is saved
MAX_BYTES_AT_ONCE: Final = 16 * 1024  # takes well under a millisecond
LEVEL: Final = 5
TYPES: Final = ("application/json", "application/javascript", "image/svg+xml", "application/xml")


def compress_answers(app: QuartTrio) -> None:
    """Compress what gains by it."""

    async def compress(response: ResponseTypes) -> ResponseTypes:
        if not isinstance(response, Response) or not _gains(response):
            return response
        response.vary.add("Accept-Encoding")
        if not request.accept_encodings["gzip"]:  # its quality; 0 where it is refused, or not named
            return response
        data = await response.get_data(as_text=False)
        if len(data) > MAX_BYTES_AT_ONCE:
            smaller = await trio.to_thread.run_sync(_gzipped, data)
        else:
            smaller = _gzipped(data)
        response.set_data(smaller)
        response.headers["Content-Encoding"] = "gzip"
        return response

    app.after_request(compress)


def _gains(response: Response) -> bool:
    if response.status_code in (204, 206, 304) or "Content-Encoding" in response.headers:
        return False
    if "ETag" in response.headers:  # it stands for these bytes, and If-Match wants it back as it was
        return False
    if not isinstance(response.response, DataBody) or len(response.response.data) < MIN_BYTES:
        return False
    kind = response.mimetype or ""
    return kind in TYPES or (kind.startswith("text/") and kind != "text/event-stream")


def _gzipped(data: bytes) -> bytes:
    return gzip.compress(data, LEVEL, mtime=0)

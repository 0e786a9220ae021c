"""The calls in progress, over HTTP: as they stand, and as a stream of what happens (Server-Sent Events)."""

from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
from quart import Blueprint, Response, request
from quart_schema import validate_response

from admin.manners.described import answers
from admin.routes.access import Access
from admin.services.calls.call_history import viewer_of
from admin.services.live.live import Live
from admin.services.live.live_events import LiveCall
from admin.store.call_search import Viewer

STREAM_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # or nginx would keep events until it has some KB of them
}


class LiveCallList(msgspec.Struct, frozen=True, kw_only=True):
    """The calls that this machine carries now, the oldest first."""

    items: list[LiveCall]


def live_blueprint(access: Access, live: Live) -> Blueprint:
    """Everything under /api/live."""
    blueprint = Blueprint("live", __name__)

    @blueprint.get("/api/live")
    @validate_response(LiveCallList)
    async def list_live_calls() -> LiveCallList:
        """List the calls in progress."""
        principal = await access.require("calls:read")
        return LiveCallList(items=live.calls(viewer_of(principal)))

    @blueprint.get("/api/live/events")
    @answers(200, "What happens, as it happens.", "text/event-stream")
    async def get_live_events() -> Response:
        """Tell what happens in the calls in progress, as it happens: a stream of Server-Sent Events.

        Events are call.started, call.turn, call.barged_in and call.ended, each a JSON object, and live.reset: something
        was missed, the calls are to be listed anew. Who comes back with Last-Event-ID is told what they missed. The
        stream ends after a quarter of an hour, when the server drains, and for who reads too slowly. 429
        too_many_watchers, 503 draining.
        """
        principal = await access.require("calls:read")
        live.require_room(principal.user_id)  # while the answer can still become an error
        pieces = _pieces(live, principal.user_id, viewer_of(principal), request.headers.get("Last-Event-ID"))
        response = Response(b"" if request.method == "HEAD" else pieces, content_type="text/event-stream")
        response.headers.update(STREAM_HEADERS)
        response.timeout = None
        return response

    return blueprint


async def _pieces(live: Live, user_id: UUID, viewer: Viewer, last_event_id: str | None) -> AsyncIterator[bytes]:
    with live.watching(user_id, viewer, last_event_id) as watcher:
        for piece in watcher.first:
            yield piece
        while (more := await watcher.next()) is not None:
            yield more or live.heartbeat()

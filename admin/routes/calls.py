"""The calls that were and are, over HTTP: lists, one call, its events and words, a file of many, sums by day."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Final
from uuid import UUID

import msgspec
from quart import Blueprint, Response, request
from quart_schema import document_response, validate_querystring, validate_response

from admin.manners.described import answers
from admin.patterns import KEEPABLE
from admin.routes.access import Access
from admin.routes.call_names import take_call_names
from admin.routes.inputs import PageQuery
from admin.services.calls.call_export import MEDIA_TYPES, Export, Format
from admin.services.calls.call_history import CallHistory, CallPage, EventPage, Summary, Transcript
from admin.services.calls.call_status import CallStatus
from admin.services.calls.call_view import CallDetail, transcript_text
from admin.store.call_search import CallFilter
from admin.store.paging import USUAL_PAGE, Cursor, Limit
from relay import Direction

EXPORTED_AT_ONCE: Final = 500

# As text: from a query, a datetime would also be taken as a number of seconds, which nobody was told of.
Moment = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\d[Tt ]", extra_json_schema={"format": "date-time"})]
Number = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=KEEPABLE)]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=KEEPABLE)]


class CallQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which calls. from, to: when they came or were placed, `to` not included; number: who called or was called, as it
    was told; text: somebody's words, whatever their case.
    """

    begun_from: Moment | None = msgspec.field(name="from", default=None)
    begun_before: Moment | None = msgspec.field(name="to", default=None)
    number: Number | None = None
    persona_id: UUID | None = None
    status: CallStatus | None = None
    direction: Direction | None = None
    text: Words | None = None

    def __post_init__(self) -> None:
        """Raises: ValueError for what is no moment."""
        _require_moments(self.begun_from, self.begun_before)

    def filter(self) -> CallFilter:
        """For the service."""
        return CallFilter(
            begun_from=_moment(self.begun_from),
            begun_before=_moment(self.begun_before),
            numbers=None if self.number is None else _numbers(self.number),
            persona_id=self.persona_id,
            status=self.status,
            direction=self.direction,
            words=self.text,
        )


class CallPageQuery(CallQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which page of which calls."""

    limit: Limit = USUAL_PAGE
    cursor: Cursor | None = None


class ExportQuery(CallQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which calls, and what the file is to be."""

    format: Format = "csv"


class SummaryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which days."""

    begun_from: Moment | None = msgspec.field(name="from", default=None)
    begun_before: Moment | None = msgspec.field(name="to", default=None)

    def __post_init__(self) -> None:
        """Raises: ValueError for what is no moment."""
        _require_moments(self.begun_from, self.begun_before)


def calls_blueprint(access: Access, history: CallHistory) -> Blueprint:
    """Everything under /api/calls that reads or deletes."""
    blueprint = Blueprint("calls", __name__)
    take_call_names(blueprint)

    @blueprint.get("/api/calls")
    @validate_querystring(CallPageQuery)
    @validate_response(CallPage)
    async def list_calls(query_args: CallPageQuery) -> CallPage:
        """List calls, newest first. 400 invalid_cursor."""
        principal = await access.require("calls:read")
        return await history.page(principal, query_args.filter(), query_args.cursor, query_args.limit)

    @blueprint.get("/api/calls/summary")
    @validate_querystring(SummaryQuery)
    @validate_response(Summary)
    async def get_summary(query_args: SummaryQuery) -> Summary:
        """Sum up calls by day, in UTC; the last 30 days unless others are asked for."""
        principal = await access.require("calls:read")
        return await history.summary(principal, _moment(query_args.begun_from), _moment(query_args.begun_before))

    @blueprint.get("/api/calls/export")
    @validate_querystring(ExportQuery)
    @answers(200, "The calls.", "text/csv")
    @answers(200, "The calls.", "application/json")
    async def export_calls(query_args: ExportQuery) -> Response:
        """Give calls as a file: CSV, or a JSON array.

        In CSV, text that a spreadsheet would take for a formula (it begins with = + - @, a tab or a line's end) has an
        apostrophe before it; telephone numbers do.
        """
        principal = await access.require("calls:read")
        next_page = partial(history.page, principal, query_args.filter(), limit=EXPORTED_AT_ONCE)
        first = await next_page(cursor=None)  # while the answer can still become an error
        chosen = query_args.format
        response = Response(_pieces(Export(chosen), first, next_page), content_type=MEDIA_TYPES[chosen])
        response.headers["Content-Disposition"] = f'attachment; filename="calls.{chosen}"'
        response.timeout = None  # it takes as long as it takes; a client that does not read is let go
        return response

    @blueprint.get("/api/calls/<call:sid>")
    @validate_response(CallDetail)
    async def get_call(sid: str) -> CallDetail:
        """Show a call, named by its CallSid or its id, with what happened in it. 404 call_not_found."""
        return await history.detail(await access.require("calls:read"), sid)

    @blueprint.delete("/api/calls/<call:sid>")
    async def delete_call(sid: str) -> Response:
        """Delete a call with its events and words. 404 call_not_found, 409 call_in_progress."""
        await history.remove(await access.require("calls:write"), sid)
        return Response(b"", status=204)

    @blueprint.get("/api/calls/<call:sid>/events")
    @validate_querystring(PageQuery)
    @validate_response(EventPage)
    async def list_events(sid: str, query_args: PageQuery) -> EventPage:
        """List what happened in a call, in order. 404 call_not_found, 400 invalid_cursor."""
        principal = await access.require("calls:read")
        return await history.events(principal, sid, query_args.cursor, query_args.limit)

    @blueprint.get("/api/calls/<call:sid>/transcript")
    @document_response(Transcript)
    async def get_transcript(sid: str) -> Response:
        """Show what was said in a call, as JSON or, by Accept, as text/plain. 404 call_not_found."""
        transcript = await history.transcript(await access.require("calls:read"), sid)
        offered = ["application/json", "text/plain"]
        if request.accept_mimetypes.best_match(offered, default=offered[0]) == offered[0]:
            return Response(msgspec.json.encode(transcript), content_type=offered[0])
        return Response(
            transcript_text(transcript.began_at, transcript.turns), content_type="text/plain; charset=utf-8"
        )

    return blueprint


async def _pieces(
    export: Export, page: CallPage, next_page: Callable[..., Awaitable[CallPage]]
) -> AsyncIterator[bytes]:
    yield export.head() + export.body(page.items)
    while page.next_cursor is not None:
        page = await next_page(cursor=page.next_cursor)
        yield export.body(page.items)
    yield export.end()


def _numbers(number: str) -> tuple[str, ...]:
    """In an address a plus is a space: 4930901820 is looked for as +4930901820, too."""
    given = number.strip()
    return (given, f"+{given}") if given.isdecimal() else (given,)


def _require_moments(*texts: str | None) -> None:
    for text in texts:
        _moment(text)


def _moment(text: str | None) -> datetime | None:
    """Raises: ValueError for what is no moment in RFC 3339."""
    return None if text is None else msgspec.convert(text, Annotated[datetime, msgspec.Meta(tz=True)])

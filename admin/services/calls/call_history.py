"""The calls that were and are: found, read, exported, summed up, deleted; each by the people it belongs to."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from admin.errors import ConflictError, InvalidCursorError, InvalidInputError, NotFoundError
from admin.principal import Principal
from admin.services.calls import call_view
from admin.services.calls.call_record import ANSWER_BEGAN, ANSWER_SOUNDED, BARGED_IN
from admin.services.calls.call_view import CallDetail, CallEvent, CallItem, Turn
from admin.store import audit, call_events, call_search
from admin.store.call_search import CallFilter, DaySums, Viewer
from admin.store.database import Database

MAX_TRANSCRIPT_TURNS: Final = 20_000  # a day of talking
MAX_SUMMED: Final = timedelta(days=366)
USUALLY_SUMMED: Final = timedelta(days=30)
_MAX_CURSOR_DIGITS: Final = 9  # an event's number fits its column

_MOMENTS: Final = (ANSWER_BEGAN, ANSWER_SOUNDED, BARGED_IN)


class CallPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of calls, newest first. A search for words looks through a part of the calls for each page: one may be
    short, or empty, and have another behind it.
    """

    items: list[CallItem]
    next_cursor: str | None


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of what happened in a call, in order."""

    items: list[CallEvent]
    next_cursor: str | None


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """What was said in a call, in order. began_at: when it was answered, or else came."""

    call_sid: str
    began_at: datetime
    turns: list[Turn]


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """The calls that came or were placed on one day in UTC, or on all days asked for (day: "").

    minutes: of all calls that have ended; cost_usd_millionths: as far as it is known; uncosted: calls that have ended
    and whose cost is not.
    """

    day: str
    calls: int
    inbound: int
    outbound: int
    answered: int
    barge_ins: int
    minutes: float
    cost_usd_millionths: int
    uncosted: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Sums for a dashboard: each day, those without calls too, and all of them together."""

    days: list[Day]
    total: Day


class CallHistory:
    """Args: database; now, wall time."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database, self._now = database, now

    async def page(self, principal: Principal, wanted: CallFilter, cursor: str | None, limit: int) -> CallPage:
        """Calls, newest first. Raises: InvalidCursorError, InvalidInputError."""
        wanted = _checked(wanted)

        def find(connection: Connection) -> CallPage:
            found = call_search.page(connection, viewer_of(principal), wanted, cursor, limit)
            return CallPage(items=[call_view.item_of(row) for row in found.rows], next_cursor=found.next_cursor)

        return await self._database.read(find)

    async def detail(self, principal: Principal, sid: str) -> CallDetail:
        """One call. Raises: NotFoundError."""

        def find(connection: Connection) -> CallDetail:
            row = _require(connection, principal, sid)
            turns = call_search.turns(connection, row["id"], call_view.MAX_TURNS + 1)
            moments = call_events.of_call(connection, row["id"], _MOMENTS, limit=call_view.MAX_MOMENTS)
            return call_view.detail_of(row, turns, moments)

        return await self._database.read(find)

    async def events(self, principal: Principal, sid: str, cursor: str | None, limit: int) -> EventPage:
        """What happened in a call. Raises: NotFoundError, InvalidCursorError."""
        behind = _number(cursor)

        def find(connection: Connection) -> EventPage:
            call_id = _require(connection, principal, sid)["id"]
            rows = call_search.events(connection, call_id, behind=behind, limit=limit + 1)
            items = [call_view.event_of(row) for row in rows[:limit]]
            return EventPage(items=items, next_cursor=str(items[-1].number) if len(rows) > limit else None)

        return await self._database.read(find)

    async def transcript(self, principal: Principal, sid: str) -> Transcript:
        """What was said in a call. Raises: NotFoundError."""

        def find(connection: Connection) -> Transcript:
            row = _require(connection, principal, sid)
            turns = call_search.turns(connection, row["id"], MAX_TRANSCRIPT_TURNS)
            began_at = row["answered_at"] or row["created_at"]
            return Transcript(
                call_sid=row["call_sid"], began_at=began_at, turns=[call_view.turn_of(turn) for turn in turns]
            )

        return await self._database.read(find)

    async def remove(self, principal: Principal, sid: str) -> None:
        """Delete a call with all that is known of it. Raises: NotFoundError; ConflictError while it is in progress."""

        def work(connection: Connection) -> None:
            row = _require(connection, principal, sid)
            if row["ended_at"] is None:
                raise ConflictError("the call is in progress; hang up first", code="call_in_progress")
            call_search.remove(connection, row["id"])
            facts = {"call_sid": row["call_sid"]}
            audit.record(connection, principal, audit.CALL_DELETED, subject=row["id"], facts=facts, at=self._now())

        await self._database.write(work)

    async def summary(
        self, principal: Principal, begun_from: datetime | None, begun_before: datetime | None
    ) -> Summary:
        """Sums by day in UTC: of the days that these moments touch, else of the last 30. Raises: InvalidInputError."""
        before = _in_utc(begun_before or self._now())
        begin = _usual_begin(before) if begun_from is None else _in_utc(begun_from)
        days = _days(begin, before)

        def find(connection: Connection) -> list[DaySums]:
            return call_search.sums_by_day(connection, viewer_of(principal), begin, before)

        found = {each.day: each for each in await self._database.read(find)}
        listed = [_day(day, [found[day]] if day in found else []) for day in days]
        return Summary(days=listed, total=_day("", list(found.values())))


def viewer_of(principal: Principal) -> Viewer:
    """Whose calls they may see: the first account's owners see nobody's calls, too."""
    return Viewer(account_id=principal.account_id, sees_unowned=principal.is_house and principal.role == "owner")


def _require(connection: Connection, principal: Principal, sid: str) -> RowMapping:
    # What names no call of anybody's must not come to the database: it may hold what a database cannot.
    row = call_search.find(connection, viewer_of(principal), sid) if sid.isascii() and sid.isprintable() else None
    if row is None:
        raise NotFoundError("call")
    return row


def _checked(wanted: CallFilter) -> CallFilter:
    return msgspec.structs.replace(
        wanted,
        begun_from=None if wanted.begun_from is None else _in_utc(wanted.begun_from),
        begun_before=None if wanted.begun_before is None else _in_utc(wanted.begun_before),
    )


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first or last day that there is, elsewhere
        raise InvalidInputError("that moment cannot be told in UTC") from None


def _usual_begin(before: datetime) -> datetime:
    try:
        return before - USUALLY_SUMMED
    except OverflowError:
        raise InvalidInputError("there is no time before that") from None


def _days(begin: datetime, before: datetime) -> list[str]:
    """The days that these moments touch, the second one left out."""
    if begin >= before or before - begin > MAX_SUMMED:
        raise InvalidInputError(f"`from` must be before `to`, by {MAX_SUMMED.days} days at most")
    last = (before - timedelta.resolution).date()
    return [str(begin.date() + timedelta(days=each)) for each in range((last - begin.date()).days + 1)]


def _number(cursor: str | None) -> int:
    if cursor is None:
        return -1
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= _MAX_CURSOR_DIGITS):
        raise InvalidCursorError
    return int(cursor)


def _day(day: str, sums: list[DaySums]) -> Day:
    def total(name: str) -> int:
        return sum(getattr(each, name) for each in sums)

    calls, inbound = total("calls"), total("inbound")
    return Day(
        day=day,
        calls=calls,
        inbound=inbound,
        outbound=calls - inbound,
        answered=total("answered"),
        barge_ins=total("barge_ins"),
        minutes=round(total("duration_ms") / 60_000, 2),
        cost_usd_millionths=total("cost_usd_millionths"),
        uncosted=total("uncosted"),
    )

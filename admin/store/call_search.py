"""The tables of calls, read for people: lists, one call with what happened in it, sums by day. And calls deleted.

Who may see a call is the first condition of each statement: its account's people, and for a call that belongs to nobody
those who may see such. Words are looked for in the newest calls only, page by page, so that no search reads every
transcript there is.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.engine import RowMapping

from admin.store.paging import after, cursor_of
from admin.store.schema import call_events, calls, transcript_turns
from admin.store.text_match import contains

SEARCHED_CALLS: Final = 2000  # whose transcripts are looked through for one page: some 50,000 turns


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks. sees_unowned: also calls that belong to nobody."""

    account_id: UUID
    sees_unowned: bool = False


class CallFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls. None: whatever it is.

    begun_from, begun_before: when the call came or was placed; numbers: one of them called or was called; words: that
    somebody said, whatever their case.
    """

    begun_from: datetime | None = None
    begun_before: datetime | None = None
    numbers: Sequence[str] | None = None
    persona_id: UUID | None = None
    status: str | None = None
    direction: str | None = None
    words: str | None = None


class Page(msgspec.Struct, frozen=True):
    """Some rows, newest first, and where the next page begins; None behind the last one."""

    rows: Sequence[RowMapping]
    next_cursor: str | None


class DaySums(msgspec.Struct, frozen=True, kw_only=True):
    """One day's calls. cost_usd_millionths: of the calls whose cost is known; uncosted: how many others have ended."""

    day: str
    calls: int
    inbound: int
    answered: int
    barge_ins: int
    duration_ms: int
    cost_usd_millionths: int
    uncosted: int


def page(connection: Connection, viewer: Viewer, wanted: CallFilter, cursor: str | None, limit: int) -> Page:
    """Calls, newest first. A page of a search for words may be short, even empty, and not be the last.

    Raises: InvalidCursorError.
    """
    viewer = _narrowed(connection, viewer)
    if wanted.words is not None:
        return _searched_page(connection, viewer, wanted, cursor, limit)
    statement = after(select(calls).where(*_conditions(viewer, wanted)), cursor, **_NEWEST_FIRST, limit=limit)
    rows = connection.execute(statement).mappings().all()
    return _page_of(rows[:limit], rows[:limit] if len(rows) > limit else ())


def find(connection: Connection, viewer: Viewer, sid: str) -> RowMapping | None:
    """One call, by Twilio's name for it, or by our id."""
    names = [calls.c.call_sid == sid]
    if (call_id := _uuid(sid)) is not None:
        names.append(calls.c.id == call_id)
    return connection.execute(select(calls).where(_seen_by(viewer), or_(*names)).limit(1)).mappings().first()


def turns(connection: Connection, call_id: UUID, limit: int) -> Sequence[RowMapping]:
    """What was said, in order."""
    found = select(transcript_turns).where(transcript_turns.c.call_id == call_id)
    return connection.execute(found.order_by(transcript_turns.c.number).limit(limit)).mappings().all()


def events(connection: Connection, call_id: UUID, *, behind: int, limit: int) -> Sequence[RowMapping]:
    """What happened, in order, behind the event of this number."""
    found = select(call_events).where(call_events.c.call_id == call_id, call_events.c.number > behind)
    return connection.execute(found.order_by(call_events.c.number).limit(limit)).mappings().all()


def remove(connection: Connection, call_id: UUID) -> None:
    """Delete a call, its events and its transcript."""
    connection.execute(delete(calls).where(calls.c.id == call_id))


def sums_by_day(connection: Connection, viewer: Viewer, begun_from: datetime, begun_before: datetime) -> list[DaySums]:
    """Sums of the days (in UTC) on which there were calls, in order."""
    wanted = CallFilter(begun_from=begun_from, begun_before=begun_before)
    is_sqlite = connection.dialect.name == "sqlite"  # which keeps moments in UTC, without saying so
    day = func.date(calls.c.created_at if is_sqlite else func.timezone("UTC", calls.c.created_at))
    uncosted = and_(calls.c.ended_at.is_not(None), calls.c.cost_usd_millionths.is_(None))
    columns = {
        "calls": func.count(),
        "inbound": func.count().filter(calls.c.direction == "inbound"),
        "answered": func.count().filter(calls.c.answered_at.is_not(None)),
        "barge_ins": func.coalesce(func.sum(calls.c.barge_ins), 0),
        "duration_ms": func.coalesce(func.sum(calls.c.duration_ms), 0),
        "cost_usd_millionths": func.coalesce(func.sum(calls.c.cost_usd_millionths), 0),
        "uncosted": func.count().filter(uncosted),
    }
    labelled = [column.label(name) for name, column in columns.items()]
    statement = select(day.label("day"), *labelled).where(*_conditions(viewer, wanted)).group_by(day).order_by(day)
    return [
        DaySums(day=str(row["day"]), **{name: int(row[name]) for name in columns})
        for row in connection.execute(statement).mappings()
    ]


_NEWEST_FIRST: Final[dict[str, Any]] = {"by": calls.c.created_at, "row_id": calls.c.id, "descending": True}


def _searched_page(connection: Connection, viewer: Viewer, wanted: CallFilter, cursor: str | None, limit: int) -> Page:
    """Looks through the next calls of the list, so many and no more."""
    columns = select(calls.c.created_at, calls.c.id).where(*_conditions(viewer, wanted))
    window = after(columns, cursor, **_NEWEST_FIRST, limit=SEARCHED_CALLS - 1).subquery("searched")
    by_age = (window.c.created_at.desc(), window.c.id.desc())
    last = connection.execute(select(window).order_by(*by_age).offset(SEARCHED_CALLS - 1).limit(1)).mappings().all()
    said = exists().where(
        transcript_turns.c.call_id == window.c.id,
        contains(transcript_turns.c.words, wanted.words or "", connection.dialect),
    )
    hits = select(calls).join(window, window.c.id == calls.c.id).where(said).order_by(*by_age).limit(limit + 1)
    rows = connection.execute(hits).mappings().all()
    return _page_of(rows[:limit], rows[:limit] if len(rows) > limit else last)


def _page_of(rows: Sequence[RowMapping], looked_at: Sequence[RowMapping]) -> Page:
    """looked_at: the rows behind whose last one the next page begins, none if there is no next page."""
    next_cursor = cursor_of(looked_at[-1]["created_at"], looked_at[-1]["id"]) if looked_at else None
    return Page(rows, next_cursor)


def _conditions(viewer: Viewer, wanted: CallFilter) -> list[ColumnElement[bool]]:
    """All but the words."""
    conditions = [_seen_by(viewer)]
    if wanted.begun_from is not None:
        conditions.append(calls.c.created_at >= wanted.begun_from)
    if wanted.begun_before is not None:
        conditions.append(calls.c.created_at < wanted.begun_before)
    if wanted.numbers is not None:
        conditions.append(or_(calls.c.caller.in_(wanted.numbers), calls.c.called.in_(wanted.numbers)))
    for column, value in (
        (calls.c.persona_id, wanted.persona_id),
        (calls.c.status, wanted.status),
        (calls.c.direction, wanted.direction),
    ):
        if value is not None:
            conditions.append(column == value)
    return conditions


def _narrowed(connection: Connection, viewer: Viewer) -> Viewer:
    """Where nobody's calls are none, a list need not look for them: then it is read from one index, in its order."""
    if not viewer.sees_unowned:
        return viewer
    found = connection.execute(select(calls.c.id).where(calls.c.account_id.is_(None)).limit(1)).first()
    return Viewer(account_id=viewer.account_id, sees_unowned=found is not None)


def _seen_by(viewer: Viewer) -> ColumnElement[bool]:
    own = calls.c.account_id == viewer.account_id
    return or_(own, calls.c.account_id.is_(None)) if viewer.sees_unowned else own


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

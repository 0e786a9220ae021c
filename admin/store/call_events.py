"""The tables of what happened in calls, and of the words among it: written, and read for summaries. No rules."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select
from sqlalchemy.engine import RowMapping

from admin.store.inserting import insert_new
from admin.store.schema import call_events, transcript_turns


def known(connection: Connection, event_ids: Collection[UUID]) -> set[UUID]:
    """Those of them that are there."""
    return set(connection.execute(select(call_events.c.id).where(call_events.c.id.in_(event_ids))).scalars())


def last_numbers(connection: Connection, call_ids: Collection[UUID]) -> dict[UUID, int]:
    """The number of the last event of each of these calls that has any."""
    found = (
        select(call_events.c.call_id, func.max(call_events.c.number).label("number"))
        .where(call_events.c.call_id.in_(call_ids))
        .group_by(call_events.c.call_id)
    )
    return {row.call_id: row.number for row in connection.execute(found)}


def add(connection: Connection, events: Sequence[Mapping[str, Any]], turns: Sequence[Mapping[str, Any]]) -> None:
    """Rows of call_events and of transcript_turns. One that is there stays as it is."""
    insert_new(connection, call_events, events)
    insert_new(connection, transcript_turns, turns)


def of_call(
    connection: Connection, call_id: UUID, names: Collection[str], *, limit: int | None = None
) -> Sequence[RowMapping]:
    """A call's events of these names, in their order; the first ones, if there is a limit."""
    found = select(call_events).where(call_events.c.call_id == call_id, call_events.c.name.in_(names))
    return connection.execute(found.order_by(call_events.c.number).limit(limit)).mappings().all()


def last_at(connection: Connection, call_id: UUID) -> datetime | None:
    """When the last thing happened in a call; None if nothing has."""
    found = select(call_events.c.at).where(call_events.c.call_id == call_id).order_by(call_events.c.at.desc()).limit(1)
    return connection.execute(found).scalar()

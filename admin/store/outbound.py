"""Calls that we place, in the table of calls, and what their caps are counted from.

A row is there before Twilio is asked, so that two requests at once see each other. Until Twilio has named the call it
stands under a name of our own. Orders are counted in the audit trail, which nobody can delete from to place more.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, and_, case, delete, func, insert, or_, select, text, update
from sqlalchemy.engine import RowMapping

from admin.store.calls import is_open
from admin.store.schema import audit_log, calls, personas, phone_numbers

ORDERED: Final = "call.ordered"  # in the audit trail
WITHDRAWN: Final = "call.withdrawn"  # Twilio was not reached: the order does not count

UNNAMED: Final = "ordered:"  # what a call is called by until Twilio gives it a SID
_UNNAMED_COUNTS_FOR: Final = timedelta(minutes=10)  # a process that died while it asked Twilio blocks no longer
_COUNTS_FOR: Final = timedelta(hours=5)  # Twilio ends calls after four, whether or not it can tell us
_LOCK: Final = 0x7461_7574_6F75_74  # names PostgreSQL's lock; any number will do, as long as it is always this one


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What was placed within the last day. The oldest ones say when a cap gives way; None when there are none."""

    calls: int
    user_calls: int
    active_calls: int
    oldest_at: datetime | None = None
    user_oldest_at: datetime | None = None


def serialise(connection: Connection) -> None:
    """Let nobody else pass here until this transaction has ended. SQLite's writers come one at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def usage(connection: Connection, user_id: UUID, *, since: datetime, now: datetime) -> Usage:
    """What was placed since this moment, and what is in progress."""
    is_order, is_users = audit_log.c.action == ORDERED, audit_log.c.actor_id == user_id
    counted = case((is_order, 1), else_=-1)
    row = connection.execute(
        select(
            func.coalesce(func.sum(counted), 0).label("calls"),
            func.coalesce(func.sum(case((is_users, counted), else_=0)), 0).label("user_calls"),
            func.min(case((is_order, audit_log.c.at))).label("oldest_at"),
            func.min(case((and_(is_order, is_users), audit_log.c.at))).label("user_oldest_at"),
        ).where(audit_log.c.action.in_((ORDERED, WITHDRAWN)), audit_log.c.at > since)
    ).one()
    return Usage(
        calls=row.calls,
        user_calls=row.user_calls,
        active_calls=_active_calls(connection, now),
        oldest_at=row.oldest_at,
        user_oldest_at=row.user_oldest_at,
    )


def _active_calls(connection: Connection, now: datetime) -> int:
    is_unnamed = calls.c.call_sid.startswith(UNNAMED, autoescape=True)
    counted = select(func.count()).where(
        calls.c.direction == "outbound",
        is_open(),
        calls.c.created_at > now - _COUNTS_FOR,
        or_(~is_unnamed, calls.c.created_at > now - _UNNAMED_COUNTS_FOR),
    )
    return connection.execute(counted).scalar_one()


def reserve(connection: Connection, call_id: UUID, at: datetime, **facts: Any) -> None:
    """A call that Twilio is about to be asked for. facts: more columns."""
    connection.execute(
        insert(calls).values(
            id=call_id,
            call_sid=f"{UNNAMED}{call_id}",
            direction="outbound",
            status="queued",
            created_at=at,
            **facts,
        )
    )


def adopt(connection: Connection, call_id: UUID, call_sid: str) -> UUID:
    """Twilio has named the call, however often this is said. Returns the row's id from now on.

    That is another one where a callback, or the call's own stream, has made a row of this name before; it takes over
    what was ordered. Raises: IntegrityError if such a row is made at this very moment; said again, it is found.
    """
    # A call keeps its name, and most often has it by now. No lock for that: several calls are named in one transaction,
    # and whoever writes the same ones in another order would wait for us, and we for them.
    name = connection.execute(select(calls.c.call_sid).where(calls.c.id == call_id)).scalar_one_or_none()
    if name is not None and not name.startswith(UNNAMED):
        return call_id
    # Locked: two that say this at once would each see a reservation that the other one is about to replace.
    reserved = select(calls).where(calls.c.id == call_id).with_for_update()
    ours = connection.execute(reserved).mappings().one_or_none()
    if ours is not None and not ours["call_sid"].startswith(UNNAMED):
        return call_id
    other: UUID | None = connection.execute(select(calls.c.id).where(calls.c.call_sid == call_sid)).scalar_one_or_none()
    if ours is None:
        return other or call_id
    if other is None:
        connection.execute(update(calls).where(calls.c.id == call_id).values(call_sid=call_sid, error_code=""))
        return call_id
    kept = ("account_id", "direction", "caller", "called", "persona_id", "persona_version", "created_by", "variables")
    connection.execute(delete(calls).where(calls.c.id == call_id))
    connection.execute(update(calls).where(calls.c.id == other).values({name: ours[name] for name in kept}))
    return other


def withdraw(connection: Connection, call_id: UUID) -> None:
    """The call was not placed, and nothing is to be remembered of it."""
    connection.execute(delete(calls).where(calls.c.id == call_id))


def note_failure(connection: Connection, call_id: UUID, at: datetime, *, error_code: str, is_over: bool) -> None:
    """Twilio refused the call, or its answer was lost and nobody knows."""
    ended = {"status": "failed", "ended_at": at} if is_over else {}
    connection.execute(update(calls).where(calls.c.id == call_id).values(error_code=error_code, **ended))


def ordered(connection: Connection, call_id: UUID, call_sid: str) -> RowMapping | None:
    """A call that we placed, by our id, or by Twilio's name if a callback's row took its place."""
    found = select(calls).where(or_(calls.c.id == call_id, calls.c.call_sid == call_sid))
    return connection.execute(found.where(calls.c.direction == "outbound").limit(1)).mappings().one_or_none()


def named(connection: Connection, account_id: UUID, call_sid: str) -> RowMapping | None:
    """A call of this account."""
    found = select(calls).where(calls.c.call_sid == call_sid, calls.c.account_id == account_id)
    return connection.execute(found).mappings().one_or_none()


def first_number(connection: Connection, account_id: UUID) -> str | None:
    """The number that the account has had for the longest time."""
    mine = select(phone_numbers.c.number).where(phone_numbers.c.account_id == account_id)
    return connection.execute(mine.order_by(phone_numbers.c.created_at, phone_numbers.c.id).limit(1)).scalar()


def number_owner(connection: Connection, number: str) -> UUID | None:
    """The account that has this number, None if nobody has it."""
    owner = select(phone_numbers.c.account_id).where(phone_numbers.c.number == number)
    return connection.execute(owner).scalar_one_or_none()


def persona(connection: Connection, account_id: UUID, persona_id: UUID | None) -> RowMapping | None:
    """This persona of the account, or its active one."""
    wanted = personas.c.is_active if persona_id is None else personas.c.id == persona_id
    found = select(personas.c.id, personas.c.version).where(personas.c.account_id == account_id, wanted)
    return connection.execute(found).mappings().one_or_none()

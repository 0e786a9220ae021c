"""The tables of personas and their versions: read and written, no rules. Those are in admin.services.personas.personas.

A row of a persona is always the newest version's: id, account_id, name, language, version, is_active, created_at,
updated_at, body.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Select, delete, exists, false, func, insert, select, update
from sqlalchemy.engine import RowMapping

from admin.store import directory, paging
from admin.store.column_types import new_id
from admin.store.schema import persona_versions, personas, phone_numbers, users

Sorting = Literal["updated_at", "-updated_at", "name", "-name"]


def lock_account(connection: Connection, account_id: UUID) -> None:
    """Have others who lock it wait until this transaction ends. SQLite has one writer at a time anyway."""
    first = select(users.c.id).where(users.c.account_id == account_id).order_by(users.c.id).limit(1)
    connection.execute(first.with_for_update(key_share=True))


def lock(connection: Connection, account_id: UUID, persona_id: UUID) -> bool:
    """Have others who lock the persona wait until this transaction ends. Returns: whether the account has it."""
    wanted = select(personas.c.id).where(personas.c.id == persona_id, personas.c.account_id == account_id)
    return connection.execute(wanted.with_for_update()).scalar() is not None


def add(
    connection: Connection,
    *,
    account_id: UUID,
    name: str,
    language: str,
    body: dict[str, Any],
    change: str,
    by: UUID,
    at: datetime,
) -> UUID:
    """A new persona and its first version."""
    persona_id = new_id()
    connection.execute(
        insert(personas).values(
            id=persona_id,
            account_id=account_id,
            name=name,
            language=language,
            version=1,
            created_at=at,
            updated_at=at,
        )
    )
    _add_version(connection, persona_id, 1, body=body, change=change, by=by, at=at)
    directory.bump(connection)
    return persona_id


def renew(
    connection: Connection,
    persona_id: UUID,
    number: int,
    *,
    name: str,
    language: str,
    body: dict[str, Any],
    change: str,
    by: UUID,
    at: datetime,
) -> None:
    """Make version `number` the persona's newest."""
    newest = {"name": name, "language": language, "version": number, "updated_at": at}
    connection.execute(update(personas).where(personas.c.id == persona_id).values(newest))
    _add_version(connection, persona_id, number, body=body, change=change, by=by, at=at)
    directory.bump(connection)


def _add_version(
    connection: Connection,
    persona_id: UUID,
    number: int,
    *,
    body: dict[str, Any],
    change: str,
    by: UUID,
    at: datetime,
) -> None:
    connection.execute(
        insert(persona_versions).values(
            persona_id=persona_id, number=number, body=body, change=change, created_by=by, created_at=at
        )
    )


def by_id(connection: Connection, account_id: UUID, persona_id: UUID) -> RowMapping | None:
    """One persona of the account."""
    wanted = _current().where(personas.c.id == persona_id, personas.c.account_id == account_id)
    return connection.execute(wanted).mappings().one_or_none()


def active(connection: Connection, account_id: UUID) -> RowMapping | None:
    """The account's active persona."""
    wanted = _current().where(personas.c.account_id == account_id, personas.c.is_active)
    return connection.execute(wanted).mappings().one_or_none()


def all_current(connection: Connection) -> Sequence[RowMapping]:
    """Every persona of every account: what is answered with, read at once."""
    return connection.execute(_current().order_by(personas.c.id)).mappings().all()


def version(connection: Connection, persona_id: UUID, number: int) -> RowMapping | None:
    """One version: persona_id, number, body, change, created_at, created_by."""
    wanted = select(persona_versions).where(
        persona_versions.c.persona_id == persona_id, persona_versions.c.number == number
    )
    return connection.execute(wanted).mappings().one_or_none()


def page(
    connection: Connection,
    account_id: UUID,
    *,
    sort: Sorting,
    cursor: str | None,
    limit: int,
    text: str | None = None,
    language: str | None = None,
    is_active: bool | None = None,
) -> Sequence[RowMapping]:
    """Up to limit personas, and one more if another page follows. text: in the name. Raises: InvalidCursorError."""
    wanted = _current().where(personas.c.account_id == account_id)
    if text is not None:
        wanted = wanted.where(personas.c.name.icontains(text, autoescape=True))
    if language is not None:
        wanted = wanted.where(func.lower(personas.c.language) == language.lower())
    if is_active is not None:
        wanted = wanted.where(personas.c.is_active == is_active)
    by = personas.c[sort.removeprefix("-")]
    paged = paging.after(wanted, cursor, by=by, row_id=personas.c.id, limit=limit, descending=sort.startswith("-"))
    return connection.execute(paged).mappings().all()


def versions(connection: Connection, persona_id: UUID, *, below: int | None, limit: int) -> Sequence[RowMapping]:
    """The newest versions with numbers below this one, without their bodies, up to limit, and one more."""
    columns = persona_versions.c
    wanted = select(columns.number, columns.change, columns.created_at, columns.created_by)
    wanted = wanted.where(columns.persona_id == persona_id)
    if below is not None:
        wanted = wanted.where(columns.number < below)
    return connection.execute(wanted.order_by(columns.number.desc()).limit(limit + 1)).mappings().all()


def count(connection: Connection, account_id: UUID) -> int:
    """How many personas the account has."""
    counted = select(func.count()).select_from(personas).where(personas.c.account_id == account_id)
    return connection.execute(counted).scalar_one()


def activate(connection: Connection, account_id: UUID, persona_id: UUID) -> None:
    """Make it the account's one active persona. Call it with the account locked, or the unique index may refuse."""
    active_ones = update(personas).where(personas.c.account_id == account_id, personas.c.is_active)
    connection.execute(active_ones.values(is_active=false()))
    connection.execute(update(personas).where(personas.c.id == persona_id).values(is_active=True))
    directory.bump(connection)


def is_used_by_a_number(connection: Connection, persona_id: UUID) -> bool:
    """Whether a telephone number is answered by this persona, whichever is active."""
    return connection.execute(select(exists().where(phone_numbers.c.persona_id == persona_id))).scalar_one()


def remove(connection: Connection, persona_id: UUID) -> None:
    """Delete it with all its versions."""
    connection.execute(delete(personas).where(personas.c.id == persona_id))
    directory.bump(connection)


def _current() -> Select[Any]:
    newest = (persona_versions.c.persona_id == personas.c.id) & (persona_versions.c.number == personas.c.version)
    return select(personas, persona_versions.c.body).join(persona_versions, newest)

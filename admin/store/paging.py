"""Pages of a list that changes while it is read: each continues behind the last row of the one before (keyset).

A cursor holds that row's sorting value and id. Whoever makes one up gets another page, or an error, never rows that
are not theirs: who may see what is decided by the statement that is paged.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, literal, tuple_
from sqlalchemy.engine import RowMapping

from admin.errors import InvalidCursorError
from admin.store.column_types import Moment

MAX_PAGE: Final = 100
USUAL_PAGE: Final = 20
MAX_CURSOR_CHARACTERS: Final = 512

Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]
Cursor = Annotated[str, msgspec.Meta(max_length=MAX_CURSOR_CHARACTERS)]
Key = datetime | str


class _Cursor(msgspec.Struct, array_like=True, frozen=True):
    key: str
    id: UUID


def after(
    statement: Select[Any],
    cursor: str | None,
    *,
    by: ColumnElement[Any],
    row_id: ColumnElement[Any],
    limit: int,
    descending: bool = False,
) -> Select[Any]:
    """The statement for one page and one row more, which tells whether another page follows.

    Args: cursor, None for the first page; by, the column to sort by, text or moments, unique together with row_id.
    Raises: InvalidCursorError.
    """
    order = (by.desc(), row_id.desc()) if descending else (by.asc(), row_id.asc())
    paged = statement.order_by(*order).limit(limit + 1)
    if cursor is None:
        return paged
    last = _decode(cursor)
    key = _moment(last.key) if isinstance(by.type, Moment) else last.key
    columns = tuple_(by, row_id)
    values = tuple_(literal(key, by.type), literal(last.id, row_id.type))
    return paged.where(columns < values if descending else columns > values)


def next_cursor(rows: Sequence[RowMapping], limit: int, by: str) -> str | None:
    """Where the page behind these rows begins, None if there is none.

    Args: rows, that a statement of `after` with this limit has found; by, the name of the column that it sorts by.
    """
    return cursor_of(rows[limit - 1][by], rows[limit - 1]["id"]) if len(rows) > limit else None


def cursor_of(key: Key, row_id: UUID) -> str:
    """Where the page behind this row begins."""
    text = key.isoformat() if isinstance(key, datetime) else key
    return urlsafe_b64encode(msgspec.json.encode(_Cursor(text, row_id))).rstrip(b"=").decode()


def _decode(cursor: str) -> _Cursor:
    try:
        if len(cursor) > MAX_CURSOR_CHARACTERS:
            raise InvalidCursorError
        found = msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=_Cursor)
    except ValueError:  # not base64, not JSON, not a cursor
        raise InvalidCursorError from None
    if "\0" in found.key:  # PostgreSQL cannot hold it, and no row of ours has it
        raise InvalidCursorError
    return found


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise InvalidCursorError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):  # no time at all, or in UTC before or after all that there are
        raise InvalidCursorError from None

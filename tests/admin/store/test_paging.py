"""Cursors that no page has given: another page at best, an error that says so, never one of ours."""

from base64 import urlsafe_b64encode
from uuid import UUID

import pytest
from sqlalchemy import ColumnElement, select

from admin.errors import InvalidCursorError
from admin.store import paging
from admin.store.column_types import new_id
from admin.store.database import Database
from admin.store.schema import personas


def page(database: Database, cursor: str, by: ColumnElement[str]) -> None:
    wanted = paging.after(select(personas), cursor, by=by, row_id=personas.c.id, limit=1)
    with database.engine.connect() as connection:
        assert connection.execute(wanted).all() == []


@pytest.mark.parametrize(
    "key", ["", "x", "2026-03-02T10:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "\0"]
)
def test_a_cursor_with_no_moment_in_it_is_refused(database: Database, key: str) -> None:
    with pytest.raises(InvalidCursorError):
        page(database, paging.cursor_of(key, new_id()), personas.c.updated_at)


def test_a_cursor_with_a_text_that_no_database_holds_is_refused(database: Database) -> None:
    with pytest.raises(InvalidCursorError):
        page(database, paging.cursor_of("a\0", UUID(int=0)), personas.c.name)


@pytest.mark.parametrize("key", ["", "%", "\u2028", "x" * 100])
def test_a_cursor_that_could_be_a_rows_gives_a_page(database: Database, key: str) -> None:
    page(database, paging.cursor_of(key, UUID(int=0)), personas.c.name)


@pytest.mark.parametrize("cursor", ["", "x", "====", "é", urlsafe_b64encode(b"[]").decode(), "x" * 513])
def test_what_is_no_cursor_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        page(database, cursor, personas.c.name)

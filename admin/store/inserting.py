"""Inserting what may be there already, the same on SQLite and PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert these rows, but for those that would break a unique key: they are there, and stay as they are."""
    if rows:
        made = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(made(table).on_conflict_do_nothing(), [dict(row) for row in rows])

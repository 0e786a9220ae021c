"""A database with something in every table and every column, made from the schema itself."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Column, Connection, Integer, LargeBinary, Table, Text, Uuid, insert, select

from admin.store.column_types import Moment
from admin.store.schema import metadata

ROWS = 3  # of each table; in the last one, what may be missing is
_AT = datetime(2026, 3, 2, 10, 0, 0, 123456, tzinfo=UTC)
_WORDS = {"role": "owner", "direction": "inbound", "speaker": "caller", "state": "waiting"}  # where few are allowed

Row = dict[str, Any]


def fill(connection: Connection) -> None:
    """Rows in every table, those first that others point to."""
    made: dict[str, list[Row]] = {}
    for table in metadata.sorted_tables:
        made[table.name] = [_row(table, number, made) for number in range(ROWS)]
        connection.execute(insert(table), made[table.name])


def contents(connection: Connection) -> dict[str, list[Row]]:
    """Everything that is in it."""
    return {
        table.name: [dict(row) for row in connection.execute(_in_order(table)).mappings()]
        for table in metadata.sorted_tables
    }


def _in_order(table: Table) -> Any:
    return select(table).order_by(*table.primary_key.columns)


def _row(table: Table, number: int, made: dict[str, list[Row]]) -> Row:
    return {column.name: _value(column, number, made) for column in table.columns}


def _value(column: Column[Any], number: int, made: dict[str, list[Row]]) -> Any:
    if column.nullable and number == ROWS - 1:
        return None
    for key in column.foreign_keys:
        return made[key.column.table.name][number][key.column.name]
    match column.type:
        case Uuid():
            return UUID(int=(0x7000 << 64) + (0x8000 << 48) + number)
        case Moment():
            return _AT + timedelta(days=number, microseconds=number)
        case LargeBinary():
            return bytes(range(256)) + bytes([number])
        case Boolean():
            return number == 0
        case BigInteger():
            return 2**40 + number
        case Integer():
            return number
        case Text():
            return _WORDS.get(column.name, f"Zürich – 東京 🎉 'quoted' \\ {number}")
    return {"text": "Zürich – 東京", "list": [1, 2.5, None, True, -3], "empty": {}, "number": number}

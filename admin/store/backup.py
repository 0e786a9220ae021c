"""A whole database in one file, and back: gzip'd lines of JSON that SQLite and PostgreSQL both write and both read.

The first line says which schema the rows belong to, each other line is one row, `["users", {"id": …}]`, and the last
line says how many there are, so that half a file is known for one. Rows come in the order in which they may be
inserted. Whatever the size of the database, only a few hundred rows are in memory.
"""

import gzip
import json
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection, Engine, LargeBinary, Table, Uuid, insert, literal, select, text

from admin.store import migrating
from admin.store.column_types import Moment
from admin.store.schema import metadata

FORMAT: Final = "tautline-backup-1"
ROWS_AT_ONCE: Final = 500
MAX_LINE_BYTES: Final = 64 * 1024 * 1024  # far beyond any row of ours: a line without end is refused before it is read

Row = dict[str, Any]


class BackupError(Exception):
    """The file cannot be used, or not for this database. Its text is one line for a person."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A backup's first line. revision: of the schema; made_at: when its transaction began."""

    format: str
    revision: str
    made_at: datetime


def backup(engine: Engine, file: Path, at: datetime) -> int:
    """Write all tables as they are at one moment. The file appears when it is complete, for its owner alone.

    Returns: how many rows it has.
    Raises: UnknownSchemaError, OutdatedSchemaError; OSError.
    """
    migrating.require_current(engine)
    with _appearing(file) as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as lines, _snapshot(engine) as reader:
        lines.write(_line(msgspec.to_builtins(Head(format=FORMAT, revision=migrating.head(), made_at=at))))
        rows = sum(_write_rows(reader, table, lines) for table in metadata.sorted_tables)
        lines.write(_line({"rows": rows}))
    return rows


def restore(engine: Engine, file: Path) -> int:
    """Fill an empty database from a backup: with all of it, or, when anything is wrong, with nothing.

    A database without tables gets them first. Returns: how many rows it has now.
    Raises: BackupError; UnknownSchemaError, OutdatedSchemaError; OSError.
    """
    with file.open("rb") as raw, gzip.GzipFile(fileobj=raw, mode="rb") as unzipped:
        lines = _lines(unzipped)
        _require_ours(next(lines, b""))
        with engine.connect() as connection:
            is_bare = migrating.current(connection) is None
        if is_bare:
            migrating.upgrade(engine)
        migrating.require_current(engine)
        with engine.begin() as connection:
            _require_empty(connection)
            return _insert_all(connection, lines)


@contextmanager
def _appearing(file: Path) -> Iterator[IO[bytes]]:
    """A file beside, which takes the name when it is complete; on failure it is gone."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw:
            yield raw
            raw.flush()
            os.fsync(raw.fileno())
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees the database as it is now, whoever writes meanwhile. SQLite's WAL does so by itself."""
    with engine.connect() as plain:
        options: Row = {"writes": False, "yield_per": ROWS_AT_ONCE}
        if engine.dialect.name == "postgresql":
            options["isolation_level"] = "REPEATABLE READ"
        reader = plain.execution_options(**options)
        with reader.begin():
            yield reader


def _write_rows(reader: Connection, table: Table, lines: gzip.GzipFile) -> int:
    shown = {column.name: _to_json(column.type) for column in table.columns}
    rows = 0
    with reader.execute(select(table).order_by(*table.primary_key.columns)) as found:
        for row in found.mappings():
            told = {name: None if row[name] is None else to_json(row[name]) for name, to_json in shown.items()}
            lines.write(_line([table.name, told]))
            rows += 1
    return rows


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _lines(unzipped: gzip.GzipFile) -> Iterator[bytes]:
    """Raises: BackupError for what is not gzip, or not all of it."""
    while True:
        try:
            line = unzipped.readline(MAX_LINE_BYTES)
        except (EOFError, OSError, zlib.error) as error:
            raise BackupError(f"the backup is damaged: {error}") from None
        if not line:
            return
        if not line.endswith(b"\n"):
            raise BackupError("the backup is damaged: it has a line without end")
        yield line


def _require_ours(line: bytes) -> None:
    try:
        head = msgspec.json.decode(line, type=Head)
    except msgspec.DecodeError:
        raise BackupError("the file is not a backup of Tautline's") from None
    if head.format != FORMAT:
        raise BackupError(f"the backup has the format {head.format!r}, and this version reads {FORMAT!r}")
    if head.revision != migrating.head():
        raise BackupError(
            f"the backup is of revision {head.revision!r} and this version of Tautline makes {migrating.head()!r}: "
            "restore it with the version that made it, then upgrade"
        )


def _require_empty(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        names = ", ".join(table.name for table in metadata.sorted_tables)
        connection.execute(text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))
    for table in metadata.sorted_tables:
        if connection.execute(select(literal(1)).select_from(table).limit(1)).scalar():
            raise BackupError(f"the database is not empty, its table {table.name} has rows: restore into a new one")


def _insert_all(connection: Connection, lines: Iterable[bytes]) -> int:
    inserting = _Inserting(connection)
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            raise BackupError("the backup is damaged: it has a line that is not JSON") from None
        match told:
            case [str(name), dict(row)] if name in metadata.tables:
                inserting.add(metadata.tables[name], row)
            case {"rows": int(rows)}:
                inserting.flush()
                if rows != inserting.rows:
                    raise BackupError(f"the backup is damaged: it has {inserting.rows} rows of {rows}")
                return rows
            case _:
                raise BackupError("the backup is damaged: it has a line that is no row of this schema")
    raise BackupError("the backup is damaged: its end is missing")


class _Inserting:
    """Gathers rows of one table and inserts them together. Attributes: rows, so many so far."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._table: Table | None = None
        self._waiting: list[Row] = []
        self.rows = 0

    def add(self, table: Table, told: Row) -> None:
        if table is not self._table or len(self._waiting) >= ROWS_AT_ONCE:
            self.flush()
            self._table = table
        try:
            self._waiting.append(_row(table, told))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BackupError(f"the backup is damaged: a row of {table.name} does not fit") from None
        self.rows += 1

    def flush(self) -> None:
        if self._table is not None and self._waiting:
            self._connection.execute(insert(self._table), self._waiting)
        self._waiting = []


def _row(table: Table, told: Row) -> Row:
    """Raises: KeyError, TypeError, ValueError, AttributeError for what is none of this table's."""
    if set(told) != set(table.columns.keys()):
        raise KeyError
    return {
        name: None if value is None else _from_json(table.columns[name].type)(value) for name, value in told.items()
    }


def _to_json(column_type: Any) -> Callable[[Any], Any]:
    match column_type:
        case Uuid():
            return str
        case Moment():
            return datetime.isoformat
        case LargeBinary():
            return lambda value: b64encode(value).decode()
    return lambda value: value


def _from_json(column_type: Any) -> Callable[[Any], Any]:
    match column_type:
        case Uuid():
            return UUID
        case Moment():
            return datetime.fromisoformat
        case LargeBinary():
            return lambda value: b64decode(value, validate=True)
    return lambda value: value

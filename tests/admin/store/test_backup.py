"""A backup holds everything, on either database, as it was at one moment; restoring gives all of it or nothing."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, insert, select

from admin.store import backup as backups
from admin.store.backup import BackupError, backup, restore
from admin.store.database import Database, open_engine
from admin.store.migrating import UnknownSchemaError
from admin.store.schema import metadata, settings
from tests.admin.store.filled import ROWS, contents, fill
from tests.services.databases import BACKENDS, Backend, Databases

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
Line = Any


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tautline.backup"


@pytest.fixture
def filled(database: Database) -> Database:
    with database.engine.begin() as connection:
        fill(connection)
    return database


@pytest.fixture(params=BACKENDS)
def empty(databases: Databases, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A second database, again on each of the two."""
    with databases.open(request.param) as made:
        yield made


def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.engine.connect() as connection:
        return contents(connection)


def changed(file: Path, change: Callable[[list[Line]], object]) -> None:
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    change(lines)
    file.write_bytes(gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines)))


def test_what_was_in_one_database_is_in_the_other_whichever_the_two_are(
    filled: Database, empty: Database, file: Path
) -> None:
    rows = backup(filled.engine, file, AT)
    assert restore(empty.engine, file) == rows == ROWS * len(metadata.tables)
    assert everything(empty) == everything(filled)


def test_more_rows_than_fit_into_one_batch_arrive(database: Database, empty: Database, file: Path) -> None:
    many = [{"name": f"{n:05}", "value": n, "updated_at": AT} for n in range(2 * backups.ROWS_AT_ONCE + 1)]
    with database.engine.begin() as connection:
        connection.execute(insert(settings), many)
    assert backup(database.engine, file, AT) == len(many)
    assert restore(empty.engine, file) == len(many)
    assert everything(empty)["settings"] == many


def test_what_is_written_during_a_backup_is_not_in_it(filled: Database, empty: Database, file: Path) -> None:
    before = everything(filled)
    writer = open_engine(filled.engine.url.render_as_string(hide_password=False))
    done: list[bool] = []
    middle = metadata.sorted_tables[len(metadata.tables) // 2].name

    @event.listens_for(filled.engine, "before_cursor_execute")
    def change(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if middle in statement and not done:  # the tables before it have been read by now
            done.append(True)
            with writer.begin() as connection:
                for table in reversed(metadata.sorted_tables):
                    connection.execute(delete(table))

    backup(filled.engine, file, AT)
    writer.dispose()
    assert done
    restore(empty.engine, file)
    assert everything(empty) == before


def test_the_file_is_its_owner_s_alone_and_replaces_an_older_one(filled: Database, file: Path) -> None:
    file.write_text("an older one")
    file.chmod(0o644)
    backup(filled.engine, file, AT)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(gzip.decompress(file.read_bytes()).splitlines()[0])["made_at"] == "2026-03-02T10:00:00Z"
    assert [each.name for each in file.parent.iterdir() if "backup" in each.name] == [file.name]


def test_a_backup_that_fails_leaves_the_older_one_and_nothing_else(
    filled: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("an older one")
    monkeypatch.setattr(backups, "_to_json", lambda _: lambda _: object())  # no JSON
    with pytest.raises(TypeError):
        backup(filled.engine, file, AT)
    assert file.read_text() == "an older one"
    assert [each.name for each in file.parent.iterdir() if "backup" in each.name] == [file.name]


def test_a_database_that_has_something_is_left_alone(filled: Database, file: Path) -> None:
    backup(filled.engine, file, AT)
    before = everything(filled)
    with pytest.raises(BackupError, match="not empty, its table"):
        restore(filled.engine, file)
    assert everything(filled) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines.pop(), "its end is missing"),
        (lambda lines: lines.pop(1), "rows of"),
        (lambda lines: lines[0].update(revision="from_the_future"), "from_the_future"),
        (lambda lines: lines[0].update(format="tautline-backup-9"), "format"),
        (lambda lines: lines.pop(0), "not a backup"),
        (lambda lines: lines.insert(-1, ["nowhere", {}]), "no row of this schema"),
        (lambda lines: lines[-2][1].update(unknown=1), "does not fit"),
        (lambda lines: lines[-2][1].update(id="no uuid"), "does not fit"),
        (lambda lines: lines[-2].append(1), "no row of this schema"),
    ],
)
def test_a_backup_that_is_not_whole_or_not_ours_changes_nothing(
    change: Callable[[list[Line]], object], said: str, filled: Database, empty: Database, file: Path
) -> None:
    backup(filled.engine, file, AT)
    changed(file, change)
    with pytest.raises(BackupError, match=said):
        restore(empty.engine, file)
    assert not any(everything(empty).values())


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_half_a_file_is_known_for_one(kept: float, filled: Database, empty: Database, file: Path) -> None:
    backup(filled.engine, file, AT)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(BackupError, match="damaged"):
        restore(empty.engine, file)
    assert not any(everything(empty).values())


# mtime: a test's name is made of this, and must be the same in each process of a run.
@pytest.mark.parametrize("content", [b"", b"text", gzip.compress(b"", mtime=0), gzip.compress(b"no JSON\n", mtime=0)])
def test_what_is_no_backup_is_refused(content: bytes, database: Database, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(BackupError, match=r"not a backup|damaged"):
        restore(database.engine, file)


def test_a_line_without_end_is_not_read_into_memory(
    database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "MAX_LINE_BYTES", 100)
    file.write_bytes(gzip.compress(b"x" * 1000))
    with pytest.raises(BackupError, match="line without end"):
        restore(database.engine, file)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_database_without_tables_gets_them_with_the_rows(
    backend: Backend, filled: Database, databases: Databases, file: Path, tmp_path: Path
) -> None:
    backup(filled.engine, file, AT)
    url = f"sqlite:///{tmp_path / 'new.db'}" if backend == "sqlite" else databases.postgres.create("bare")
    bare = Database(url)
    try:
        assert restore(bare.engine, file) == ROWS * len(metadata.tables)
        assert everything(bare) == everything(filled)
    finally:
        bare.close()
        if backend == "postgresql":
            databases.postgres.drop("bare")


def test_a_database_of_a_newer_version_is_not_backed_up(database: Database, file: Path) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'from_the_future'")
    with pytest.raises(UnknownSchemaError):
        backup(database.engine, file, AT)
    assert not file.exists()


def test_the_filled_database_leaves_no_column_out(filled: Database) -> None:
    with filled.engine.connect() as connection:
        for table in metadata.sorted_tables:
            rows = connection.execute(select(table)).mappings().all()
            for column in table.columns:
                assert any(row[column.name] is not None for row in rows)
                assert not column.nullable or any(row[column.name] is None for row in rows)

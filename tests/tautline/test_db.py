"""`tautline db` as somebody at a shell meets it: on both databases, with one line where something is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from admin.store import migrating
from admin.store.database import Database
from admin.store.schema import metadata
from tautline import cli
from tautline.settings import DOCUMENTED
from tests.admin.store.filled import ROWS, contents, fill
from tests.services.databases import BACKENDS, Databases

ALL_ROWS = ROWS * len(metadata.tables)
runner = CliRunner()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for row in DOCUMENTED:
        monkeypatch.delenv(row.variable, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=BACKENDS)
def url(databases: Databases, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a database with the present schema, which the settings name."""
    with databases.open_url(request.param) as made:
        monkeypatch.setenv("DATABASE_URL", made)
        yield made


def test_a_new_database_gets_its_tables() -> None:
    before = runner.invoke(cli.app, ["db", "current"])
    assert (before.exit_code, before.stderr.count("\n")) == (1, 1)
    assert "tautline db upgrade" in before.stderr
    assert runner.invoke(cli.app, ["db", "upgrade"]).exit_code == 0
    after = runner.invoke(cli.app, ["db", "current"])
    assert (after.exit_code, migrating.head() in after.stdout) == (0, True)
    assert Path("data/tautline.db").is_file()


def test_everything_survives_a_backup_and_a_new_database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(url)
    with database.engine.begin() as connection:
        fill(connection)
        before = contents(connection)
    database.close()
    written = runner.invoke(cli.app, ["db", "backup", "kept"])
    assert (written.exit_code, f"kept has {ALL_ROWS} rows" in written.stdout) == (0, True)
    monkeypatch.delenv("DATABASE_URL")
    restored = runner.invoke(cli.app, ["db", "restore", "kept"])
    assert (restored.exit_code, f"{ALL_ROWS} rows" in restored.stdout) == (0, True)
    database = Database("sqlite:///data/tautline.db")
    with database.engine.connect() as connection:
        assert contents(connection) == before
    database.close()


def test_a_database_that_has_something_is_not_restored_into(url: str) -> None:
    database = Database(url)
    with database.engine.begin() as connection:
        fill(connection)
    database.close()
    assert runner.invoke(cli.app, ["db", "backup", "kept"]).exit_code == 0
    refused = runner.invoke(cli.app, ["db", "restore", "kept"])
    assert (refused.exit_code, refused.stderr.count("\n"), "not empty" in refused.stderr) == (1, 1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["restore", "missing"], "missing: No such file"),
        (["restore", "text"], "damaged: Not a gzipped file"),
        (["backup", "no/such/folder/file"], "No such file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words: list[str], said: str, url: str) -> None:
    Path("text").write_text("text")
    result = runner.invoke(cli.app, ["db", *words])
    assert (result.exit_code, result.stderr.count("\n"), result.stdout) == (1, 1, "")
    assert said in result.stderr


@pytest.mark.parametrize("command", ["upgrade", "current"])
@pytest.mark.parametrize("address", ["postgresql://nobody:secret@127.0.0.1:1/nothing", "postgresql+nonsense://host/db"])
def test_a_database_that_cannot_be_had_is_said_to_be_so(
    command: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", address)
    result = runner.invoke(cli.app, ["db", command])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "secret" not in result.output


def test_wrong_settings_have_their_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://host/db")
    result = runner.invoke(cli.app, ["db", "current"])
    assert (result.exit_code, "DATABASE_URL must be" in result.stderr) == (2, True)

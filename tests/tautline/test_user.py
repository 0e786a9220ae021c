"""`tautline user`: people, from a shell on the server's machine."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner, Result

from admin.services.people.api_keys import hash_of
from admin.services.people.passwords import Passwords
from admin.store import audit, invitations, users
from admin.store.database import Database
from tautline import cli
from tautline.settings import DOCUMENTED

EMAIL, PASSWORD = "luna@pizzeria.example", "quattro stagioni"
runner = CliRunner()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's own; the database is a file in the test's folder."""
    for row in DOCUMENTED:
        monkeypatch.delenv(row.variable, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*words: str, given: str | None = None) -> Result:
    return runner.invoke(cli.app, ["user", *words], input=given)


def add(email: str = EMAIL, *words: str, password: str = PASSWORD) -> Result:
    return run("add", email, "--password-stdin", *words, given=password + "\n")


def has_password(email: str, password: str) -> bool:
    database = Database("sqlite:///data/tautline.db")
    with database.engine.connect() as connection:
        row = users.by_email(connection, email)
    database.close()
    assert row is not None
    return trio.run(Passwords().check, row["password_hash"], password)


def test_the_first_owner_is_added_to_a_database_that_was_not_there() -> None:
    result = add(EMAIL, "--role", "owner")
    assert (result.exit_code, result.stdout) == (0, f"{EMAIL} can sign in, as owner.\n")
    assert has_password(EMAIL, PASSWORD)
    assert not has_password(EMAIL, "quattro formaggi")


def test_whoever_comes_next_shares_the_first_account_unless_told_otherwise() -> None:
    add(EMAIL, "--role", "owner")
    add("sol@pizzeria.example")
    add("mare@trattoria.example", "--role", "owner", "--own-account")
    first, second, third = (line.split() for line in sorted(run("list").stdout.splitlines()))
    assert (first[0], first[2]) == (second[0], "owner")
    assert (second[1], second[2]) == ("sol@pizzeria.example", "viewer")
    assert third[0] != first[0]


def test_somebody_without_a_password_is_invited() -> None:
    result = run("add", EMAIL, "--role", "owner", "--invite")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{EMAIL} is invited, as owner, until ")
    token = result.stdout.splitlines()[-1]
    database = Database("sqlite:///data/tautline.db")
    with database.engine.connect() as connection:
        row = users.by_email(connection, EMAIL)
        invited = invitations.invited(connection, hash_of(token), datetime.now(UTC))
    database.close()
    assert row is not None
    assert (row["password_hash"], row["id"]) == (None, invited)


def test_the_password_is_asked_for_twice_and_not_shown() -> None:
    result = run("add", EMAIL, "--role", "owner", given=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert has_password(EMAIL, PASSWORD)


@pytest.mark.parametrize("email", ["luna", "@x", "a@", "a b@c", "a\x07@b"])
def test_what_is_no_email_is_refused(email: str) -> None:
    assert add(email).exit_code == 2


def test_a_password_that_is_too_short_or_too_long_is_refused() -> None:
    for password in ("short", "x" * 257):
        result = add(password=password)
        assert (result.exit_code, "10 to 256" in result.stderr) == (2, True)


def test_an_email_that_is_taken_is_refused_in_one_line() -> None:
    add()
    result = add()
    assert (result.exit_code, result.stderr) == (1, "somebody has this email already\n")


def test_somebody_is_disabled_but_never_the_last_owner() -> None:
    add(EMAIL, "--role", "owner")
    add("sol@pizzeria.example")
    assert run("disable", "Sol@Pizzeria.example").exit_code == 0
    assert "sol@pizzeria.example  viewer  disabled" in run("list").stdout
    result = run("disable", EMAIL)
    assert (result.exit_code, "at least one owner" in result.stderr) == (1, True)
    assert run("disable", "nobody@pizzeria.example").exit_code == 1


def test_a_forgotten_password_is_replaced() -> None:
    add(EMAIL, "--role", "owner")
    assert run("reset-password", EMAIL, "--password-stdin", given="quattro formaggi\n").exit_code == 0
    assert has_password(EMAIL, "quattro formaggi")


def test_what_the_command_line_does_is_in_the_audit_trail() -> None:
    add(EMAIL, "--role", "owner")
    database = Database("sqlite:///data/tautline.db")
    with database.engine.connect() as connection:
        account_id = users.first_account(connection)
        assert account_id is not None
        (entry,) = audit.page(connection, account_id, cursor=None, limit=10)
    database.close()
    assert (entry["action"], entry["via"], entry["actor_id"]) == ("person.added", "command", None)


def test_a_database_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    result = run("list")
    assert result.exit_code == 1
    assert result.stderr.startswith("the database cannot be reached")

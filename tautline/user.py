"""`tautline user`: people, from the machine that the server runs on. It works on the database, server or no server."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import trio
import typer

from tautline.options import EXIT_PROBLEM, EXIT_SETTINGS, EnvFile, load_or_exit
from tautline.settings import Settings

if TYPE_CHECKING:
    from admin.services.people.people import Invitation, People

app = typer.Typer(name="user", help="Manage the people who may sign in.", no_args_is_help=True)

Result = TypeVar("Result")
Email = Annotated[str, typer.Argument(help="Who: the email that they sign in with.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of the standard input.")
]


@app.command()
def add(
    email: Email,
    role: Annotated[Literal["owner", "manager", "viewer"], typer.Option(help="What they may do.")] = "viewer",
    name: Annotated[str, typer.Option(help="How they are called.")] = "",
    password_stdin: PasswordStdin = False,
    own_account: Annotated[
        bool, typer.Option("--own-account", help="In a new account; otherwise in the one that was there first.")
    ] = False,
    invite: Annotated[
        bool, typer.Option("--invite", help="Without a password: they set one, or sign in through Supabase.")
    ] = False,
    env_file: EnvFile = None,
) -> None:
    """Add somebody who signs in with a password, or invite them."""
    from admin.services.people.people import Invitation, NewPerson

    _require_email(email)
    password = None if invite else _read_password(password_stdin)

    async def work(people: "People") -> Invitation | None:
        account_id = None if own_account else await people.first_account()
        new = NewPerson(email=email, role=role, name=name, password=password)
        return (await people.add(None, new, account_id=account_id)).invitation

    invitation = _run(env_file, work)
    typer.echo(f"{email} can sign in, as {role}." if invitation is None else _invited(email, role, invitation))


@app.command("list")
def show(env_file: EnvFile = None) -> None:
    """Show everybody, one line each: account, email, role, and what keeps them out."""

    async def work(people: "People") -> list[str]:
        return [
            f"{account_id}  {person.email or '-'}  {person.role}{'  disabled' if person.is_disabled else ''}"
            for account_id, person in await people.everybody()
        ]

    for line in _run(env_file, work):
        typer.echo(line)


@app.command()
def disable(email: Email, env_file: EnvFile = None) -> None:
    """Keep somebody out: their sessions end and their keys are revoked at once."""
    from admin.services.people.people import PersonChange

    async def work(people: "People") -> None:
        await people.change(None, (await people.by_email(email)).id, PersonChange(is_disabled=True))

    _run(env_file, work)
    typer.echo(f"{email} is disabled.")


@app.command("reset-password")
def reset_password(email: Email, password_stdin: PasswordStdin = False, env_file: EnvFile = None) -> None:
    """Give somebody another password; their sessions end, and waits after wrong passwords are over."""
    from admin.services.people.people import PersonChange

    password = _read_password(password_stdin)

    async def work(people: "People") -> None:
        await people.change(None, (await people.by_email(email)).id, PersonChange(password=password))

    _run(env_file, work)
    typer.echo(f"{email} has a new password.")


def _invited(email: str, role: str, invitation: "Invitation") -> str:
    until = f"{invitation.expires_at:%Y-%m-%d %H:%M} UTC"
    return (
        f"{email} is invited, as {role}, until {until}: by signing in through Supabase with that address, once it is\n"
        f"confirmed there, or by setting a password with POST /api/invitations/accept and this token:\n"
        f"{invitation.token}"
    )


def _run(env_file: Path | None, work: "Callable[[People], Awaitable[Result]]") -> Result:
    """Do it on the settings' database; what stands in the way is one line and exit code 1."""
    from sqlalchemy.exc import OperationalError

    from admin.errors import AdminError
    from admin.store.migrating import OutdatedSchemaError, UnknownSchemaError
    from tautline.store import reason_of

    settings = load_or_exit(env_file)
    try:
        return trio.run(_work_on, settings, work)
    except (AdminError, OutdatedSchemaError, UnknownSchemaError) as error:
        typer.echo(str(error), err=True)
    except OperationalError as error:
        typer.echo(f"the database cannot be reached: {reason_of(error)}", err=True)
    raise typer.Exit(EXIT_PROBLEM)


async def _work_on(settings: Settings, work: "Callable[[People], Awaitable[Result]]") -> Result:
    from admin.services.people.passwords import Passwords
    from admin.services.people.people import People
    from tautline.store import bring_up_to_date, open_database, wall_time

    database = open_database(settings)
    try:
        await trio.to_thread.run_sync(bring_up_to_date, database.engine, settings.migrates)
        return await work(People(database, wall_time, Passwords()))
    finally:
        database.close()


def _require_email(email: str) -> None:
    name, at, host = email.partition("@")
    if not (name and at and host) or len(email) > 254 or " " in email or not email.isprintable():
        typer.echo("that is no email address; it is written like you@example.com", err=True)
        raise typer.Exit(EXIT_SETTINGS)


def _read_password(from_stdin: bool) -> str:
    from admin.services.people.passwords import MAX_CHARACTERS, MIN_CHARACTERS

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        typer.echo(f"a password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters", err=True)
        raise typer.Exit(EXIT_SETTINGS)
    return password

"""`tautline db`: brings the database to the present schema, and keeps its contents in a file.

The commands speak to the database of the settings while a server may be running on it. What goes wrong is said in one
line on the standard error output, with exit code 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tautline.options import EXIT_PROBLEM, EnvFile, load_or_exit

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(name="db", help="Look after the database.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(env_file: EnvFile = None) -> None:
    """Bring the database to the schema of this version; a new one gets its tables."""
    from admin.store import migrating  # brings SQLAlchemy, as in each command here

    with _engine(env_file) as engine:
        migrating.upgrade(engine)
    typer.echo(f"The database is at revision {migrating.head()}.")


@app.command("current")
def show_current(env_file: EnvFile = None) -> None:
    """Show which schema the database has; the exit code is 1 when it is not this version's."""
    from admin.store import migrating

    with _engine(env_file) as engine:
        migrating.require_current(engine)
    typer.echo(f"The database is at revision {migrating.head()}, which is this version's.")


@app.command("backup")
def write_backup(
    file: Annotated[Path, typer.Argument(help="The file to write; an older one of that name is replaced.")],
    env_file: EnvFile = None,
) -> None:
    """Write everything to one file, as it is at one moment; keep it as safe as the database."""
    from admin.store.backup import backup
    from tautline.store import wall_time

    with _engine(env_file) as engine:
        rows = backup(engine, file, wall_time())
    typer.echo(f"{file} has {rows} rows. It holds transcripts, telephone numbers and password hashes.")


@app.command("restore")
def restore_backup(
    file: Annotated[Path, typer.Argument(help="A file that `tautline db backup` has written, on either database.")],
    env_file: EnvFile = None,
) -> None:
    """Fill an empty database from a backup, with all of it or with nothing."""
    from admin.store.backup import restore

    with _engine(env_file) as engine:
        rows = restore(engine, file)
    typer.echo(f"The database has {rows} rows now.")


@contextmanager
def _engine(env_file: Path | None) -> "Iterator[Engine]":
    """The database of the settings; what goes wrong with it ends the command."""
    from sqlalchemy.exc import SQLAlchemyError

    from admin.store.backup import BackupError
    from admin.store.database import open_engine
    from admin.store.migrating import OutdatedSchemaError, UnknownSchemaError
    from tautline.store import reason_of

    settings = load_or_exit(env_file)
    try:
        engine = open_engine(settings.store_url())
        try:
            yield engine
        finally:
            engine.dispose()
    except (BackupError, OutdatedSchemaError, UnknownSchemaError) as error:
        raise _failed(str(error)) from None
    except SQLAlchemyError as error:
        raise _failed(f"the database cannot do that: {reason_of(error)}") from None
    except OSError as error:
        raise _failed(f"{error.filename or 'the file'}: {error.strerror or error}") from None


def _failed(why: str) -> typer.Exit:
    typer.echo(why, err=True)
    return typer.Exit(EXIT_PROBLEM)

"""What several commands share: the option that names a `.env` file, the settings it gives, and the exit codes."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from tautline.settings import Settings, SettingsError, load_settings

EXIT_PROBLEM, EXIT_SETTINGS = 1, 2

EnvFile = Annotated[
    Path | None,
    typer.Option(help="A file of NAME=VALUE lines; without this option `.env`, if there is one."),
]


def load_or_exit(env_file: Path | None, **from_options: str) -> Settings:
    """The settings, or their one error message on the standard error output and exit code 2.

    from_options: variables that the command line sets; they win.
    """
    try:
        return load(env_file, from_options)
    except SettingsError as error:
        raise refused(error) from None


def load(env_file: Path | None, from_options: Mapping[str, str] = MappingProxyType({})) -> Settings:
    """The settings. Raises: SettingsError."""
    default = Path(".env")
    return load_settings({**os.environ, **from_options}, env_file or (default if default.is_file() else None))


def refused(error: SettingsError) -> typer.Exit:
    """Says what is wrong with the settings; raise what it returns."""
    typer.echo(str(error), err=True)
    return typer.Exit(EXIT_SETTINGS)

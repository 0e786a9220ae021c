"""A PostgreSQL of the tests' own: Debian's package, an unprivileged user, a folder and a port that nobody else has."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

_USER = "tautline"
_INSTALLED = Path("/usr/lib/postgresql")
_FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")  # nothing here outlives the test run


class Postgres:
    """A server that runs. Attributes: port, on 127.0.0.1; anybody on this machine may connect, as the user tautline."""

    def __init__(self, binaries: Path, folder: Path, port: int) -> None:
        self._binaries, self._folder, self.port = binaries, folder, port

    def url(self, database: str) -> str:
        """The address of one of its databases, as DATABASE_URL has it."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, template: str = "template1") -> str:
        """A new database, a copy of another one; its address."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')  # names of the tests' own
        return self.url(database)

    def drop(self, database: str) -> None:
        """Delete it, whoever is connected."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)')

    def start(self) -> None:
        """Begin to serve, and wait until it does."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} " + " ".join(f"-c {each}" for each in _FAST)
        self._run("pg_ctl", "start", "-w", "-t", "60", "-D", "cluster", "-l", "log", "-o", options)

    def stop(self) -> None:
        """Cut all connections and end."""
        self._run("pg_ctl", "stop", "-w", "-D", "cluster", "-m", "immediate")

    def initialise(self) -> None:
        """Make the cluster's folder."""
        self._run("initdb", "-D", "cluster", "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._binaries / program), *words]
        subprocess.run(command, cwd=self._folder, check=True, stdout=subprocess.DEVNULL, **_unprivileged())


@contextmanager
def open_postgres() -> Iterator[Postgres]:
    """A server for the length of this context. Skips the test where PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="tautline-postgres-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        server = Postgres(binaries, folder, _free_port())
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    """The newest version's, where Debian puts them, or those on the path."""
    versions = sorted(_INSTALLED.glob("*/bin/initdb"), key=lambda each: int(each.parent.parent.name))
    found = versions[-1] if versions else shutil.which("initdb")
    return Path(found).parent if found else None


def _unprivileged() -> dict[str, Any]:
    """The server refuses to be root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

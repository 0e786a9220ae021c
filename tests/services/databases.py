"""Databases for tests: on SQLite and on PostgreSQL, each test's its own, with the present schema and nothing in it."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Literal

from admin.store import migrating
from admin.store.database import Database
from tests.services.postgres import Postgres, open_postgres

Backend = Literal["sqlite", "postgresql"]
BACKENDS: tuple[Backend, ...] = ("sqlite", "postgresql")


class Databases:
    """Makes them: copies of one that was migrated once. Args: folder, for this test run."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack, self._numbers = folder, stack, count()

    @contextmanager
    def open(self, backend: Backend) -> Iterator[Database]:
        """One database."""
        with self.open_url(backend) as url:
            database = Database(url)
            try:
                yield database
            finally:
                database.close()

    @contextmanager
    def open_url(self, backend: Backend) -> Iterator[str]:
        """One database's address."""
        name = f"test_{next(self._numbers)}"
        if backend == "sqlite":
            file = self._folder / f"{name}.db"
            shutil.copyfile(self._sqlite_template, file)
            yield f"sqlite:///{file}"
            return
        yield self.postgres.create(name, self._postgres_template)
        self.postgres.drop(name)

    @cached_property
    def postgres(self) -> Postgres:
        """The server; it is started when it is first asked for."""
        return self._stack.enter_context(open_postgres())

    @cached_property
    def _sqlite_template(self) -> Path:
        file = self._folder / "template.db"
        _migrate(f"sqlite:///{file}")
        return file

    @cached_property
    def _postgres_template(self) -> str:
        _migrate(self.postgres.create("migrated"))
        return "migrated"


@contextmanager
def open_databases(folder: Path) -> Iterator[Databases]:
    """Databases for a test run."""
    with ExitStack() as stack:
        yield Databases(folder, stack)


def _migrate(url: str) -> None:
    database = Database(url)
    migrating.upgrade(database.engine)
    database.close()

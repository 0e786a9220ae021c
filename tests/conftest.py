"""What every test may ask for."""

from collections.abc import Iterator

import pytest

from admin.store.database import Database
from tests.services.databases import BACKENDS, Databases, open_databases


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Where a test's database comes from."""
    with open_databases(tmp_path_factory.mktemp("databases")) as made:
        yield made


@pytest.fixture(params=BACKENDS)
def database(databases: Databases, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with the present schema and nothing in it; each test runs on SQLite and on PostgreSQL."""
    with databases.open(request.param) as made:
        yield made

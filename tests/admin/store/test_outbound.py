"""Placed calls in the database, where several processes write them at the same time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import text

from admin.store import calls, outbound
from admin.store.column_types import new_id
from admin.store.database import Database
from tests.services.databases import Databases

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.fixture
def postgres(databases: Databases) -> Iterator[Database]:
    """On SQLite there is one writer at a time."""
    with databases.open("postgresql") as made:
        yield made


async def test_who_says_a_call_s_name_again_does_not_wait_for_who_writes_the_call(postgres: Database) -> None:
    call_id = new_id()
    await postgres.write(partial(outbound.reserve, call_id=call_id, at=AT))
    await postgres.write(partial(outbound.adopt, call_id=call_id, call_sid="CA1"))
    with postgres.engine.begin() as writer, postgres.engine.begin() as other:
        assert list(calls.locked(writer, ["CA1"])) == ["CA1"]
        other.execute(text("SET LOCAL lock_timeout = 1"))
        assert outbound.adopt(other, call_id, "CA1") == call_id

"""A server that has begun to answer calls goes on, whatever it finds when its database comes."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
from sqlalchemy import text
from structlog.testing import capture_logs
from structlog.typing import EventDict
from trio.testing import MockClock

from admin.store import migrating
from admin.store.database import Database, open_engine
from admin.store.migrating import UnknownSchemaError
from tautline.store import prepare


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[Database]:
    """One that a newer version has been at."""
    with closing(Database(f"sqlite:///{tmp_path}/newer.db")) as database:
        migrating.upgrade(database.engine)
        with database.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        yield database


async def said(logs: list[EventDict], event: str) -> None:
    with trio.fail_after(600):
        while event not in [each["event"] for each in logs]:  # noqa: ASYNC110 - a log tells nobody of its lines
            await trio.sleep(1)


async def test_a_database_that_comes_too_late_to_be_refused_ends_no_calls(
    newer: Database, tmp_path: Path, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1000
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(prepare, database, migrates=True))
            database.engine = newer.engine
            await said(logs, "store.not_prepared")
            database.engine = open_engine(f"sqlite:///{tmp_path}/good.db")
    found = next(each for each in logs if each["event"] == "store.not_prepared")
    assert found["why"].startswith("the database is at revision 9999")
    assert logs[-1]["event"] == "store.ready"
    database.close()


async def test_a_database_that_is_there_at_the_start_is_refused_then(newer: Database) -> None:
    with pytest.raises(UnknownSchemaError):
        await prepare(newer, migrates=True)

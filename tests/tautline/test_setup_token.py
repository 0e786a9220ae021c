"""What a server that knows nobody prints, and who prints it."""

import re
from functools import partial

import httpx
import pytest
import trio
from sqlalchemy import text

from admin.store import users
from admin.store.database import Database
from tautline import setup_token
from tautline.serve import LineLog, Server
from tautline.settings import Settings
from tautline.shared import Worker
from tautline.store import wall_time

SETTINGS = Settings(host="127.0.0.1", port=0, cache_greeting="off", upstream_spares=0, database_migrate="off")


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> trio.MemoryReceiveChannel[str]:
    """What is said on the terminal."""
    said, heard = trio.open_memory_channel[str](10)
    monkeypatch.setattr(setup_token, "say", said.send_nowait)
    return heard


async def test_the_printed_token_makes_the_first_owner(
    database: Database, printed: trio.MemoryReceiveChannel[str]
) -> None:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(Server(SETTINGS, LineLog(), database=database).run)
        found = re.search(r'"token": "([^"]+)"', await printed.receive())
        assert found is not None
        owner = {"token": found[1], "email": "luna@pizzeria.example", "password": "quattro stagioni"}
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"http://127.0.0.1:{port}/api/setup", json=owner)
        assert answer.status_code == 201
        nursery.cancel_scope.cancel()


async def test_of_several_workers_only_the_first_prints_it(
    database: Database, printed: trio.MemoryReceiveChannel[str], tmp_path: object
) -> None:
    for number in (2, 1):
        worker = Worker(number=number, folder=str(tmp_path))
        async with trio.open_nursery() as nursery:
            await nursery.start(Server(SETTINGS, LineLog(), database=database, worker=worker).run)
            if number == 1:
                assert "Nobody can sign in" in await printed.receive()
            nursery.cancel_scope.cancel()
    with pytest.raises(trio.WouldBlock):
        printed.receive_nowait()


async def test_nothing_is_printed_where_somebody_can_sign_in(
    database: Database, printed: trio.MemoryReceiveChannel[str]
) -> None:
    office = Server(SETTINGS, LineLog(), database=database).office
    assert office is not None
    await database.write(partial(users.add, role="owner", at=wall_time()))
    await setup_token.offer(office.api.setup, "http://localhost:5050")
    with pytest.raises(trio.WouldBlock):
        printed.receive_nowait()


async def test_a_database_that_is_away_does_not_stop_the_start(printed: trio.MemoryReceiveChannel[str]) -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    office = Server(SETTINGS, LineLog(), database=database).office
    assert office is not None
    await setup_token.offer(office.api.setup, "http://localhost:5050")
    with pytest.raises(trio.WouldBlock):
        printed.receive_nowait()
    database.close()


def test_what_is_printed_names_the_server_s_address() -> None:
    assert "https://relay.example.com/api/setup" in setup_token.message("https://relay.example.com", "t0ken")


async def test_what_is_wrong_with_a_database_does_not_stop_the_calls(
    database: Database, printed: trio.MemoryReceiveChannel[str]
) -> None:
    office = Server(SETTINGS, LineLog(), database=database).office
    assert office is not None
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE settings RENAME TO somebody_elses"))
    await setup_token.offer(office.api.setup, "http://localhost:5050")
    with pytest.raises(trio.WouldBlock):
        printed.receive_nowait()

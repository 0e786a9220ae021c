"""People let in by a running server, on a real port, as its settings say."""

from typing import Any

import httpx
import trio

from admin.store import users
from admin.store.database import Database
from tautline.serve import LineLog, Server
from tautline.settings import Settings
from tautline.store import wall_time
from tests.services.supabase_auth import API_KEY, SupabaseStandIn, open_supabase

SETTINGS: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 0,
    "cache_greeting": "off",
    "upstream_spares": 0,
    "database_migrate": "off",
}
EMAIL = "luna@pizzeria.example"


async def status_of(settings: Settings, database: Database, token: str) -> int:
    await database.write(lambda connection: users.add(connection, role="owner", at=wall_time()))  # no setup token
    async with trio.open_nursery() as nursery, httpx.AsyncClient() as client:
        port = await nursery.start(Server(settings, LineLog(), database=database).run)
        headers = {"Authorization": f"Bearer {token}"}
        answer = await client.get(f"http://127.0.0.1:{port}/api/me", headers=headers)
        nursery.cancel_scope.cancel()
    return answer.status_code


async def test_the_settings_supabase_is_the_one_that_is_trusted(database: Database) -> None:
    async with open_supabase(SupabaseStandIn()) as stand_in:
        stand_in.add(EMAIL, "quattro stagioni")
        settings = Settings(**SETTINGS, supabase_url=stand_in.url, supabase_key=API_KEY)
        assert await status_of(settings, database, stand_in.token(EMAIL)) == 200
        crew = Settings(**SETTINGS, supabase_url=stand_in.url, supabase_key=API_KEY, supabase_jwt_audience="crew")
        assert await status_of(crew, database, stand_in.token(EMAIL)) == 401


async def test_the_settings_say_what_becomes_of_newcomers(database: Database) -> None:
    async with open_supabase(SupabaseStandIn()) as stand_in:
        stand_in.add(EMAIL, "quattro stagioni")
        settings = Settings(**SETTINGS, supabase_url=stand_in.url, supabase_key=API_KEY, supabase_newcomers="refused")
        assert await status_of(settings, database, stand_in.token(EMAIL)) == 403


async def test_half_of_the_settings_is_as_good_as_none(database: Database) -> None:
    settings = Settings(**SETTINGS, supabase_url="https://x.supabase.co")
    assert await status_of(settings, database, "eyJhbGciOi.eyJzdWIi.c2ln") == 503

"""The server with a stored persona, as a caller hears it: rendered beforehand, or spoken by the model."""

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import trio
from structlog.testing import capture_logs

from admin.store import personas
from admin.store.database import Database
from benchmarks.owner import add_owner
from benchmarks.simulators.openai import Reply, Script
from benchmarks.speech import clip
from tautline.phrases import FOLDER
from tautline.settings import Settings
from tautline.store import wall_time
from tests.admin.services.persona_rows import add_persona
from tests.services.databases import Databases
from tests.tautline.test_serve import SETTINGS, Relay, serving

GREETING = clip("greeting")
LUNA = {"name": "Luna", "greeting": GREETING.transcript, "apology": GREETING.transcript}
READING = Script(steps=(Reply("greeting"),))


class Asked:
    """What the model was asked to say. Attributes: kinds, of one response after the other."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def __call__(self, _at: float, _direction: str, event: dict[str, Any]) -> None:
        if event["type"] == "response.create":
            self.kinds.append(event["response"].get("metadata", {}).get("kind", "answer"))


@asynccontextmanager
async def open_shop(settings: Settings, database: Database, asked: Asked) -> AsyncIterator[Relay]:
    """A server whose stored persona was made and activated while it was running."""
    secret, _ = add_owner(database, wall_time())
    headers = {"Authorization": f"Bearer {secret}"}
    with trio.fail_after(30):
        async with serving(settings, database=database, script=READING, observer=asked) as relay:
            async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{relay.port}") as client:
                made = await client.post("/api/personas", json=LUNA, headers=headers)
                activated = await client.post(f"/api/personas/{made.json()['id']}/activate", headers=headers)
            assert (made.status_code, activated.status_code) == (201, 200)
            yield relay


async def heard(relay: Relay, call_sid: str) -> bytes:
    """What a caller hears first, as much as the greeting is long."""
    audio = b""
    async with relay.stream(call_sid, await relay.token(call_sid)) as stream:
        while len(audio) < len(GREETING.mulaw):
            message = msgspec.json.decode(await stream.get_message())
            audio += b64decode(message["media"]["payload"]) if message["event"] == "media" else b""
    return audio


async def test_a_stored_persona_that_becomes_active_is_heard_as_it_was_rendered(
    databases: Databases, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(SETTINGS, greeting="", apology="", cache_greeting="on", data_dir=tmp_path)
    asked = Asked()
    with databases.open("sqlite") as database, capture_logs() as logs:
        async with open_shop(settings, database, asked) as relay:
            while "phrases.rendered" not in [entry["event"] for entry in logs]:
                await trio.lowlevel.checkpoint()
            assert await heard(relay, "CA1") == GREETING.mulaw
    assert asked.kinds == ["rendering"]  # the call had the model say nothing
    assert [path.read_bytes() for path in (tmp_path / FOLDER).iterdir()] == [GREETING.mulaw]
    assert GREETING.transcript not in str(logs)


async def test_where_nothing_is_to_be_rendered_the_model_greets(databases: Databases, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, greeting="", cache_greeting="off", data_dir=tmp_path)
    asked = Asked()
    with databases.open("sqlite") as database, trio.fail_after(30):
        _, account_id = add_owner(database, wall_time())
        persona_id = add_persona(database, account_id)
        with database.engine.begin() as connection:
            personas.activate(connection, account_id, persona_id)
        async with serving(settings, database=database, script=READING, observer=asked) as relay:
            assert await heard(relay, "CA1") == GREETING.mulaw
    assert asked.kinds == ["answer"]
    assert not (tmp_path / FOLDER).exists()

"""A persona's voice over HTTP: what comes back, for whom, and what becomes of it when nobody waits any more."""

import base64
import io
import wave
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import trio
from quart import Response
from quart.typing import TestClientProtocol as Client

from admin.api import open_api
from admin.app import Services, create_app
from admin.services.personas.previews import PreviewRules
from admin.store.database import Database
from benchmarks.speech import clip
from proto import mulaw
from relay import Totals
from tests.admin.api.conftest import Caller, MakeCaller, WallClock
from tests.admin.conftest import MakeClient
from tests.admin.services.persona_rows import add_persona
from tests.services.speech import Service, serving_speech
from tests.services.web import serving_web

GREETING = clip("greeting")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """An OpenAI that speaks at once."""
    async with serving_speech(first_audio_delay_s=0.0, pace=float("inf")) as made:
        yield made


@pytest.fixture
def client(make_client: MakeClient, database: Database, wall: WallClock, service: Service) -> Client:
    """Somebody without credentials, where previews can be had."""
    return make_client(api=open_api(database, wall, speech=service.speech))


async def code_of(response: Response) -> tuple[int, str]:
    return response.status_code, (await response.get_json())["error"]["code"]


def samples_of(file: bytes) -> bytes:
    with wave.open(io.BytesIO(file)) as reader:
        assert (reader.getnchannels(), reader.getsampwidth(), reader.getframerate()) == (1, 2, 8000)
        frames: bytes = reader.readframes(reader.getnframes())
    return frames


@pytest.mark.parametrize("prefix", ["/api", ""])
async def test_a_preview_is_json_or_a_file_to_play(owner: Caller, database: Database, prefix: str) -> None:
    path = f"{prefix}/personas/{add_persona(database, owner.account_id)}/preview"
    spoken = mulaw.decode(GREETING.mulaw).astype("<i2").tobytes()
    response = await owner.post(path, json={})
    assert response.status_code == 200
    preview = await response.get_json()
    assert samples_of(base64.b64decode(preview.pop("audio_base64"))) == spoken
    assert preview == {
        "format": "wav",
        "sample_rate_hz": 8000,
        "duration_ms": mulaw.duration_ms(len(GREETING.mulaw)),
    }
    response = await owner.post(path, json={}, headers={"Accept": "audio/wav"})
    assert response.content_type == "audio/wav"
    assert samples_of(await response.get_data(as_text=False)) == spoken


async def test_who_may_not_change_personas_may_not_spend_on_them(
    owner: Caller, stranger: Caller, make_caller: MakeCaller, database: Database, service: Service
) -> None:
    path = f"/api/personas/{add_persona(database, owner.account_id)}/preview"
    viewer = make_caller("viewer", account_id=owner.account_id)
    assert await code_of(await viewer.post(path, json={})) == (403, "not_allowed")
    assert await code_of(await stranger.post(path, json={})) == (404, "persona_not_found")
    assert await code_of(await owner.post(f"/api/personas/{uuid4()}/preview", json={})) == (404, "persona_not_found")
    assert service.opened == []


@pytest.mark.parametrize(
    "body",
    [
        {"text": ""},
        {"text": "x" * 1001},
        {"text": "a\x00"},
        {"text": "\ud800"},
        {"voice": "no voice"},
        {"colour": "red"},
        [],
    ],
)
async def test_what_cannot_be_spoken_is_refused(owner: Caller, database: Database, service: Service, body: Any) -> None:
    path = f"/api/personas/{add_persona(database, owner.account_id)}/preview"
    assert (await owner.post(path, json=body)).status_code == 400
    assert service.opened == []


async def test_what_openai_does_not_do_is_told_apart(
    make_client: MakeClient, owner: Caller, database: Database, wall: WallClock
) -> None:
    path = f"/api/personas/{add_persona(database, owner.account_id)}/preview"
    headers = {"Authorization": f"Bearer {owner.secret}"}
    nobody = make_client(api=open_api(database, wall))
    assert await code_of(await nobody.post(path, json={}, headers=headers)) == (503, "model_not_configured")
    async with serving_speech() as service:
        impatient = open_api(database, wall, speech=service.speech, preview_rules=PreviewRules(within_s=0.0))
        response = await make_client(api=impatient).post(path, json={}, headers=headers)
        assert await code_of(response) == (504, "preview_timeout")
        busy = open_api(database, wall, speech=service.speech, preview_rules=PreviewRules(at_once=0))
        response = await make_client(api=busy).post(path, json={}, headers=headers)
        assert await code_of(response) == (429, "preview_busy")


async def test_a_client_that_goes_away_ends_its_preview(owner: Caller, database: Database, wall: WallClock) -> None:
    persona_id = add_persona(database, owner.account_id)
    async with serving_speech(first_audio_delay_s=3600.0) as service:
        api = open_api(database, wall, speech=service.speech)
        async with serving_web(create_app(Services(totals=Totals, readiness=list, api=api))) as port:
            client = await trio.open_tcp_stream("127.0.0.1", port)
            await client.send_all(
                f"POST /api/personas/{persona_id}/preview HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {owner.secret}\r\n"
                "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".encode()
            )
            while service.is_left_alone:
                await trio.lowlevel.checkpoint()
            await client.aclose()
            while not service.is_left_alone:
                await trio.lowlevel.checkpoint()

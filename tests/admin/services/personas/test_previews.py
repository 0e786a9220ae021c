"""Previews: a persona is heard, or it is said why not; either way no line to OpenAI is left open."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import trio
from trio.testing import MockClock

from admin.errors import (
    AdminError,
    InvalidInputError,
    ModelFailedError,
    ModelTooSlowError,
    NoModelError,
    NotFoundError,
    TooManyRequestsError,
)
from admin.principal import SCOPES, Principal
from admin.services.personas.previews import PreviewInput, PreviewRules, Previews, Speech
from admin.store.database import Database
from benchmarks.simulators.openai import Faults, Reply
from benchmarks.speech import clip
from proto import mulaw
from relay.sockets import Line
from tests.admin.services.persona_rows import add_persona
from tests.services.databases import Databases
from tests.services.speech import Service, serving_speech

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
GREETING = clip("greeting")
GREETED = PreviewInput()


@pytest.fixture
def database(databases: Databases) -> Iterator[Database]:
    with databases.open("sqlite") as made:  # what is tested here happens elsewhere
        yield made


@pytest.fixture
def owner() -> Principal:
    user_id = uuid4()
    return Principal(user_id=user_id, account_id=user_id, role="owner", scopes=SCOPES["owner"], via="api_key")


def previews(database: Database, service: Service, **rules: Any) -> Previews:
    return Previews(database, lambda: AT, service.speech, PreviewRules(**rules))


async def error_of(database: Database, owner: Principal, faults: Faults, kind: type[AdminError]) -> str:
    """The code that a preview fails with, when OpenAI does so."""
    persona_id = add_persona(database, owner.account_id)
    async with serving_speech(faults=faults) as service:
        with pytest.raises(kind) as caught:
            await previews(database, service).speak(owner, persona_id, GREETED)
    assert GREETING.transcript not in caught.value.message
    return caught.value.code


async def test_a_persona_speaks_its_greeting(database: Database, owner: Principal, autojump_clock: MockClock) -> None:
    persona_id = add_persona(database, owner.account_id)
    async with serving_speech() as service:
        preview = await previews(database, service).speak(owner, persona_id, GREETED)
    assert preview.audio == GREETING.mulaw
    assert preview.duration_ms == mulaw.duration_ms(len(GREETING.mulaw))


async def test_a_text_and_a_voice_may_be_tried(database: Database, owner: Principal, autojump_clock: MockClock) -> None:
    persona_id, menu = add_persona(database, owner.account_id), clip("menu")
    voices: list[Any] = []

    def observe(_at: float, direction: str, event: dict[str, Any]) -> None:
        if event["type"] == "session.update":
            voices.append(event["session"]["audio"]["output"]["voice"])

    async with serving_speech(Reply("menu"), observer=observe) as service:
        tried = PreviewInput(text=menu.transcript, voice="cedar")
        assert (await previews(database, service).speak(owner, persona_id, tried)).audio == menu.mulaw
    assert voices == ["cedar"]


async def test_a_persona_speaks_at_its_own_speed(
    database: Database, owner: Principal, autojump_clock: MockClock
) -> None:
    quick, slow = (add_persona(database, owner.account_id, speed=speed) for speed in (1.25, 0.75))
    speeds: list[Any] = []

    def observe(_at: float, _direction: str, event: dict[str, Any]) -> None:
        if event["type"] == "session.update":
            speeds.append(event["session"]["audio"]["output"]["speed"])

    async with serving_speech(observer=observe) as service:
        speaker = previews(database, service)
        for persona_id in (quick, slow, quick):
            await speaker.speak(owner, persona_id, GREETED)
    assert speeds == [1.25, 0.75]  # what was heard at another speed is something else


async def test_the_gaps_of_a_greeting_are_filled(
    database: Database, owner: Principal, autojump_clock: MockClock
) -> None:
    persona_id = add_persona(database, owner.account_id, greeting=GREETING.transcript + " {{variables.name}}")
    async with serving_speech() as service:
        assert (await previews(database, service).speak(owner, persona_id, GREETED)).audio == GREETING.mulaw


async def test_what_was_heard_a_while_ago_costs_nothing_again(
    database: Database, owner: Principal, autojump_clock: MockClock
) -> None:
    persona_id = add_persona(database, owner.account_id)
    other_model = add_persona(database, owner.account_id, model="gpt-realtime-mini")
    async with serving_speech() as service:
        speaker = previews(database, service)
        first = await speaker.speak(owner, persona_id, GREETED)
        assert await speaker.speak(owner, persona_id, GREETED) == first
        assert service.opened == [None]
        await speaker.speak(owner, persona_id, PreviewInput(voice="cedar"))
        await speaker.speak(owner, other_model, GREETED)
        assert service.opened == [None, None, "gpt-realtime-mini"]


async def test_only_so_much_is_kept_and_the_latest_stays(
    database: Database, owner: Principal, autojump_clock: MockClock
) -> None:
    persona_id = add_persona(database, owner.account_id)
    size = len(GREETING.mulaw)
    async with serving_speech() as service:
        speaker = previews(database, service, kept_bytes=2 * size)
        for voice in ("ash", "cedar", "ash", "coral", "ash", "cedar"):
            await speaker.speak(owner, persona_id, PreviewInput(voice=voice))
        assert len(service.opened) == 4  # ash, cedar, coral, and cedar again


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        (Faults(http_status=401), "model_refused"),
        (Faults(http_status=429), "model_refused"),
        (Faults(drop_after_audio_ms=500), "model_lost"),
        (Faults(close_after_audio_ms=500), "model_lost"),
        (Faults(malformed_json=True), "model_lost"),
    ],
)
async def test_when_openai_fails_it_is_said_how(
    database: Database, owner: Principal, autojump_clock: MockClock, faults: Faults, code: str
) -> None:
    assert await error_of(database, owner, faults, ModelFailedError) == code


@pytest.mark.parametrize("faults", [Faults(silent=True), Faults(stall_after_audio_ms=500, stall_s=3600)])
async def test_when_openai_stalls_it_is_given_up(
    database: Database, owner: Principal, autojump_clock: MockClock, faults: Faults
) -> None:
    assert await error_of(database, owner, faults, ModelTooSlowError) == "preview_timeout"


async def test_other_words_than_those_given_are_not_passed_off_as_them(
    database: Database, owner: Principal, autojump_clock: MockClock
) -> None:
    persona_id = add_persona(database, owner.account_id)
    async with serving_speech(Reply("menu")) as service:
        with pytest.raises(ModelFailedError) as caught:
            await previews(database, service).speak(owner, persona_id, GREETED)
    assert caught.value.code == "model_misspoke"


async def test_when_openai_is_out_of_reach_it_is_said(database: Database, owner: Principal) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Line]:
        raise ConnectionRefusedError("connection refused")
        yield

    speaker = Previews(database, lambda: AT, lambda model: Speech(connect=connect, service="x"))
    with pytest.raises(ModelFailedError) as caught:
        await speaker.speak(owner, add_persona(database, owner.account_id), GREETED)
    assert caught.value.code == "model_unreachable"


async def test_one_too_many_at_once_is_told_to_come_later(
    database: Database, owner: Principal, mock_clock: MockClock
) -> None:
    persona_id = add_persona(database, owner.account_id)
    async with serving_speech(first_audio_delay_s=1.0) as service:
        speaker = previews(database, service, at_once=2)
        async with trio.open_nursery() as nursery:
            for voice in ("ash", "cedar"):
                nursery.start_soon(speaker.speak, owner, persona_id, PreviewInput(voice=voice))
            while len(service.opened) < 2:  # the clock stands still, so none of them ends
                await trio.lowlevel.checkpoint()
            with pytest.raises(TooManyRequestsError) as caught:
                await speaker.speak(owner, persona_id, PreviewInput(voice="coral"))
            assert caught.value.code == "preview_busy"
            mock_clock.autojump_threshold = 0
        assert (await speaker.speak(owner, persona_id, PreviewInput(voice="coral"))).audio


async def test_who_goes_away_leaves_no_session_and_no_place_taken(
    database: Database, owner: Principal, autojump_clock: MockClock
) -> None:
    persona_id = add_persona(database, owner.account_id)
    async with serving_speech(first_audio_delay_s=5.0) as service:
        speaker = previews(database, service, at_once=1)
        with trio.move_on_after(1):
            await speaker.speak(owner, persona_id, GREETED)
        assert len(service.opened) == 1
        assert (await speaker.speak(owner, persona_id, GREETED)).audio == GREETING.mulaw


async def test_nothing_to_say_costs_nothing(database: Database, owner: Principal) -> None:
    silent, wordy = (
        add_persona(database, owner.account_id, greeting=""),
        add_persona(database, owner.account_id, greeting="x" * 1500),
    )
    async with serving_speech() as service:
        for persona_id, code in ((silent, "nothing_to_say"), (wordy, "text_too_long")):
            with pytest.raises(InvalidInputError) as caught:
                await previews(database, service).speak(owner, persona_id, GREETED)
            assert caught.value.code == code
        with pytest.raises(NotFoundError):
            await previews(database, service).speak(owner, uuid4(), GREETED)
    assert service.opened == []


async def test_without_a_key_nobody_speaks(database: Database, owner: Principal) -> None:
    with pytest.raises(NoModelError):
        await Previews(database, lambda: AT, None).speak(owner, add_persona(database, owner.account_id), GREETED)

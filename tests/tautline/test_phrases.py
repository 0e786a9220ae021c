"""Phrases: rendered once, found again, rendered anew when they are broken or changed, and never in a call's way."""

import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from benchmarks.simulators.openai import Fail, Faults, Reply, Script, Simulator, SimulatorConfig, Step, serve
from benchmarks.speech import clip
from proto import mulaw
from relay import Persona, Upstream, open_stream_line
from relay.rendering import VERSION
from relay.sockets import Line
from tautline import phrases as phrases_module
from tautline.phrases import APOLOGY_CLIP, FOLDER, MAX_MISSPOKEN, Phrase, Phrases, SpokenPersona, phrases_of
from tautline.serve import LineLog, Server
from tautline.settings import Settings

GREETING, APOLOGY = clip("greeting"), clip("sorry")
PERSONA = Persona(instructions="", greeting=GREETING.transcript, apology=APOLOGY.transcript)
SERVICE = "ws://openai.test/v1/realtime?model=gpt-realtime-2.1"
BUILT_IN = APOLOGY_CLIP.read_bytes()


class Service:
    """A simulated OpenAI in memory whose sessions follow one script each; the last script repeats."""

    def __init__(self, nursery: trio.Nursery, *scripts: tuple[Step, ...], faults: Faults | None = None) -> None:
        self._nursery, self._faults = nursery, faults or Faults()
        self._scripts = itertools.chain(scripts, itertools.repeat(scripts[-1]))
        self.connections = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Line]:
        self.connections += 1
        config = SimulatorConfig(script=Script(steps=next(self._scripts)), faults=self._faults, wall_clock=lambda: 1e9)
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(Simulator(config).serve_stream, theirs)
        async with ours:
            yield await open_stream_line(Upstream(url=SERVICE, api_key="sk-test"), ours)


BOTH = ((Reply("greeting"),), (Reply("sorry"),))


async def rendered(
    folder: Path, *scripts: tuple[Step, ...], persona: Persona = PERSONA, faults: Faults | None = None
) -> tuple[Persona, int]:
    """The persona when there is no more to render, and how many sessions that took; nothing is left running."""
    async with trio.open_nursery() as nursery:
        service = Service(nursery, *(scripts or BOTH), faults=faults)
        spoken = SpokenPersona(persona, Phrases(folder), service=SERVICE, connect=service.connect)
        await spoken.keep_rendered()
    return spoken.current(), service.connections


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_greeting_and_apology_are_rendered_once_and_found_after_a_restart(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    first, sessions = await rendered(tmp_path / FOLDER)
    assert (first.greeting_audio, first.apology_audio) == (GREETING.mulaw, APOLOGY.mulaw)
    assert sessions == 2
    assert await rendered(tmp_path / FOLDER) == (first, 0)


async def test_what_was_rendered_is_there_before_the_first_call(tmp_path: Path) -> None:
    phrases = Phrases(tmp_path)
    phrases.keep(phrases_of(PERSONA, SERVICE)["greeting"], GREETING.mulaw)
    async with trio.open_nursery() as nursery:
        silent = Service(nursery, (), faults=Faults(silent=True))
        spoken = SpokenPersona(PERSONA, phrases, service=SERVICE, connect=silent.connect)
        await nursery.start(spoken.keep_rendered)
        assert (spoken.current().greeting_audio, spoken.current().apology_audio) == (GREETING.mulaw, BUILT_IN)
        nursery.cancel_scope.cancel()


async def test_calls_meanwhile_are_answered_without_what_is_not_rendered_yet(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with trio.open_nursery() as nursery:
        service = Service(nursery, *BOTH)
        spoken = SpokenPersona(PERSONA, Phrases(tmp_path), service=SERVICE, connect=service.connect)
        before = spoken.current()
        await spoken.keep_rendered()
    assert (before.greeting_audio, before.apology_audio) == (b"", BUILT_IN)  # a call that began with it keeps it
    assert spoken.current() != before


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        GREETING.mulaw[:-1],
        mulaw.silence(2000),
        GREETING.mulaw * 20,
        b"not audio at all",
    ],
    ids=["empty", "torn", "silent", "endless", "no audio"],
)
async def test_a_broken_file_is_replaced(autojump_clock: MockClock, tmp_path: Path, broken: bytes) -> None:
    await rendered(tmp_path)
    greeting = tmp_path / phrases_of(PERSONA, SERVICE)["greeting"].file_name
    greeting.write_bytes(broken)
    again, sessions = await rendered(tmp_path)
    assert (again.greeting_audio, sessions) == (GREETING.mulaw, 1)
    assert greeting.read_bytes() == GREETING.mulaw


async def test_a_changed_text_is_rendered_anew_and_the_old_one_is_still_there(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    before, _ = await rendered(tmp_path)
    edited = Persona(instructions="", greeting=clip("still_there").transcript, apology=APOLOGY.transcript)
    after, sessions = await rendered(tmp_path, (Reply("still_there"),), persona=edited)
    assert (after.greeting_audio, after.apology_audio) == (clip("still_there").mulaw, APOLOGY.mulaw)
    assert sessions == 1
    assert await rendered(tmp_path) == (before, 0)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time passes while a thread works, and a wait of twenty minutes is over before a file is read."""

    async def run_here(sync: Callable[..., object], *arguments: object) -> object:
        return sync(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_here)


@pytest.mark.usefixtures("no_threads")
async def test_what_another_process_renders_is_used_once_it_is_there_and_not_rendered_twice(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with trio.open_nursery() as nursery:
        refused = Service(nursery, (), faults=Faults(http_status=401))
        other = SpokenPersona(PERSONA, Phrases(tmp_path), service=SERVICE, connect=refused.connect, renders=False)
        await nursery.start(other.keep_rendered)
        assert other.current().greeting_audio == b""
        first, _ = await rendered(tmp_path)
    assert (other.current(), refused.connections) == (first, 0)


async def test_what_nobody_renders_is_not_waited_for_without_end(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        unused = Service(nursery, ())
        other = SpokenPersona(PERSONA, Phrases(tmp_path), service=SERVICE, connect=unused.connect, renders=False)
        await other.keep_rendered()
    assert (other.current().greeting_audio, unused.connections) == (b"", 0)


def test_every_voice_text_service_and_way_of_rendering_has_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    phrases = [
        Phrase(service=service, voice=voice, text=text)
        for service in ("a", "b")
        for voice in ("marin", "../../etc/passwd\0")
        for text in ("Hello.", "Hello. ")
    ]
    names = [phrase.file_name for phrase in phrases]
    monkeypatch.setattr(phrases_module, "VERSION", VERSION + 1)
    names += [phrase.file_name for phrase in phrases]
    assert len(set(names)) == 16
    assert {Path(name).name for name in names} == set(names)
    assert all(name.removesuffix(".ulaw").isalnum() for name in names)


async def test_a_persona_without_a_greeting_has_only_an_apology(autojump_clock: MockClock, tmp_path: Path) -> None:
    persona = Persona(instructions="", apology=APOLOGY.transcript)
    spoken, sessions = await rendered(tmp_path, (Reply("sorry"),), persona=persona)
    assert (spoken.greeting_audio, spoken.apology_audio, sessions) == (b"", APOLOGY.mulaw, 1)


# Trouble.


async def test_without_the_model_the_built_in_apology_stands_and_nobody_tries_for_ever(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    tried: list[float] = []

    @asynccontextmanager
    async def connect() -> AsyncIterator[Line]:
        tried.append(trio.current_time())
        raise ConnectionRefusedError("connection refused")
        yield

    spoken = SpokenPersona(PERSONA, Phrases(tmp_path), service=SERVICE, connect=connect)
    with capture_logs() as logs:
        await spoken.keep_rendered()
    assert (spoken.current().greeting_audio, spoken.current().apology_audio) == (b"", BUILT_IN)
    assert 10 < len(tried) < 50
    assert tried[-1] <= 2 * phrases_module.RETRY_FOR_S
    assert [entry["phrase"] for entry in logs if entry["event"] == "phrases.given_up"] == ["greeting", "apology"]
    assert files(tmp_path) == []


async def test_a_key_that_is_refused_is_not_tried_again(autojump_clock: MockClock, tmp_path: Path) -> None:
    spoken, sessions = await rendered(tmp_path, (), faults=Faults(http_status=401))
    assert (spoken.greeting_audio, sessions) == (b"", 2)  # once for each phrase


async def test_a_passing_trouble_costs_only_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    overloaded = (Fail("rate_limit_exceeded", "Slow down."),)
    spoken, sessions = await rendered(tmp_path, overloaded, overloaded, *BOTH)
    assert (spoken.greeting_audio, spoken.apology_audio) == (GREETING.mulaw, APOLOGY.mulaw)
    assert sessions == 4


async def test_a_model_that_says_something_else_is_asked_a_few_times_and_never_kept(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    other = [(Reply("opening_hours"),)] * MAX_MISSPOKEN
    spoken, sessions = await rendered(tmp_path, *other, (Reply("sorry"),))
    assert (spoken.greeting_audio, spoken.apology_audio) == (b"", APOLOGY.mulaw)
    assert sessions == MAX_MISSPOKEN + 1
    assert len(files(tmp_path)) == 1


async def test_a_service_that_never_answers_is_left_in_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    spoken, sessions = await rendered(tmp_path, (), faults=Faults(silent=True))
    assert (spoken.greeting_audio, spoken.apology_audio) == (b"", BUILT_IN)
    assert sessions > 2


async def test_a_disk_that_takes_nothing_costs_the_next_start_and_no_call(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with capture_logs() as logs:
        spoken, _ = await rendered(tmp_path / "file" / FOLDER)
    assert (spoken.greeting_audio, spoken.apology_audio) == (GREETING.mulaw, APOLOGY.mulaw)
    assert [entry["log_level"] for entry in logs if entry["event"] == "phrases.not_kept"] == ["warning"] * 2


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phrases, phrase = Phrases(tmp_path), phrases_of(PERSONA, SERVICE)["greeting"]
    phrases.keep(phrase, GREETING.mulaw)

    def full(_descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        phrases.keep(phrase, APOLOGY.mulaw)
    assert phrases.find(phrase) == GREETING.mulaw
    assert len(files(tmp_path)) == 1


async def test_a_fault_of_ours_ends_the_rendering_and_not_the_server(tmp_path: Path) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Line]:
        raise ZeroDivisionError
        yield

    with capture_logs() as logs:
        await SpokenPersona(PERSONA, Phrases(tmp_path), service=SERVICE, connect=connect).keep_rendered()
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["phrases.broken"]


# What is shipped, and the whole server.


def test_the_built_in_apology_is_short_and_sounds_like_a_call() -> None:
    assert len(BUILT_IN) < 60_000
    assert len(BUILT_IN) % mulaw.FRAME_BYTES == 0
    assert -25 < mulaw.level_dbov(mulaw.decode(BUILT_IN)) < -18
    assert Persona(instructions="").apology in APOLOGY_CLIP.with_name("README.md").read_text()


async def test_a_server_has_its_phrases_rendered_and_kept_while_it_serves(tmp_path: Path) -> None:
    script = Script(steps=(Reply("greeting"),))
    quick: dict[str, Any] = {"first_audio_delay_s": 0.0, "pace": float("inf")}
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            simulator = await nursery.start(partial(serve, SimulatorConfig(script=script, **quick)))
            settings = Settings(
                host="127.0.0.1",
                port=0,
                openai_realtime_url=f"ws://127.0.0.1:{simulator}/v1/realtime",
                openai_api_key="sk-test",
                greeting=GREETING.transcript,
                apology=GREETING.transcript,  # each session's script says just this
                data_dir=tmp_path,
            )
            with capture_logs() as logs:
                await nursery.start(Server(settings, LineLog()).run)
                while [entry["event"] for entry in logs].count("phrases.rendered") < 2:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert [path.read_bytes() for path in files(tmp_path / FOLDER)] == [GREETING.mulaw]  # the same words: one file


async def test_a_server_on_the_simulator_renders_nothing(tmp_path: Path) -> None:
    settings = Settings(
        host="127.0.0.1", port=0, openai_api_key="sk-test", openai_realtime_url="simulator", data_dir=tmp_path
    )
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(Server(settings, LineLog(), "ws://127.0.0.1:1/v1/realtime").run)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert files(tmp_path) == []
    assert [entry for entry in logs if entry["event"].startswith("phrases.")] == []

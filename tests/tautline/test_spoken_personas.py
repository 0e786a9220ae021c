"""Spoken personas: whoever answers has their phrases rendered once, found again, and never in a call's way."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from admin.services.personas.previews import Speech
from admin.services.telephone.directory import Answering
from benchmarks.simulators.openai import Fail, Faults, Reply, Script, Simulator, SimulatorConfig, Step, serve
from benchmarks.speech import clip
from relay import Persona, Upstream, open_stream_line
from relay.sockets import Line
from tautline.phrases import APOLOGY_CLIP, FOLDER, Phrases, phrases_of
from tautline.render_queue import LONGEST_PAUSE_S, MAX_MISSPOKEN
from tautline.serve import LineLog, Server
from tautline.settings import Settings
from tautline.spoken_personas import LOOK_EVERY_S, SpokenPersonas

USUAL, MINI, GONE = "gpt-realtime-2.1", "gpt-realtime-mini", "gpt-realtime-2"
GREETING, APOLOGY, HERS, HER_APOLOGY = clip("greeting"), clip("sorry"), clip("menu"), clip("one_moment")
PERSONA = Persona(instructions="", greeting=GREETING.transcript, apology=APOLOGY.transcript)
LUNA = Persona(
    instructions="", voice="cedar", speed=1.2, model=MINI, greeting=HERS.transcript, apology=HER_APOLOGY.transcript
)
MARIO = msgspec.structs.replace(LUNA, greeting=clip("opening_hours").transcript)
URL = "ws://openai.test/v1/realtime?model="
BUILT_IN = APOLOGY_CLIP.read_bytes()
MINUTE_S = 60.0

BOTH = ((Reply("greeting"),), (Reply("sorry"),))
ALL = (*BOTH, (Reply("menu"),), (Reply("one_moment"),))
OVERLOADED = (Fail("rate_limit_exceeded", "Slow down."),)


class Service:
    """A simulated OpenAI in memory whose sessions follow one script each; the last script repeats.

    Attributes: models, asked for by one session after the other; outputs, the settings of how they sound; most_open,
    how many there were at once; out_of_order, the models that raise this instead.
    """

    def __init__(self, nursery: trio.Nursery, *scripts: tuple[Step, ...], faults: Faults | None = None) -> None:
        self._nursery, self._faults = nursery, faults or Faults()
        self._scripts = itertools.chain(scripts, itertools.repeat(scripts[-1]))
        self._open = self.most_open = 0
        self.models: list[str] = []
        self.outputs: list[dict[str, Any]] = []
        self.out_of_order: dict[str, Exception] = {}

    @property
    def sessions(self) -> int:
        """How many were opened."""
        return len(self.models)

    def speech(self, model: str | None) -> Speech:
        """See OpenSpeech."""
        name = model or USUAL
        return Speech(connect=partial(self._connect, name), service=f"{URL}{name}")

    @asynccontextmanager
    async def _connect(self, model: str) -> AsyncIterator[Line]:
        self.models.append(model)
        if model in self.out_of_order:
            raise self.out_of_order[model]
        script = Script(steps=next(self._scripts))
        config = SimulatorConfig(script=script, faults=self._faults, wall_clock=lambda: 1e9, observer=self._observe)
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(Simulator(config).serve_stream, theirs)
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        try:
            async with ours:
                yield await open_stream_line(Upstream(url=f"{URL}{model}", api_key="sk-test"), ours)
        finally:
            self._open -= 1

    def _observe(self, _at: float, _direction: str, event: dict[str, Any]) -> None:
        if event["type"] == "session.update":
            self.outputs.append(event["session"]["audio"]["output"])


@asynccontextmanager
async def serving(*scripts: tuple[Step, ...], faults: Faults | None = None) -> AsyncIterator[Service]:
    """Leaving it waits for the sessions that are open."""
    async with trio.open_nursery() as nursery:
        yield Service(nursery, *(scripts or BOTH), faults=faults)


@asynccontextmanager
async def at_work(spoken: SpokenPersonas, *answering: Persona) -> AsyncIterator[None]:
    """These answer beside the settings' persona."""
    spoken.want(named(answering))
    async with trio.open_nursery() as nursery:
        await nursery.start(spoken.keep_rendered)
        yield
        nursery.cancel_scope.cancel()


def named(personas: Iterable[Persona]) -> list[Answering]:
    return [Answering(version=f"{number}:1", persona=each) for number, each in enumerate(personas)]


async def rendered(
    folder: Path,
    *scripts: tuple[Step, ...],
    persona: Persona = PERSONA,
    faults: Faults | None = None,
    within_s: float = MINUTE_S,
) -> tuple[Persona, int]:
    """The persona after a while, and how many sessions that took."""
    async with serving(*scripts, faults=faults) as service:
        spoken = SpokenPersonas(persona, Phrases(folder), service.speech)
        async with at_work(spoken):
            await trio.sleep(within_s)
    return spoken.with_audio(persona), service.sessions


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def sounds(spoken: SpokenPersonas, persona: Persona) -> tuple[bytes, bytes]:
    """What a call that begins now would play."""
    answering = spoken.with_audio(persona)
    return answering.greeting_audio, answering.apology_audio


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Virtual time passes while a thread works, and a wait of twenty minutes is over before a file is read."""

    async def run_here(sync: Callable[..., object], *arguments: object) -> object:
        await trio.lowlevel.checkpoint()
        return sync(*arguments)

    if "autojump_clock" in request.fixturenames:
        monkeypatch.setattr(trio.to_thread, "run_sync", run_here)


# The settings' persona.


async def test_greeting_and_apology_are_rendered_once_and_found_after_a_restart(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    first, sessions = await rendered(tmp_path / FOLDER)
    assert (first.greeting_audio, first.apology_audio) == (GREETING.mulaw, APOLOGY.mulaw)
    assert sessions == 2
    assert await rendered(tmp_path / FOLDER) == (first, 0)


async def test_what_was_rendered_is_there_before_the_first_call(autojump_clock: MockClock, tmp_path: Path) -> None:
    phrases = Phrases(tmp_path)
    phrases.keep(phrases_of(PERSONA, f"{URL}{USUAL}")["greeting"], GREETING.mulaw)
    async with serving((), faults=Faults(silent=True)) as silent:
        spoken = SpokenPersonas(PERSONA, phrases, silent.speech)
        async with at_work(spoken):
            assert sounds(spoken, PERSONA) == (GREETING.mulaw, BUILT_IN)


async def test_calls_meanwhile_are_answered_without_what_is_not_rendered_yet(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving() as service:
        spoken = SpokenPersonas(PERSONA, Phrases(tmp_path), service.speech)
        async with at_work(spoken):
            before = spoken.with_audio(PERSONA)
            await trio.sleep(MINUTE_S)
    assert (before.greeting_audio, before.apology_audio) == (b"", BUILT_IN)  # a call that began with it keeps it
    assert spoken.with_audio(PERSONA) != before


async def test_a_changed_text_is_rendered_anew_and_the_old_one_is_still_there(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    before, _ = await rendered(tmp_path)
    edited = Persona(instructions="", greeting=clip("still_there").transcript, apology=APOLOGY.transcript)
    after, sessions = await rendered(tmp_path, (Reply("still_there"),), persona=edited)
    assert (after.greeting_audio, after.apology_audio) == (clip("still_there").mulaw, APOLOGY.mulaw)
    assert sessions == 1
    assert await rendered(tmp_path) == (before, 0)


async def test_a_persona_without_a_greeting_has_only_an_apology(autojump_clock: MockClock, tmp_path: Path) -> None:
    persona = Persona(instructions="", apology=APOLOGY.transcript)
    spoken, sessions = await rendered(tmp_path, (Reply("sorry"),), persona=persona)
    assert (spoken.greeting_audio, spoken.apology_audio, sessions) == (b"", APOLOGY.mulaw, 1)


# Stored personas.


async def test_whoever_answers_is_heard_in_their_own_voice_speed_and_model(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(*ALL) as service:
        spoken = SpokenPersonas(PERSONA, Phrases(tmp_path), service.speech)
        async with at_work(spoken, LUNA):
            await trio.sleep(MINUTE_S)
        assert sounds(spoken, LUNA) == (HERS.mulaw, HER_APOLOGY.mulaw)
        assert sounds(spoken, PERSONA) == (GREETING.mulaw, APOLOGY.mulaw)
        slower = msgspec.structs.replace(LUNA, speed=1.0)
        assert sounds(spoken, slower) == (b"", BUILT_IN)
    assert service.models == [USUAL, USUAL, MINI, MINI]
    assert [(each["voice"], each.get("speed")) for each in service.outputs[2:]] == [("cedar", 1.2)] * 2
    assert service.most_open == 1


async def test_a_persona_that_comes_to_answer_is_rendered_then(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(*ALL, (Reply("opening_hours"),)) as service:
        spoken = SpokenPersonas(PERSONA, Phrases(tmp_path), service.speech)
        async with at_work(spoken):
            await trio.sleep(MINUTE_S)
            spoken.want(named([LUNA]))
            await trio.sleep(MINUTE_S)
            assert sounds(spoken, LUNA) == (HERS.mulaw, HER_APOLOGY.mulaw)
            spoken.want(named([MARIO]))  # her greeting was edited
            assert sounds(spoken, MARIO) == (b"", HER_APOLOGY.mulaw)
            await trio.sleep(MINUTE_S)
            assert sounds(spoken, MARIO) == (clip("opening_hours").mulaw, HER_APOLOGY.mulaw)
            assert sounds(spoken, LUNA) == (HERS.mulaw, HER_APOLOGY.mulaw)  # of a call whose webhook chose her before
    assert service.sessions == 5


async def test_what_is_on_disk_is_used_while_something_else_is_being_rendered(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    phrases = Phrases(tmp_path)
    phrases.keep(phrases_of(LUNA, f"{URL}{MINI}")["greeting"], HERS.mulaw)
    async with serving((), faults=Faults(silent=True)) as silent:
        spoken = SpokenPersonas(PERSONA, phrases, silent.speech)
        async with at_work(spoken):
            await trio.sleep(1)
            spoken.want(named([LUNA]))
            await trio.sleep(1)
            assert sounds(spoken, LUNA) == (HERS.mulaw, BUILT_IN)
    assert silent.sessions == 1


async def test_who_does_not_answer_any_more_is_not_rendered(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(*BOTH, (Reply("opening_hours"),), (Reply("one_moment"),)) as service:
        spoken = SpokenPersonas(PERSONA, Phrases(tmp_path), service.speech)
        async with at_work(spoken, LUNA):
            spoken.want(named([MARIO]))
            await trio.sleep(MINUTE_S)
            assert sounds(spoken, LUNA) == (b"", HER_APOLOGY.mulaw)
            assert sounds(spoken, MARIO) == (clip("opening_hours").mulaw, HER_APOLOGY.mulaw)
    assert service.sessions == 4


async def test_a_greeting_of_one_call_is_the_models_and_the_apology_is_there(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    known = msgspec.structs.replace(LUNA, greeting="")  # as the directory announces her
    async with serving(*BOTH, (Reply("one_moment"),)) as service:
        spoken = SpokenPersonas(PERSONA, Phrases(tmp_path), service.speech)
        async with at_work(spoken, known):
            await trio.sleep(MINUTE_S)
    greeting_you = msgspec.structs.replace(LUNA, greeting="Good evening, +15551230001!")
    assert sounds(spoken, greeting_you) == (b"", HER_APOLOGY.mulaw)
    assert service.sessions == 3


async def test_memory_holds_what_calls_have_asked_for_last_and_nothing_is_paid_twice(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    size_bytes = len(GREETING.mulaw) + len(HERS.mulaw)
    async with serving(*ALL) as service:
        speech, phrases = service.speech, Phrases(tmp_path)
        spoken = SpokenPersonas(PERSONA, phrases, speech, memory_bytes=size_bytes)
        async with at_work(spoken, LUNA):
            await trio.sleep(MINUTE_S)
            assert sounds(spoken, LUNA)[1] == HER_APOLOGY.mulaw  # the last one is there
            assert sum(map(len, (*sounds(spoken, PERSONA), *sounds(spoken, LUNA)))) < size_bytes + 2 * len(BUILT_IN)
            spoken.want(named([LUNA]))
            await trio.sleep(MINUTE_S)
    assert (service.sessions, len(files(tmp_path))) == (4, 4)


async def test_the_disk_holds_no_more_than_it_may_beside_what_is_in_use(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    await rendered(tmp_path, (Reply("menu"),), (Reply("one_moment"),), persona=LUNA)
    async with serving() as service:
        spoken = SpokenPersonas(PERSONA, Phrases(tmp_path, kept_bytes=len(GREETING.mulaw)), service.speech)
        async with at_work(spoken):
            await trio.sleep(MINUTE_S)
    used = {each.file_name for each in phrases_of(PERSONA, f"{URL}{USUAL}").values()}
    assert {path.name for path in files(tmp_path)} == used


# Several processes on one folder.


async def test_what_another_process_renders_is_used_once_it_is_there_and_not_rendered_twice(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving((), faults=Faults(http_status=401)) as refused:
        other = SpokenPersonas(PERSONA, Phrases(tmp_path), refused.speech, renders=False)
        async with at_work(other):
            assert sounds(other, PERSONA) == (b"", BUILT_IN)
            await rendered(tmp_path)
            await trio.sleep(2 * LOOK_EVERY_S)
            assert sounds(other, PERSONA) == (GREETING.mulaw, APOLOGY.mulaw)
    assert refused.sessions == 0


async def test_two_that_render_the_same_do_no_harm(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(BOTH[0], BOTH[0], BOTH[1]) as service:
        both = [SpokenPersonas(PERSONA, Phrases(tmp_path), service.speech) for _ in range(2)]
        async with at_work(both[0]), at_work(both[1]):
            await trio.sleep(MINUTE_S)
    assert [sounds(each, PERSONA) for each in both] == [(GREETING.mulaw, APOLOGY.mulaw)] * 2
    assert len(files(tmp_path)) == 2


# Trouble.


async def test_without_the_model_the_built_in_apology_stands_and_it_is_said_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    greeting_only = msgspec.structs.replace(PERSONA, apology="")
    async with serving() as service:
        service.out_of_order[USUAL] = ConnectionRefusedError("connection refused")
        spoken = SpokenPersonas(greeting_only, Phrases(tmp_path), service.speech)
        with capture_logs() as logs:
            async with at_work(spoken):
                await trio.sleep(60 * MINUTE_S)
                assert sounds(spoken, greeting_only) == (b"", BUILT_IN)
                assert 10 < service.sessions < 30
                service.out_of_order.clear()
                await trio.sleep(LONGEST_PAUSE_S)
                assert sounds(spoken, greeting_only) == (GREETING.mulaw, BUILT_IN)
    told = [(entry["event"], entry["phrase"]) for entry in logs if entry["log_level"] == "warning"]
    assert told == [("phrases.not_rendered", "greeting")]
    assert GREETING.transcript not in str(logs)
    assert "sk-test" not in str(logs)


async def test_a_key_that_is_refused_is_tried_again_now_and_then(autojump_clock: MockClock, tmp_path: Path) -> None:
    refused = Faults(http_status=401)
    _, sessions = await rendered(tmp_path, (), faults=refused, within_s=LONGEST_PAUSE_S - 1)
    assert sessions == 2  # once for each phrase
    _, sessions = await rendered(tmp_path, (), faults=refused, within_s=2 * LONGEST_PAUSE_S - 1)
    assert sessions == 4


async def test_a_passing_trouble_costs_only_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    spoken, sessions = await rendered(tmp_path, OVERLOADED, (Reply("sorry"),), (Reply("greeting"),))
    assert (spoken.greeting_audio, spoken.apology_audio) == (GREETING.mulaw, APOLOGY.mulaw)
    assert sessions == 3


async def test_one_persona_that_cannot_be_spoken_keeps_nobody_else_waiting(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    mute = msgspec.structs.replace(LUNA, model=GONE)
    async with serving(*ALL) as service:
        service.out_of_order[GONE] = ConnectionRefusedError("connection refused")
        spoken = SpokenPersonas(PERSONA, Phrases(tmp_path), service.speech)
        with capture_logs() as logs:
            async with at_work(spoken, mute, LUNA):
                await trio.sleep(MINUTE_S)
                assert sounds(spoken, LUNA) == (HERS.mulaw, HER_APOLOGY.mulaw)
    told = [entry["persona_version"] for entry in logs if entry["event"] == "phrases.not_rendered"]
    assert set(told) == {"0:1"}


async def test_a_model_that_says_something_else_is_asked_a_few_times_and_never_kept(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    persona = Persona(instructions="", greeting=GREETING.transcript, apology="")
    with capture_logs() as logs:
        spoken, sessions = await rendered(tmp_path, (Reply("opening_hours"),), persona=persona, within_s=3600)
    assert (spoken.greeting_audio, spoken.apology_audio, sessions) == (b"", BUILT_IN, MAX_MISSPOKEN)
    assert [entry["phrase"] for entry in logs if entry["event"] == "phrases.given_up"] == ["greeting"]
    assert files(tmp_path) == []


async def test_a_service_that_never_answers_is_left_in_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    spoken, sessions = await rendered(tmp_path, (), faults=Faults(silent=True), within_s=5 * MINUTE_S)
    assert (spoken.greeting_audio, spoken.apology_audio) == (b"", BUILT_IN)
    assert sessions > 2


async def test_a_disk_that_takes_nothing_costs_the_next_start_and_no_call(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with capture_logs() as logs:
        spoken, sessions = await rendered(tmp_path / "file" / FOLDER, within_s=3600)
    assert (spoken.greeting_audio, spoken.apology_audio, sessions) == (GREETING.mulaw, APOLOGY.mulaw, 2)
    assert [entry["log_level"] for entry in logs if entry["event"] == "phrases.not_kept"] == ["warning"] * 2


async def test_a_fault_of_ours_costs_its_phrase_and_not_the_server(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving((Reply("menu"),), (Reply("one_moment"),)) as service:
        service.out_of_order[USUAL] = ZeroDivisionError()
        spoken = SpokenPersonas(PERSONA, Phrases(tmp_path), service.speech)
        with capture_logs() as logs:
            async with at_work(spoken, LUNA):
                await trio.sleep(3600)
        assert sounds(spoken, LUNA) == (HERS.mulaw, HER_APOLOGY.mulaw)
    broken = [entry["event"] for entry in logs if entry["log_level"] == "error"]
    assert broken == ["phrases.broken"] * 2 * MAX_MISSPOKEN


async def test_a_folder_that_cannot_be_searched_costs_a_rest_and_not_the_server(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as service:
        spoken = SpokenPersonas(PERSONA, Phrases(tmp_path), service.speech)
        with capture_logs() as logs, monkeypatch.context() as patched:
            patched.setattr(Phrases, "find", lambda _self, _phrase: 1 / 0)
            async with at_work(spoken):
                await trio.sleep(MINUTE_S / 2)
                patched.undo()
                await trio.sleep(3 * MINUTE_S)
                assert sounds(spoken, PERSONA) == (GREETING.mulaw, APOLOGY.mulaw)
    assert "phrases.broken" in [entry["event"] for entry in logs]


# The whole server.


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
                apology=GREETING.transcript,  # the same words: one rendering
                data_dir=tmp_path,
            )
            with capture_logs() as logs:
                await nursery.start(Server(settings, LineLog()).run)
                while "phrases.rendered" not in [entry["event"] for entry in logs]:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert [path.read_bytes() for path in files(tmp_path / FOLDER)] == [GREETING.mulaw]


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

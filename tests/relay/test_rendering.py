"""Rendering: a text becomes audio, or an error that says why not; either way nothing is left behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from benchmarks.simulators.openai import (
    Fail,
    Faults,
    Incomplete,
    Reply,
    Script,
    Several,
    Silence,
    Simulator,
    SimulatorConfig,
    Step,
)
from benchmarks.speech import clip
from proto import mulaw
from relay import rendering
from relay.rendering import RenderingError, render_speech
from relay.retry import Failure
from relay.sockets import Line
from relay.upstream import Upstream, open_stream_line
from tests.relay import wire
from tests.relay.peers import FakeOpenAI
from tests.relay.wire import Message

GREETING = clip("greeting")
UPSTREAM = Upstream(url="ws://openai.test/v1/realtime?model=gpt-realtime-2.1", api_key="sk-test")


def saying(*steps: Step, **settings: Any) -> SimulatorConfig:
    return SimulatorConfig(script=Script(steps=steps), wall_clock=lambda: 1e9, **settings)


@asynccontextmanager
async def open_service(config: SimulatorConfig) -> AsyncIterator[rendering.Connect]:
    """A simulated service in memory; leaving it proves that its sessions have ended."""
    simulator = Simulator(config)
    async with trio.open_nursery() as nursery:

        @asynccontextmanager
        async def connect() -> AsyncIterator[Line]:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(simulator.serve_stream, theirs)
            async with ours:
                yield await open_stream_line(UPSTREAM, ours)

        yield connect
    assert simulator.desk.live == {}


async def error_of(config: SimulatorConfig, text: str = GREETING.transcript) -> RenderingError:
    """What comes of rendering this with a service like that."""
    async with open_service(config) as connect:
        with pytest.raises(RenderingError) as caught:
            await render_speech(connect, "cedar", text)
    assert text not in str(caught.value)
    return caught.value


async def test_a_text_is_spoken_word_for_word_and_every_byte_is_kept(autojump_clock: MockClock) -> None:
    async with open_service(saying(Reply("greeting"))) as connect:
        assert await render_speech(connect, "cedar", "good evening; this is LUNA'S pizzeria. How can I help you?") == (
            GREETING.mulaw
        )


async def test_the_session_hears_nobody_and_remembers_nothing(autojump_clock: MockClock) -> None:
    asked: list[Message] = []

    def observe(_at: float, direction: str, event: Message) -> None:
        if direction == "client":
            asked.append(event)

    async with open_service(saying(Reply("greeting"), observer=observe)) as connect:
        await render_speech(connect, "cedar", GREETING.transcript)
    update, create = asked
    audio = update["session"]["audio"]
    assert (audio["input"]["turn_detection"], audio["input"]["transcription"]) == (None, None)
    assert audio["output"] == {"format": {"type": "audio/pcmu"}, "voice": "cedar"}
    assert "tools" not in update["session"]
    assert (create["response"]["conversation"], create["response"]["tool_choice"]) == ("none", "none")
    assert create["response"]["instructions"].endswith(f"\n\n{GREETING.transcript}")


async def test_a_text_is_spoken_as_fast_as_is_asked(autojump_clock: MockClock) -> None:
    asked: list[Message] = []

    def observe(_at: float, _direction: str, event: Message) -> None:
        if event["type"] == "session.update":
            asked.append(event)

    async with open_service(saying(Reply("greeting"), observer=observe)) as connect:
        await render_speech(connect, "cedar", GREETING.transcript, speed=1.25)
    assert [each["session"]["audio"]["output"]["speed"] for each in asked] == [1.25]


async def test_speech_in_several_parts_is_one_rendering(autojump_clock: MockClock) -> None:
    parts = [clip("one_moment"), clip("menu")]
    async with open_service(saying(Several(tuple(Reply(part.name) for part in parts)))) as connect:
        audio = await render_speech(connect, "marin", " ".join(part.transcript for part in parts))
    assert audio == b"".join(part.mulaw for part in parts)


@pytest.mark.parametrize(
    ("config", "failure"),
    [
        (saying(faults=Faults(http_status=401)), Failure(kind="refused", status=401)),
        (
            saying(faults=Faults(http_status=429, retry_after_s=7)),
            Failure(kind="refused", status=429, retry_after_s=7.0),
        ),
        (
            saying(bad_keys=frozenset({"sk-test"})),
            Failure(kind="lost", error_code="invalid_api_key"),
        ),
        (
            saying(Fail("rate_limit_exceeded", "Slow down.")),
            Failure(kind="lost", error_code="rate_limit_exceeded"),
        ),
        (saying(Fail(None, "An error.")), Failure(kind="lost", error_code="server_error")),
        (
            saying(Reply("greeting"), faults=Faults(drop_after_audio_ms=500)),
            Failure(kind="lost", close_code=1006),
        ),
        (
            saying(Reply("greeting"), faults=Faults(close_after_audio_ms=500)),
            Failure(kind="lost", close_code=1011),
        ),
        (saying(Reply("greeting"), faults=Faults(malformed_json=True)), Failure(kind="lost")),
    ],
)
async def test_trouble_with_the_service_says_what_it_is(
    autojump_clock: MockClock, config: SimulatorConfig, failure: Failure
) -> None:
    assert (await error_of(config)).failure == failure


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Reply("opening_hours"), "other words"),
        (Several((Reply("greeting"), Reply("anything_else"))), "other words"),
        (Incomplete("greeting", 800), "max_output_tokens"),
        (Silence(), "no audio"),
    ],
)
async def test_speech_that_is_not_what_was_asked_for_is_refused(
    autojump_clock: MockClock, step: Step, said: str
) -> None:
    error = await error_of(saying(step))
    assert said in error.detail
    assert error.failure is None  # the service is well: asking again at once would cost, and may give the same


async def test_a_voice_that_the_service_does_not_know_is_not_asked_for_again(autojump_clock: MockClock) -> None:
    async with open_service(saying()) as connect:
        with pytest.raises(RenderingError, match="invalid_value") as caught:
            await render_speech(connect, "no such voice", "Hello.")
    assert caught.value.failure == Failure(kind="refused", status=400, error_code="invalid_value")


async def test_a_service_out_of_reach_is_said_plainly() -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Line]:
        raise ConnectionRefusedError("connection refused")
        yield

    with pytest.raises(RenderingError, match="cannot be reached") as caught:
        await render_speech(connect, "marin", "Hello.")
    assert caught.value.failure == Failure(kind="unreachable")


@pytest.mark.parametrize("faults", [Faults(silent=True), Faults(stall_after_audio_ms=500, stall_s=3600)])
async def test_the_caller_says_how_long_is_too_long_and_nothing_is_left_behind(
    autojump_clock: MockClock, faults: Faults
) -> None:
    async with open_service(saying(Reply("greeting"), faults=faults)) as connect:
        with pytest.raises(trio.TooSlowError), trio.fail_after(20):
            await render_speech(connect, "marin", GREETING.transcript)
        assert trio.current_time() < 21


@pytest.mark.parametrize("text", ["", "x" * (rendering.MAX_TEXT_CHARACTERS + 1)])
async def test_a_text_that_cannot_be_rendered_costs_no_connection(text: str) -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Line]:
        pytest.fail("a connection was opened")
        yield

    with pytest.raises(RenderingError, match="characters"):
        await render_speech(connect, "marin", text)


# Word for word: what no well-behaved service says.


class Scripted(FakeOpenAI):
    """Takes the configuration, in a format of its choice, and says what it is to say once it is asked to speak."""

    def __init__(self, nursery: trio.Nursery, said: tuple[Message | bytes, ...], format_type: str) -> None:
        super().__init__(nursery)
        self._said, self._format_type = said, format_type

    def act_on(self, message: Message) -> None:
        if message["type"] == "session.update":
            self._nursery.start_soon(self.send, wire.session_updated(self._format_type))
        elif message["type"] == "response.create":
            self._nursery.start_soon(self.send, *self._said)


async def rendered(*said: Message | bytes, format_type: str = "audio/pcmu") -> bytes:
    """What comes of rendering "Hello." with a service that says this once it is asked; checks how it was left."""
    async with trio.open_nursery() as nursery:
        openai = Scripted(nursery, said, format_type)
        try:
            return await render_speech(openai.connect, "marin", "Hello.")
        finally:
            await openai.is_disconnected.wait()
            assert openai.closed is not None
            assert openai.closed.code == 1000


SPOKEN = (wire.response_created(), wire.audio_delta(ms=30), wire.words_done("Hello!"), wire.response_done())


async def test_audio_is_filled_up_to_whole_frames_and_the_goodbye_is_a_normal_one(autojump_clock: MockClock) -> None:
    assert await rendered(*SPOKEN) == wire.voice(30) + mulaw.silence(10)


async def test_what_comes_after_the_end_changes_nothing(autojump_clock: MockClock) -> None:
    after = (wire.response_done(status="failed"), wire.audio_delta(ms=20), b"{", wire.error("server_error"))
    assert await rendered(*SPOKEN, *after) == wire.voice(30) + mulaw.silence(10)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ((wire.audio_delta(ms=rendering.MAX_AUDIO_MS + 1),), "more than 60 s"),
        ((wire.audio_delta(ms=30), wire.response_done()), "other words"),
        ((wire.error("rate_limit_exceeded", event_id="render-2"),), "rate_limit_exceeded"),
        ((wire.response_done(status="cancelled"),), "cancelled"),
        ((wire.audio_delta(ms=30) | {"delta": "no base64"},), "bad 'response.output_audio.delta' event"),
    ],
)
async def test_nothing_doubtful_is_kept(
    autojump_clock: MockClock, said: tuple[Message | bytes, ...], match: str
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(RenderingError, match=match)):
        await rendered(*said)


async def test_another_audio_format_than_ours_is_refused(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(RenderingError, match="format")):
        await rendered(*SPOKEN, format_type="audio/pcm")

"""The official SDK's realtime clients hold a conversation with the simulator, over TCP and in real time.

Only the replies take time, and little of it: the VAD's clock is the audio, so a caller's line is appended at once.
The SDK knows threads and asyncio, not Trio, so its clients run in a thread beside the server.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import pytest
import trio
from openai import AsyncOpenAI, OpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection, RealtimeConnection

from benchmarks import speech
from benchmarks.simulators.openai import Reply, Script, Several, SimulatorConfig, ToolCall, serve
from proto import mulaw
from tests.benchmarks.openai.line import PHONE, check_event

MODEL = "gpt-realtime-2.1"
T = TypeVar("T")


async def with_simulator(config: SimulatorConfig, client: Callable[[int], T]) -> T:
    """What `client`, run in a thread and given the simulator's port, returns."""
    with trio.fail_after(30.0):
        async with trio.open_nursery() as nursery:
            port: int = await nursery.start(serve, config)
            result = await trio.to_thread.run_sync(client, port, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()
    return result


class Phone:
    """The SDK's client of threads, used the way a telephone relay would."""

    def __init__(self, connection: RealtimeConnection) -> None:
        self.connection = connection

    def events(self) -> Iterator[Any]:
        while True:
            event = self.connection.recv()
            check_event(event.to_dict())
            yield event

    def until(self, kind: str) -> list[Any]:
        events = []
        for event in self.events():
            events.append(event)
            if event.type == kind:
                return events
        raise AssertionError("the simulator hung up")

    def say(self, clip: str) -> None:
        audio = speech.clip(clip).mulaw + mulaw.silence(600)
        for start in range(0, len(audio), 800):
            frame = base64.b64encode(audio[start : start + 800]).decode()
            self.connection.input_audio_buffer.append(audio=frame)


def spoken(response: Any) -> str:
    """What a response's last message says."""
    transcript: str = response.output[-1].content[0].transcript
    return transcript


def hold_a_conversation(port: int) -> None:
    client = OpenAI(api_key="sk-test", base_url=f"http://127.0.0.1:{port}/v1")
    with client, client.realtime.connect(model=MODEL) as connection:
        phone = Phone(connection)
        assert connection.recv().type == "session.created"
        session: Any = {**PHONE, "instructions": "Short answers."}
        connection.session.update(session=session)
        updated = phone.until("session.updated")[-1].session
        assert updated.audio.input.format.type == updated.audio.output.format.type == "audio/pcmu"
        ask_and_be_answered(phone)
        interrupt(phone)
        use_a_tool(phone)
        cancel(phone)


def ask_and_be_answered(phone: Phone) -> None:
    phone.say("ask_hours")
    events = phone.until("response.done")
    kinds = [event.type for event in events]
    assert kinds[:2] == ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"]
    audio = b"".join(base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta")
    assert audio == speech.clip("opening_hours").mulaw
    words = "".join(event.delta for event in events if event.type == "response.output_audio_transcript.delta")
    assert words == spoken(events[-1].response) == speech.clip("opening_hours").transcript


def interrupt(phone: Phone) -> None:
    phone.say("ask_menu")
    item_id = phone.until("response.output_audio.delta")[-1].item_id
    phone.say("interrupt_vegetarian")
    phone.until("input_audio_buffer.speech_started")
    done = phone.until("response.done")[-1].response
    assert (done.status, done.status_details.reason) == ("cancelled", "turn_detected")
    truncate = phone.connection.conversation.item.truncate
    truncate(item_id=item_id, content_index=0, audio_end_ms=60)
    assert phone.until("conversation.item.truncated")[-1].audio_end_ms == 60
    truncate(item_id=item_id, content_index=0, audio_end_ms=61, event_id="too-long")
    error = phone.until("error")[-1].error
    assert (error.code, error.event_id) == ("invalid_value", "too-long")
    assert error.message == "Audio content of 60ms is already shorter than 61ms"
    phone.connection.conversation.item.retrieve(item_id=item_id)
    item = phone.until("conversation.item.retrieved")[-1].item
    assert (item.content[0].transcript, len(base64.b64decode(item.content[0].audio))) == (None, 480)
    assert spoken(phone.until("response.done")[-1].response) == speech.clip("vegetarian").transcript


def use_a_tool(phone: Phone) -> None:
    phone.say("book_table")
    message, call = phone.until("response.done")[-1].response.output
    assert message.phase == "commentary"
    assert (call.name, call.arguments, call.status) == ("book_table", '{"guests": 4}', "completed")
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": '{"booked": true}'}
    phone.connection.conversation.item.create(item=output)
    phone.until("conversation.item.done")
    phone.connection.response.create()
    assert spoken(phone.until("response.done")[-1].response) == speech.clip("table_booked").transcript


def cancel(phone: Phone) -> None:
    phone.connection.response.create()
    phone.until("response.output_audio.delta")
    phone.connection.response.cancel()
    done = phone.until("response.done")[-1].response
    assert (done.status, done.status_details.reason) == ("cancelled", "client_cancelled")
    phone.connection.response.cancel(event_id="late")
    assert phone.until("error")[-1].error.code == "response_cancel_not_active"


async def test_the_sdks_threaded_client_holds_a_conversation() -> None:
    steps = (
        Reply("opening_hours"),
        Reply("menu"),
        Reply("vegetarian"),
        Several((Reply("one_moment"), ToolCall("book_table", '{"guests": 4}'))),
        Reply("table_booked"),
        Reply("menu"),
    )
    # Fast, but slow enough for the menu to be interrupted and cancelled while it is spoken.
    config = SimulatorConfig(script=Script(steps=steps), first_audio_delay_s=0.02, pace=10.0)
    await with_simulator(config, hold_a_conversation)


async def greet(connection: AsyncRealtimeConnection) -> list[str]:
    """The types of all events up to the end of a greeting."""
    await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
    await connection.response.create(response={"instructions": "Greet the caller."})
    kinds = []
    async for event in _checked(connection):
        kinds.append(event.type)
        if event.type == "response.done":
            break
    return kinds


async def _checked(connection: AsyncRealtimeConnection) -> AsyncIterator[Any]:
    async for event in connection:
        check_event(event.to_dict())
        yield event


async def connect(port: int, key: str) -> list[str]:
    client = AsyncOpenAI(api_key=key, base_url=f"http://127.0.0.1:{port}/v1")
    async with client, client.realtime.connect(model=MODEL) as connection:
        return await greet(connection)


async def test_point_05_the_sdks_asyncio_client_connects_and_is_greeted() -> None:
    config = SimulatorConfig(first_audio_delay_s=0.0)
    kinds = await with_simulator(config, lambda port: asyncio.run(connect(port, "sk-test")))
    assert kinds[:3] == ["session.created", "session.updated", "response.created"]
    assert "response.output_text.done" in kinds


def connect_with_a_bad_key(port: int, *, is_upgraded: bool) -> None:
    client = OpenAI(api_key="sk-bad", base_url=f"http://127.0.0.1:{port}/v1")
    if not is_upgraded:
        with client, pytest.raises(Exception, match="HTTP 401"), client.realtime.connect(model=MODEL):
            pass
        return
    with client, client.realtime.connect(model=MODEL) as connection:
        event: Any = connection.recv()
        assert event.error.code == "invalid_api_key"
        with pytest.raises(Exception, match=r"3000 .*invalid_request_error\.invalid_api_key"):
            connection.recv()


@pytest.mark.parametrize("is_upgraded", [True, False])
async def test_point_07_the_sdk_sees_a_bad_key_as_the_service_shows_it(is_upgraded: bool) -> None:
    answer: Any = "close" if is_upgraded else "http_401"
    config = SimulatorConfig(bad_keys=frozenset({"sk-bad"}), bad_key_answer=answer)
    await with_simulator(config, partial(connect_with_a_bad_key, is_upgraded=is_upgraded))

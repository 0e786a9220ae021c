"""The OpenAI list: our simulator shows all of it, and a server that does not is found out, point by point."""

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, open_websocket_url, serve_websocket

from benchmarks.conformance import UnreachableError, check_openai
from benchmarks.conformance.check import Result, carry_out
from benchmarks.conformance.openai_checks import CHECKS
from benchmarks.conformance.openai_client import Realtime
from benchmarks.conformance.wire import Json
from benchmarks.simulators.openai import Script, SimulatorConfig, ToolCall, serve

KEY = "sk-proj-0123456789abcdefghijklmnop"
WRONG_KEY = "sk-proj-conformance-checks-made-this-key-up"
CONFIG = SimulatorConfig(first_audio_delay_s=0.1, pace=20.0, bad_keys=frozenset({WRONG_KEY}))
QUICK = SimulatorConfig(first_audio_delay_s=0.05, pace=40.0)

Tamper = Callable[[Json], list[Json | bytes]]  # what becomes of each event on its way to the client


@asynccontextmanager
async def simulator(config: SimulatorConfig = CONFIG) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve, config))
        yield f"ws://127.0.0.1:{port}/v1/realtime"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def listening(handler: Callable[[WebSocketRequest], Awaitable[None]]) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, handler, "127.0.0.1", 0, ssl_context=None))
        yield f"ws://127.0.0.1:{server.port}/v1/realtime"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def tampered(tamper: Callable[[], Tamper]) -> AsyncIterator[str]:
    """Our simulator, behind somebody who changes its events; one `tamper` for each session."""

    async def pass_on(request: WebSocketRequest) -> None:
        change = tamper()
        headers = [(b"Authorization", f"Bearer {KEY}".encode())]
        with_query = f"{upstream}?{request.path.partition('?')[2]}"
        async with await request.accept() as client, open_websocket_url(with_query, extra_headers=headers) as server:
            try:
                async with trio.open_nursery() as nursery:

                    async def requests() -> None:
                        while True:
                            await server.send_message(await client.get_message())

                    nursery.start_soon(requests)
                    while True:
                        for event in change(json.loads(await server.get_message())):
                            await client.send_message(event if isinstance(event, bytes) else json.dumps(event))
            except* ConnectionClosed:
                pass

    async with simulator(QUICK) as upstream, listening(pass_on) as url:
        yield url


async def verdicts(number: int, url: str, *, patience_s: float = 2.0) -> list[Result]:
    """What comes of the checks of this number."""
    realtime = Realtime(url=url, api_key=KEY, patience_s=patience_s)
    checks = [check for check in CHECKS if check.number == number]
    return [await carry_out(check, realtime, within_s=20) for check in checks]


async def test_our_simulator_shows_all_that_can_be_shown() -> None:
    async with simulator() as url:
        report = await check_openai(url, KEY)
    assert [result for result in report.results if result.outcome == "fail"] == []
    unseen = {result.number for result in report.results if result.outcome == "not applicable"}
    # A failing response, a function call and an MCP server take a script; an hour is not waited for.
    assert unseen == {47, 54, 55, 57}
    assert report.count("pass") == 53


async def test_a_function_call_is_judged_when_there_is_one() -> None:
    call = ToolCall("opening_hours", '{"day": "friday"}')
    async with simulator(SimulatorConfig(script=Script(steps=(call,)))) as url:
        assert [result.outcome for result in await verdicts(54, url)] == ["pass", "pass"]


async def test_an_expiry_is_judged_when_it_comes_soon() -> None:
    async with simulator(SimulatorConfig(session_seconds=1.0)) as url:
        assert [result.outcome for result in await verdicts(57, url)] == ["pass"]


async def test_a_server_that_takes_any_key_cannot_be_judged_by_its_refusal() -> None:
    async with simulator(SimulatorConfig()) as url:
        [result] = await verdicts(7, url)
    assert (result.outcome, result.seen) == ("not applicable", "it takes any key")


async def test_a_wrong_key_may_be_refused_before_the_upgrade() -> None:
    config = SimulatorConfig(bad_keys=frozenset({WRONG_KEY}), bad_key_answer="http_401")
    async with simulator(config) as url:
        assert [result.outcome for result in await verdicts(7, url)] == ["pass"]


def _with(kind: str, **changes: object) -> Tamper:
    """Changes these fields in events of one kind; a dot leads into an object."""

    def change(event: Json) -> list[Json | bytes]:
        if event["type"] == kind:
            for path, value in changes.items():
                *parents, name = path.split("__")
                holder = event
                for parent in parents:
                    holder = holder[parent]
                holder[name] = value
        return [event]

    return change


def _without(kind: str) -> Tamper:
    return lambda event: [] if event["type"] == kind else [event]


def _twice(kind: str) -> Tamper:
    return lambda event: [event, event] if event["type"] == kind else [event]


def _half_the_audio() -> Tamper:
    def change(event: Json) -> list[Json | bytes]:
        if event["type"] == "response.output_audio.delta":
            audio = base64.b64decode(event["delta"])
            event["delta"] = base64.b64encode(audio[: len(audio) // 2]).decode()
        return [event]

    return change


def _stopped_before_started() -> Tamper:
    held: list[Json | bytes] = []

    def change(event: Json) -> list[Json | bytes]:
        if event["type"] == "input_audio_buffer.speech_stopped":
            held.append(event)
            return []
        return [event, *held] if event["type"] == "input_audio_buffer.committed" else [event]

    return change


def _any_order() -> Tamper:
    """The audio's end is told after its part's."""
    held: list[Json | bytes] = []

    def change(event: Json) -> list[Json | bytes]:
        if event["type"] == "response.output_audio.done":
            held.append(event)
            return []
        return [event, *held] if event["type"] == "response.content_part.done" else [event]

    return change


def _another_id() -> Tamper:
    return lambda event: [{**event, "event_id": "1"}]


def _no_padding() -> Tamper:
    return lambda event: [{name: value for name, value in event.items() if name != "obfuscation"}]


def _binary() -> Tamper:
    return lambda event: [json.dumps(event).encode()] if event["type"] == "response.created" else [event]


DELTA = "response.output_audio_transcript.delta"
LIES: dict[str, tuple[int, Callable[[], Tamper]]] = {
    "a subprotocol's key": (2, lambda: _without("nothing")),  # whoever stands between does not choose it
    "a binary frame": (3, _binary),
    "an event without its field": (13, partial(_with, "response.output_audio.done", item_id=None)),
    "one event_id for all": (13, _another_id),
    "other ids": (14, _another_id),
    "no padding": (15, _no_padding),
    "no predecessors": (16, partial(_with, "conversation.item.added", previous_item_id=None)),
    "a day to live": (17, partial(_with, "session.created", session__expires_at=0)),
    "other defaults": (18, partial(_with, "session.created", session__audio__output__voice="verse")),
    "a second greeting": (19, lambda: _twice("session.created")),
    "another code": (20, partial(_with, "error", error__code="invalid_value")),
    "no parameter named": (21, partial(_with, "error", error__param=None)),
    "no range": (22, partial(_with, "error", error__code="unknown_parameter")),
    "an update that is not taken": (23, partial(_with, "session.updated", session__instructions="Mine.")),
    "a voice that may change": (24, lambda: _without("error")),
    "another turn's item": (25, partial(_with, "input_audio_buffer.committed", item_id="item_other")),
    "an onset too late": (28, partial(_with, "input_audio_buffer.speech_started", audio_start_ms=5000)),
    "a turn out of order": (29, _stopped_before_started),
    "a commit without an id": (31, partial(_with, "input_audio_buffer.committed", item_id="item_other")),
    "a response out of order": (35, _any_order),
    "other words at the end": (36, partial(_with, "response.output_audio_transcript.done", transcript="Bye.")),
    "half the audio": (37, _half_the_audio),
    "an error that names an event": (39, partial(_with, "error", error__event_id="check-1")),
    "a conversation for an aside": (40, partial(_with, "response.done", response__conversation_id="conv_1")),
    "overrides that stay": (41, partial(_with, "response.done", response__max_output_tokens=200)),
    "audio after all": (42, partial(_with, "response.output_text.done", type="response.output_audio.done")),
    "another reason": (43, partial(_with, "response.done", response__status_details=None)),
    "a whole item after a cut": (44, partial(_with, "response.done", response__status="failed")),
    "more than it may say": (46, partial(_with, "response.done", response__status="completed")),
    "a wrong bill": (48, partial(_with, "response.done", response__usage__total_tokens=1)),
    "limits told twice": (49, lambda: _twice("rate_limits.updated")),
    "an item put elsewhere": (50, partial(_with, "conversation.item.added", previous_item_id="item_other")),
    "content that is taken": (51, partial(_with, "error", error__code=None)),
    "audio that is not cut": (52, partial(_with, "conversation.item.retrieved", item__content=[{"audio": "//8="}])),
    "an item read without audio": (53, partial(_with, "conversation.item.retrieved", item__content=[{"audio": ""}])),
    "an unknown event that is taken": (56, lambda: _without("error")),
}


@pytest.mark.parametrize(("number", "tamper"), LIES.values(), ids=LIES.keys())
async def test_what_is_not_so_is_seen(number: int, tamper: Callable[[], Tamper]) -> None:
    async with tampered(tamper) as url:
        results = await verdicts(number, url, patience_s=0.5)
    assert "fail" in {result.outcome for result in results}
    assert [result.seen for result in results if "broke off" in result.seen] == []


async def test_a_server_that_only_listens_fails_and_breaks_nothing() -> None:
    async def listen(request: WebSocketRequest) -> None:
        async with await request.accept() as client:
            try:
                while True:
                    await client.get_message()
            except ConnectionClosed:
                pass

    async with listening(listen) as url:
        report = await check_openai(url, KEY, patience_s=0.1)
    outcomes = Counter(result.outcome for result in report.results)
    assert (outcomes["pass"], outcomes["fail"]) == (0, 55)
    assert [result.seen for result in report.results if "broke off" in result.seen] == []


async def test_nobody_there_is_said_before_anything_is_judged() -> None:
    with pytest.raises(UnreachableError, match=r"ws://127\.0\.0\.1:1/v1/realtime cannot be reached"):
        await check_openai("ws://127.0.0.1:1/v1/realtime", KEY)


async def test_a_refused_upgrade_is_said_with_its_status() -> None:
    async def refuse(request: WebSocketRequest) -> None:
        await request.reject(403)

    async with listening(refuse) as url:
        with pytest.raises(UnreachableError, match="HTTP 403"):
            await check_openai(url, KEY)

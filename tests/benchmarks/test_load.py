"""The load tool: what it counts as sent, returned, lost and altered, against our relay and against faulty ones."""

import base64
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, open_websocket_url, serve_websocket

from benchmarks import load
from benchmarks.echo_upstream import open_echo_upstream
from benchmarks.load import open_pump, run_load
from proto.mulaw import FRAME_BYTES
from relay import Door, Entry, LogEvent, Persona, ReplayedStream, Switchboard, Totals, Upstream, open_upstream

CALLS, WINDOW_S, WARMUP_S = 3, 0.3, 0.1
FRAMES = CALLS * 15

Answer = Callable[[int, bytes], list[bytes]]


class ForgetfulLog:
    def offer(self, call_sid: str, event: LogEvent) -> None:
        pass


async def no_web(stream: ReplayedStream) -> None:
    raise AssertionError("nobody asked for a page")


@asynccontextmanager
async def our_relay() -> AsyncIterator[str]:
    """The media plane as it is served, without the web app, in front of an echoing upstream."""
    async with open_echo_upstream() as upstream, open_pump() as pump, trio.open_nursery() as nursery:
        totals = Totals()
        connect = partial(open_upstream, Upstream(url=upstream.url, api_key="k"), pump, ssl.create_default_context())
        switchboard = Switchboard(
            lambda: Persona(instructions=""), connect=connect, call_log=ForgetfulLog(), totals=totals
        )
        door = Door(Entry(carry=switchboard.carry, serve_web=no_web, admit=lambda _: None), pump, totals)
        listeners = await nursery.start(partial(trio.serve_tcp, door.handle, 0, host="127.0.0.1"))
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/media-stream"
        await switchboard.drain()
        nursery.cancel_scope.cancel()
        assert upstream.errors == []
        assert upstream.sessions == CALLS


@asynccontextmanager
async def faulty_relay(answer: Answer) -> AsyncIterator[str]:
    """Not a relay: gives each frame back itself, as `answer` makes it from the frame's number and its bytes."""

    async def carry(request: WebSocketRequest) -> None:
        socket = await request.accept()
        try:
            number = 0
            while (message := json.loads(await socket.get_message()))["event"] != "stop":
                if message["event"] != "media":
                    continue
                for payload in answer(number, base64.b64decode(message["media"]["payload"])):
                    media = {"payload": base64.b64encode(payload).decode()}
                    play = {"event": "media", "streamSid": message["streamSid"], "media": media}
                    await socket.send_message(json.dumps(play))
                number += 1
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, carry, "127.0.0.1", 0, ssl_context=None))
        yield f"ws://127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()


async def short_load(url: str) -> load.LoadReport:
    return await run_load(url, calls=CALLS, seconds=WINDOW_S, warmup_s=WARMUP_S)


async def test_our_relay_gives_every_frame_back_as_it_was() -> None:
    async with our_relay() as url:
        report = await short_load(url)
    assert report.errors == ()
    assert (report.frames_sent, report.frames_returned, report.frames_lost) == (FRAMES, FRAMES, 0)
    assert report.frames_altered == 0
    assert report.marks_echoed == CALLS * 2  # one for each 200 ms, warm-up included


async def test_the_report_adds_up() -> None:
    async with faulty_relay(lambda _number, frame: [frame]) as url:
        report = await short_load(url)
    assert report.calls == CALLS
    assert report.frames_sent == report.frames_returned + report.frames_lost == FRAMES
    assert 0 < report.frames_carried <= CALLS * 20  # of 5 warm-up and 15 counted frames each
    assert report.window_s > 0  # how long it really was is the machine's affair
    for spread in (report.round_trip_ms, report.late_ms):
        assert spread is not None
        assert 0 <= spread.p50 <= spread.p95 <= spread.p99 <= spread.max
    assert report.own_cpu.total_s > 0
    assert report.relay_cpu is None


@pytest.mark.skipif(sys.platform != "linux", reason="the CPU of another process is read from /proc")
async def test_the_relays_cpu_is_read_when_its_process_is_known() -> None:
    async with faulty_relay(lambda _number, frame: [frame]) as url:
        report = await run_load(url, calls=1, seconds=0.1, warmup_s=0.0, relay_pid=os.getpid())
    assert report.relay_cpu is not None
    assert report.relay_cpu.total_s >= 0


async def test_a_lost_frame_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SETTLE_WITHIN_S", 0.3)  # they will not come
    async with faulty_relay(lambda number, frame: [] if number % 5 == 0 else [frame]) as url:
        report = await short_load(url)
    assert report.frames_lost == CALLS * 3  # frames 5, 10 and 15; frame 0 belongs to the warm-up
    assert report.frames_altered == 0


async def test_a_changed_frame_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SETTLE_WITHIN_S", 0.3)

    def last_bit_flipped(number: int, frame: bytes) -> list[bytes]:
        return [frame[:-1] + bytes([frame[-1] ^ 1])] if number == 7 else [frame]

    async with faulty_relay(last_bit_flipped) as url:
        report = await short_load(url)
    assert (report.frames_altered, report.frames_lost) == (CALLS, CALLS)


async def test_a_frame_that_comes_twice_is_seen() -> None:
    async with faulty_relay(lambda number, frame: [frame, frame] if number == 7 else [frame]) as url:
        report = await short_load(url)
    assert (report.frames_altered, report.frames_lost) == (CALLS, 0)


async def test_a_frame_of_another_call_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SETTLE_WITHIN_S", 0.3)
    heard: list[bytes] = []

    def crossed_lines(number: int, frame: bytes) -> list[bytes]:
        heard.append(frame)
        return [heard[0]] if number == 7 else [frame]

    async with faulty_relay(crossed_lines) as url:
        report = await short_load(url)
    assert report.frames_altered == CALLS  # the first call's own frame 0 comes to it a second time
    assert report.frames_lost == CALLS


async def test_a_relay_may_cut_the_audio_anew() -> None:
    async with faulty_relay(lambda _number, frame: [frame[:100], frame[100:]]) as url:
        report = await short_load(url)
    assert (report.frames_altered, report.frames_lost) == (0, 0)


async def test_a_relay_may_join_frames() -> None:
    held: dict[bytes, bytes] = {}

    def in_pairs(number: int, frame: bytes) -> list[bytes]:
        call = frame[:2]
        if number % 2 == 0:
            held[call] = frame
            return []
        return [held.pop(call) + frame]

    async with faulty_relay(in_pairs) as url:
        report = await short_load(url)
    assert (report.frames_altered, report.frames_lost) == (0, 0)


async def test_a_relay_that_hangs_up_is_reported_and_the_other_calls_go_on() -> None:
    def hang_up_on_the_first_call(number: int, frame: bytes) -> list[bytes]:
        if number == 7 and frame[:2] == bytes(2):
            raise ConnectionClosed(None)
        return [frame]

    async with faulty_relay(hang_up_on_the_first_call) as url:
        report = await short_load(url)
    assert report.errors == ("call 0: the relay closed it with 1000",)
    assert report.frames_sent < FRAMES
    assert report.frames_returned >= 2 * FRAMES // CALLS


async def test_a_relay_that_is_not_there_is_reported_for_each_call() -> None:
    report = await run_load("ws://127.0.0.1:1/media-stream", calls=CALLS, seconds=0.1, warmup_s=0.0)
    assert len(report.errors) == CALLS
    assert report.frames_sent == 0
    assert report.round_trip_ms is None


async def test_the_echo_begins_a_new_response_after_a_cancelled_one() -> None:
    append = json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(FRAME_BYTES)).decode()})
    async with open_echo_upstream() as upstream, open_websocket_url(upstream.url) as socket:
        for event in ({"type": "session.update"}, {"type": "response.cancel"}):
            await socket.send_message(json.dumps(event))
        await socket.send_message(append)
        events = [json.loads(await socket.get_message()) for _ in range(6)]
    assert [event["type"] for event in events] == [
        "session.created",
        "session.updated",
        "response.created",
        "response.done",
        "response.created",
        "response.output_audio.delta",
    ]
    first, second = events[2]["response"]["id"], events[4]["response"]["id"]
    assert events[5]["response_id"] == second != first

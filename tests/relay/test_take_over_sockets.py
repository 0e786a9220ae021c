"""One session follows another on real sockets: which frame of the caller's each of them received, to the frame.

Pump, door and the OpenAI simulator as they are, in real time over loopback. The caller's frames are numbered, in their
last eight samples; what each session was sent is read from what the simulator captured of it.
"""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from benchmarks.simulators.openai import Direction, Drop, Json, Order, Reply, Script, Simulator, SimulatorConfig
from benchmarks.simulators.twilio import At, Caller, CallOptions, CallReport, Conversation, Utterance, place_call
from benchmarks.speech import clip
from proto import mulaw
from relay import Door, Entry, Persona, Pump, Switchboard, Totals, Upstream, link, open_upstream
from relay.caller_audio import LEAD_IN_BYTES
from relay.log import CallEnded, LogEvent, UpstreamReplaced
from relay.persona import ServerVad

LEAD_IN_FRAMES = LEAD_IN_BYTES // mulaw.FRAME_BYTES
QUESTION = clip("ask_hours").mulaw[: 1000 * mulaw.BYTES_PER_MS]
ASKED_AT_MS = 600
GREETING, ANSWER = clip("still_there"), clip("one_moment")
DIGITS = 8  # of a frame's number, to the base of 8: these samples stay close to silence
PERSONA = Persona(instructions="", turn_detection=ServerVad(silence_duration_ms=300))


class Numbered:
    """A caller whose frames are numbered from 0."""

    def __init__(self, caller: Caller) -> None:
        self._caller, self.frames = caller, 0

    def frame(self, now_ms: int, *, hearing: bool, heard_ms: int) -> bytes:
        frame = self._caller.frame(now_ms, hearing=hearing, heard_ms=heard_ms)
        number = bytes(0xF8 | (self.frames >> 3 * digit) & 7 for digit in range(DIGITS))
        self.frames += 1
        return frame[:-DIGITS] + number

    @property
    def keys(self) -> str:
        return self._caller.keys

    @property
    def hung_up(self) -> bool:
        return self._caller.hung_up

    @property
    def done(self) -> bool:
        return self._caller.done


class Stage:
    """The relay, and the service that it talks to."""

    def __init__(self, nursery: trio.Nursery, captures: Path) -> None:
        self.spoke = trio.Event()  # the service heard the caller begin
        config = SimulatorConfig(
            script=Script(steps=(Reply(ANSWER.name),)),
            pace=inf,  # so that a busy machine cannot tear the answer apart
            capture_dir=str(captures),
            capture_audio=True,
            observer=self._observe,
        )
        self.simulator, self._nursery, self._captures = Simulator(config), nursery, captures
        self.pump, self.log, self.caller = Pump(), list[LogEvent](), Numbered(Conversation(()))

    def _observe(self, _at: float, _direction: Direction, event: Json) -> None:
        if event["type"] == "input_audio_buffer.speech_started":
            self.spoke.set()

    def offer(self, _call_sid: str, event: LogEvent) -> None:
        """See relay.CallLog."""
        self.log.append(event)

    async def call(self, persona: Persona, *utterances: Utterance) -> CallReport:
        """Call the relay, say these, hang up when they are answered."""
        model = await self._nursery.start(self.simulator.serve)
        upstream = Upstream(url=f"ws://127.0.0.1:{model}/v1/realtime?model=gpt-realtime-2.1", api_key="sk-test")
        connect = partial(open_upstream, upstream, self.pump, ssl.create_default_context())
        switchboard = Switchboard(lambda _: persona, connect=connect, call_log=self, totals=Totals())
        door = Door(Entry(carry=switchboard.carry, serve_web=no_web_app, admit=lambda _: None), self.pump, Totals())
        self._nursery.start_soon(self.pump.run)
        listeners = await self._nursery.start(partial(trio.serve_tcp, door.handle, 0, host="127.0.0.1"))
        url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/media-stream"
        self.caller = Numbered(Conversation(utterances, hang_up_after_silence_ms=500))
        options = CallOptions(stream_url=url, allow_insecure=True, max_seconds=20)
        report = await place_call(options, self.caller)
        await switchboard.drain()
        while self.simulator.desk.live:  # noqa: ASYNC110 - its sessions are tasks of this program and tell nobody
            await trio.sleep(0.001)
        return report

    def frames_of(self, session: int) -> list[int]:
        """The numbers of the frames that a session was sent, in order. Every byte of its audio is one of a frame."""
        path = self._captures / f"session-{session:04}.jsonl"
        events = [json.loads(line).get("event") or {} for line in path.read_text().splitlines()]
        audio = b"".join(
            base64.b64decode(event["audio"]) for event in events if event.get("type") == "input_audio_buffer.append"
        )
        assert len(audio) % mulaw.FRAME_BYTES == 0
        return [number_of(audio[at - DIGITS : at]) for at in range(160, len(audio) + 1, mulaw.FRAME_BYTES)]


def number_of(digits: bytes) -> int:
    assert all(digit >= 0xF8 for digit in digits), "a frame that the caller never said"
    return sum((digit & 7) << 3 * position for position, digit in enumerate(digits))


async def no_web_app(_stream: Any) -> None:
    raise AssertionError("a media upgrade went to the web app")


@asynccontextmanager
async def open_stage(captures: Path) -> AsyncIterator[Stage]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            stage = Stage(nursery, captures)
            yield stage
            assert stage.pump.attached == 0
            nursery.cancel_scope.cancel()


async def test_a_session_that_takes_over_misses_no_frame_and_hears_none_twice_but_the_lead_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "REPLACE_AFTER_S", 1.2)  # while the greeting sounds: the switch waits for its end
    persona = msgspec.structs.replace(PERSONA, greeting=GREETING.transcript, greeting_audio=GREETING.mulaw)
    async with open_stage(tmp_path) as stage:
        report = await stage.call(persona, Utterance(QUESTION, At(2000)))
    switches = sum(isinstance(event, UpstreamReplaced) for event in stage.log)
    assert switches >= 1
    heard = stage.frames_of(0)
    for session in range(1, switches + 1):
        told = stage.frames_of(session)
        assert told[:LEAD_IN_FRAMES] == heard[-LEAD_IN_FRAMES:]
        heard += told[LEAD_IN_FRAMES:]
    assert heard == list(range(len(heard)))
    assert heard[-1] >= stage.caller.frames - 2  # the phone was put down with the last one
    assert 0 <= report.heard_track.find(GREETING.mulaw) < report.heard_track.find(ANSWER.mulaw)
    assert ends(stage) == ["caller_hung_up"]


async def test_a_session_that_follows_a_lost_one_hears_all_of_the_unanswered_turn(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(_cut_off_when_the_caller_speaks, stage)
        report = await stage.call(PERSONA, Utterance(QUESTION, At(ASKED_AT_MS)))
    first, second = stage.frames_of(0), stage.frames_of(1)
    assert first == list(range(len(first)))
    assert second == list(range(second[0], second[0] + len(second)))
    assert 0 < second[0] <= ASKED_AT_MS // mulaw.FRAME_MS < len(first)
    assert second[-1] >= stage.caller.frames - 2  # the phone was put down with the last one
    assert ANSWER.mulaw in report.heard_track
    assert ends(stage) == ["caller_hung_up"]


async def _cut_off_when_the_caller_speaks(stage: Stage) -> None:
    await stage.spoke.wait()
    await trio.sleep(0.2)  # in the middle of the question
    stage.simulator.desk.carry_out(Order(sessions="running", now=(Drop(),)))


def ends(stage: Stage) -> list[str]:
    return [event.reason for event in stage.log if isinstance(event, CallEnded)]

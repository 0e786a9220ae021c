"""Whole calls through the whole stack: simulated phone, door, relay, simulated model, in memory and in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from benchmarks.simulators import openai
from benchmarks.simulators.openai import Direction, Json, Reply, Script, SimulatorConfig
from benchmarks.simulators.twilio import (
    AfterHearing,
    AfterSilence,
    Caller,
    CallOptions,
    CallReport,
    Conversation,
    Utterance,
    run_stream,
)
from benchmarks.speech import clip
from relay import Door, Entry, LogEvent, Persona, Pump, Switchboard, Totals, Upstream, open_stream_line
from relay.log import AgentHeard, BargedIn, CallEnded, CallerTranscribed
from relay.sockets import Line

UPSTREAM = Upstream(url="ws://openai.test/v1/realtime?model=gpt-realtime-2.1", api_key="sk-test")
PERSONA = Persona(instructions="You answer the telephone of Luna's Pizzeria.", greeting=clip("greeting").transcript)
TURN = AfterSilence(600)

Kind = TypeVar("Kind", bound=LogEvent)


class Kept:
    """A call log that keeps everything."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def offer(self, call_sid: str, event: LogEvent) -> None:
        self.events.append(event)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]


class Truncations:
    """What the simulated model was told, and what it answered."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.errors: list[Json] = []

    def observe(self, _at: float, _direction: Direction, event: Json) -> None:
        if event["type"] == "conversation.item.truncate":
            self.asked.append(event["audio_end_ms"])
        elif event["type"] == "error":
            self.errors.append(event)


async def hold_call(caller: Caller, script: Script) -> tuple[CallReport, Kept, Truncations]:
    """One call from the upgrade to the last close."""
    kept, truncations = Kept(), Truncations()
    config = SimulatorConfig(script=script, observer=truncations.observe)
    async with trio.open_nursery() as nursery:

        @asynccontextmanager
        async def connect() -> AsyncIterator[Line]:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(partial(openai.serve_stream, theirs, config))
            yield await open_stream_line(UPSTREAM, ours)

        switchboard = Switchboard(PERSONA, connect=connect, call_log=kept, totals=Totals())
        door = Door(Entry(carry=switchboard.carry, serve_web=_no_web_app, admit=lambda head: None), Pump(), Totals())
        ours, theirs = memory_stream_pair()
        nursery.start_soon(door.handle, ours)
        options = CallOptions(stream_url="ws://relay.test/media-stream", allow_insecure=True, seed=1)
        report = await run_stream(theirs, options, caller)
        await switchboard.drain()
    return report, kept, truncations


async def _no_web_app(stream: object) -> None:
    pytest.fail("a media upgrade went to the web app")


async def test_a_conversation_is_heard_as_it_was_meant(autojump_clock: MockClock) -> None:
    caller = Conversation(
        [Utterance(clip("ask_hours").mulaw, TURN), Utterance(clip("thanks_bye").mulaw, TURN)],
        hang_up_after_silence_ms=1000,
    )
    script = Script(
        steps=(Reply("opening_hours"), Reply("goodbye")), input_transcripts=("Until what time?", "Thank you, goodbye.")
    )
    report, kept, truncations = await hold_call(caller, script)
    assert (report.ended_by, report.error, report.warnings) == ("caller", None, ())
    spoken = [clip(name) for name in ("greeting", "opening_hours", "goodbye")]
    heard = report.heard_track
    for each in spoken:
        assert each.mulaw in heard  # every sample, in order, without a gap
    assert report.heard_ms == sum(each.duration_ms for each in spoken)
    assert [event.words for event in kept.of(CallerTranscribed)] == ["Until what time?", "Thank you, goodbye."]
    assert [event.words for event in kept.of(AgentHeard)] == [each.transcript for each in spoken]
    assert all(event.heard_ms == event.generated_ms for event in kept.of(AgentHeard))
    assert (truncations.asked, truncations.errors, report.clears) == ([], [], 0)
    assert report.marks_sent == report.marks_echoed > 0


async def test_an_interruption_cuts_the_voice_and_the_models_memory_at_the_same_place(
    autojump_clock: MockClock,
) -> None:
    caller = Conversation(
        [
            Utterance(clip("ask_menu").mulaw, TURN),
            Utterance(clip("interrupt_vegetarian").mulaw, AfterHearing(4000)),
        ],
        hang_up_after_silence_ms=1000,
    )
    report, kept, truncations = await hold_call(caller, Script(steps=(Reply("menu"), Reply("vegetarian"))))
    assert (report.ended_by, report.warnings, report.clears) == ("caller", (), 1)
    [barge_in] = kept.of(BargedIn)
    menu = clip("menu").mulaw
    assert truncations.asked == [barge_in.heard_ms]
    assert truncations.errors == []
    # In memory there is no delay: what the model is told was heard is what was heard, to the millisecond.
    assert menu[: barge_in.heard_ms * 8] in report.heard_track
    assert menu[: (barge_in.heard_ms + 1) * 8] not in report.heard_track
    assert clip("vegetarian").mulaw in report.heard_track
    assert [event.reason for event in kept.of(CallEnded)] == ["caller_hung_up"]


async def test_a_caller_who_hangs_up_at_once_leaves_a_clean_house(autojump_clock: MockClock) -> None:
    report, kept, truncations = await hold_call(Conversation([], hang_up_after_silence_ms=0), Script())
    assert report.ended_by == "caller"
    assert [event.reason for event in kept.of(CallEnded)] == ["caller_hung_up"]
    assert truncations.errors == []

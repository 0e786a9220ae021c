"""The agent's voice on its way out: numbered cases of our Twilio conformance list, docs/conformance.md, 30 to 37."""

import trio
from trio.testing import MockClock

from relay.events import OpenUpstream, SocketClosed
from relay.log import CallEnded
from tests.relay import wire
from tests.relay.calls import OpenCall, Records
from tests.relay.story import Story, answering, ready, started
from tests.relay.wire import STREAM


def test_case_30_openai_is_opened_after_the_start_so_no_audio_can_come_before_it() -> None:
    story = Story()
    assert OpenUpstream() not in story.twilio(wire.connected())
    # Even if it could, nothing would be said to a stream without a name.
    early = story.openai(wire.response_created(), wire.audio_delta(ms=200))
    assert wire.to_twilio(early) == []
    assert wire.to_twilio(story.twilio(wire.start())) == []
    heard = wire.to_twilio(answering(20).commands)
    assert [message["streamSid"] for message in heard] == [STREAM]


def test_case_31_audio_has_the_documented_keys_and_adds_up_to_what_came_in() -> None:
    story = ready()
    audio = wire.voice(50)
    story.openai(wire.response_created(), wire.audio_delta(audio=audio), wire.audio_done())
    messages = [message for message in wire.to_twilio(story.commands) if message["event"] == "media"]
    assert all(set(message) == {"event", "streamSid", "media"} for message in messages)
    assert all(list(message["media"]) == ["payload"] for message in messages)
    assert wire.played(messages) == audio + b"\xff" * 80


def test_case_32_deltas_of_any_size_leave_in_whole_frames() -> None:
    story = ready()
    story.openai(wire.response_created())
    deltas = [wire.audio_delta(audio=bytes([size]) * size) for size in (100, 100, 120)]
    sent = [wire.played(wire.to_twilio(story.openai(delta))) for delta in deltas]
    assert [len(audio) for audio in sent] == [0, 160, 160]
    assert b"".join(sent) == bytes([100]) * 200 + bytes([120]) * 120


def test_case_33_a_mark_follows_every_200_ms_of_audio_under_a_name_of_its_own() -> None:
    messages = wire.to_twilio(answering(*([35] * 60)).commands)
    since_mark_bytes = 0
    for message in messages:
        since_mark_bytes += len(wire.played([message]))
        assert since_mark_bytes <= 1600
        if message["event"] == "mark":
            since_mark_bytes = 0
    names = wire.marks(messages)
    assert len(names) == len(set(names)) == 10


def test_case_34_the_last_audio_of_a_part_is_followed_by_an_end_mark() -> None:
    story = answering(50)
    assert wire.tags(wire.to_twilio(story.openai(wire.audio_done()))) == ["media", "mark"]


def test_case_35_the_first_bytes_are_the_models_own() -> None:
    audio = b"\x00\x7f\x80\xff" * 40
    story = ready()
    story.openai(wire.response_created())
    assert wire.played(wire.to_twilio(story.openai(wire.audio_delta(audio=audio)))) == audio


def test_case_36_nothing_is_said_after_the_stop() -> None:
    story = answering(200)
    story.twilio(wire.stop())
    later = story.openai(wire.audio_delta(ms=200), wire.audio_done(), wire.speech_started(), wire.response_done())
    assert later == story.twilio(wire.mark("g0.1"), wire.frame()) == []


def test_case_36_nothing_is_said_after_the_socket_has_closed() -> None:
    story = answering(200)
    story.happens(SocketClosed("twilio", 1006))
    assert story.openai(wire.audio_delta(ms=200), wire.speech_started()) == []


async def test_case_36_a_socket_that_died_under_waiting_audio_fails_nothing(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        twilio.stop_reading()
        await openai.send(wire.response_created(), wire.audio_delta(ms=5000))
        await twilio.receive_all()
        await twilio.disconnect()
        await trio.sleep(0.1)
        await openai.send(wire.audio_delta(ms=5000))
    assert [event.reason for event in records.of(CallEnded)] == ["twilio_closed"]


async def test_case_37_barge_in_takes_effect_at_once_though_twilio_reads_slowly(
    autojump_clock: MockClock, open_call: OpenCall
) -> None:
    async with open_call() as (twilio, openai):
        twilio.stop_reading()
        await openai.send(wire.response_created(), wire.audio_delta(ms=200))
        await openai.receive_all()
        await openai.send(*(wire.audio_delta(ms=1000) for _ in range(30)))
        await openai.receive_all()
        await openai.send(wire.speech_started())
        await openai.receive_all()
        twilio.go_on_reading()
        said = await twilio.receive_all()
    # What had been handed to the kernel is past recall; of the 30 s behind it the caller hears nothing.
    assert len(wire.played(said)) == 1600
    assert wire.tags(said)[-1] == "clear"


async def test_case_37_a_twilio_that_reads_nothing_costs_the_call_before_it_costs_the_process(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        twilio.stop_reading()
        await openai.send(wire.response_created())
        for _ in range(300):
            await openai.send(wire.audio_delta(ms=1000))
        await openai.receive_all()
    assert [event.reason for event in records.of(CallEnded)] == ["slow_consumer"]


def test_audio_of_a_call_that_is_not_set_up_yet_is_not_asked_for() -> None:
    assert wire.to_openai(started().commands) == []

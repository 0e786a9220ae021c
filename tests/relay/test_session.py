"""Whole calls in virtual time: what each side says reaches the other, in time and unchanged, whoever is slow."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from proto import mulaw
from relay.log import AnswerBegan, AnswerSounded, CallEnded, CallStarted, UpstreamReady
from relay.opening import Admitted
from relay.session import CallSession
from relay.sockets import OPENAI_OUTBOX_BYTES, MediaSocket, OnFailure
from relay.totals import Totals
from tests.relay import wire
from tests.relay.calls import OpenCall, Records
from tests.relay.peers import FakeOpenAI, FakePeer, FakeTwilio


def reasons(records: Records) -> list[str]:
    return [event.reason for event in records.of(CallEnded)]


# A conversation


async def test_barge_in_truncates_at_what_was_heard(autojump_clock: MockClock, open_call: OpenCall) -> None:
    async with open_call() as (twilio, openai):
        await openai.send(wire.response_created(), wire.audio_delta("item_1", ms=1000))
        assert (await twilio.receive())["event"] == "media"
        await trio.sleep(0.240)  # virtual: no real time passes
        await twilio.receive_all()
        await openai.send(wire.speech_started())
        assert (await twilio.receive())["event"] == "clear"
        assert (await openai.receive())["audio_end_ms"] == 240


async def test_both_voices_arrive_byte_for_byte(autojump_clock: MockClock, open_call: OpenCall) -> None:
    async with open_call() as (twilio, openai):
        await openai.send(wire.response_created())
        for ms in (20, 35, 400, 5):
            await twilio.send(wire.frame(wire.voice(ms)))
            await openai.send(wire.audio_delta(ms=ms))
        await openai.send(wire.audio_done())
        whole = b"".join(wire.voice(ms) for ms in (20, 35, 400, 5))
        assert wire.appended(await openai.receive_all()) == whole
        assert wire.played(await twilio.receive_all()) == whole


async def test_several_frames_in_one_read_become_one_append(autojump_clock: MockClock, open_call: OpenCall) -> None:
    frames = [bytes([n]) * 160 for n in range(50)]
    async with open_call() as (twilio, openai):
        await twilio.send(*(wire.frame(frame) for frame in frames))
        (append,) = await openai.receive_all()
    assert wire.appended([append]) == b"".join(frames)


async def test_what_the_caller_said_first_is_appended_before_the_greeting_is_asked_for(
    autojump_clock: MockClock, open_call: OpenCall
) -> None:
    async with open_call(wire.GREETER, is_ready=False) as (twilio, openai):
        openai.may_connect = trio.Event()
        await twilio.send(wire.connected(), wire.start(), wire.frame())
        await twilio.receive_all()
        openai.may_connect.set()
        await openai.is_configured.wait()
        said = await openai.receive_all()
    assert wire.tags(said) == ["session.update", "input_audio_buffer.append", "response.create"]


async def test_a_greeting_is_asked_for_once_and_heard(autojump_clock: MockClock, open_call: OpenCall) -> None:
    async with open_call(wire.GREETER) as (twilio, openai):
        assert wire.tags(openai.received) == ["session.update", "response.create"]
        await openai.send(wire.response_created(), wire.audio_delta(ms=100), wire.audio_done(), wire.response_done())
        assert wire.played(await twilio.receive_all()) == wire.voice(100)


async def test_the_callers_wait_is_split_into_the_models_part_and_the_lines_part(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (_, openai):
        await openai.send(wire.speech_stopped(), wire.response_created())
        await trio.sleep(0.3)
        await openai.send(wire.audio_delta(ms=400))
        await trio.sleep(1)
    assert [event.model_ms for event in records.of(AnswerBegan)] == [pytest.approx(300)]
    assert [event.playout_ms for event in records.of(AnswerSounded)] == [pytest.approx(0, abs=1e-6)]


async def test_frames_that_stop_while_the_caller_speaks_become_silence_without_any_message_to_trigger_it(
    autojump_clock: MockClock, open_call: OpenCall
) -> None:
    async with open_call() as (twilio, openai):
        await twilio.send(wire.frame())
        await openai.send(wire.speech_started())
        await openai.receive_all()
        stopped_at = trio.current_time()
        assert wire.appended([await openai.receive()]) == mulaw.silence(1000)
        assert trio.current_time() - stopped_at == pytest.approx(0.750)


# While OpenAI connects


@pytest.mark.parametrize(("said_ms", "kept_ms"), [(1_000, 1_000), (14_000, 10_000)])
async def test_what_the_caller_says_while_openai_connects_is_kept_for_ten_seconds(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, said_ms: int, kept_ms: int
) -> None:
    frames = [bytes([n % 251]) * 160 for n in range(said_ms // 20)]
    async with open_call(is_ready=False) as (twilio, openai):
        openai.may_connect = trio.Event()
        await twilio.send(wire.connected(), wire.start())
        await twilio.send(*(wire.frame(frame) for frame in frames))
        await twilio.receive_all()
        openai.may_connect.set()
        await openai.is_configured.wait()
        assert wire.appended(await openai.receive_all()) == b"".join(frames)[-kept_ms * 8 :]
    assert [event.held_audio_ms for event in records.of(UpstreamReady)] == [kept_ms]


async def test_a_caller_who_hangs_up_while_openai_connects_ends_that_too(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call(is_ready=False) as (twilio, openai):
        openai.may_connect = trio.Event()
        await twilio.send(wire.connected(), wire.start(), wire.stop())
        await twilio.is_disconnected.wait()
    assert reasons(records) == ["caller_hung_up"]
    assert openai.received == []


class EagerLine:
    """A line whose first bytes came with the handshake, and are handed on before anything else happens."""

    def __init__(self, peer: FakePeer, *first: wire.Message) -> None:
        self._line, self._received = peer.line, peer.in_frames(*first)

    @asynccontextmanager
    async def attach(self, media: MediaSocket, on_failure: OnFailure) -> AsyncIterator[None]:
        async with self._line.attach(media, on_failure):
            try:
                media.receive(self._received)
            except Exception as error:
                on_failure(error)
            yield


async def test_what_came_with_the_handshakes_begins_the_call(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    async with trio.open_nursery() as nursery:
        twilio, openai = FakeTwilio(nursery), FakeOpenAI(nursery)

        @asynccontextmanager
        async def connect(_model: str) -> AsyncIterator[EagerLine]:
            nursery.start_soon(openai.run)
            yield EagerLine(openai, wire.session_created())

        session = CallSession(
            lambda _: Admitted(persona=wire.PERSONA), connect=connect, call_log=records, totals=totals
        )
        nursery.start_soon(twilio.run)
        nursery.start_soon(session.run, EagerLine(twilio, wire.connected(), wire.start()))
        with trio.move_on_after(5):
            await openai.is_configured.wait()
            await openai.receive_all()
        assert len(records.of(UpstreamReady)) == 1
        nursery.cancel_scope.cancel()


# Peers that do not read, or do not answer


async def test_while_openai_does_not_read_the_newest_speech_is_kept_and_no_control_is_lost(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    frames = [bytes([n % 251]) * 160 for n in range(2000)]  # 40 s
    async with open_call() as (twilio, openai):
        await openai.send(wire.response_created(), wire.audio_delta(ms=400))
        await twilio.receive_all()
        openai.stop_reading()
        for at in range(0, 1000, 5):
            await twilio.send(*(wire.frame(frame) for frame in frames[at : at + 5]))
            await twilio.receive_all()
        await openai.send(wire.speech_started())
        await twilio.receive_all()
        for at in range(1000, 2000, 5):
            await twilio.send(*(wire.frame(frame) for frame in frames[at : at + 5]))
            await twilio.receive_all()
        openai.go_on_reading()
        late = await openai.receive_all()
    assert wire.tags(late).count("conversation.item.truncate") == 1
    kept = wire.appended(late)
    assert OPENAI_OUTBOX_BYTES // 2 < len(kept) < OPENAI_OUTBOX_BYTES
    assert b"".join(frames).endswith(kept[-8000:])
    (ended,) = records.of(CallEnded)
    assert ended.reason == "twilio_closed"
    assert ended.dropped_audio_frames > 100
    assert ended.frames_from_caller == 2000


async def test_a_twilio_that_stops_reading_ends_its_call_as_a_slow_consumer(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        twilio.stop_reading()
        await openai.send(wire.response_created(), wire.audio_delta(ms=1000), wire.response_done())
        # Its own audio still comes, so it is not dead; it only does not take ours.
        for _ in range(60):
            await twilio.send(wire.frame())
            await trio.sleep(1)
    assert reasons(records) == ["slow_consumer"]


async def test_audio_and_pongs_are_signs_of_life(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, _):
        twilio.answers_pings = False
        for _second in range(100):
            await twilio.send(wire.frame())
            await trio.sleep(1)
        assert reasons(records) == []


async def test_two_calls_at_once_share_nothing(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, totals: Totals
) -> None:
    async with (
        open_call() as (first, first_openai),
        open_call(stream_sid="MZ2", call_sid="CA2") as (second, second_openai),
    ):
        assert totals.active_calls == 2
        await first.send(wire.frame(b"\x01" * 160))
        await second.send(wire.frame(b"\x02" * 160, stream="MZ2"))
        assert wire.appended(await first_openai.receive_all()) == b"\x01" * 160
        assert wire.appended(await second_openai.receive_all()) == b"\x02" * 160
        await first_openai.send(wire.response_created(), wire.audio_delta(ms=20))
        assert wire.played(await first.receive_all()) == wire.voice(20)
        assert await second.receive_all() == []
    assert {event.stream_sid for event in records.of(CallStarted)} == {"MZ1", "MZ2"}
    assert len(reasons(records)) == 2

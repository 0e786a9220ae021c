"""However a call ends, and whoever ends it: both sides are closed, it is recorded once, and no other call notices."""

import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest
import structlog
import trio
from trio.testing import MockClock

from relay.log import AgentHeard, BargedIn, CallEnded
from relay.opening import Admitted
from relay.session import CallSession
from relay.totals import Totals
from tests.relay import wire
from tests.relay.calls import OpenCall, Records
from tests.relay.peers import FakeOpenAI, FakeTwilio

FRAME = wire.voice(20)

End = Callable[[FakeTwilio, FakeOpenAI, CallSession], Awaitable[None]]


def reasons(records: Records) -> list[str]:
    return [event.reason for event in records.of(CallEnded)]


async def hang_up(twilio: FakeTwilio, openai: FakeOpenAI, session: CallSession) -> None:
    await twilio.send(wire.stop())


async def twilio_closes(twilio: FakeTwilio, openai: FakeOpenAI, session: CallSession) -> None:
    await twilio.close(1001)


async def twilio_is_cut(twilio: FakeTwilio, openai: FakeOpenAI, session: CallSession) -> None:
    await twilio.disconnect()


async def twilio_talks_rubbish(twilio: FakeTwilio, openai: FakeOpenAI, session: CallSession) -> None:
    await twilio.send(*([b"{"] * 20))


async def twilio_breaks_websocket(twilio: FakeTwilio, openai: FakeOpenAI, session: CallSession) -> None:
    await twilio.send_bytes(b"\xff\xff\xff")


async def openai_closes(twilio: FakeTwilio, openai: FakeOpenAI, session: CallSession) -> None:
    await openai.close(1001)


async def openai_is_cut(twilio: FakeTwilio, openai: FakeOpenAI, session: CallSession) -> None:
    await openai.disconnect()


async def openai_refuses(twilio: FakeTwilio, openai: FakeOpenAI, session: CallSession) -> None:
    await openai.send(wire.error("insufficient_quota"))


async def we_shut_down(twilio: FakeTwilio, openai: FakeOpenAI, session: CallSession) -> None:
    session.end()


async def both_hang_up(twilio: FakeTwilio, openai: FakeOpenAI, session: CallSession) -> None:
    await openai.close()
    await twilio.send(wire.stop())
    await twilio.close()
    session.end()


ENDINGS: list[tuple[End, str | None]] = [
    (hang_up, "caller_hung_up"),
    (twilio_closes, "twilio_closed"),
    (twilio_is_cut, "twilio_closed"),
    (twilio_talks_rubbish, "garbage"),
    (twilio_breaks_websocket, "garbage"),
    (openai_closes, "openai_unreachable"),
    (openai_is_cut, "openai_unreachable"),
    (openai_refuses, "openai_refused"),
    (we_shut_down, "shutdown"),
    (both_hang_up, None),  # whoever is first
]


@pytest.mark.parametrize(("end", "reason"), ENDINGS, ids=[end.__name__ for end, _ in ENDINGS])
async def test_however_a_call_ends_both_sides_are_closed_and_it_is_recorded_once(
    autojump_clock: MockClock,
    open_call: OpenCall,
    records: Records,
    sessions: list[CallSession],
    totals: Totals,
    end: End,
    reason: str | None,
) -> None:
    async with open_call() as (twilio, openai):
        await openai.send(wire.response_created(), wire.audio_delta(ms=1000))
        await twilio.receive_all()
        before = trio.current_time()
        await end(twilio, openai, sessions[0])
        await openai.is_disconnected.wait()
        await twilio.is_disconnected.wait()
        assert trio.current_time() - before <= (9 if reason == "openai_unreachable" else 1)
    assert len(reasons(records)) == 1
    assert reason in (reasons(records)[0], None)
    assert len(records.of(AgentHeard)) == 1
    assert records.offered[-1] == (wire.CALL, records.of(CallEnded)[0])
    assert (totals.active_calls, totals.calls_started, totals.calls_ended.total()) == (0, 1, 1)


async def test_nothing_is_said_to_twilio_after_its_stop(autojump_clock: MockClock, open_call: OpenCall) -> None:
    async with open_call() as (twilio, openai):
        await openai.send(wire.response_created(), wire.audio_delta(ms=200))
        await twilio.receive_all()
        await twilio.send(wire.stop())
        await openai.send(wire.audio_delta(ms=1000), wire.speech_started(), wire.response_done())
        assert await twilio.receive_all() == []


async def test_audio_that_waits_does_not_delay_the_goodbye(autojump_clock: MockClock, open_call: OpenCall) -> None:
    async with open_call() as (twilio, openai):
        twilio.stop_reading()
        await openai.send(wire.response_created(), wire.audio_delta(ms=20))
        await openai.receive_all()
        await openai.send(*([wire.audio_delta(ms=1000)] * 10))
        await openai.receive_all()
        await twilio.send(wire.stop())
        await openai.receive_all()
        twilio.go_on_reading()
        assert wire.played(await twilio.receive_all()) == wire.voice(20)
        assert twilio.closed
        assert twilio.closed.code == 1000


async def test_a_call_that_is_cancelled_is_recorded_too(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    async with trio.open_nursery() as nursery:
        twilio, openai = FakeTwilio(nursery), FakeOpenAI(nursery)
        session = CallSession(
            lambda _: Admitted(persona=wire.PERSONA), connect=openai.connect, call_log=records, totals=totals
        )
        nursery.start_soon(twilio.run)
        with trio.CancelScope() as forced:
            async with trio.open_nursery() as call:
                call.start_soon(session.run, twilio.line)
                await twilio.send(wire.connected(), wire.start())
                with trio.fail_after(60):
                    await openai.is_configured.wait()
                forced.cancel()
        assert totals.active_calls == 0
        nursery.cancel_scope.cancel()
    assert len(reasons(records)) == 1


async def test_a_caller_who_closes_before_openai_is_there_gets_a_close_frame_back(
    autojump_clock: MockClock, open_call: OpenCall
) -> None:
    for _ in range(20):  # tasks run in any order: each time may be another one
        async with open_call(is_ready=False) as (twilio, openai):
            openai.may_connect = trio.Event()
            await twilio.send(wire.connected(), wire.start())
            await twilio.say_goodbye(1000)
            await twilio.is_disconnected.wait()
            assert twilio.closed


# Faults of our own


async def test_an_error_in_a_handler_ends_its_own_call_and_no_other(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    records.breaks_on = (wire.CALL, BargedIn)
    with structlog.testing.capture_logs() as lines:
        async with (
            open_call(stream_sid="MZ2", call_sid="CA2") as (other_twilio, other_openai),
            open_call() as (twilio, openai),
        ):
            for peer in (openai, other_openai):
                await peer.send(wire.response_created(), wire.audio_delta(ms=1000), wire.speech_started())
            await openai.is_disconnected.wait()
            await twilio.is_disconnected.wait()
            assert twilio.closed
            assert twilio.closed.code == 1011
            assert not other_twilio.is_disconnected.is_set()
            await other_openai.receive_all()
            await other_twilio.send(wire.frame(stream="MZ2"))
            assert wire.appended(await other_openai.receive_all()) == FRAME
    assert [event.reason for event in records.of(CallEnded, "CA1")] == ["internal_error"]
    assert [event.reason for event in records.of(CallEnded, "CA2")] == ["twilio_closed"]
    assert [(line["event"], line["call_sid"]) for line in lines] == [("call.failed", "CA1")]


async def test_a_call_log_that_breaks_at_the_very_end_leaves_no_call_behind(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, totals: Totals
) -> None:
    records.breaks_on = (wire.CALL, CallEnded)
    with structlog.testing.capture_logs() as lines:
        async with open_call() as (twilio, openai):
            await twilio.send(wire.stop())
            await openai.is_disconnected.wait()
            await twilio.is_disconnected.wait()
    assert totals.active_calls == 0
    assert {line["event"] for line in lines} == {"call.failed"}


async def test_an_ended_call_is_freed_without_a_garbage_collection(
    autojump_clock: MockClock, open_call: OpenCall, sessions: list[CallSession]
) -> None:
    gc.disable()
    try:
        async with open_call() as (twilio, openai):
            await openai.send(wire.response_created(), wire.audio_delta("item_1", ms=200))
            await twilio.send(wire.frame(FRAME), wire.stop())
        ended = weakref.ref(sessions.pop())
        assert ended() is None
    finally:
        gc.enable()

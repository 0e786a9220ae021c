"""How a stream ends: numbered cases of our Twilio conformance list, docs/conformance.md, 66 to 70."""

import pytest
import trio
from trio.testing import MockClock

from proto.errors import HandshakeError
from relay.log import CallEnded, UpstreamFailed
from relay.session import CallSession
from relay.totals import Totals
from tests.relay import wire
from tests.relay.calls import OpenCall, Records
from tests.relay.peers import FakeOpenAI, FakeTwilio


async def test_case_66_stop_ends_everything_once(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, totals: Totals
) -> None:
    async with open_call() as (twilio, openai):
        await twilio.send(wire.frame(), wire.stop())
        await openai.is_disconnected.wait()
        await twilio.is_disconnected.wait()
        assert twilio.closed
        assert openai.closed
        assert (twilio.closed.code, openai.closed.code) == (1000, 1000)
    assert [event.reason for event in records.of(CallEnded)] == ["caller_hung_up"]
    assert totals.active_calls == 0


async def test_case_67_a_socket_that_is_cut_ends_everything_once(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, totals: Totals
) -> None:
    async with open_call() as (twilio, openai):
        await twilio.disconnect()
        await openai.is_disconnected.wait()
        await twilio.is_disconnected.wait()
    assert [event.reason for event in records.of(CallEnded)] == ["twilio_closed"]
    assert totals.active_calls == 0


async def test_case_68_stop_then_close_then_a_hang_up_from_elsewhere_are_one_ending(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, sessions: list[CallSession], totals: Totals
) -> None:
    async with open_call() as (twilio, openai):
        await twilio.send(wire.stop())
        await twilio.close()
        sessions[0].end()
        await openai.is_disconnected.wait()
        sessions[0].end()
    assert [event.reason for event in records.of(CallEnded)] == ["caller_hung_up"]
    assert totals.calls_ended.total() == 1


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_case_69_the_loss_of_openai_closes_twilio_within_a_second(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, says_goodbye: bool
) -> None:
    async with open_call() as (twilio, openai):
        lost_at = trio.current_time()
        await (openai.close(1001) if says_goodbye else openai.disconnect())
        await twilio.is_disconnected.wait()
        assert trio.current_time() - lost_at <= 1
    assert [event.reason for event in records.of(CallEnded)] == ["openai_closed"]


@pytest.mark.parametrize("refusal", [HandshakeError("no", status=401), OSError("no route to host")])
async def test_case_70_an_openai_that_cannot_be_reached_closes_twilio_at_once(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, refusal: HandshakeError | OSError
) -> None:
    def refuse(_twilio: FakeTwilio, openai: FakeOpenAI) -> None:
        openai.refusal = refusal

    async with open_call(prepare=refuse, is_ready=False) as (twilio, _):
        await twilio.send(wire.connected(), wire.start())
        await twilio.is_disconnected.wait()
        assert trio.current_time() <= 1
    assert [event.reason for event in records.of(CallEnded)] == ["openai_unreachable"]
    assert [event.status for event in records.of(UpstreamFailed)] == [getattr(refusal, "status", None)]


async def test_case_70_an_openai_that_does_not_answer_closes_twilio_after_ten_seconds(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    def stay_silent(_twilio: FakeTwilio, openai: FakeOpenAI) -> None:
        openai.may_connect = trio.Event()

    async with open_call(prepare=stay_silent, is_ready=False) as (twilio, _):
        await twilio.send(wire.connected(), wire.start())
        await twilio.is_disconnected.wait()
        assert 10 <= trio.current_time() <= 11
    assert [event.reason for event in records.of(CallEnded)] == ["openai_unreachable"]

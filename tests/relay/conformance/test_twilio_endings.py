"""How a stream ends: numbered cases of our Twilio conformance list, docs/conformance.md, 66 to 75."""

import pytest
import trio
from trio.testing import MockClock

from proto.errors import HandshakeError
from relay.events import HangUp
from relay.link import CREATED_WITHIN_S
from relay.log import AgentHeard, CallEnded, UpstreamFailed
from relay.persona import Persona
from relay.playout import MARK_LOST_AFTER_S
from relay.retry import CALL_BUDGET_S
from relay.session import CallSession
from relay.standard_tools import end_call
from relay.switchboard import Switchboard
from relay.tools import ToolBox
from relay.totals import Totals
from tests.relay import wire
from tests.relay.calls import OpenCall, Records
from tests.relay.peers import FakeOpenAI, FakeTwilio
from tests.relay.story import Story, answering, purposes


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


IMPATIENT = Persona(instructions="Short answers.", reconnect_within_s=0.0)


@pytest.mark.parametrize("says_goodbye", [True, False])
@pytest.mark.parametrize(("persona", "within_s"), [(wire.PERSONA, CALL_BUDGET_S), (IMPATIENT, 0.0)])
async def test_case_69_the_loss_of_openai_for_good_closes_twilio(
    autojump_clock: MockClock,
    open_call: OpenCall,
    records: Records,
    says_goodbye: bool,
    persona: Persona,
    within_s: float,
) -> None:
    async with open_call(persona) as (twilio, openai):
        lost_at = trio.current_time()
        await (openai.close(1001) if says_goodbye else openai.disconnect())
        await twilio.is_disconnected.wait()
        assert trio.current_time() - lost_at <= within_s + 1
    assert [event.reason for event in records.of(CallEnded)] == ["openai_unreachable"]


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_case_69_another_session_is_asked_for_within_a_second(
    autojump_clock: MockClock, open_call: OpenCall, says_goodbye: bool
) -> None:
    async with open_call() as (_, openai):
        await (openai.close(1001) if says_goodbye else openai.disconnect())
        await trio.sleep(1)
        assert openai.connections > 1


@pytest.mark.parametrize(
    ("refusal", "within_s", "reason"),
    [
        (HandshakeError("no", status=401), 0.0, "openai_refused"),
        (OSError("no route to host"), CALL_BUDGET_S, "openai_unreachable"),
    ],
)
async def test_case_70_an_openai_that_cannot_be_reached_closes_twilio(
    autojump_clock: MockClock,
    open_call: OpenCall,
    records: Records,
    refusal: HandshakeError | OSError,
    within_s: float,
    reason: str,
) -> None:
    def refuse(_twilio: FakeTwilio, openai: FakeOpenAI) -> None:
        openai.refusal = refusal

    async with open_call(prepare=refuse, is_ready=False) as (twilio, _):
        await twilio.send(wire.connected(), wire.start())
        await twilio.is_disconnected.wait()
        assert trio.current_time() <= within_s + 1
    assert [event.reason for event in records.of(CallEnded)] == [reason]
    assert {event.status for event in records.of(UpstreamFailed)} == {getattr(refusal, "status", None)}


async def test_case_70_an_openai_that_does_not_answer_closes_twilio_when_it_was_waited_for_long_enough(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    def stay_silent(_twilio: FakeTwilio, openai: FakeOpenAI) -> None:
        openai.may_connect = trio.Event()

    async with open_call(prepare=stay_silent, is_ready=False) as (twilio, _):
        await twilio.send(wire.connected(), wire.start())
        await twilio.is_disconnected.wait()
        assert trio.current_time() <= CREATED_WITHIN_S + CALL_BUDGET_S + 1
    assert [event.reason for event in records.of(CallEnded)] == ["openai_unreachable"]


# 71 and 74: hung up by us


ENDING = ToolBox([end_call()])
GOODBYE_MS = 2000


def saying_goodbye(*, ms: int = GOODBYE_MS) -> Story:
    """The agent says goodbye, and calls the tool that ends the call, in one response."""
    story = answering(ms, toolbox=ENDING)
    story.openai(wire.audio_done(), wire.tool_called("end_call", arguments='{"reason":"all said"}'))
    story.tool_brings("ends", then="end_call")
    story.openai(wire.response_done())
    return story


def test_case_71_after_a_goodbye_the_line_closes_with_its_end_mark_and_not_before() -> None:
    story = saying_goodbye()
    story.passes(GOODBYE_MS / 1000 - 0.01)
    assert story.hang_up is None
    assert story.passes(0.02)[-1] == HangUp("agent_ended")
    assert [(part.heard_ms, part.was_cut) for part in story.logged(AgentHeard)] == [(GOODBYE_MS, False)]


def test_case_71_without_an_end_mark_the_line_closes_after_a_time() -> None:
    story = saying_goodbye()
    story.passes(GOODBYE_MS / 1000 + MARK_LOST_AFTER_S - 0.01, echoes=False)
    assert story.hang_up is None
    assert story.passes(0.02, echoes=False)[-1] == HangUp("agent_ended")


def test_case_71_a_goodbye_that_was_not_said_is_asked_for_and_heard_before_the_line_closes() -> None:
    story = saying_goodbye(ms=0)
    assert purposes(story.commands) == ["goodbye"]
    story.openai(wire.response_created("resp_2", asked=story.asked[-1]))
    story.openai(wire.audio_delta("item_2", ms=1000, response="resp_2"), wire.response_done("resp_2"))
    assert story.hang_up is None
    assert story.passes(1.01)[-1] == HangUp("agent_ended")


async def test_case_71_over_sockets_twilio_has_played_the_goodbye_when_its_socket_closes(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call(toolbox=ENDING) as (twilio, openai):
        began_at = trio.current_time()
        await openai.send(wire.response_created(), wire.audio_delta(ms=GOODBYE_MS), wire.audio_done())
        await openai.send(wire.tool_called("end_call", arguments='{"reason":"all said"}'), wire.response_done())
        await twilio.is_disconnected.wait()
        assert trio.current_time() - began_at == pytest.approx(GOODBYE_MS / 1000, abs=0.01)
    assert [(part.heard_ms, part.was_cut) for part in records.of(AgentHeard)] == [(GOODBYE_MS, False)]
    assert [event.reason for event in records.of(CallEnded)] == ["agent_ended"]


async def test_case_74_a_call_in_progress_goes_on_until_it_ends_or_is_ended(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    async with trio.open_nursery() as nursery:
        twilio, openai = FakeTwilio(nursery), FakeOpenAI(nursery)
        switchboard = Switchboard(lambda _: wire.PERSONA, connect=openai.connect, call_log=records, totals=totals)
        nursery.start_soon(twilio.run)
        nursery.start_soon(switchboard.carry, twilio.line)
        await twilio.send(wire.connected(), wire.start())
        await openai.is_configured.wait()
        with trio.move_on_after(30):
            await switchboard.drain()
        assert records.of(CallEnded) == []
        switchboard.end_all()
        await switchboard.drain()
        assert twilio.closed
        assert twilio.closed.code == 1001
        nursery.cancel_scope.cancel()
    assert [event.reason for event in records.of(CallEnded)] == ["shutdown"]

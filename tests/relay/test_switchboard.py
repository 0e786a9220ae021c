"""The switchboard: who answers is asked anew for each call, and settled as the call begins."""

import trio
from trio.testing import MockClock

from relay import TOKEN_PARAMETER, Persona, Switchboard, TokenGate, Totals, issue_stream_token
from relay.log import CallEnded, CallStarted
from relay.opening import START_WITHIN_S, Arrival
from tests.relay import wire
from tests.relay.calls import Records
from tests.relay.peers import FakeOpenAI, FakeTwilio

SECRET = "00112233445566778899aabbccddeeff"
WALL = 1_790_000_000.0


async def hold_call(switchboard: Switchboard, openai: FakeOpenAI, *, token: str = "", **parameters: str) -> str:
    """One call from start to hang-up; gives what the model was told to be."""
    async with trio.open_nursery() as nursery:
        twilio = FakeTwilio(nursery)
        nursery.start_soon(twilio.run)
        nursery.start_soon(switchboard.carry, twilio.line)
        parameters |= {TOKEN_PARAMETER: token} if token else {}
        await twilio.send(wire.connected(), wire.start(customParameters=parameters))
        configure = await openai.receive()
        await twilio.disconnect()
    instructions: str = configure["session"]["instructions"]
    return instructions


async def test_each_call_is_answered_by_who_is_there_when_it_begins(
    autojump_clock: MockClock, records: Records
) -> None:
    present = Persona(instructions="You are the day shift.")
    async with trio.open_nursery() as nursery:
        services = [FakeOpenAI(nursery), FakeOpenAI(nursery)]
        connects = iter(service.connect for service in services)
        switchboard = Switchboard(
            lambda _: present, connect=lambda model: next(connects)(model), call_log=records, totals=Totals()
        )
        assert await hold_call(switchboard, services[0]) == "You are the day shift."
        present = Persona(instructions="You are the night shift.")
        assert await hold_call(switchboard, services[1]) == "You are the night shift."


async def test_the_version_that_the_token_claims_answers_the_call_and_stands_in_its_record(
    autojump_clock: MockClock, records: Records
) -> None:
    async with trio.open_nursery() as nursery:
        openai = FakeOpenAI(nursery)
        switchboard = Switchboard(
            lambda arrival: Persona(instructions=f"You are {arrival.persona_version}."),
            connect=openai.connect,
            call_log=records,
            totals=Totals(),
            gate=TokenGate(SECRET, clock=lambda: WALL),
        )
        token = issue_stream_token(SECRET, wire.CALL, at=WALL, direction="outbound", persona_version="p:7")
        assert await hold_call(switchboard, openai, token=token) == "You are p:7."
    (started,) = records.of(CallStarted)
    assert (started.direction, started.persona_version) == ("outbound", "p:7")


async def test_who_answers_is_told_what_the_stream_says_of_the_call_but_not_its_token(
    autojump_clock: MockClock, records: Records
) -> None:
    arrivals: list[Arrival] = []

    def who_answers(arrival: Arrival) -> Persona:
        arrivals.append(arrival)
        return wire.PERSONA

    async with trio.open_nursery() as nursery:
        openai = FakeOpenAI(nursery)
        gate = TokenGate(SECRET, clock=lambda: WALL)
        switchboard = Switchboard(who_answers, connect=openai.connect, call_log=records, totals=Totals(), gate=gate)
        await hold_call(
            switchboard, openai, token=issue_stream_token(SECRET, wire.CALL, at=WALL), caller="+15551230001"
        )
    assert arrivals == [Arrival(call_sid=wire.CALL, parameters={"caller": "+15551230001"})]


async def test_nobody_is_asked_who_answers_a_stream_that_never_starts(
    autojump_clock: MockClock, records: Records
) -> None:
    asked: list[str] = []

    def who_answers(arrival: Arrival) -> Persona:
        asked.append(arrival.call_sid)
        return wire.PERSONA

    async with trio.open_nursery() as nursery:
        twilio, openai = FakeTwilio(nursery), FakeOpenAI(nursery)
        switchboard = Switchboard(who_answers, connect=openai.connect, call_log=records, totals=Totals())
        nursery.start_soon(twilio.run)
        nursery.start_soon(switchboard.carry, twilio.line)
        await twilio.send(wire.connected(), wire.frame())
        await trio.sleep(START_WITHIN_S + 2)
        assert (asked, openai.connections, switchboard.active_calls) == ([], 0, 0)
        await hold_call(switchboard, openai)
    assert asked == [wire.CALL]


async def test_a_persona_with_a_model_of_its_own_is_connected_to_that_one(
    autojump_clock: MockClock, records: Records
) -> None:
    async with trio.open_nursery() as nursery:
        openai = FakeOpenAI(nursery)
        persona = Persona(instructions="", model="gpt-realtime-2.1-mini")
        switchboard = Switchboard(lambda _: persona, connect=openai.connect, call_log=records, totals=Totals())
        await hold_call(switchboard, openai)
    assert openai.models == ["gpt-realtime-2.1-mini"]


async def test_a_call_that_nobody_can_be_found_for_ends_and_is_recorded(
    autojump_clock: MockClock, records: Records
) -> None:
    def who_answers(arrival: Arrival) -> Persona:
        raise KeyError(arrival.call_sid)

    async with trio.open_nursery() as nursery:
        twilio, openai = FakeTwilio(nursery), FakeOpenAI(nursery)
        switchboard = Switchboard(who_answers, connect=openai.connect, call_log=records, totals=Totals())
        nursery.start_soon(twilio.run)
        nursery.start_soon(switchboard.carry, twilio.line)
        await twilio.send(wire.connected(), wire.start())
        await twilio.is_disconnected.wait()
    assert [event.reason for event in records.of(CallEnded)] == ["internal_error"]
    assert (openai.connections, switchboard.active_calls, switchboard.begun_calls) == (0, 0, 0)

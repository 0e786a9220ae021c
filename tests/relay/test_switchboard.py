"""The switchboard: who answers is asked anew for each call, and settled as the call begins."""

import trio
from trio.testing import MockClock

from relay import Persona, Switchboard, Totals
from tests.relay import wire
from tests.relay.calls import Records
from tests.relay.peers import FakeOpenAI, FakeTwilio


async def hold_call(switchboard: Switchboard, openai: FakeOpenAI) -> str:
    """One call from start to hang-up; gives what the model was told to be."""
    async with trio.open_nursery() as nursery:
        twilio = FakeTwilio(nursery)
        nursery.start_soon(twilio.run)
        nursery.start_soon(switchboard.carry, twilio.line)
        await twilio.send(wire.connected(), wire.start())
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
        switchboard = Switchboard(lambda: present, connect=lambda: next(connects)(), call_log=records, totals=Totals())
        assert await hold_call(switchboard, services[0]) == "You are the day shift."
        present = Persona(instructions="You are the night shift.")
        assert await hold_call(switchboard, services[1]) == "You are the night shift."

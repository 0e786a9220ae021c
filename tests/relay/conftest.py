"""Calls over memory streams and virtual time, and a place for what they leave behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from relay.opening import Admitted
from relay.persona import Persona
from relay.session import CallSession
from relay.tools import ToolBox
from relay.totals import Totals
from tests.relay import wire
from tests.relay.calls import OpenCall, Prepare, Records
from tests.relay.peers import FakeOpenAI, FakeTwilio

LONGEST_TEST_S = 600.0  # of virtual time


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def totals() -> Totals:
    return Totals()


@pytest.fixture
def sessions() -> list[CallSession]:
    """The sessions that `open_call` has made, in order."""
    return []


@pytest.fixture
def open_call(records: Records, totals: Totals, sessions: list[CallSession]) -> OpenCall:
    """Ask for `autojump_clock` beside it: a call has timers, and nobody wants to wait for them."""

    @asynccontextmanager
    async def open_call(
        persona: Persona = wire.PERSONA,
        *,
        stream_sid: str = wire.STREAM,
        call_sid: str = wire.CALL,
        toolbox: ToolBox | None = None,
        prepare: Prepare | None = None,
        is_ready: bool = True,
        lasts_s: float = LONGEST_TEST_S,
    ) -> AsyncIterator[tuple[FakeTwilio, FakeOpenAI]]:
        # A call that never ends has timers that never end, and virtual time would run through them for ever.
        with trio.fail_after(lasts_s):
            async with trio.open_nursery() as nursery:
                twilio, openai = FakeTwilio(nursery, stream_sid), FakeOpenAI(nursery)
                if prepare is not None:
                    prepare(twilio, openai)
                session = CallSession(
                    lambda _: Admitted(persona=persona),
                    connect=openai.connect,
                    call_log=records,
                    totals=totals,
                    toolbox=toolbox,
                )
                sessions.append(session)
                nursery.start_soon(twilio.run)
                async with trio.open_nursery() as call:
                    call.start_soon(session.run, twilio.line)
                    if is_ready:
                        await twilio.send(wire.connected(), wire.start(stream_sid, call_sid))
                        await openai.is_configured.wait()
                        await openai.receive_all()  # the configuration, and the greeting if there is one
                    yield twilio, openai
                    await twilio.disconnect()
                nursery.cancel_scope.cancel()

    return open_call

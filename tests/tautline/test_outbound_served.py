"""A call that we place, all the way: from the REST request over Twilio to the media stream, and changed meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import msgspec
import trio
from sqlalchemy import select

from admin.store.database import Database
from admin.store.schema import calls
from benchmarks.owner import add_owner
from benchmarks.simulators.openai import SimulatorConfig
from benchmarks.simulators.openai import serve as serve_openai
from benchmarks.simulators.twilio import (
    Account,
    Callee,
    CallOptions,
    Event,
    HangUp,
    Recording,
    StreamStarted,
    TwilioSimulator,
    open_twilio,
)
from relay.log import CallEnded, CallStarted
from tautline.serve import Server
from tautline.settings import Settings
from tautline.store import wall_time
from tests.relay.calls import Records

TOKEN = "00112233445566778899aabbccddeeff"
PUBLIC_URL = "https://relay.example.com"
CALLEE, OURS, STAFF = "+4930901820", "+4930123456", "+4930111111"
ACCOUNT = Account(sid="AC" + "5" * 32, auth_token=TOKEN, numbers=frozenset({OURS}))
SETTINGS = Settings(
    host="127.0.0.1",
    port=0,
    public_url=PUBLIC_URL,
    openai_api_key="sk-test",
    greeting="Good evening, Luna's Pizzeria.",
    cache_greeting="off",
    twilio_account_sid=ACCOUNT.sid,
    twilio_auth_token=TOKEN,
    twilio_number=OURS,
    staff_number=STAFF,
    outbound_countries="DE",
    outbound_quiet_hours="off",
)
BOOK = {
    CALLEE: Callee(after_s=0.0),
    STAFF: Callee(after_s=0.0, person=lambda: Recording(b"", actions=[HangUp(400)])),
}


class Streams:
    """The media streams that Twilio has begun."""

    def __init__(self) -> None:
        self._begun = 0
        self._changed = trio.Event()

    def observe(self, event: Event) -> None:
        if isinstance(event, StreamStarted):
            self._begun += 1
            self._changed.set()

    async def have_begun(self, number: int) -> None:
        while self._begun < number:
            self._changed = trio.Event()
            await self._changed.wait()


class Shop:
    """Somebody with a key. Attributes: twilio; streams; records, of the relay."""

    def __init__(self, port: int, secret: str, twilio: TwilioSimulator, streams: Streams, records: Records) -> None:
        self._port, self._secret = port, secret
        self.twilio, self.streams, self.records = twilio, streams, records

    async def post(self, path: str, json: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._secret}"}
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            response = await client.post(f"http://127.0.0.1:{self._port}{path}", json=json, headers=headers)
        assert response.status_code in (200, 201), response.text
        return response.json()


@asynccontextmanager
async def open_shop(database: Database) -> AsyncIterator[Shop]:
    """A relay and the Twilio that it places calls with, which reaches it under its public address."""
    records, streams, secret = Records(), Streams(), add_owner(database, wall_time())[0]
    config = SimulatorConfig(first_audio_delay_s=0.0, pace=20.0)
    async with trio.open_nursery() as nursery, open_twilio(ACCOUNT, observer=streams.observe) as twilio:
        openai_port = await nursery.start(partial(serve_openai, config))
        settings = msgspec.structs.replace(
            SETTINGS,
            openai_realtime_url=f"ws://127.0.0.1:{openai_port}/v1/realtime",
            twilio_api_url=twilio.base_url,
        )
        server = Server(settings, records, database=database)
        port = await nursery.start(server.run)
        template = CallOptions(webhook_url="https://replaced.invalid/", phone_book=BOOK, connect_to=("127.0.0.1", port))
        twilio.template = msgspec.structs.replace(template, account_sid=ACCOUNT.sid, auth_token=TOKEN)
        yield Shop(port, secret, twilio, streams, records)
        await server.drain()
        nursery.cancel_scope.cancel()


async def test_an_ordered_call_rings_is_carried_and_is_hung_up(database: Database) -> None:
    async with open_shop(database) as shop:
        placed = await shop.post("/api/outbound/initiate", {"to": CALLEE, "variables": {"name": "Mia"}})
        await shop.streams.have_begun(1)
        await shop.post(f"/api/calls/{placed['call_sid']}/hangup")
        report = await shop.twilio.report(placed["call_sid"])
    assert (report.status, report.ended_by) == ("completed", "api")
    assert [event.reason for event in shop.records.of(CallEnded, placed["call_sid"])] == ["caller_hung_up"]
    with database.engine.connect() as connection:
        [row] = connection.execute(select(calls)).mappings()
    assert (str(row["id"]), row["call_sid"], row["direction"]) == (placed["id"], placed["call_sid"], "outbound")


async def test_words_are_spoken_into_a_call_that_then_has_a_new_stream(database: Database) -> None:
    async with open_shop(database) as shop:
        placed = await shop.post("/api/calls", {"to": CALLEE})
        await shop.streams.have_begun(1)
        await shop.post(f"/api/calls/{placed['call_sid']}/say", {"text": "One moment."})
        await shop.streams.have_begun(2)
        await shop.post(f"/api/calls/{placed['call_sid']}/hangup")
        report = await shop.twilio.report(placed["call_sid"])
    assert (report.said, report.ended_by) == (("One moment.",), "api")
    assert len(shop.records.of(CallStarted, placed["call_sid"])) == 2


async def test_a_call_is_handed_to_the_staff_and_the_relay_lets_go_of_it(database: Database) -> None:
    async with open_shop(database) as shop:
        placed = await shop.post("/api/calls", {"to": CALLEE})
        await shop.streams.have_begun(1)
        await shop.post(f"/api/calls/{placed['call_sid']}/transfer", {})
        report = await shop.twilio.report(placed["call_sid"])
    assert [(dialled.number, dialled.status) for dialled in report.dials] == [(STAFF, "completed")]
    assert len(shop.records.of(CallEnded, placed["call_sid"])) == 1

"""Twilio's own Python library drives the simulated API unchanged, over real sockets."""

from functools import partial
from typing import Any

import httpx
import pytest
import trio
from twilio.base.exceptions import TwilioRestException

from benchmarks.simulators.twilio import (
    Account,
    Callee,
    CallOptions,
    Recording,
    StoredRecording,
    open_twilio,
)
from benchmarks.simulators.twilio.sdk import rest_client
from tests.benchmarks.twilio.application import TOKEN, speech

ACCOUNT = Account(sid="AC" + "5" * 32, auth_token=TOKEN)
HOLD = '<Response><Pause length="20"/></Response>'


class Listening(Recording):
    """A silent callee who notices when the line is open."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.is_answered = trio.Event()

    def frame(self, now_ms: int, *, hearing: bool, heard_ms: int) -> bytes:
        self.is_answered.set()
        return super().frame(now_ms, hearing=hearing, heard_ms=heard_ms)


def answered_by(person: Listening) -> CallOptions:
    book = {"+15551230003": Callee(after_s=0.05, person=lambda: person)}
    return CallOptions(webhook_url="https://replaced.invalid/", phone_book=book)


async def create(client: Any, **more: Any) -> Any:
    place = partial(client.calls.create, to="+15551230003", from_="+15551230002", twiml=HOLD, **more)
    return await trio.to_thread.run_sync(place)


async def test_twilios_library_places_fetches_redirects_and_ends_a_call() -> None:
    callee = Listening()
    async with open_twilio(ACCOUNT, template=answered_by(callee)) as twilio:
        client = rest_client(ACCOUNT, twilio.base_url)
        call = await create(client, status_callback_event=["ringing", "answered"], machine_detection="Enable")
        assert (call.status, call.direction, call.date_created.tzinfo is not None) == ("queued", "outbound-api", True)
        fetched = await trio.to_thread.run_sync(client.calls(call.sid).fetch)
        assert (fetched.sid, fetched.to, fetched.price_unit) == (call.sid, "+15551230003", "USD")
        await callee.is_answered.wait()
        redirect = partial(client.calls(call.sid).update, twiml=HOLD)
        assert (await trio.to_thread.run_sync(redirect)).status == "in-progress"
        end = partial(client.calls(call.sid).update, status="completed")
        assert (await trio.to_thread.run_sync(end)).status == "completed"
        report = await twilio.report(call.sid)
        assert (report.ended_by, report.status) == ("api", "completed")
        ended = await trio.to_thread.run_sync(client.calls(call.sid).fetch)
        assert (ended.status, ended.end_time is not None) == ("completed", True)
        with pytest.raises(TwilioRestException) as caught:
            await trio.to_thread.run_sync(end)
        assert (caught.value.status, caught.value.code) == (400, 21220)


async def test_twilios_library_raises_its_own_errors() -> None:
    async with open_twilio(ACCOUNT) as twilio:
        client = rest_client(ACCOUNT, twilio.base_url)
        for code, attempt in {
            20404: client.calls("CA" + "0" * 32).fetch,
            21211: partial(client.calls.create, to="123", from_="+15551230002", twiml=HOLD),
            20003: rest_client(Account(sid=ACCOUNT.sid, auth_token="wrong"), twilio.base_url).calls("CA1").fetch,
        }.items():
            with pytest.raises(TwilioRestException) as caught:
                await trio.to_thread.run_sync(attempt)
            assert caught.value.code == code


async def test_a_recordings_file_is_downloaded_over_http() -> None:
    async with open_twilio(ACCOUNT) as twilio, httpx.AsyncClient(trust_env=False) as client:
        recording = StoredRecording(
            sid="RE1", call_sid="CA1", account_sid=ACCOUNT.sid, status="completed", audio=speech(200)
        )
        twilio.recordings.put(recording)
        url = twilio.recordings.url(recording)
        assert url.startswith(twilio.base_url)
        assert (await client.get(url)).status_code == 401
        response = await client.get(f"{url}.wav", auth=(ACCOUNT.sid, TOKEN))
        assert (response.status_code, response.content) == (200, recording.wav())

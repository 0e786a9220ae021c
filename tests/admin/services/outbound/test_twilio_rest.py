"""Twilio's API through the official client: over real sockets to the simulator, and to servers that misbehave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from admin.services.outbound.twilio_errors import (
    TwilioError,
    TwilioGoneError,
    TwilioRefusedError,
    TwilioSilentError,
    TwilioUnreachableError,
)
from admin.services.outbound.twilio_rest import TRIES, Credentials, NewCall, TwilioRest
from benchmarks.simulators.twilio import Account, Callee, CallOptions, open_twilio

ACCOUNT = Account(
    sid="AC" + "5" * 32, auth_token="00112233445566778899aabbccddeeff", numbers=frozenset({"+15551230002"})
)
ORDER = NewCall(
    to="+15551230003",
    caller="+15551230002",
    url="https://relay.example.com/outbound-call/1",
    status_url="https://relay.example.com/voice/status",
    detection="enable",
    max_duration_s=600,
)
RINGING = CallOptions(webhook_url="https://replaced.invalid/", phone_book={"*": Callee(after_s=60)})


class Naps:
    """Sleeps that take no time, and are counted."""

    def __init__(self) -> None:
        self.taken_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken_s.append(seconds)


def rest(
    api_url: str, naps: Naps | None = None, *, token: str = ACCOUNT.auth_token, timeout_s: float = 5
) -> TwilioRest:
    credentials = Credentials(account_sid=ACCOUNT.sid, auth_token=token, api_url=api_url)
    return TwilioRest(credentials, timeout_s=timeout_s, sleep=naps or Naps(), spread=lambda: 1.0)


class Broken:
    """A server that takes each connection and answers it with these bytes, or with nothing at all."""

    def __init__(self, answer: bytes, closes: bool) -> None:
        self._answer, self._closes, self.requests = answer, closes, 0

    async def serve(self, stream: trio.SocketStream) -> None:
        self.requests += 1  # each comes on a connection of its own, in one piece or in several
        async with stream:
            while await stream.receive_some(65536):
                await stream.send_all(self._answer)
                if self._closes:
                    return


@asynccontextmanager
async def open_broken(answer: bytes = b"", *, closes: bool = True) -> AsyncIterator[tuple[Broken, str]]:
    broken = Broken(answer, closes)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, broken.serve, [listener]))
        yield broken, f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_a_call_is_placed_and_ended() -> None:
    async with open_twilio(ACCOUNT, template=RINGING) as twilio:
        api = rest(twilio.base_url)
        placed = await api.place(ORDER)
        assert placed.status == "queued"
        options = twilio.calls[placed.sid].options
        assert (options.to_number, options.from_number, options.webhook_url) == (ORDER.to, ORDER.caller, ORDER.url)
        assert (options.status_callback_url, options.max_seconds) == (ORDER.status_url, 600)
        assert options.status_callback_events == ("initiated", "ringing", "answered", "completed")
        assert options.machine_detection is not None
        await api.hang_up(placed.sid)
        assert (await twilio.report(placed.sid)).status == "canceled"


async def test_ending_a_call_that_is_over_is_no_error() -> None:
    async with open_twilio(ACCOUNT) as twilio:
        await rest(twilio.base_url).hang_up("CA" + "0" * 32)


async def test_a_call_that_only_rings_cannot_be_redirected() -> None:
    async with open_twilio(ACCOUNT, template=RINGING) as twilio:
        api = rest(twilio.base_url)
        placed = await api.place(ORDER)
        with pytest.raises(TwilioGoneError):
            await api.redirect(placed.sid, "<Response><Hangup/></Response>")


async def test_what_twilio_refuses_keeps_its_code_and_is_not_tried_again() -> None:
    naps = Naps()
    async with open_twilio(ACCOUNT, template=RINGING) as twilio:
        twilio.faults.refused[ORDER.to] = 21215
        with pytest.raises(TwilioRefusedError) as caught:
            await rest(twilio.base_url, naps).place(ORDER)
        assert (caught.value.twilio_code, caught.value.status) == (21215, 502)
        with pytest.raises(TwilioRefusedError) as caught:
            await rest(twilio.base_url, naps, token="wrong").place(ORDER)
        assert caught.value.twilio_code == 20003
    assert naps.taken_s == []


async def test_a_twilio_that_is_too_busy_is_asked_again_even_for_a_new_call() -> None:
    naps = Naps()
    async with open_twilio(ACCOUNT, template=RINGING) as twilio:
        twilio.faults.too_many = TRIES - 1
        await rest(twilio.base_url, naps).place(ORDER)
        assert len(twilio.calls) == 1
        assert naps.taken_s == [0.25, 0.5]
        twilio.faults.too_many = TRIES
        with pytest.raises(TwilioUnreachableError):
            await rest(twilio.base_url).place(ORDER)


async def test_where_nobody_listens_a_new_call_is_tried_again_too() -> None:
    naps = Naps()
    async with open_broken() as (_, url):
        pass  # the port was free a moment ago
    with pytest.raises(TwilioUnreachableError):
        await rest(url, naps).place(ORDER)
    assert len(naps.taken_s) == TRIES - 1


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"])
async def test_a_new_call_whose_answer_is_lost_is_never_asked_for_twice(answer: bytes) -> None:
    async with open_broken(answer) as (broken, url):
        with pytest.raises(TwilioSilentError):
            await rest(url).place(ORDER)
        assert broken.requests == 1


async def test_an_answer_that_never_comes_is_not_waited_for_for_ever() -> None:
    async with open_broken(closes=False) as (broken, url):
        with pytest.raises(TwilioSilentError):
            await rest(url, timeout_s=0.05).place(ORDER)
        assert broken.requests == 1


async def test_a_change_that_may_be_made_twice_is_tried_again_when_its_answer_is_lost() -> None:
    async with open_broken() as (broken, url):
        with pytest.raises(TwilioSilentError):
            await rest(url).hang_up("CA" + "0" * 32)
        assert broken.requests == TRIES


@pytest.mark.parametrize("status", [b"200 OK", b"201 Created"])
async def test_an_answer_that_is_no_json_is_a_lost_one(status: bytes) -> None:
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\nConnection: close\r\n\r\n<ok>"
    async with open_broken(answer) as (_, url):
        with pytest.raises(TwilioSilentError):
            await rest(url).place(ORDER)


async def test_a_number_is_found_and_pointed_at_a_webhook() -> None:
    async with open_twilio(ACCOUNT) as twilio:
        api = rest(twilio.base_url)
        number = await api.own_number("+15551230002")
        assert number is not None
        assert number.voice_url == ""
        pointed = await api.point(number, "https://relay.example.com/incoming-call")
        assert pointed.voice_url == "https://relay.example.com/incoming-call"
        assert twilio.own_numbers.by_number["+15551230002"].voice_method == "POST"
        assert await api.own_number("+1555123000") is None  # a part of a number is not the number


async def test_asking_for_numbers_with_a_wrong_token_is_refused() -> None:
    async with open_twilio(ACCOUNT) as twilio:
        with pytest.raises(TwilioError) as caught:
            await rest(twilio.base_url, token="wrong").own_number("+15551230002")
        assert caught.value.code == "twilio_refused"


def test_credentials_do_not_show_their_token() -> None:
    assert "secret" not in repr(Credentials(account_sid="AC1", auth_token="secret"))

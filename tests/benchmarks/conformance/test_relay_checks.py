"""The Twilio list: our relay shows all of it, and a relay written plainly is found out, case by case."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio_websocket import WebSocketRequest, serve_websocket

from benchmarks.baselines import trio_websocket_relay as plain
from benchmarks.conformance import UnreachableError, Upstream, check_relay
from benchmarks.conformance.wire import dial
from relay import LogEvent
from tautline.serve import Server
from tautline.settings import Settings

# Without spares, and with nothing rendered ahead: the checks tell whose session is whose by when it is opened.
OURS = Settings(host="127.0.0.1", port=0, openai_api_key="sk-test", upstream_spares=0, cache_greeting="off")


class Nowhere:
    """A call log that keeps nothing."""

    def offer(self, call_sid: str, event: LogEvent) -> None:
        pass


@asynccontextmanager
async def our_relay(upstream: Upstream, **settings: str) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        realtime_url = await nursery.start(upstream.serve, 0)
        fields = {name: getattr(OURS, name) for name in Settings.__struct_fields__}
        configured = Settings(**{**fields, "openai_realtime_url": realtime_url, **settings})
        port = await nursery.start(Server(configured, Nowhere()).run)
        yield f"ws://127.0.0.1:{port}/media-stream"
        nursery.cancel_scope.cancel()


class PlainRelay:
    """The baseline; what breaks in one of its calls is kept from the others, as any server does."""

    def __init__(self, *, most_calls: int = 1000) -> None:
        self.broken: list[Exception] = []  # it does break: that is what some of the cases are about
        self._most_calls = most_calls  # that it lives to see

    @asynccontextmanager
    async def serve(self, upstream: Upstream) -> AsyncIterator[str]:
        async with trio.open_nursery() as nursery:
            self._realtime_url = await nursery.start(upstream.serve, 0)
            self._life = trio.CancelScope()
            port = await nursery.start(self._live)
            yield f"ws://127.0.0.1:{port}/media-stream"
            nursery.cancel_scope.cancel()

    async def _live(self, task_status: trio.TaskStatus[int]) -> None:
        with self._life:
            async with trio.open_nursery() as nursery:
                serve = partial(serve_websocket, self._carry, "127.0.0.1", 0, ssl_context=None)
                task_status.started((await nursery.start(serve)).port)

    async def _carry(self, request: WebSocketRequest) -> None:
        self._most_calls -= 1
        if self._most_calls < 0:
            self._life.cancel()
        try:
            # Our own dialling: trio-websocket leaves its socket behind when it is refused, and a test would be told.
            async with await request.accept() as twilio, dial(self._realtime_url, within_s=5) as (openai, _):
                await plain.PlainCall(twilio, openai).run()
        except Exception as error:
            self.broken.append(error)


@pytest.mark.parametrize("greeting", ["", "Good evening, Luna's Pizzeria."])
async def test_our_relay_shows_all_of_it(greeting: str) -> None:
    upstream = Upstream()
    async with our_relay(upstream, greeting=greeting) as url:
        report = await check_relay(url, upstream, patience_s=5)
    assert [result for result in report.results if result.outcome != "pass"] == []
    assert len(report.results) == 57


async def test_a_relay_that_checks_signatures_is_called_with_them() -> None:
    upstream, token = Upstream(), "0123456789abcdef0123456789abcdef"
    async with our_relay(upstream, twilio_auth_token=token, public_url="https://calls.example") as url:
        with pytest.raises(UnreachableError, match="HTTP 403"):
            await check_relay(url, upstream, auth_token=token)
        signed_url = "wss://calls.example/media-stream"
        report = await check_relay(url, upstream, auth_token=token, signed_url=signed_url)
    assert [result.number for result in report.results if result.outcome != "pass"] == [11]
    assert (report.count("pass"), report.count("not applicable")) == (56, 1)


async def test_a_relay_written_plainly_fails_where_it_does_and_breaks_no_check() -> None:
    upstream, relay = Upstream(patience_s=0.5), PlainRelay()
    async with relay.serve(upstream) as url:
        report = await check_relay(url, upstream, patience_s=0.5)
    assert relay.broken
    failed = {result.number for result in report.results if result.outcome == "fail"}
    passed = {result.number for result in report.results if result.outcome == "pass"}
    assert failed >= {9, 10, 13, 18, 20, 21, 22, 23, 25, 26, 32, 33, 34, 42, 43, 44, 45, 48, 50, 51, 54, 58, 59, 60, 63}
    assert passed >= {6, 16, 17, 24, 35, 36, 38, 39, 46, 66, 67}
    assert [result.seen for result in report.results if "broke off" in result.seen] == []


async def test_a_relay_that_dies_half_way_fails_the_rest_and_the_list_ends() -> None:
    upstream = Upstream(patience_s=0.2)
    async with PlainRelay(most_calls=10).serve(upstream) as url:
        report = await check_relay(url, upstream, patience_s=0.2)
    assert len(report.results) == 57
    assert {result.outcome for result in report.results if "no connection" in result.seen} == {"fail"}
    assert [result.seen for result in report.results if "broke off" in result.seen] == []


async def test_nobody_there_is_said_before_anything_is_judged() -> None:
    with pytest.raises(UnreachableError, match="cannot be reached: is the relay started"):
        await check_relay("ws://127.0.0.1:1/media-stream", Upstream())


async def test_a_relay_that_opens_its_sessions_elsewhere_is_told_where_to_open_them() -> None:
    elsewhere, upstream = Upstream(patience_s=0.2), Upstream(patience_s=0.2)
    async with trio.open_nursery() as nursery, our_relay(elsewhere) as url:
        here = await nursery.start(upstream.serve, 0)
        with pytest.raises(UnreachableError, match=f"OPENAI_REALTIME_URL={here}"):
            await check_relay(url, upstream)
        nursery.cancel_scope.cancel()

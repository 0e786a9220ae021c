"""Live events on real sockets: what a browser's EventSource meets, and who must not be able to hold anybody up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import pytest
import trio

from admin.api import open_api
from admin.app import Services, create_app
from admin.services.calls.call_record import Rung
from admin.services.live.live import Live
from admin.services.live.live_watchers import LiveLimits
from benchmarks.owner import add_owner
from relay import CallerTranscribed, CallStarted, Totals
from tests.services.databases import Databases
from tests.services.web import serving_web

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


class Server:
    """A served app with one account. Attributes: live; port; account_id."""

    def __init__(self, live: Live, port: int, secret: str, account_id: UUID) -> None:
        self.live, self.port, self.account_id = live, port, account_id
        self._secret = secret

    @asynccontextmanager
    async def request(
        self, method: str = "GET", path: str = "/api/live/events", *headers: str
    ) -> AsyncIterator[trio.SocketStream]:
        """A client that has asked."""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as client:
            lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {self._secret}", *headers]
            await client.send_all("\r\n".join([*lines, "", ""]).encode())
            yield client

    async def has_watchers(self, count: int) -> None:
        """Wait until so many watch."""
        while len(self.live.watchers) != count:
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def serving(
    databases: Databases, limits: LiveLimits | None = None, send_buffer_bytes: int | None = None
) -> AsyncIterator[Server]:
    with databases.open("sqlite") as database:
        secret, account_id = add_owner(database, AT)
        live = Live(lambda: AT, limits=limits)
        api = open_api(database, lambda: AT, live=live)
        app = create_app(Services(totals=Totals, readiness=list, api=api))
        async with serving_web(app, send_buffer_bytes=send_buffer_bytes) as port:
            yield Server(live, port, secret, account_id)


def begin(server: Server) -> None:
    server.live.rung(Rung(call_sid="CA1", direction="inbound", account_id=server.account_id))
    server.live.offer("CA1", CallStarted(stream_sid="MZ1"))


def say(server: Server, words: str) -> None:
    server.live.offer("CA1", CallerTranscribed(item_id="i", words=words))


async def read_until(client: trio.SocketStream, sign: bytes) -> bytes:
    received = b""
    while sign not in received:
        piece = await client.receive_some()
        assert piece, received
        received += piece
    return received


async def read_all(client: trio.SocketStream) -> bytes:
    received = b""
    while piece := await client.receive_some():
        received += piece
    return received


async def test_events_arrive_as_they_happen_on_a_stream_that_nobody_keeps_back(databases: Databases) -> None:
    async with serving(databases) as server, server.request() as client:
        head = (await read_until(client, b"retry: 2000\n")).decode().lower()
        assert head.startswith("http/1.1 200")
        assert "\r\ncontent-type: text/event-stream" in head
        assert "\r\ncache-control: no-store" in head
        begin(server)
        assert b'"call_sid":"CA1"' in await read_until(client, b"event: call.started\ndata: {")
        say(server, "hello")
        await read_until(client, b'"words":"hello"')


async def test_who_lost_the_stream_goes_on_where_it_broke(databases: Databases) -> None:
    async with serving(databases) as server:
        begin(server)
        async with server.request() as client:
            await server.has_watchers(1)
            say(server, "one")
            received = await read_until(client, b"data: ")
            last_id = received.rpartition(b"id: ")[2].partition(b"\n")[0].decode()
        await server.has_watchers(0)
        say(server, "two")
        async with server.request("GET", "/api/live/events", f"Last-Event-ID: {last_id}") as client:
            again = await read_until(client, b'"words":"two"')
    assert b'"words":"one"' not in again


async def test_a_client_that_goes_away_is_forgotten_at_once(databases: Databases) -> None:
    async with serving(databases) as server:
        async with server.request() as client:
            await read_until(client, b"retry")
            await server.has_watchers(1)
        await server.has_watchers(0)


async def test_a_client_that_does_not_read_is_let_go_and_nobody_waits_for_it(databases: Databases) -> None:
    async with serving(databases, LiveLimits(waiting=8), send_buffer_bytes=4096) as server:
        begin(server)
        async with server.request() as client:
            await server.has_watchers(1)
            rounds = 0
            while server.live.watchers:  # each offer returns at once
                rounds += 1
                say(server, "x" * 900)
                await trio.lowlevel.checkpoint()
            assert rounds > 8
            async with server.request("GET", "/api/live") as other:
                assert b'"call_sid":"CA1"' in await read_all(other)
            await read_all(client)  # comes to an end


async def test_streams_end_when_the_server_drains(databases: Databases) -> None:
    async with serving(databases) as server:
        async with server.request() as client:
            await server.has_watchers(1)
            server.live.close()
            assert (await read_all(client)).endswith(b"0\r\n\r\n")
        async with server.request() as client:
            answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"code":"draining"' in answer


async def test_one_too_many_is_told_to_come_later(databases: Databases) -> None:
    async with serving(databases, LiveLimits(per_user=1)) as server, server.request():
        await server.has_watchers(1)
        async with server.request() as client:
            answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 429")
    assert b"\r\nretry-after: 30" in answer.lower()


@pytest.mark.parametrize("path", ["/api/live/events", "/api/live", "/api/calls/export"])
async def test_a_head_request_is_answered_and_over(databases: Databases, path: str) -> None:
    async with serving(databases) as server, server.request("HEAD", path) as client:
        assert (await read_all(client)).startswith(b"HTTP/1.1 200")

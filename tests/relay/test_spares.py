"""Spare connections in virtual time: what a call gets, what is thrown away, and how OpenAI's trouble is borne."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from random import Random

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, memory_stream_pair, memory_stream_pump, wait_all_tasks_blocked

from proto.errors import HandshakeError, RelayError
from proto.websocket import Closed, FrameCodec, Received, Role
from relay.sockets import Line, MediaSocket
from relay.spare import FIRST_EVENT_WITHIN_S, MAX_KEPT_BYTES, PING_EVERY_S
from relay.spares import DISCARD_AFTER_S, LONGEST_PAUSE_S, REFRESH_AFTER_S, REFUSED_PAUSE_S, SpareConnections
from relay.totals import Totals
from relay.upstream import Connection, StreamConnection
from tests.relay import wire


class NoChance(Random):
    """A random that takes nothing off a delay."""

    def random(self) -> float:
        return 0.0


class Peer:
    """OpenAI's end of one connection. `received` is all that came; `answers` may be switched off."""

    def __init__(self) -> None:
        self.ours, self._stream = memory_stream_pair()
        self._codec = FrameCodec(Role.SERVER, max_message_bytes=1 << 20)
        self.received: list[Received] = []
        self.pings = 0
        self.answers = True
        self.is_gone = False  # the relay has let go
        self.ours.send_stream.close_hook = self._end

    def _end(self) -> None:
        """What the relay wrote before it let go arrives before the end does."""
        memory_stream_pump(self.ours.send_stream, self._stream.receive_stream)
        memory_stream_pump(self.ours.send_stream, self._stream.receive_stream)

    async def run(self) -> None:
        while data := await self._stream.receive_some():
            self.received += self._codec.receive(bytes(data))
            if replies := self._codec.take_replies():
                self.pings += not self.closed
                if self.answers:
                    await self.send(replies)
        self.is_gone = True

    @property
    def closed(self) -> Closed | None:
        """The relay's goodbye."""
        return next((message for message in self.received if isinstance(message, Closed)), None)

    def frame(self, message: wire.Message) -> bytes:
        return self._codec.text(msgspec.json.encode(message))

    async def say(self, message: wire.Message) -> None:
        await self.send(self.frame(message))

    async def send(self, data: bytes) -> None:
        with suppress(trio.BrokenResourceError):  # the relay does not wait for answers to its goodbye
            await self._stream.send_all(data)

    async def ping(self) -> None:
        await self.send(self._codec.ping(b"there?"))

    async def close(self, code: int, reason: str = "") -> None:
        await self.send(self._codec.close(code, reason))

    async def cut(self) -> None:
        await self._stream.send_stream.aclose()


class OpenAI:
    """The service. Each connection is a new peer; `refusal` is raised instead, `greet` is what a new session says."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.peers: list[Peer] = []
        self.attempts_at: list[float] = []
        self.models: list[str] = []  # by attempt
        self.refusal: RelayError | OSError | ValueError | None = None
        self.greet: Callable[[Peer], bytes] = lambda peer: peer.frame(wire.session_created())

    async def connect(self, model: str = "") -> Connection:
        self.models.append(model)
        self.attempts_at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        peer = Peer()
        self.peers.append(peer)
        self._nursery.start_soon(peer.run)
        return StreamConnection(peer.ours, self.greet(peer))

    @property
    def alive(self) -> list[int]:
        """Which connections the relay still has, by number."""
        return [number for number, peer in enumerate(self.peers) if not peer.is_gone]


class Pool:
    """Spares of a service, and what a test asks of them."""

    def __init__(self, nursery: trio.Nursery, size: int) -> None:
        self.openai, self.totals = OpenAI(nursery), Totals()
        self.spares = SpareConnections(
            self.openai.connect, size=size, totals=self.totals, model="usual", random=NoChance()
        )

    @property
    def counts(self) -> tuple[int, int, int]:
        """Spares that wait, spares used, connections that a call waited for."""
        totals = self.totals
        return totals.upstream_spares_waiting, totals.upstream_spares_used, totals.upstream_opened_cold


@asynccontextmanager
async def open_pool(size: int = 1, prepare: Callable[[OpenAI], None] = lambda openai: None) -> AsyncIterator[Pool]:
    with trio.fail_after(100_000):  # of virtual time
        async with trio.open_nursery() as nursery:
            pool = Pool(nursery, size)
            prepare(pool.openai)
            async with pool.spares.filling():
                await wait_all_tasks_blocked()
                yield pool
            await wait_all_tasks_blocked()
            assert pool.openai.alive == []  # whatever a test was about: nothing may stay behind
            assert pool.totals.upstream_spares_waiting == 0
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def attached(line: Line) -> AsyncIterator[tuple[MediaSocket, list[Received]]]:
    """The line in use: what to send with, and what has come."""
    came: list[Received] = []
    failures: list[Exception] = []
    media = MediaSocket("openai", came.extend)
    async with line.attach(media, failures.append):
        await wait_all_tasks_blocked()
        yield media, came
    assert failures == []


def kinds(came: list[Received]) -> list[str]:
    return [msgspec.json.decode(message)["type"] for message in came if isinstance(message, bytes)]


async def test_a_call_gets_the_spare_with_its_session_and_another_is_opened(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        assert pool.counts == (1, 0, 0)
        began_at = trio.current_time()
        async with pool.spares.open_line() as line, attached(line) as (media, came):
            assert trio.current_time() == began_at
            assert kinds(came) == ["session.created"]
            media.send(b'{"type":"response.create"}')
            await pool.openai.peers[0].say(wire.session_updated())
            await wait_all_tasks_blocked()
            assert kinds(came) == ["session.created", "session.updated"]
            assert pool.openai.peers[0].received == [b'{"type":"response.create"}']
            assert pool.counts == (1, 1, 0)
            assert pool.openai.alive == [0, 1]
        await wait_all_tasks_blocked()
        assert pool.openai.alive == [1]  # the call's is closed, the new spare waits


async def test_calls_beyond_the_spares_open_their_own(autojump_clock: MockClock) -> None:
    async with (
        open_pool() as pool,
        pool.spares.open_line() as first,
        pool.spares.open_line() as second,
        attached(first) as (_, came_first),
        attached(second) as (_, came_second),
    ):
        assert (kinds(came_first), kinds(came_second)) == (["session.created"], ["session.created"])
        assert pool.counts == (1, 1, 1)


async def test_a_call_with_another_model_leaves_the_spare_to_others(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        async with pool.spares.open_line("another"):
            assert (pool.counts, pool.openai.models) == ((1, 0, 1), ["", "another"])
        async with pool.spares.open_line("usual"):
            assert pool.counts[1:] == (1, 1)


async def test_without_a_pool_nothing_is_opened_before_a_call(autojump_clock: MockClock) -> None:
    async with open_pool(size=0) as pool:
        await trio.sleep(3600)
        assert pool.openai.attempts_at == []
        async with pool.spares.open_line() as line, attached(line) as (_, came):
            assert kinds(came) == ["session.created"]
        assert pool.counts == (0, 0, 1)


async def test_several_spares_serve_several_calls(autojump_clock: MockClock) -> None:
    async with open_pool(size=3) as pool:
        assert pool.counts == (3, 0, 0)
        async with pool.spares.open_line(), pool.spares.open_line(), pool.spares.open_line():
            assert pool.counts[1:] == (3, 0)


async def test_a_call_does_not_wait_for_a_spare_that_has_no_session_yet(autojump_clock: MockClock) -> None:
    def silent(openai: OpenAI) -> None:
        openai.greet = lambda peer: b""

    async with open_pool(prepare=silent) as pool, pool.spares.open_line():
        assert pool.counts == (0, 0, 1)
        assert trio.current_time() == pool.openai.attempts_at[0]


async def test_what_came_in_pieces_reaches_the_call_in_one_piece(autojump_clock: MockClock) -> None:
    def halved(openai: OpenAI) -> None:
        openai.greet = lambda peer: peer.frame(wire.session_created())[:7]

    async with open_pool(prepare=halved) as pool:
        peer = pool.openai.peers[0]
        created, more = peer.frame(wire.session_created()), peer.frame(wire.session_updated())
        await peer.send(created[7:] + more[:3])
        await wait_all_tasks_blocked()
        async with pool.spares.open_line() as line, attached(line) as (_, came):
            await peer.send(more[3:])
            await wait_all_tasks_blocked()
            assert kinds(came) == ["session.created", "session.updated"]


@pytest.mark.parametrize("end", ["cut", "1000", "1001", "1011"])
async def test_a_spare_that_openai_ended_is_replaced_and_given_to_nobody(end: str, autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        await trio.sleep(60)
        peer = pool.openai.peers[0]
        await (peer.cut() if end == "cut" else peer.close(int(end)))
        await wait_all_tasks_blocked()
        assert peer.is_gone
        await trio.sleep(1)
        assert pool.counts == (1, 0, 0)
        async with pool.spares.open_line() as line, attached(line) as (_, came):
            assert kinds(came) == ["session.created"]
        assert pool.openai.peers[1].is_gone


async def test_a_close_is_answered_with_its_code(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        await pool.openai.peers[0].close(1001)
        await wait_all_tasks_blocked()
        assert pool.openai.peers[0].closed == Closed(1001, "", by_peer=True)


async def test_the_peers_pings_are_answered_while_a_spare_waits(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        await pool.openai.peers[0].ping()
        await wait_all_tasks_blocked()
        assert len(pool.openai.peers[0].received) == 1  # the pong
        async with pool.spares.open_line() as line, attached(line) as (_, came):
            assert kinds(came) == ["session.created"]


async def test_a_spare_asks_for_signs_of_life_and_lives_on_the_answers(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        await trio.sleep(4 * PING_EVERY_S + 10)
        assert pool.openai.peers[0].pings >= 3
        assert pool.openai.alive == [0]


async def test_a_spare_that_gives_no_sign_of_life_is_replaced(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        pool.openai.peers[0].answers = False
        await trio.sleep(3 * PING_EVERY_S)
        await wait_all_tasks_blocked()
        assert pool.openai.alive == [1]
        assert pool.counts == (1, 0, 0)


async def test_a_session_that_never_begins_is_no_spare(autojump_clock: MockClock) -> None:
    def silent(openai: OpenAI) -> None:
        openai.greet = lambda peer: b""

    async with open_pool(prepare=silent) as pool:
        await trio.sleep(FIRST_EVENT_WITHIN_S + 0.1)
        await wait_all_tasks_blocked()
        assert (pool.openai.alive, pool.counts) == ([], (0, 0, 0))
        pool.openai.greet = lambda peer: peer.frame(wire.session_created())
        await trio.sleep(1)
        assert pool.counts == (1, 0, 0)


@pytest.mark.parametrize(
    "chatter",
    [
        FrameCodec(Role.SERVER, max_message_bytes=1).text(b'{"type":"new"}') * (MAX_KEPT_BYTES // 16),
        FrameCodec(Role.SERVER, max_message_bytes=1).text(b"x" * (MAX_KEPT_BYTES + 1)),
        b"\x82\x01x",  # a binary message
        b"\x81\x02hi",  # no JSON
        b"\xff\xff\xff",  # no WebSocket frame
    ],
)
async def test_a_spare_that_says_what_no_session_says_is_let_go(chatter: bytes, autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        await pool.openai.peers[0].send(chatter)
        await wait_all_tasks_blocked()
        assert pool.openai.peers[0].is_gone
        await trio.sleep(1)
        assert pool.counts == (1, 0, 0)


async def test_a_spare_is_renewed_before_it_ages_and_the_new_one_comes_first(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        for _ in range(40):
            await trio.sleep(REFRESH_AFTER_S / 10)
            await wait_all_tasks_blocked()
            assert pool.counts == (1, 0, 0)  # at no time is there none
        assert len(pool.openai.peers) in (4, 5)
        assert pool.openai.peers[0].closed == Closed(1000, "", by_peer=True)


async def test_an_old_spare_is_kept_while_there_is_no_fresh_one_but_not_for_ever(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        pool.openai.refusal = ConnectionRefusedError()
        await trio.sleep(DISCARD_AFTER_S - 1)
        assert pool.counts == (1, 0, 0)
        await trio.sleep(2)
        assert pool.counts == (0, 0, 0)
        assert pool.openai.alive == []


async def test_when_it_ends_spares_say_goodbye(autojump_clock: MockClock) -> None:
    async with open_pool(size=2) as pool:
        pass
    assert [peer.closed for peer in pool.openai.peers] == [Closed(1000, "", by_peer=True)] * 2


async def test_a_call_keeps_its_line_when_the_pool_ends(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        pool = Pool(nursery, size=1)
        async with pool.spares.filling():
            await wait_all_tasks_blocked()
            opening = pool.spares.open_line()
            line = await opening.__aenter__()
        async with attached(line) as (_, came):
            await pool.openai.peers[0].say(wire.session_updated())
            await wait_all_tasks_blocked()
            assert kinds(came) == ["session.created", "session.updated"]
        await opening.__aexit__(None, None, None)
        await wait_all_tasks_blocked()
        assert pool.openai.alive == []


async def test_what_arrives_while_a_call_takes_the_spare_reaches_the_call(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        for number in range(20):  # Trio shuffles who runs first
            peer = pool.openai.peers[number]
            await peer.say(wire.session_updated())
            async with pool.spares.open_line() as line, attached(line) as (_, came):
                assert kinds(came) == ["session.created", "session.updated"]
            await wait_all_tasks_blocked()


async def test_a_close_that_arrives_while_a_call_takes_the_spare_is_noticed(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        await pool.openai.peers[0].close(1001)
        async with pool.spares.open_line() as line, attached(line) as (_, came):
            assert kinds(came) == ["session.created"]
            assert len(came) == 1  # and no close
            assert pool.openai.peers[0].is_gone


async def test_a_spare_with_half_a_pong_on_the_wire_is_given_to_nobody(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        pool.openai.peers[0].ours.send_stream.send_all_hook = trio.sleep_forever
        await pool.openai.peers[0].ping()
        await wait_all_tasks_blocked()
        async with pool.spares.open_line() as line, attached(line) as (_, came):
            assert kinds(came) == ["session.created"]
            assert pool.openai.peers[0].is_gone


async def test_a_call_that_ends_while_it_takes_a_spare_leaves_nothing(autojump_clock: MockClock) -> None:
    async with open_pool() as pool:
        with trio.CancelScope() as call:
            call.cancel()
            async with pool.spares.open_line():
                await trio.sleep_forever()
        await wait_all_tasks_blocked()
        assert pool.openai.alive == [1]
        assert pool.counts[0] == 1


# Trouble.


async def test_a_service_out_of_reach_is_tried_ever_more_slowly_and_complained_of_once(
    autojump_clock: MockClock,
) -> None:
    def unreachable(openai: OpenAI) -> None:
        openai.refusal = ConnectionRefusedError()

    with capture_logs() as logs:
        async with open_pool(prepare=unreachable) as pool:
            await trio.sleep(600)
            at = pool.openai.attempts_at
            gaps_s = [round(later - earlier, 3) for earlier, later in pairwise(at)]
            assert gaps_s[:8] == [0.5, 1, 2, 4, 8, 16, 32, LONGEST_PAUSE_S]
            assert set(gaps_s[8:]) == {LONGEST_PAUSE_S}
            pool.openai.refusal = None
            await trio.sleep(2 * LONGEST_PAUSE_S)
            assert pool.counts == (1, 0, 0)
    told = [(entry["log_level"], entry["event"]) for entry in logs if entry["log_level"] != "debug"]
    assert told == [("warning", "upstream.spares_failing"), ("info", "upstream.spares_recovered")]


async def test_a_spare_that_serves_a_call_ends_the_trouble_and_the_next_is_told_again(
    autojump_clock: MockClock,
) -> None:
    with capture_logs() as logs:
        async with open_pool() as pool:
            pool.openai.refusal = ConnectionRefusedError()
            async with pool.spares.open_line():
                await trio.sleep(3)
            pool.openai.refusal = None
            await trio.sleep(1)  # there is a spare now, and it is taken before it has proved that it holds
            pool.openai.refusal = ConnectionRefusedError()
            async with pool.spares.open_line():
                assert pool.counts == (0, 2, 0)
                await trio.sleep(60)
    told = [entry["event"] for entry in logs if entry["log_level"] != "debug"]
    assert told == ["upstream.spares_failing", "upstream.spares_recovered", "upstream.spares_failing"]


async def test_a_call_is_told_why_it_got_no_line(autojump_clock: MockClock) -> None:
    async with open_pool(size=0) as pool:
        pool.openai.refusal = HandshakeError("the peer refused the WebSocket", status=503)
        with pytest.raises(HandshakeError, match="HTTP 503"):
            async with pool.spares.open_line():
                pytest.fail("a line was opened")
        assert pool.counts == (0, 0, 0)


async def test_retry_after_is_waited_for(autojump_clock: MockClock) -> None:
    def busy(openai: OpenAI) -> None:
        openai.refusal = HandshakeError("the peer refused the WebSocket", status=429, retry_after_s=100.0)

    async with open_pool(prepare=busy) as pool:
        await trio.sleep(99.9)
        assert len(pool.openai.attempts_at) == 1
        await trio.sleep(0.2)
        assert len(pool.openai.attempts_at) == 2


@pytest.mark.parametrize("says_it", ["at the handshake", "after the upgrade", "by an error alone", "by a close alone"])
async def test_a_wrong_key_is_told_to_the_operator_once_and_never_given_to_a_call(
    says_it: str, autojump_clock: MockClock
) -> None:
    def refuse(openai: OpenAI) -> None:
        codec = FrameCodec(Role.SERVER, max_message_bytes=1)
        error = codec.text(msgspec.json.encode(wire.error("invalid_api_key")))
        close = codec.close(3000, "invalid_request_error.invalid_api_key")
        said = {"after the upgrade": error + close, "by an error alone": error, "by a close alone": close}
        if says_it == "at the handshake":
            openai.refusal = HandshakeError("the peer refused the WebSocket", status=401)
        else:
            openai.greet = lambda peer: said[says_it]

    with capture_logs() as logs:
        async with open_pool(prepare=refuse) as pool:
            await trio.sleep(3 * REFUSED_PAUSE_S + 1)
            assert len(pool.openai.attempts_at) == 4
            assert pool.counts == (0, 0, 0)
    told = [(entry["log_level"], entry["event"]) for entry in logs if entry["log_level"] != "debug"]
    assert told == [("error", "upstream.spares_refused")]


async def test_a_service_that_ends_every_session_at_once_is_not_hammered(autojump_clock: MockClock) -> None:
    def brief(openai: OpenAI) -> None:
        close = FrameCodec(Role.SERVER, max_message_bytes=1).close(1001)
        openai.greet = lambda peer: peer.frame(wire.session_created()) + close

    with capture_logs() as logs:
        async with open_pool(prepare=brief) as pool:
            await trio.sleep(600)
            assert len(pool.openai.attempts_at) < 20
    assert [entry["event"] for entry in logs if entry["log_level"] != "debug"] == ["upstream.spares_failing"]


async def test_a_session_lost_now_and_then_is_replaced_at_once_and_no_trouble(autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with open_pool() as pool:
            for number in range(5):
                await trio.sleep(60)
                await pool.openai.peers[number].close(1001)
                await wait_all_tasks_blocked()
                assert pool.counts == (1, 0, 0)
    assert [entry for entry in logs if entry["log_level"] != "debug"] == []


async def test_a_fault_of_ours_costs_the_spares_and_not_the_calls(autojump_clock: MockClock) -> None:
    def broken(openai: OpenAI) -> None:
        openai.refusal = ValueError("HTTP allows no such host")

    with capture_logs() as logs:
        async with open_pool(prepare=broken) as pool:
            await trio.sleep(60)
            pool.openai.refusal = None
            async with pool.spares.open_line() as line, attached(line) as (_, came):
                assert kinds(came) == ["session.created"]
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [("error", "upstream.spares_broken")]


async def test_calls_that_come_and_go_get_a_spare_or_their_own_and_leave_nothing(autojump_clock: MockClock) -> None:
    async def call(pool: Pool, begins_s: float, lasts_s: float) -> None:
        await trio.sleep(begins_s)
        async with pool.spares.open_line() as line, attached(line) as (_, came):
            assert kinds(came) == ["session.created"]
            await trio.sleep(lasts_s)

    chance = Random(1)
    async with open_pool(size=2) as pool:
        async with trio.open_nursery() as calls:
            for _ in range(100):
                calls.start_soon(partial(call, pool, chance.uniform(0, 600), chance.uniform(0, 60)))
        waiting, used, cold = pool.counts
        assert (waiting, used + cold) == (2, 100)
        assert used > 90

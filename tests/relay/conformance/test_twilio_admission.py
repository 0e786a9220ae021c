"""Who may begin a call: numbered cases of our Twilio conformance list, docs/conformance.md, 1 to 14 and 82."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from proto.handshake import ClientHandshake
from relay import Switchboard, Totals
from relay.gate import TokenGate
from relay.log import CallEnded, CallStarted, StartRefused
from relay.sockets import Line
from relay.stream_token import LIVES_S, issue_stream_token
from tautline.serve import Server
from tautline.settings import Settings
from tests.relay import wire
from tests.relay.calls import Records
from tests.relay.peers import FakeOpenAI, FakeTwilio
from tests.relay.wire import CALL, Message

SECRET = "00112233445566778899aabbccddeeff"
WALL = 1_790_000_000.0
PUBLIC_URL = "https://relay.example.com"
# As Twilio's own library, version 9.13, signs these addresses under PUBLIC_URL with SECRET.
SIGNED_WSS = "BDHsGwww9DwocQ0CYBi2TpLmFm4="
SIGNED_WSS_SLASH = "8wYWocOXZzoIWZplDcWEMoTs3Pc="
SIGNED_HTTPS = "Nh0sBwq6R8L5/OosMVrV/+gt/Ws="


# The upgrade, on a real port


class Relay:
    """A served relay, and how often it has turned to OpenAI."""

    def __init__(self) -> None:
        self.port = 0
        self.upstream_connections = 0

    async def upgrade(self, *headers: tuple[str, str]) -> str:
        """The status that an upgrade with these headers is answered with."""
        request = ClientHandshake("10.0.0.5:8080", "/media-stream", headers).request()
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(request)
            return bytes(await stream.receive_some()).split(b" ")[1].decode()


@asynccontextmanager
async def serving() -> AsyncIterator[Relay]:
    """A relay behind a proxy that has ended TLS: what it sees is ws and an internal host."""
    relay = Relay()

    async def openai(_stream: trio.SocketStream) -> None:
        relay.upstream_connections += 1

    [upstream] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    settings = Settings(
        host="127.0.0.1",
        port=0,
        public_url=PUBLIC_URL,
        twilio_auth_token=SECRET,
        upstream_spares=0,
        cache_greeting="off",
        apology="",
        openai_api_key="sk-test",
        openai_realtime_url=f"ws://127.0.0.1:{upstream.socket.getsockname()[1]}",
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, openai, [upstream])
        relay.port = await nursery.start(Server(settings, Records()).run)
        yield relay
        nursery.cancel_scope.cancel()


async def test_case_01_an_upgrade_signed_for_our_address_is_accepted() -> None:
    async with serving() as relay:
        assert await relay.upgrade(("X-Twilio-Signature", SIGNED_WSS)) == "101"


async def test_case_02_so_is_one_signed_for_our_address_and_a_slash() -> None:
    async with serving() as relay:
        assert await relay.upgrade(("x-twilio-signature", SIGNED_WSS_SLASH)) == "101"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Twilio-Signature", SIGNED_HTTPS)],
        [("X-Twilio-Signature", SIGNED_WSS.lower())],
        [("X-Twilio-Signature", "wrong"), ("X-Twilio-Signature", SIGNED_WSS)],
    ],
)
async def test_case_03_any_other_is_refused_with_403_and_opens_nothing(headers: list[tuple[str, str]]) -> None:
    async with serving() as relay:
        assert await relay.upgrade(*headers) == "403"
        assert relay.upstream_connections == 0


@pytest.mark.parametrize("host", ["relay.example.com", "evil.example"])
async def test_case_04_what_a_proxy_or_a_stranger_says_of_the_address_changes_nothing(host: str) -> None:
    forwarded = (("X-Forwarded-Host", host), ("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "192.0.2.7"))
    async with serving() as relay:
        assert await relay.upgrade(("X-Twilio-Signature", SIGNED_WSS), *forwarded) == "101"
        assert await relay.upgrade(*forwarded) == "403"


# The start, over memory streams


class House:
    """A switchboard that asks for tokens, and the streams that come to it."""

    def __init__(self, nursery: trio.Nursery, records: Records, totals: Totals) -> None:
        self.totals, self.openai = totals, FakeOpenAI(nursery)
        self._nursery = nursery
        self._switchboard = Switchboard(
            lambda _: wire.PERSONA,
            connect=self._connect,
            call_log=records,
            totals=totals,
            gate=TokenGate(SECRET, clock=lambda: WALL),
        )
        self._may_connect = False

    async def stream(self, *messages: Message, stream_sid: str = "MZ1") -> FakeTwilio:
        """A stream that is carried and has said these."""
        twilio = FakeTwilio(self._nursery, stream_sid)
        self._nursery.start_soon(twilio.run)
        self._nursery.start_soon(self._switchboard.carry, twilio.line)
        await twilio.send(wire.connected(), *messages)
        return twilio

    async def call(self, *messages: Message, stream_sid: str = "MZ1") -> FakeTwilio:
        """A stream of which a call comes."""
        self._may_connect, self.openai = True, FakeOpenAI(self._nursery)
        twilio = await self.stream(*messages, stream_sid=stream_sid)
        await self.openai.is_configured.wait()
        self._may_connect = False
        return twilio

    @asynccontextmanager
    async def _connect(self, model: str) -> AsyncIterator[Line]:
        # The stream would be closed with 1011 for this, and nothing here takes that for a refusal.
        assert self._may_connect, "OpenAI was turned to for a stream that was not admitted"
        async with self.openai.connect(model) as line:
            yield line


@asynccontextmanager
async def open_house(records: Records, totals: Totals) -> AsyncIterator[House]:
    with trio.fail_after(600):
        async with trio.open_nursery() as nursery:
            yield House(nursery, records, totals)
            nursery.cancel_scope.cancel()


def token(call_sid: str = CALL, *, secret: str = SECRET, issued_s_ago: float = 0.0) -> str:
    return issue_stream_token(secret, call_sid, at=WALL - issued_s_ago)


def start(given: str | None, call_sid: str = CALL, stream_sid: str = "MZ1") -> Message:
    return wire.start(stream_sid, call_sid, customParameters={} if given is None else {"token": given})


async def refused(twilio: FakeTwilio) -> bool:
    """Whether the relay lets go of this stream, and says that it is a matter of policy."""
    await twilio.is_disconnected.wait()
    return twilio.closed is not None and twilio.closed.code == 1008


async def test_case_05_a_stream_that_does_not_start_is_closed_after_ten_seconds(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    async with open_house(records, totals) as house:
        twilio = await house.stream()
        await trio.sleep(9.9)
        assert not twilio.is_disconnected.is_set()
        assert await refused(twilio)
        assert trio.current_time() <= 10 + 1.1  # and a second for the goodbye
    assert [event.reason for event in records.of(CallEnded)] == ["start_timeout"]
    assert totals.active_calls == 0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param(None, "token_missing", id="missing"),
        pytest.param("", "token_missing", id="empty"),
        pytest.param("9f2c1d7e", "token_malformed", id="wrong"),
        pytest.param(token(secret="ffeeddccbbaa99887766554433221100"), "token_forged", id="another secret's"),
        pytest.param(token()[:-1], "token_forged", id="cut"),
        pytest.param(token("CA2"), "token_of_another_call", id="another call's"),
        pytest.param(token(issued_s_ago=LIVES_S), "token_expired", id="too old"),
        pytest.param(token(issued_s_ago=-3600), "token_not_yet_valid", id="not yet valid"),
    ],
)
async def test_case_08_a_start_without_a_valid_token_is_closed_and_told(
    autojump_clock: MockClock, records: Records, totals: Totals, given: str | None, reason: str
) -> None:
    async with open_house(records, totals) as house:
        assert await refused(await house.stream(start(given), wire.frame()))
    assert [(event.reason, event.claimed_call_sid) for event in records.of(StartRefused)] == [(reason, CALL)]
    assert [event.reason for event in records.of(CallEnded)] == ["not_admitted"]
    assert (totals.starts_refused, totals.calls_started, totals.active_calls) == ({reason: 1}, 0, 0)
    assert {call_sid for call_sid, _ in records.offered} == {""}  # nothing is told of the call that it claims to be
    assert not given or given not in str(records.offered)


@pytest.mark.parametrize(("claimed", "told"), [("CA" + "0" * 1000, "CA" + "0" * 32), ("CA1\x1b[2J\n", ""), ("", "")])
async def test_what_a_refused_stream_calls_itself_cannot_spoil_the_log(
    autojump_clock: MockClock, records: Records, totals: Totals, claimed: str, told: str
) -> None:
    async with open_house(records, totals) as house:
        assert await refused(await house.stream(start(None, claimed)))
    assert [event.claimed_call_sid for event in records.of(StartRefused)] == [told]


async def test_case_08_after_a_refused_start_a_good_one_comes_too_late(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    async with open_house(records, totals) as house:
        given = token()
        assert await refused(await house.stream(start("wrong"), start(given)))
        assert records.of(CallStarted) == []
        await house.call(start(given))  # nor has it used the token up
    assert len(records.of(CallStarted)) == 1


async def test_case_08_a_used_token_is_refused_when_its_call_is_over(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    given = token()
    async with open_house(records, totals) as house:
        twilio = await house.call(start(given))
        await twilio.send(wire.stop())
        await twilio.is_disconnected.wait()
        assert await refused(await house.stream(start(given)))
    assert totals.starts_refused == {"token_used": 1}


async def test_case_12_a_repeated_start_needs_no_second_token(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    async with open_house(records, totals) as house:
        twilio = await house.call(start(token()))
        await twilio.send(start(None), wire.frame())
        assert wire.appended(await house.openai.receive_all()) == wire.voice(20)
    assert totals.starts_refused == {}


async def test_case_14_of_two_sockets_with_one_token_the_second_is_refused(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    given = token()
    async with open_house(records, totals) as house:
        first = await house.call(start(given))
        assert await refused(await house.stream(start(given, stream_sid="MZ2"), stream_sid="MZ2"))
        await first.send(wire.frame())  # and the first does not suffer from it
        assert wire.appended(await house.openai.receive_all()) == wire.voice(20)
    assert totals.starts_refused == {"token_used": 1}
    assert len(records.of(CallStarted)) == 1


async def test_case_14_of_two_sockets_with_one_call_the_second_is_refused_even_with_a_token_of_its_own(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    async with open_house(records, totals) as house:
        first = await house.call(start(token()))
        assert await refused(await house.stream(start(token(), stream_sid="MZ2"), stream_sid="MZ2"))
        assert not first.is_disconnected.is_set()
    assert totals.starts_refused == {"call_in_progress": 1}


async def test_case_82_both_tokens_of_a_repeated_webhook_are_good_once_but_not_at_the_same_time(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    tokens = [token(), token()]
    async with open_house(records, totals) as house:
        first = await house.call(start(tokens[0]))
        assert await refused(await house.stream(start(tokens[1], stream_sid="MZ2"), stream_sid="MZ2"))
        await first.send(wire.stop())
        await first.is_disconnected.wait()
        await house.call(start(tokens[1], stream_sid="MZ3"), stream_sid="MZ3")
    assert [event.stream_sid for event in records.of(CallStarted)] == ["MZ1", "MZ3"]


async def test_a_call_that_says_goodbye_to_openai_does_not_keep_its_next_stream_out(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    async with open_house(records, totals) as house:
        first = await house.call(start(token()))
        house.openai.answers_close = False  # which the relay waits for, a second at most
        await first.send(wire.stop())
        await first.close()
        began_at = trio.current_time()
        await house.call(start(token(), stream_sid="MZ2"), stream_sid="MZ2")
        assert trio.current_time() - began_at < 1
    assert totals.starts_refused == {}


async def test_in_development_without_an_auth_token_bare_streams_are_calls_even_under_one_name(
    autojump_clock: MockClock, records: Records, totals: Totals
) -> None:
    async with trio.open_nursery() as nursery:
        openai = FakeOpenAI(nursery)
        switchboard = Switchboard(lambda _: wire.PERSONA, connect=openai.connect, call_log=records, totals=totals)
        for given in (None, "whatever"):
            twilio = FakeTwilio(nursery)
            nursery.start_soon(twilio.run)
            nursery.start_soon(switchboard.carry, twilio.line)
            await twilio.send(wire.connected(), start(given))
            await openai.is_configured.wait()
            assert not twilio.is_disconnected.is_set()
            openai = FakeOpenAI(nursery)
            switchboard._connect = openai.connect  # each call its own
        assert switchboard.begun_calls == 2
        nursery.cancel_scope.cancel()
    assert [event.parameters for event in records.of(CallStarted)] == [(), ("token",)]

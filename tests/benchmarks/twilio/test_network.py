"""A bad network does to a stream what it says, and the same again with the same seed."""

import base64
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from benchmarks.simulators.twilio import CallOptions, CallReport, HangUp, Network, Recording, Span, place_call
from benchmarks.simulators.twilio.network import NEVER, Carrier, Pipe
from proto import mulaw
from tests.benchmarks.twilio.application import speech

if TYPE_CHECKING:  # at run time pytest hands these over
    from tests.benchmarks.twilio.conftest import FakeRelay, Peer

OPTIONS = CallOptions(stream_url="wss://relay.example/media", connect_to=("127.0.0.1", 5050), seed=7, max_seconds=20)


async def call(relay: "FakeRelay", network: Network, audio: bytes = b"", hang_up_ms: int = 980) -> CallReport:
    options = msgspec.structs.replace(OPTIONS, network=network)
    report = await place_call(options, Recording(audio, actions=[HangUp(hang_up_ms)]), dial=relay.dial)
    await trio.testing.wait_all_tasks_blocked()
    return report


def timestamps(relay: "FakeRelay") -> list[int]:
    return [int(frame["media"]["timestamp"]) for frame in relay.peer.events("media")]


def arrivals(relay: "FakeRelay", event: str) -> list[float]:
    return [round(at, 6) for at, message in relay.peer.received if message["event"] == event]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.5)), max_size=30),
    st.floats(0, 2),
)
def test_nothing_overtakes_and_nothing_comes_early(sends: list[tuple[float, float]], delay_s: float) -> None:
    pipe: Pipe[int] = Pipe(delay_s)
    now, sent_at = 0.0, []
    for number, (pause_s, late_s) in enumerate(sends):
        now += pause_s
        sent_at.append(now)
        pipe.put(number, now, late_s=late_s)
    arrived = []
    while pipe.next_at() < NEVER:
        at = pipe.next_at()
        for number in pipe.take(at):
            assert at >= sent_at[number] + delay_s
            arrived.append(number)
    assert arrived == list(range(len(sends)))


def test_the_same_seed_loses_the_same_frames() -> None:
    def lost(seed: int) -> list[int]:
        carrier = Carrier(Network(loss=0.2), Random(seed))
        return [at_ms for at_ms in range(0, 20_000, 20) if not carrier.carries(at_ms, speaking=True)]

    assert lost(1) == lost(1) != lost(2)
    assert 150 < len(lost(1)) < 250  # of 1000


def test_a_gap_changes_no_other_frames_fate() -> None:
    def carried(network: Network) -> set[int]:
        carrier = Carrier(network, Random(3))
        return {at_ms for at_ms in range(0, 2000, 20) if carrier.carries(at_ms, speaking=True)}

    assert carried(Network(loss=0.3, gaps=(Span(400, 200),))) == {
        at_ms for at_ms in carried(Network(loss=0.3)) if not 400 <= at_ms < 600
    }


@pytest.mark.parametrize("bad", [{"loss": 1.1}, {"mark_loss": -0.1}, {"jitter_ms": -1.0}, {"vanishes_at_ms": -1}])
def test_an_impossible_network_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"share|before"):
        Network(**bad)  # type: ignore[arg-type]  # a test's shorthand
    with pytest.raises(ValueError, match="stretch"):
        Span(100, 0)


async def test_lost_frames_are_missing_and_the_timestamps_show_it(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    report = await call(relay, Network(loss=0.3), speech(1000))
    seen = timestamps(relay)
    assert len(seen) == report.frames_sent == 50 - report.frames_lost
    assert 5 < report.frames_lost < 25
    assert {at_ms % 20 for at_ms in seen} == {15}
    assert [frame["media"]["chunk"] for frame in relay.peer.events("media")] == [str(n + 1) for n in range(len(seen))]
    assert report.sent_track == speech(1000)  # what the caller said is not changed by what arrived


async def test_a_gap_stops_the_frames_and_not_the_clock(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    await call(relay, Network(gaps=(Span(200, 400),)))
    assert timestamps(relay) == [155 + at for at in [*range(0, 200, 20), *range(600, 1000, 20)]]


async def test_late_frames_come_in_order_and_keep_their_timestamps(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    await call(relay, Network(jitter_ms=60))
    assert timestamps(relay) == [155 + 20 * n for n in range(50)]
    late = [at - 0.02 * (n + 1) for n, at in enumerate(arrivals(relay, "media"))]
    assert 0 <= min(late) < 0.02 < max(late) <= 0.0601
    assert arrivals(relay, "media") == sorted(arrivals(relay, "media"))


async def test_a_carrier_that_suppresses_silence_sends_only_speech(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    audio = mulaw.silence(300) + speech(200) + mulaw.silence(500)
    report = await call(relay, Network(silence_suppression=True), audio)
    assert timestamps(relay) == [155 + at for at in range(300, 680, 20)]  # with the carrier's hangover
    assert report.frames_lost == 50 - 19


async def test_both_ways_take_their_time(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(speech(100))
        await peer.mark("m")

    relay.scripts = [script]
    report = await call(relay, Network(to_relay_ms=40, to_twilio_ms=70))
    assert arrivals(relay, "start") == [0.04]
    assert arrivals(relay, "mark") == [0.25]  # there 40, back 70, 100 of audio, there 40
    assert report.first_audio_ms == 110
    assert (report.ended_by, arrivals(relay, "stop")) == ("caller", [1.04])


async def test_what_was_under_way_when_the_relay_closed_still_arrives(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(speech(100))
        await trio.sleep(0.15)
        await peer.socket.aclose()

    relay.scripts = [script]
    report = await call(relay, Network(to_twilio_ms=200))
    assert (report.heard_ms, report.ended_by, report.duration_ms) == (100, "relay", 350)


async def test_echoes_come_late(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(speech(100))
        await peer.mark("a")
        await peer.mark("b")

    relay.scripts = [script]
    report = await call(relay, Network(mark_delay_ms=300))
    assert arrivals(relay, "mark") == [0.4, 0.4]
    numbers = [int(message["sequenceNumber"]) for _, message in relay.peer.received[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert (report.marks_echoed, report.marks_lost) == (2, 0)


async def test_echoes_get_lost(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        for n in range(40):
            await peer.mark(str(n))

    relay.scripts = [script]
    report = await call(relay, Network(mark_loss=0.5))
    assert report.marks_sent == 40 == report.marks_echoed + report.marks_lost
    assert 10 < len(relay.peer.events("mark")) == report.marks_echoed < 30


async def test_a_twilio_that_does_not_read_acts_on_nothing_until_it_does(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await trio.sleep(0.2)
        await peer.play(speech(100))
        await peer.clear()
        await peer.mark("now")

    relay.scripts = [script]
    report = await call(relay, Network(reading_stops=(Span(100, 500),)))
    assert (report.clears, report.heard_ms) == (1, 0)  # both arrived at once, 400 ms late
    assert arrivals(relay, "mark") == [0.6]
    assert len(timestamps(relay)) == 50  # it goes on sending


async def test_a_twilio_that_vanishes_says_nothing_more_and_does_not_close(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await trio.sleep(0.6)
        await peer.mark("m")
        with trio.move_on_after(3):
            await peer.until("mark")
            pytest.fail("somebody answered")
        await peer.play(speech(100))
        gave_up.append(trio.current_time())
        with trio.move_on_after(1):
            await peer.socket.aclose()
        await trio.aclose_forcefully(peer.socket._stream)  # as a relay does that gets no answer to its close either

    gave_up: list[float] = []
    relay.scripts = [script]
    report = await call(relay, Network(vanishes_at_ms=500))
    assert gave_up == [pytest.approx(3.6)]
    assert (report.ended_by, report.warnings, report.heard_ms) == ("network", (), 0)
    assert report.duration_ms == pytest.approx(4600, abs=20)
    assert len(timestamps(relay)) <= 25
    assert relay.peer.events("stop") == []


async def test_nothing_is_heard_behind_the_vanishing(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(speech(3000))

    relay.scripts = [script]
    report = await call(relay, Network(vanishes_at_ms=500))
    assert (report.ended_by, report.heard_ms) == ("network", 500)


async def test_a_vanished_stream_that_nobody_misses_lasts_until_the_time_limit(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    report = await call(relay, Network(vanishes_at_ms=500))
    assert (report.ended_by, report.duration_ms) == ("network", 20_000)


async def test_a_bad_network_is_the_same_for_the_same_seed(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    network = Network(loss=0.2, jitter_ms=40)
    await call(relay, network)
    await call(relay, network)
    first, second = ([frame["media"]["timestamp"] for frame in peer.events("media")] for peer in relay.peers)
    assert first == second


async def test_frames_pass_unchanged_through_any_network(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    audio = bytes(range(256)) * 25
    await call(relay, Network(jitter_ms=30, to_relay_ms=20), audio, hang_up_ms=780)
    payload = b"".join(base64.b64decode(frame["media"]["payload"]) for frame in relay.peer.events("media"))
    assert payload == audio

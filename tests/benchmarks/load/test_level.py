"""One level of a load: what it counts as sent, arrived, lost and altered, against our relay and against faulty ones."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed

from benchmarks.load import FarEnd, Level, LoadError, Manner, Target, level, measure_level, open_far_end
from tests.benchmarks.load.relays import Answer, faulty_relay, our_relay, wordy_relay

OpenRelay = Callable[[str], AbstractAsyncContextManager[str]]

CALLS, WINDOW_S, WARMUP_S = 3, 0.3, 0.1
FRAMES = CALLS * 15
BRISK = Manner(
    first_s=(0.0, 0.1),
    pause_s=(0.05, 0.1),
    speech_s=(0.05, 0.1),
    answer_s=(0.2, 0.4),
    think_s=(0.02, 0.04),
    barge_in_share=0.5,
)


async def short_load(answer: Answer) -> Level:
    async with open_far_end() as far_end, faulty_relay(answer) as url:
        return await load(far_end, url)


async def load(far_end: FarEnd, url: str, *, with_direct: bool = False) -> Level:
    target = Target(name="relay", url=url)
    return await measure_level(
        far_end, target, calls=CALLS, seconds=WINDOW_S, warmup_s=WARMUP_S, with_direct=with_direct
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come will not come."""
    monkeypatch.setattr(level, "SETTLE_WITHIN_S", 0.2)
    monkeypatch.setattr(level, "WARM_WITHIN_S", 0.2)


async def test_our_relay_gives_every_frame_back_as_it_was() -> None:
    async with open_far_end() as far_end, our_relay(far_end.upstream_url) as url:
        measured = await load(far_end, url)
    frames = measured.frames
    assert measured.errors == ()
    assert (frames.sent, frames.arrived, frames.lost) == (FRAMES, FRAMES, 0)
    assert (frames.duplicated, frames.reordered, frames.altered) == (0, 0, 0)
    assert measured.marks_echoed >= CALLS * 2  # one for each 200 ms, warm-up included
    assert far_end.sessions == CALLS


async def test_a_relay_may_write_its_json_as_it_likes() -> None:
    async with open_far_end() as far_end, wordy_relay(far_end.upstream_url) as url:
        measured = await load(far_end, url)
    assert measured.errors == ()
    assert (measured.frames.sent, measured.frames.lost, measured.frames.altered) == (FRAMES, 0, 0)
    assert measured.marks_echoed >= FRAMES


async def test_the_report_adds_up() -> None:
    async with open_far_end() as far_end, our_relay(far_end.upstream_url) as url:
        measured = await load(far_end, url, with_direct=True)
    assert measured.calls == CALLS
    assert 0 < measured.frames.carried <= FRAMES + CALLS * 5
    assert measured.window_s > 0  # how long it really was is the machine's affair
    for spread in (measured.latency_ms, measured.direct_ms, measured.jitter_ms, measured.tool.late_ms):
        assert spread is not None
        assert 0 <= spread.p50 <= spread.p95 <= spread.p99 <= spread.max
    assert measured.added_p50_ms is not None
    assert measured.tool.user_us + measured.tool.system_us > 0
    assert measured.relay is None
    assert msgspec.json.decode(msgspec.json.encode(measured), type=Level) == measured


@pytest.mark.skipif(sys.platform != "linux", reason="the CPU of another process is read from /proc")
async def test_the_relays_cost_is_read_when_its_process_is_known() -> None:
    async with open_far_end() as far_end, faulty_relay(lambda _number, frame: [frame]) as url:
        target = Target(name="this process", url=url, pid=os.getpid())
        measured = await measure_level(far_end, target, calls=1, seconds=0.1, warmup_s=0.0, with_direct=False)
    assert measured.relay is not None
    assert measured.relay.us >= 0
    assert measured.relay.rss_mib > 1


@pytest.mark.usefixtures("impatient")
async def test_a_lost_frame_is_seen() -> None:
    def keep_every_fifth(number: int, frame: bytes) -> list[bytes]:
        return [] if number % 5 == 0 else [frame]

    measured = await short_load(keep_every_fifth)
    assert measured.frames.lost == CALLS * 3
    assert (measured.frames.arrived, measured.frames.altered) == (FRAMES - CALLS * 3, 0)
    assert not measured.holds


@pytest.mark.usefixtures("impatient")
async def test_a_changed_frame_is_seen() -> None:
    def flip_the_last_bit(number: int, frame: bytes) -> list[bytes]:
        return [frame[:-1] + bytes([frame[-1] ^ 1])] if number == 7 else [frame]

    measured = await short_load(flip_the_last_bit)
    assert (measured.frames.altered, measured.frames.lost) == (CALLS, CALLS)


async def test_a_frame_that_comes_twice_is_seen() -> None:
    measured = await short_load(lambda number, frame: [frame, frame] if number == 7 else [frame])
    assert (measured.frames.duplicated, measured.frames.lost, measured.frames.altered) == (CALLS, 0, 0)


async def test_frames_that_change_places_are_seen() -> None:
    held: dict[bytes, bytes] = {}

    def swap_two(number: int, frame: bytes) -> list[bytes]:
        call = frame[3:6]
        if number == 7:
            held[call] = frame
            return []
        return [frame, held[call]] if number == 8 else [frame]

    measured = await short_load(swap_two)
    assert (measured.frames.reordered, measured.frames.lost, measured.frames.duplicated) == (CALLS, 0, 0)


@pytest.mark.usefixtures("impatient")
async def test_a_frame_of_another_call_is_seen() -> None:
    heard: list[bytes] = []

    def cross_the_lines(number: int, frame: bytes) -> list[bytes]:
        heard.append(frame)
        if number != 7:
            return [frame]
        return [next(other for other in heard if other[3:6] != frame[3:6])]

    measured = await short_load(cross_the_lines)
    assert (measured.frames.altered, measured.frames.lost) == (CALLS, CALLS)


async def test_a_relay_may_cut_the_audio_anew() -> None:
    measured = await short_load(lambda _number, frame: [frame[:100], frame[100:]])
    assert (measured.frames.altered, measured.frames.lost) == (0, 0)


@pytest.mark.usefixtures("impatient")
async def test_a_relay_may_join_frames() -> None:
    held: dict[bytes, bytes] = {}

    def join_pairs(number: int, frame: bytes) -> list[bytes]:
        call = frame[3:6]
        if number % 2 == 0:
            held[call] = frame
            return []
        return [held.pop(call) + frame]

    measured = await short_load(join_pairs)
    assert measured.frames.altered == 0
    assert measured.frames.lost in {0, CALLS}  # the last one may be waiting for its other half


async def test_a_relay_that_hangs_up_is_reported_and_the_other_calls_go_on() -> None:
    def hang_up_on_the_first_call(number: int, frame: bytes) -> list[bytes]:
        if number == 7 and frame[3:6] == bytes(3):
            raise ConnectionClosed(None)
        return [frame]

    measured = await short_load(hang_up_on_the_first_call)
    assert measured.errors == ("call 0: the relay ended it: it said goodbye",)
    assert measured.frames.arrived >= 2 * FRAMES // CALLS


async def test_a_relay_that_sends_what_is_no_media_stream_is_reported() -> None:
    """Its messages are JSON of some other kind; every call says so, and the far end lives on."""
    async with (
        open_far_end() as far_end,
        faulty_relay(lambda _n, frame: [frame], dumps=lambda _: '{"event": "x"}') as url,
    ):
        with pytest.raises(LoadError, match="knows no such message"):
            await load(far_end, url)


async def test_a_relay_that_is_not_there_is_an_error_that_says_so() -> None:
    async with open_far_end() as far_end:
        with pytest.raises(LoadError, match=r"cannot be reached at ws://127\.0\.0\.1:1/media-stream"):
            await load(far_end, "ws://127.0.0.1:1/media-stream")


@pytest.mark.usefixtures("impatient")
async def test_a_relay_that_never_connects_to_the_upstream_is_an_error_that_says_where_it_should() -> None:
    async with open_far_end() as far_end, faulty_relay(lambda _number, _frame: []) as url:
        with pytest.raises(LoadError, match=f"nothing connected to {far_end.upstream_url}"):
            await load(far_end, url)


async def test_a_pid_that_is_nobodys_is_an_error_that_says_so() -> None:
    async with open_far_end() as far_end:
        target = Target(name="gone", url="ws://127.0.0.1:1/", pid=2**22 + 1)  # more than Linux gives out
        with pytest.raises(LoadError, match="is gone"):
            await measure_level(far_end, target, calls=1, seconds=0.1)


@pytest.mark.parametrize("relay", [our_relay, wordy_relay])
async def test_a_conversation_is_heard_whole_and_cleared_when_spoken_over(relay: OpenRelay) -> None:
    async with open_far_end("conversation", manner=BRISK) as far_end, relay(far_end.upstream_url) as url:
        target = Target(name="relay", url=url)
        measured = await measure_level(far_end, target, calls=CALLS, seconds=0.8, warmup_s=0.1, with_direct=False)
    talk = measured.talk
    assert talk is not None
    assert measured.errors == ()
    assert (measured.frames.sent, measured.frames.lost) == (CALLS * 40, 0)
    assert talk.voice.sent > 0
    assert (talk.voice.lost, talk.voice.extra) == (0, 0)
    assert talk.voice.sent == talk.voice.heard + talk.voice.cleared
    assert talk.barge_ins > 0
    assert talk.clear_ms is not None
    assert talk.first_audio_ms is not None


async def test_an_upstream_survives_what_is_no_websocket() -> None:
    async with open_far_end() as far_end:
        port = int(far_end.upstream_url.split(":")[2].split("/")[0])
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"400" in await stream.receive_some()
        await stream.aclose()
        async with our_relay(far_end.upstream_url) as url:
            measured = await load(far_end, url)
    assert measured.frames.lost == 0
    assert len(far_end.errors) == 1

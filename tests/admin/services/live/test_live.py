"""Calls in progress and who watches them: what is told, to whom, what is missed, who is let go."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import trio
from trio.testing import MockClock

from admin.errors import DrainingError, TooManyRequestsError
from admin.services.calls.call_record import Rung
from admin.services.live import live as live_module
from admin.services.live.live import Live
from admin.services.live.live_events import RING_EVENTS, Position, place_in, place_text
from admin.services.live.live_watchers import HEARTBEAT_EVERY_S, WATCHED_AT_MOST_S, LiveLimits, Watcher
from admin.store.call_search import Viewer
from relay import AgentHeard, BargedIn, CallEnded, CallerSpoke, CallerTranscribed, CallStarted, UpstreamReady
from tests.admin.api.conftest import WallClock

SHOP, OTHER, USER = uuid4(), uuid4(), uuid4()
OWNER = Viewer(account_id=SHOP)
FIRST_OWNER = Viewer(account_id=SHOP, sees_unowned=True)
STARTED = CallStarted(stream_sid="MZ1")
ENDED = CallEnded(
    reason="caller_hung_up", duration_ms=61_000, frames_from_caller=0, audio_ms_to_caller=0, barge_ins=0, total_tokens=0
)


@pytest.fixture
def live(wall: WallClock) -> Live:
    return Live(wall, limits=LiveLimits(per_user=2, in_all=3, waiting=4))


@pytest.fixture
def wall() -> WallClock:
    return WallClock()


def ring(live: Live, call_sid: str = "CA1", account_id: UUID | None = SHOP) -> None:
    live.rung(Rung(call_sid=call_sid, direction="inbound", caller="+1555", called="+1666", account_id=account_id))


def begin(live: Live, call_sid: str = "CA1", account_id: UUID | None = SHOP) -> None:
    ring(live, call_sid, account_id)
    live.offer(call_sid, STARTED)


def said(words: str) -> CallerTranscribed:
    return CallerTranscribed(item_id="i1", words=words)


def fields(piece: bytes) -> dict[str, str]:
    """An event's fields, `data` as it is."""
    lines = [line.partition(": ") for line in piece.decode().strip().split("\n")]
    return {name: value for name, _, value in lines if name}


def told(pieces: list[bytes]) -> list[tuple[str, Any]]:
    """Names and words of events."""
    parsed = [fields(piece) for piece in pieces]
    return [(each["event"], msgspec.json.decode(each["data"]).get("words")) for each in parsed if "event" in each]


async def waiting(watcher: Watcher) -> list[bytes]:
    """What waits for them, and does not make them wait."""
    pieces = []
    with trio.move_on_after(1):
        while piece := await watcher.next():
            pieces.append(piece)
    return pieces


async def test_a_call_is_shown_from_its_stream_to_its_end(live: Live, wall: WallClock) -> None:
    ring(live)
    assert live.calls(OWNER) == []
    live.offer("CA1", STARTED)
    live.offer("CA1", UpstreamReady(session_id="s", open_ms=1, configure_ms=1, held_audio_ms=0))
    live.offer("CA1", said("A pizza, please."))
    live.offer("CA1", CallerSpoke(item_id="i2"))
    [call] = live.calls(OWNER)
    assert (call.call_sid, call.caller, call.called, call.direction) == ("CA1", "+1555", "+1666", "inbound")
    assert (call.since, call.state) == (wall(), "caller_speaking")
    assert (call.last_speaker, call.last_words) == ("caller", "A pizza, please.")
    live.offer("CA1", ENDED)
    assert live.calls(OWNER) == []


async def test_who_watches_is_told_what_happens_as_it_happens(live: Live, autojump_clock: MockClock) -> None:
    with live.watching(USER, OWNER, None) as watcher:
        begin(live)
        live.offer("CA1", AgentHeard(item_id="i1", heard_ms=300, generated_ms=900, words="Good eve", was_cut=True))
        live.offer("CA1", BargedIn(item_id="i1", heard_ms=300, unheard_ms=600, truncate_error_bound_ms=40))
        live.offer("CA1", ENDED)
        pieces = await waiting(watcher)
    assert told(pieces) == [
        ("call.started", None),
        ("call.turn", "Good eve"),
        ("call.barged_in", None),
        ("call.ended", None),
    ]
    turn, barge_in, end = (msgspec.json.decode(fields(piece)["data"]) for piece in pieces[1:])
    assert (turn["speaker"], turn["heard_ms"], turn["was_cut"]) == ("agent", 300, True)
    assert (barge_in["heard_ms"], barge_in["error_bound_ms"], barge_in["call"]["state"]) == (300, 40, "caller_speaking")
    assert (end["reason"], end["duration_ms"], end["call"]["call_sid"]) == ("caller_hung_up", 61_000, "CA1")


async def test_words_that_are_not_to_be_kept_are_not_shown(live: Live, autojump_clock: MockClock) -> None:
    begin(live)
    with live.watching(USER, OWNER, None) as watcher:
        live.offer("CA1", AgentHeard(item_id="i1", heard_ms=300, generated_ms=300, words=None))
        assert told(await waiting(watcher)) == [("call.turn", None)]
    assert live.calls(OWNER)[0].last_words is None


async def test_only_who_may_see_a_call_is_told_of_it(live: Live, autojump_clock: MockClock) -> None:
    begin(live, "CA1", SHOP)
    begin(live, "CA2", OTHER)
    live.offer("CA3", STARTED)  # nobody told whose it is
    assert [call.call_sid for call in live.calls(OWNER)] == ["CA1"]
    assert [call.call_sid for call in live.calls(FIRST_OWNER)] == ["CA1", "CA3"]
    with live.watching(USER, OWNER, None) as theirs, live.watching(USER, FIRST_OWNER, None) as everybodys:
        for sid in ("CA1", "CA2", "CA3"):
            live.offer(sid, said(sid))
        assert told(await waiting(theirs)) == [("call.turn", "CA1")]
        assert told(await waiting(everybodys)) == [("call.turn", "CA1"), ("call.turn", "CA3")]


async def test_who_comes_back_is_told_what_they_missed(live: Live, autojump_clock: MockClock) -> None:
    begin(live)
    with live.watching(USER, OWNER, None) as watcher:
        live.offer("CA1", said("one"))
        [seen] = await waiting(watcher)
    for words in ("two", "three"):
        live.offer("CA1", said(words))
    with live.watching(USER, OWNER, fields(seen)["id"]) as watcher:
        assert told(watcher.first) == [("call.turn", "two"), ("call.turn", "three")]
        assert "id" not in fields(watcher.first[0])  # whoever breaks off here has been told nothing yet
        missed_one = fields(watcher.first[1])["id"]
    with live.watching(USER, OWNER, missed_one) as watcher:
        assert told(watcher.first) == [("call.turn", "three")]


async def test_the_place_is_known_before_anything_has_happened(live: Live) -> None:
    with live.watching(USER, OWNER, None) as watcher:
        place = fields(watcher.first[-1])["id"]
        assert fields(watcher.first[0])["retry"] == "2000"
    begin(live)
    with live.watching(USER, OWNER, place) as watcher:
        assert told(watcher.first) == [("call.started", None)]


@pytest.mark.parametrize("given", ["nonsense", "1.aa.x", "", "1.abcd", "x" * 5000, "é"])
async def test_who_comes_back_from_nowhere_is_told_to_look_again(live: Live, given: str) -> None:
    begin(live)
    with live.watching(USER, OWNER, given) as watcher:
        assert told(watcher.first) == [("live.reset", None)]


async def test_who_comes_back_too_late_is_told_to_look_again(live: Live) -> None:
    begin(live)
    with live.watching(USER, OWNER, None) as watcher:
        place = fields(watcher.first[-1])["id"]
    for _ in range(RING_EVENTS + 1):
        live.offer("CA1", said("and so on"))
    with live.watching(USER, OWNER, place) as watcher:
        assert told(watcher.first) == [("live.reset", None)]


async def test_who_reads_too_slowly_is_let_go_and_nobody_else(live: Live, autojump_clock: MockClock) -> None:
    begin(live)
    with live.watching(USER, OWNER, None) as slow, live.watching(USER, OWNER, None) as quick:
        for number in range(5):
            live.offer("CA1", said(str(number)))
            if number == 2:
                assert len(await waiting(quick)) == 3
        assert [await slow.next() is None for _ in range(5)] == [False] * 4 + [True]
        assert len(await waiting(quick)) == 2
        live.require_room(USER)  # the place of who was let go is free


async def test_only_so_many_may_watch(live: Live) -> None:
    with live.watching(USER, OWNER, None), live.watching(USER, OWNER, None):
        with pytest.raises(TooManyRequestsError):
            live.require_room(USER)
        other, third = uuid4(), uuid4()
        with live.watching(other, OWNER, None), pytest.raises(TooManyRequestsError):
            live.require_room(third)
    live.require_room(USER)


async def test_a_stream_in_which_nothing_happens_has_heartbeats_and_an_end(
    live: Live, autojump_clock: MockClock
) -> None:
    with live.watching(USER, OWNER, None) as watcher:
        began_at = trio.current_time()
        assert await watcher.next() == b""
        assert trio.current_time() - began_at == pytest.approx(HEARTBEAT_EVERY_S)
        assert live.heartbeat().startswith(b": ")
        while await watcher.next() is not None:
            pass
        assert trio.current_time() - began_at == pytest.approx(WATCHED_AT_MOST_S)


async def test_a_heartbeat_moves_on_who_may_see_nothing_of_what_happens(live: Live) -> None:
    begin(live, "CA1", OTHER)
    place = fields(live.heartbeat())["id"]
    for _ in range(RING_EVENTS):
        live.offer("CA1", said("of another account's"))
    with live.watching(USER, OWNER, place) as watcher:
        assert told(watcher.first) == []


async def test_streams_end_when_the_server_drains(live: Live) -> None:
    with live.watching(USER, OWNER, None) as watcher:
        live.close()
        assert await watcher.next() is None
        with pytest.raises(DrainingError):
            live.require_room(uuid4())
    begin(live)
    assert len(live.calls(OWNER)) == 1  # the calls go on


async def test_a_call_whose_webhook_was_long_ago_is_known_by_its_second_stream_too(live: Live) -> None:
    begin(live)
    live.offer("CA1", ENDED)
    live.offer("CA1", STARTED)
    assert live.calls(OWNER)[0].caller == "+1555"


async def test_a_fault_in_here_does_not_reach_the_call(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_begin", lambda call_sid: 1 / 0)
    live.offer("CA1", STARTED)
    live.offer("CA1", said("nobody knows this call"))
    assert live.calls(OWNER) == []


def test_a_place_is_read_as_it_was_written() -> None:
    place = {"1": Position("a0b1", 7), "12": Position("ff", 0)}
    assert place_in(place_text(place)) == place


# Several processes.


class Table:
    """What several processes lay on it; each has a side of its own."""

    def __init__(self) -> None:
        self.notes: dict[str, bytes] = {}
        self.laid: dict[str, bytes] = {}

    def side(self, source: str) -> "Side":
        return Side(self, source)


class Side:
    """See Exchange."""

    def __init__(self, table: Table, source: str) -> None:
        self._table, self._source = table, source

    def note(self, call_sid: str, rung: bytes) -> None:
        self._table.notes[call_sid] = rung

    def noted(self, call_sid: str) -> bytes | None:
        return self._table.notes.get(call_sid)

    def publish(self, board: bytes) -> None:
        self._table.laid[self._source] = board

    def boards(self) -> Mapping[str, bytes]:
        return {source: board for source, board in self._table.laid.items() if source != self._source}


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def pair(table: Table, wall: WallClock) -> tuple[Live, Live]:
    return tuple(Live(wall, source=source, exchange=table.side(source)) for source in ("1", "2"))  # type: ignore[return-value]  # of two


async def test_calls_of_all_processes_are_shown_wherever_one_asks(pair: tuple[Live, Live]) -> None:
    first, second = pair
    ring(first)  # the webhook comes to one, the stream to the other
    second.offer("CA1", STARTED)
    begin(first, "CA2")
    second.exchange()
    assert [call.call_sid for call in first.calls(OWNER)] == ["CA1", "CA2"]
    assert [call.call_sid for call in second.calls(OWNER)] == ["CA1", "CA2"]


async def test_who_watches_one_process_is_told_of_all(pair: tuple[Live, Live], autojump_clock: MockClock) -> None:
    first, second = pair
    begin(second)
    second.exchange()
    with first.watching(USER, OWNER, None) as watcher:
        second.offer("CA1", said("hello"))
        second.exchange()
        first.exchange()
        first.exchange()  # seen once is told once
        assert told(await waiting(watcher)) == [("call.turn", "hello")]


async def test_who_comes_back_to_another_process_is_told_what_they_missed(
    pair: tuple[Live, Live], wall: WallClock, autojump_clock: MockClock
) -> None:
    first, second = pair
    begin(first, "CA1")
    begin(second, "CA2")
    second.exchange()
    with first.watching(USER, OWNER, None) as watcher:
        place = fields(watcher.first[-1])["id"]
    for live, sid in ((first, "CA1"), (second, "CA2"), (first, "CA1")):
        wall.passes(seconds=1)
        live.offer(sid, said(f"{wall():%S}"))
    first.exchange()
    with second.watching(USER, OWNER, place) as watcher:
        assert told(watcher.first) == [("call.turn", "01"), ("call.turn", "02"), ("call.turn", "03")]


async def test_who_watches_a_process_that_lags_far_behind_is_told_to_look_again(
    pair: tuple[Live, Live], autojump_clock: MockClock
) -> None:
    first, second = pair
    begin(second)
    with first.watching(USER, OWNER, None) as watcher:
        for _ in range(live_module.BOARD_EVENTS + 1):
            second.offer("CA1", said("quick"))
        second.exchange()
        first.exchange()
        assert told(await waiting(watcher)) == [("live.reset", None)]


async def test_calls_of_a_process_that_died_are_gone_and_who_watches_looks_again(
    pair: tuple[Live, Live], table: Table, wall: WallClock, autojump_clock: MockClock
) -> None:
    first, second = pair
    begin(second)
    second.exchange()
    with first.watching(USER, OWNER, None) as watcher:
        del table.laid["2"]
        assert first.calls(OWNER) == []
        assert told(await waiting(watcher)) == [("live.reset", None)]
        reborn = Live(wall, source="2", exchange=table.side("2"))
        begin(reborn, "CA9")
        reborn.exchange()
        first.exchange()
        assert told(await waiting(watcher))[0][0] == "live.reset"
    assert [call.call_sid for call in first.calls(OWNER)] == ["CA9"]


async def test_a_board_that_cannot_be_read_ends_no_exchange(
    pair: tuple[Live, Live], table: Table, autojump_clock: MockClock
) -> None:
    first, second = pair
    with first.watching(USER, OWNER, None) as watcher:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.keep_exchanging)
            table.laid["2"] = b"{"
            await trio.sleep(1)
            begin(second)
            second.exchange()
            assert told(await waiting(watcher)) == [("call.started", None)]
            nursery.cancel_scope.cancel()

"""The calls in progress, for people who watch: what stands where, and each thing as it happens.

A call offers its events here and never waits for who watches: a watcher has a queue, and one whose queue is full is let
go. Several processes that share a port each know their own calls; through an `Exchange` each shows the others a board
with its calls and its latest events.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
import trio

from admin.services.calls.call_record import Rung, Speaker
from admin.services.live.live_events import (
    LiveCall,
    LiveEvent,
    LiveKind,
    LiveState,
    Numbered,
    Place,
    Position,
    Ring,
    frame,
    in_time_order,
    place_in,
    place_text,
)
from admin.services.live.live_exchange import Board, Exchange, OwnedCall
from admin.services.live.live_watchers import LiveLimits, Watcher, Watchers, sees
from admin.store.call_search import Viewer
from relay import (
    AgentHeard,
    AnswerBegan,
    BargedIn,
    CallEnded,
    CallerFellSilent,
    CallerSpoke,
    CallerTranscribed,
    CallStarted,
    LogEvent,
    UpstreamReady,
)

MAX_RUNG: Final = 10_000  # calls of which we were told before their stream; the oldest is forgotten
MAX_WORDS_CHARACTERS: Final = 1000  # of one turn
BOARD_EVENTS: Final = 128  # shown to the others; they look several times a second
EXCHANGE_EVERY_S: Final = 0.25
COME_AGAIN_MS: Final = 2000
RESET: Final = "live.reset"  # something was missed: read the calls in progress anew

_logger = structlog.stdlib.get_logger("tautline.live")


class Live:
    """A relay.CallLog of what happens right now.

    Attributes: watchers, who watches; falsy when nobody does.

    Args: now, wall time; limits; source, which of the processes this is; exchange, with the others, if there are any.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        limits: LiveLimits | None = None,
        source: str = "1",
        exchange: Exchange | None = None,
    ) -> None:
        self._now = now
        self._source, self._exchange = source, exchange
        self._rung: OrderedDict[str, Rung] = OrderedDict()
        self._calls: dict[str, OwnedCall] = {}
        self._ring = Ring(secrets.token_hex(4))
        self._rings = {source: self._ring}
        self._place: dict[str, Position] = {source: Position(self._ring.life, 0)}
        self._boards: dict[str, tuple[bytes, Board]] = {}
        self.watchers = Watchers(limits or LiveLimits())
        self._is_shown = False

    def rung(self, rung: Rung) -> None:
        """A call came in, or was placed. Does not wait."""
        self._rung[rung.call_sid] = rung
        if len(self._rung) > MAX_RUNG:
            self._rung.popitem(last=False)
        if self._exchange is not None:
            self._exchange.note(rung.call_sid, msgspec.json.encode(rung))

    def offer(self, call_sid: str, event: LogEvent) -> None:
        """See relay.CallLog."""
        try:
            self._take(call_sid, event)
        except Exception:
            _logger.exception("live.event_failed", call_sid=call_sid)

    def calls(self, viewer: Viewer) -> list[LiveCall]:
        """The calls in progress that they may see, the oldest first."""
        self.exchange()
        owned = [*self._calls.values(), *(each for _, board in self._boards.values() for each in board.calls)]
        seen = [each.call for each in owned if sees(viewer, each.account_id)]
        return sorted(seen, key=lambda call: (call.since, call.call_sid))

    def require_room(self, user_id: UUID) -> None:
        """Raises: DrainingError; TooManyRequestsError when too many watch already."""
        self.watchers.require_room(user_id)

    @contextmanager
    def watching(self, user_id: UUID, viewer: Viewer, last_event_id: str | None) -> Iterator[Watcher]:
        """Watch inside this context; first comes what has happened since that event. Raises: see require_room."""
        self.require_room(user_id)
        self.exchange()  # before they are there: what others have shown by now is no news
        watcher = self.watchers.admit(user_id, viewer)
        # The present place comes last: who breaks off before it must be told the rest when they come back.
        watcher.first = [b"retry: %d\n\n" % COME_AGAIN_MS, *self._missed(viewer, last_event_id), self.heartbeat()]
        try:
            yield watcher
        finally:
            self.watchers.let_go(watcher)

    def heartbeat(self) -> bytes:
        """What a stream carries when nothing happens: a comment, and the place up to which all has been told."""
        return b": still here\nid: %s\n\n" % place_text(self._place).encode()

    def close(self) -> None:
        """End all streams, and begin none. What happens goes on to be told to the other processes."""
        self.watchers.close()

    async def keep_exchanging(self) -> None:
        """Show the others what happens here and, for who watches, look at what they show. Ends never."""
        while True:
            try:
                if self.watchers:
                    self.exchange()
                else:
                    self._show()
            except Exception:  # of what people watch; the calls go on
                _logger.exception("live.exchange_failed")
            await trio.sleep(EXCHANGE_EVERY_S)

    def exchange(self) -> None:
        """The same once, now."""
        if self._exchange is None:
            return
        self._show()
        shown = self._exchange.boards()
        for source in [each for each in self._boards if each not in shown]:
            del self._boards[source]
            self._reset()  # its process died, and its calls with it
        for source, raw in shown.items():
            known = self._boards.get(source)
            if known is None or known[0] is not raw:
                board = msgspec.json.decode(raw, type=Board)
                self._boards[source] = (raw, board)
                self._look_at(source, board)

    def _show(self) -> None:
        if self._exchange is None or self._is_shown:
            return
        self._is_shown = True
        events = self._ring.latest(BOARD_EVENTS)
        board = Board(life=self._ring.life, number=self._ring.number, calls=list(self._calls.values()), events=events)
        self._exchange.publish(msgspec.json.encode(board))

    def _look_at(self, source: str, board: Board) -> None:
        """What has happened in another process since we last looked."""
        first = board.events[0].number if board.events else board.number + 1
        ring = self._rings.get(source) or Ring(board.life)
        is_whole = ring.life == board.life and ring.number >= first - 1
        if not is_whole:
            ring = Ring(board.life, first - 1)
        self._rings[source] = ring
        for numbered in board.events:
            if numbered.number > ring.number:
                ring.append(numbered)
                if is_whole:
                    self._tell(source, numbered)
        self._place[source] = Position(ring.life, ring.number)
        if not is_whole:
            self._reset()

    def _take(self, call_sid: str, event: LogEvent) -> None:
        if isinstance(event, CallStarted):
            self._begin(call_sid)
            return
        owned = self._calls.get(call_sid)
        if owned is None:
            return
        match event:
            case UpstreamReady():
                self._stands(owned, "listening")
            case CallerSpoke():
                self._stands(owned, "caller_speaking")
            case CallerFellSilent():
                self._stands(owned, "thinking")
            case AnswerBegan():
                self._stands(owned, "agent_speaking")
            case CallerTranscribed(words=words):
                self._said(owned, "caller", words)
            case AgentHeard(words=words, heard_ms=heard_ms, was_cut=was_cut):
                self._said(owned, "agent", words, heard_ms=heard_ms, was_cut=was_cut)
            case BargedIn(heard_ms=heard_ms, truncate_error_bound_ms=bound_ms):
                owned = self._stands(owned, "caller_speaking")
                self._happened(owned, "call.barged_in", heard_ms=heard_ms, error_bound_ms=bound_ms)
            case CallEnded(reason=reason, duration_ms=duration_ms):
                del self._calls[call_sid]
                self._happened(owned, "call.ended", reason=reason, duration_ms=duration_ms)

    def _begin(self, call_sid: str) -> None:
        rung = self._rung_of(call_sid)
        call = LiveCall(
            call_sid=call_sid,
            direction=rung.direction if rung else None,
            caller=rung.caller if rung else "",
            called=rung.called if rung else "",
            persona_id=rung.persona_id if rung else None,
            since=self._now(),
            state="connecting",
        )
        owned = self._calls[call_sid] = OwnedCall(account_id=rung.account_id if rung else None, call=call)
        self._happened(owned, "call.started")

    def _rung_of(self, call_sid: str) -> Rung | None:
        known = self._rung.get(call_sid)
        if known is not None or self._exchange is None:
            return known
        noted = self._exchange.noted(call_sid)
        return None if noted is None else msgspec.json.decode(noted, type=Rung)

    def _stands(self, owned: OwnedCall, state: LiveState, **changes: Any) -> OwnedCall:
        call = msgspec.structs.replace(owned.call, state=state, **changes)
        changed = self._calls[call.call_sid] = OwnedCall(account_id=owned.account_id, call=call)
        self._is_shown = False
        return changed

    def _said(
        self,
        owned: OwnedCall,
        speaker: Speaker,
        words: str | None,
        *,
        heard_ms: int | None = None,
        was_cut: bool = False,
    ) -> None:
        shown = words[:MAX_WORDS_CHARACTERS] if words else None
        if shown is not None:
            owned = self._stands(owned, owned.call.state, last_speaker=speaker, last_words=shown)
        if speaker == "agent" and owned.call.state == "agent_speaking":
            owned = self._stands(owned, "listening")
        self._happened(owned, "call.turn", speaker=speaker, words=shown, heard_ms=heard_ms, was_cut=was_cut)

    def _happened(self, owned: OwnedCall, kind: LiveKind, **facts: Any) -> None:
        event = LiveEvent(kind=kind, at=self._now(), call=owned.call, **facts)
        numbered = Numbered(number=self._ring.number + 1, account_id=owned.account_id, event=event)
        self._ring.append(numbered)
        self._is_shown = False
        self._tell(self._source, numbered)

    def _tell(self, source: str, numbered: Numbered) -> None:
        self._place[source] = Position(self._rings[source].life, numbered.number)
        self.watchers.tell(numbered.account_id, lambda: _frame_of(numbered, self._place))

    def _reset(self) -> None:
        self.watchers.tell_all(self._reset_frame())

    def _missed(self, viewer: Viewer, last_event_id: str | None) -> list[bytes]:
        """What has happened since an event, or that it cannot be told."""
        if last_event_id is None:
            return []
        told = place_in(last_event_id)
        missed = {source: ring.since(told.get(source)) for source, ring in self._rings.items()} if told else {}
        whole = {source: events for source, events in missed.items() if events is not None}
        if told is None or len(whole) < len(missed):
            return [self._reset_frame()]
        place, pieces = {**told}, []
        for source, numbered in in_time_order(whole):
            place[source] = Position(self._rings[source].life, numbered.number)
            if sees(viewer, numbered.account_id):
                pieces.append(_frame_of(numbered, place))
        return pieces

    def _reset_frame(self) -> bytes:
        return frame(RESET, b"{}", self._place)


def _frame_of(numbered: Numbered, place: Place) -> bytes:
    return frame(numbered.event.kind, msgspec.json.encode(numbered.event), place)

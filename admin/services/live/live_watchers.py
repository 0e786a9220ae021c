"""Who watches the calls in progress. Each has a queue; one whose queue is full is let go, and nobody waits for them."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec
import structlog
import trio

from admin.errors import DrainingError, TooManyRequestsError
from admin.store.call_search import Viewer

HEARTBEAT_EVERY_S: Final = 15.0  # proxies commonly close what is silent for 30 s or more
WATCHED_AT_MOST_S: Final = 900.0  # then the watcher comes again, and is asked again who they are

_logger = structlog.stdlib.get_logger("tautline.live")


class LiveLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many may watch. waiting: events that a watcher may be behind."""

    per_user: int = 5
    in_all: int = 100
    waiting: int = 256


class Watcher:
    """Somebody who watches. Attributes: first, what they are told at once; viewer; user_id."""

    def __init__(self, user_id: UUID, viewer: Viewer, waiting: int) -> None:
        self.user_id, self.viewer = user_id, viewer
        self.first: list[bytes] = []
        self._send, self._receive = trio.open_memory_channel[bytes](waiting)
        self._until = trio.current_time() + WATCHED_AT_MOST_S

    def put(self, piece: bytes) -> bool:
        """Whether there was room."""
        try:
            self._send.send_nowait(piece)
        except trio.WouldBlock:
            return False
        return True

    def close(self) -> None:
        """Nothing more will come."""
        self._send.close()

    async def next(self) -> bytes | None:
        """The next piece of the stream, b"" when it is time for a heartbeat, None at the stream's end."""
        now = trio.current_time()
        if now >= self._until:
            return None
        with trio.move_on_at(min(self._until, now + HEARTBEAT_EVERY_S)):
            try:
                return await self._receive.receive()
            except trio.EndOfChannel:
                return None
        try:
            return self._receive.receive_nowait()  # which came in the same moment: a heartbeat would step over it
        except trio.WouldBlock:
            return b""
        except trio.EndOfChannel:
            return None


class Watchers:
    """All who watch. Args: limits."""

    def __init__(self, limits: LiveLimits) -> None:
        self._limits = limits
        self._watchers: list[Watcher] = []
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._watchers)

    def require_room(self, user_id: UUID) -> None:
        """Raises: DrainingError; TooManyRequestsError when too many watch already."""
        if self._is_closed:
            raise DrainingError
        own = sum(watcher.user_id == user_id for watcher in self._watchers)
        if own >= self._limits.per_user or len(self._watchers) >= self._limits.in_all:
            raise TooManyRequestsError(
                "too many are watching already", code="too_many_watchers", headers={"Retry-After": "30"}
            )

    def admit(self, user_id: UUID, viewer: Viewer) -> Watcher:
        """A new one. Raises: see require_room."""
        self.require_room(user_id)
        watcher = Watcher(user_id, viewer, self._limits.waiting)
        self._watchers.append(watcher)
        return watcher

    def let_go(self, watcher: Watcher) -> None:
        """Their stream ends; also one who has gone already."""
        watcher.close()
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def tell(self, account_id: UUID | None, piece: Callable[[], bytes]) -> None:
        """Tell those who may see this account's calls (None: nobody's). piece: asked for once, if there are any."""
        seeing = [watcher for watcher in self._watchers if sees(watcher.viewer, account_id)]
        if seeing:
            self._put(seeing, piece())

    def tell_all(self, piece: bytes) -> None:
        """Tell everybody."""
        self._put(list(self._watchers), piece)

    def close(self) -> None:
        """End all streams, and begin none."""
        self._is_closed = True
        for watcher in list(self._watchers):
            self.let_go(watcher)

    def _put(self, watchers: list[Watcher], piece: bytes) -> None:
        for watcher in watchers:
            if not watcher.put(piece):
                _logger.info("live.watcher_dropped", user_id=str(watcher.user_id), why="It does not read fast enough.")
                self.let_go(watcher)


def sees(viewer: Viewer, account_id: UUID | None) -> bool:
    """Whether they may see a call of this account's, or nobody's."""
    return viewer.sees_unowned if account_id is None else account_id == viewer.account_id

"""The model's responses: which are being generated, and which the caller has interrupted.

Pure. A response lives from `response.created` to its `response.done`; the ends may come out of order, or be lost. What
still arrives of an interrupted one is not for the caller's ears, so it is known by its id until nothing more can come.
"""

from collections import OrderedDict

MAX_ACTIVE = 64  # one speaks, a few may stand beside it; more means that their ends were lost
MAX_KNOWN = 256  # an answer may sound for long, and short ones may queue behind it
MAX_MUTED = 64  # strays of an interrupted response come within seconds; older ids may be forgotten


class Responses:
    """The responses of one session with the model, by id."""

    def __init__(self) -> None:
        self._active: dict[str, None] = {}  # being generated, oldest first
        self._muted: OrderedDict[str, None] = OrderedDict()  # interrupted by the caller
        self._known: OrderedDict[str, bool] = OrderedDict()  # the latest of this session; whether audio came

    @property
    def speaking(self) -> list[str]:
        """Those being generated for the caller to hear."""
        return [response_id for response_id in self._active if response_id not in self._muted]

    def created(self, response_id: str) -> None:
        """The model begins to answer."""
        self._active[response_id] = None
        self._known[response_id] = False
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        if len(self._active) > MAX_ACTIVE:
            del self._active[next(iter(self._active))]  # its done was lost

    def done(self, response_id: str) -> bool:
        """The model has generated all of it. False when that is not news."""
        if response_id not in self._active:
            return False
        del self._active[response_id]
        return True

    def mute(self, response_id: str) -> None:
        """The caller has interrupted it: whatever still comes is stale."""
        self._muted[response_id] = None
        if len(self._muted) > MAX_MUTED:
            self._muted.popitem(last=False)

    def is_current(self, response_id: str) -> bool:
        """It is being generated, and the caller has not interrupted it."""
        return response_id in self._active and response_id not in self._muted

    def is_known(self, response_id: str) -> bool:
        """It is one of this session's, done or not."""
        return response_id in self._known

    def spoke(self, response_id: str) -> None:
        """Audio of it came."""
        self._known[response_id] = True

    def has_spoken(self, response_id: str) -> bool:
        """Audio of it came, ever."""
        return self._known.get(response_id, False)

    def forget(self) -> None:
        """The session is gone, and its ids with it."""
        self._active.clear()
        self._muted.clear()
        self._known.clear()

"""What we want the model to say: one ask for each purpose, and the rules for what becomes of it while it waits.

Pure. An ask ends in one of two ways: a response that began after it, or a `Dropped` that says why. A response that the
caller cuts off has begun; their own next turn is what counts from there on.

The service handles what we send in order, and tells in order. So a response says what an ask wants said if it is
created after the ask; or, where the ask is about an item that we send (a tool's output), after that item's
`conversation.item.added`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from proto import realtime

Purpose = Literal["greeting", "resume", "retry", "keypad", "tool_result", "filler", "prompt", "wrap_up", "goodbye"]
DropReason = Literal["replaced", "caller_spoke", "answered", "refused", "failed", "session_lost"]


class Dropped(msgspec.Struct, frozen=True):
    """An ask came to nothing. "answered": another response said it; "failed": after all the tries it is worth."""

    purpose: Purpose
    why: DropReason


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of an ask before its response begins."""

    is_answer: bool = False  # its response answers all that stands in the conversation, as one of the server's own does
    moot_after: Literal["answer", "response", "nothing"]  # what, created meanwhile, says all there was to say
    yields: bool = False  # dropped when the caller begins to speak
    outlives_session: bool = True  # the caller is owed it in the next session too


# What the conversation owes the caller. Kept through the caller's speech: the answer to it sees this too.
_OWED = Rule(is_answer=True, moot_after="answer")

# In the order in which they speak, if several wait. A new ask replaces a waiting one of the same purpose.
RULES: dict[Purpose, Rule] = {
    "greeting": Rule(moot_after="answer"),  # a caller who has been answered needs none
    "resume": _OWED,  # the conversation goes on in a new session
    "retry": _OWED,  # a turn of the caller's that the server failed to answer
    "keypad": _OWED,
    "tool_result": _OWED,
    "filler": Rule(moot_after="response", yields=True, outlives_session=False),  # "one moment, please"
    "prompt": Rule(moot_after="response", yields=True, outlives_session=False),  # "are you still there?"
    "wrap_up": Rule(moot_after="nothing"),  # the server's own answers do not know that time runs out
    "goodbye": Rule(moot_after="nothing", yields=True),  # to a caller who fell silent: who speaks is back
}


@dataclass(slots=True)
class Ask:
    """One wish to speak, and what was tried for it."""

    purpose: Purpose
    config: realtime.ResponseConfig | UnsetType = UNSET
    awaits_item: str | None = None  # sent before it, and not known to be in the conversation yet
    moot: DropReason | None = None  # why it is not wanted any more, if that came up after it was sent
    rate_limited: int = 0
    faults: int = 0
    blind_retries: int = 0
    has_moved: bool = False  # a session was given up for it already

    @property
    def rule(self) -> Rule:
        """What becomes of it until its response begins."""
        return RULES[self.purpose]

    def is_moot(self, *, after_answer: bool) -> bool:
        """A response that begins now, an answer or not, says what this would."""
        ends = ("answer", "response") if after_answer else ("response",)
        return self.awaits_item is None and self.rule.moot_after in ends


class Asks:
    """Those that wait, at most one for each purpose."""

    def __init__(self) -> None:
        self._waiting: dict[Purpose, Ask] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        """Of those that wait, in the order in which they will speak."""
        return tuple(purpose for purpose in RULES if purpose in self._waiting)

    def add(self, ask: Ask) -> list[Dropped]:
        """Let a new ask wait, in the place of an older one."""
        replaced = [Dropped(ask.purpose, "replaced")] if ask.purpose in self._waiting else []
        self._waiting[ask.purpose] = ask
        return replaced

    def put_back(self, ask: Ask) -> list[Dropped]:
        """Let an ask that was tried wait again, unless its time has passed or a newer one took its place."""
        if ask.moot:
            return [Dropped(ask.purpose, ask.moot)]
        if ask.purpose in self._waiting:
            return [Dropped(ask.purpose, "replaced")]
        self._waiting[ask.purpose] = ask
        return []

    def take(self) -> Ask:
        """The first that is to speak; there must be one."""
        return self._waiting.pop(self.purposes[0])

    def item_added(self, item_id: str) -> None:
        """An item is in the conversation; every response created from now on sees it."""
        for ask in self._waiting.values():
            if ask.awaits_item == item_id:
                ask.awaits_item = None

    def caller_started(self) -> list[Dropped]:
        """The caller begins to speak."""
        return self._drop((ask for ask in self._waiting.values() if ask.rule.yields), "caller_spoke")

    def response_began(self, *, is_answer: bool) -> list[Dropped]:
        """A response that is to be heard has begun."""
        moot = (ask for ask in self._waiting.values() if ask.is_moot(after_answer=is_answer))
        return self._drop(moot, "answered")

    def session_lost(self) -> list[Dropped]:
        """The next session is seeded with all items there are, so none is awaited any more."""
        for ask in self._waiting.values():
            ask.awaits_item = None
        return self._drop((ask for ask in self._waiting.values() if not ask.rule.outlives_session), "session_lost")

    def _drop(self, asks: Iterable[Ask], why: DropReason) -> list[Dropped]:
        purposes = [ask.purpose for ask in asks]
        for purpose in purposes:
            del self._waiting[purpose]
        return [Dropped(purpose, why) for purpose in purposes]

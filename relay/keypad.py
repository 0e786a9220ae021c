"""The caller's keys: gathered to entries, each of which is an action of the persona's or something typed for the model.

Pure: no Trio, no clock, no log. A phone sends one key at a time, but people mean numbers: a pause or `#` ends an entry.
Only a whole entry of one key is an action, or nobody could type a number with that key in it.
"""

from math import inf

import msgspec

PAUSE_S = 1.5  # as long as this between two keys, and they are two entries
MAX_DIGITS = 32  # longer than any account or card number
KEYS = frozenset("0123456789*#ABCD")
_ENTER = "#"


class KeyPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What single keys stand for. actions: key -> the name of an action that the call knows, as {"0": "staff"}."""

    actions: dict[str, str] = {}

    def __post_init__(self) -> None:
        unknown = sorted(self.actions.keys() - KEYS)
        if unknown:
            raise ValueError(f"no such keys: {', '.join(unknown)}")
        nameless = sorted(key for key, name in self.actions.items() if not name)
        if nameless:
            raise ValueError(f"keys without an action: {', '.join(nameless)}")


class KeyAction(msgspec.Struct, frozen=True):
    """The caller chose one of the persona's actions."""

    name: str


class Typed(msgspec.Struct, frozen=True):
    """The caller typed something for the model. It may be a secret, like a card's number: never log it."""

    digits: str


Entry = KeyAction | Typed


class Keypad:
    """Gathers one call's keys. `now` in monotonic seconds."""

    def __init__(self, policy: KeyPolicy) -> None:
        self._policy = policy
        self._digits = ""  # of the entry that is open
        self._last_at = 0.0  # when the last of them was pressed

    @property
    def deadline(self) -> float:
        """When the open entry ends by itself, inf if none is open."""
        return self._last_at + PAUSE_S if self._digits else inf

    def pressed(self, key: str, now: float) -> list[Entry]:
        """One key was pressed; give the entries that it ends. What is no key of a phone is passed over."""
        ended = self.timeout(now)  # the session may be later than the key
        if key not in KEYS:
            return ended
        if key == _ENTER and self._digits:
            return [*ended, *self._take()]
        self._digits += key
        self._last_at = now
        is_complete = key == _ENTER or len(self._digits) == MAX_DIGITS
        return [*ended, *(self._take() if is_complete else [])]

    def timeout(self, now: float) -> list[Entry]:
        """`deadline` may have passed."""
        return self._take() if self._digits and now >= self.deadline else []

    def _take(self) -> list[Entry]:
        digits, self._digits = self._digits, ""
        action = self._policy.actions.get(digits)
        return [Typed(digits) if action is None else KeyAction(action)]

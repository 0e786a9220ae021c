"""Ids and padding: all that is random in a session, drawn from one seeded source, so that a run can be repeated."""

import random
import string
from typing import Final, Literal

Prefix = Literal["sess", "conv", "resp", "item", "event"]

_ALPHABET: Final = string.ascii_letters + string.digits
_ID_LENGTH: Final = 21
_CALL_ID_LENGTH: Final = 16
_PADDED_TO: Final = 16


class Ids:
    """The ids and the padding of one session; equal seeds give equal ones, in the same order."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def new(self, prefix: Prefix) -> str:
        """Such as `item_` and 21 letters and digits."""
        return f"{prefix}_{self._letters(_ID_LENGTH)}"

    def new_call(self) -> str:
        """The id that ties a function's call to its output: `call_` and 16 letters and digits."""
        return f"call_{self._letters(_CALL_ID_LENGTH)}"

    def obfuscation(self, delta: str) -> str:
        """Pads a text delta to a multiple of 16 characters, so that its length tells an eavesdropper little."""
        return self._letters(-len(delta) % _PADDED_TO)

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(_ALPHABET, k=count))

"""What is said about one setting: its meaning, what it must be, and how much of its value a person may see."""

import re
from typing import Literal

import msgspec


class Documented(msgspec.Struct, frozen=True, kw_only=True):
    """One variable: what it means, what it must be, an example, and how much of its value may be shown."""

    variable: str
    meaning: str
    must_be: str
    example: str
    secrecy: Literal["open", "secret", "password inside"] = "open"

    def value(self, settings: msgspec.Struct) -> str:
        """The setting as text, unmasked; "" when unset."""
        value = getattr(settings, self.variable.lower())
        return "" if value is None else str(value)

    def show(self, settings: msgspec.Struct) -> str:
        """The setting as a person may see it; "" when unset."""
        value = self.value(settings)
        if not value or self.secrecy == "open":
            return value
        return _without_password(value) if self.secrecy == "password inside" else _ending(value)


def _ending(secret: str) -> str:
    # The last four of a long key tell two keys apart; of a short one they would tell too much.
    return f"set, ends in {secret[-4:]}" if len(secret) >= 20 else "set"


def _without_password(url: str) -> str:
    # Up to the last @, because a password that should have been percent-encoded may hold an @, a / or a #.
    user_masked = re.sub(r"(?s)\A([^:]+://[^:/?#@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?s)\?.*", "?***", user_masked)

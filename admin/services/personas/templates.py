r"""Texts with gaps: what a persona is told and what it says first, filled with the facts of each call. Pure.

`{{shop.name}}` is a gap; spaces beside the name do not matter, and `\{{` stands for two braces. A gap holds a name and
nothing else, so nothing is ever computed. A text is checked when it is saved and filled in one pass when a call begins:
what comes out of a gap is not looked at again, so a caller's name cannot bring gaps of its own, and it stays within its
line, so it cannot pose as a paragraph of the instructions.
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from admin.errors import InvalidInputError
from relay import Direction

MAX_VALUE_CHARACTERS: Final = 500
MAX_FILLED_CHARACTERS: Final = 32_000
NAMES: Final = (
    "call.direction",  # inbound or outbound
    "caller.number",  # of the person on the line, whoever called whom
    "now.date",  # where the shop is, as 2026-03-02
    "now.time",  # as 14:05
    "now.weekday",  # as Monday
    "shop.name",
    "shop.number",
)
VARIABLE: Final = "variables."  # and a name that whoever had the call placed has given a value

_GAP = re.compile(r"(?P<braces>\\\{\{)|\{\{(?P<name>[^{}]*)\}\}|\{\{")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_BREAKS = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, halves of characters, ends of lines


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What texts may say of one call; "" and None for what is not known.

    caller_number: E.164; at: when the call began, as the shop's clocks show it; variables: name -> value.
    """

    direction: Direction = "inbound"
    caller_number: str = ""
    shop_name: str = ""
    shop_number: str = ""
    at: datetime | None = None
    variables: Mapping[str, str] = {}

    def values(self) -> dict[str, str]:
        """What each gap is filled with."""
        known = {
            "call.direction": self.direction,
            "caller.number": self.caller_number,
            "shop.name": self.shop_name,
            "shop.number": self.shop_number,
        }
        if self.at is not None:
            known["now.date"], known["now.time"] = self.at.strftime("%Y-%m-%d"), self.at.strftime("%H:%M")
            known["now.weekday"] = _WEEKDAYS[self.at.weekday()]
        return known | {VARIABLE + name: value for name, value in self.variables.items()}


def check(field: str, text: str) -> None:
    """Let a text pass if every gap in it can be filled.

    Raises: InvalidInputError, invalid_template; its message says where in which field, and which names there are.
    """
    for gap in _GAP.finditer(text):
        if gap["braces"] is not None:
            continue
        if gap["name"] is None:
            raise _problem(field, text, gap.start(), r"{{ opens a gap that }} does not close; \{{ stands for {{ itself")
        name = gap["name"].strip()
        if not _is_known(name):
            names = ", ".join((*NAMES, f"{VARIABLE}<name>"))
            raise _problem(field, text, gap.start(), f"nothing is called {name[:64]!r} here; there are {names}")


def gaps(text: str) -> frozenset[str]:
    """The names of what a text is filled with."""
    return frozenset(gap["name"].strip() for gap in _GAP.finditer(text) if gap["name"] is not None)


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its gaps filled, at most MAX_FILLED_CHARACTERS of it. What has no value leaves its gap empty."""
    lines = {name: _one_line(value[:MAX_VALUE_CHARACTERS]) for name, value in values.items()}

    def value(gap: re.Match[str]) -> str:
        if gap["braces"] is not None:
            return "{{"
        if gap["name"] is None:
            return gap[0]
        return lines.get(gap["name"].strip(), "")

    return _GAP.sub(value, text)[:MAX_FILLED_CHARACTERS]


def _is_known(name: str) -> bool:
    """Whether a gap may have this name."""
    if name.startswith(VARIABLE):
        return _VARIABLE_NAME.fullmatch(name, len(VARIABLE)) is not None
    return name in NAMES


def _one_line(value: str) -> str:
    return "".join(" " if unicodedata.category(each) in _BREAKS else each for each in value).strip()


def _problem(field: str, text: str, position: int, what: str) -> InvalidInputError:
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return InvalidInputError(f"{field}, line {line}, column {column}: {what}", code="invalid_template")

"""Looking for words in a column, whatever their case, the same on SQLite and PostgreSQL.

`LIKE` and `lower` know the case of ASCII letters only on SQLite, and on PostgreSQL what the database's locale knows. So
each letter is looked for in all its cases, by patterns in which both agree: GLOB and regular expressions.
"""

from typing import Final

from sqlalchemy import ColumnElement, Dialect

_GLOB_SIGNS: Final = frozenset("*?[")
_REGEX_SIGNS: Final = frozenset(r".^$*+?()[]{}|\\")


def contains(column: ColumnElement[str], words: str, dialect: Dialect) -> ColumnElement[bool]:
    """Whether these words stand somewhere in the column. No character of theirs has a meaning of its own."""
    if dialect.name == "sqlite":
        return column.bool_op("GLOB")("*" + "".join(map(_glob, words)) + "*")
    return column.bool_op("~")("".join(map(_regex, words)))


def _glob(character: str) -> str:
    cases = _cases(character)
    return f"[{cases}]" if len(cases) > 1 or character in _GLOB_SIGNS else character


def _regex(character: str) -> str:
    if character in _REGEX_SIGNS:
        return f"\\{character}"
    cases = _cases(character)
    return f"[{cases}]" if len(cases) > 1 else character


def _cases(character: str) -> str:
    """All cases of a letter that are one character, too ("ß" has none in upper case); else the character itself."""
    return "".join(sorted({each for each in (character, character.lower(), character.upper()) if len(each) == 1}))

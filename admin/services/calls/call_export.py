"""Calls as a file, made piece by piece: CSV for spreadsheets, JSON for programs. Pure.

A spreadsheet takes a cell that begins with one of `= + - @`, a tab or a line's end for a formula, and a caller chooses
what their number or a transfer's outcome says. So in CSV such text gets an apostrophe before it, telephone numbers
(`'+4930901820`) too: whoever reads the file with a program takes it off again.
"""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from admin.services.calls.call_view import CallItem

Format = Literal["csv", "json"]

MEDIA_TYPES: Final[dict[Format, str]] = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_COLUMNS: Final = CallItem.__struct_fields__


class Export:
    """One file: its head, its calls as they come, its end."""

    def __init__(self, chosen: Format) -> None:
        self._is_csv, self._is_first = chosen == "csv", True

    def head(self) -> bytes:
        """What comes before all calls."""
        return _csv([_COLUMNS]) if self._is_csv else b"["

    def body(self, calls: Iterable[CallItem]) -> bytes:
        """These calls."""
        if self._is_csv:
            return _csv([_cell(getattr(call, name)) for name in _COLUMNS] for call in calls)
        pieces = [msgspec.json.encode(call) for call in calls]
        if not pieces:
            return b""
        joint = b"\n" if self._is_first else b",\n"
        self._is_first = False
        return joint + b",\n".join(pieces)

    def end(self) -> bytes:
        """What comes after them."""
        return b"" if self._is_csv else b"\n]\n"


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if value.startswith(_FORMULA_SIGNS) else value
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            return value

"""What bodies of requests have in common: no field that we do not know, and no text that a database cannot hold."""

from typing import Annotated

import msgspec

from admin.patterns import EMAIL, KEEPABLE
from admin.store.paging import USUAL_PAGE, Cursor, Limit

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=KEEPABLE)]
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254, pattern=EMAIL)]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request's body."""


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which page of a list. cursor: the `next_cursor` of the page before."""

    cursor: Cursor | None = None
    limit: Limit = USUAL_PAGE

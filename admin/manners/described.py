"""What a route answers beside JSON of a known shape: nothing, a document, audio. /openapi.json tells it."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

_ANSWERS: Final = "tautline_answers"

View = TypeVar("View", bound=Callable[..., Any])


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of answer. content_type: None for one without a body."""

    status: int
    description: str
    content_type: str | None = None


def answers(status: int, description: str, content_type: str | None = None) -> Callable[[View], View]:
    """A route that answers so. Put it below the route's own decorator; it may stand there several times."""

    def mark(view: View) -> View:
        kept = [*answers_of(view), Answer(status=status, description=description, content_type=content_type)]
        setattr(view, _ANSWERS, kept)
        return view

    return mark


def answers_of(view: Callable[..., Any]) -> list[Answer]:
    """What was said of this route."""
    found: list[Answer] = getattr(view, _ANSWERS, [])
    return found

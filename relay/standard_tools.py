"""The tools that need nothing but the call itself: what time it is, and the call's end.

Only what the model is told and what it may say back; `relay.tools` runs them.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec

from relay.tools import Tool, ToolContext, ToolResult

# Not strftime's, which speak the language of whatever machine this is.
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class GetTimeArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `get_time` is to be told."""

    time_zone: Annotated[
        str, msgspec.Meta(description="IANA name of the time zone, such as Europe/Berlin.", max_length=64)
    ] = "UTC"

    def __post_init__(self) -> None:
        _zone(self.time_zone)


class LocalTime(msgspec.Struct, frozen=True):
    """What `get_time` tells. local_time: ISO 8601, to the second, with its offset from UTC."""

    local_time: str
    weekday: str
    time_zone: str


class EndCallArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `end_call` is to be told."""

    reason: Annotated[
        str, msgspec.Meta(description="Why the call ends, in a few words. It is kept on record.", max_length=500)
    ]


def get_time(clock: Callable[[ZoneInfo], datetime] = datetime.now) -> Tool[GetTimeArguments]:
    """The tool that tells the time. clock: gives the present moment in a time zone."""

    async def run(arguments: GetTimeArguments, _context: ToolContext) -> LocalTime:
        now = clock(_zone(arguments.time_zone))
        return LocalTime(now.isoformat(timespec="seconds"), _WEEKDAYS[now.weekday()], arguments.time_zone)

    return Tool(
        name="get_time",
        description=(
            "Gives the present date, time and weekday in a time zone. Use it whenever an answer depends on what day or "
            "time it is, such as whether a place is open now, or which date tomorrow is. Never guess the time."
        ),
        arguments=GetTimeArguments,
        run=run,
        deadline_s=2.0,
    )


def end_call() -> Tool[EndCallArguments]:
    """The tool that hangs up, after the goodbye.

    The caller hears the goodbye to its end, and only then the call ends; barging in calls the end off. Was nothing said
    in the answer that called this, one closing sentence is asked for first.
    """

    async def run(_arguments: EndCallArguments, _context: ToolContext) -> ToolResult:
        told = (
            "The call ends as soon as the caller has heard your goodbye. If the caller speaks before that, it goes on: "
            "answer, and call end_call again when all is said."
        )
        return ToolResult(told, then="end_call")

    return Tool(
        name="end_call",
        description=(
            "Ends the telephone call. Use it when the caller has said goodbye or has nothing more to ask, and only "
            "then. Say goodbye in one short sentence first, in the same answer: the caller hears it before the line "
            "closes. After calling this, say nothing more."
        ),
        arguments=EndCallArguments,
        run=run,
        deadline_s=2.0,
        on_barge_in="cancel",
    )


def _zone(name: str) -> ZoneInfo:
    """The time zone of this name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a directory, such as "Europe"
        raise ValueError(f"there is no time zone {name!r}; use an IANA name such as Europe/Berlin") from None

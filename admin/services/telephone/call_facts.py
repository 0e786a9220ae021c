"""What a persona's texts may say of the call that begins, from its stream's parameters and its number's entry. Pure."""

from datetime import UTC, datetime
from typing import Final

from admin.services.personas.templates import CallFacts
from admin.services.telephone.directory import Route
from relay import Arrival

VARIABLE_PREFIX: Final = "var_"  # of the stream's parameters that whoever placed the call gave it


def own_number(arrival: Arrival) -> str:
    """The number of ours that this call is about, "" when the stream does not say."""
    return arrival.parameters.get("caller" if arrival.direction == "outbound" else "called", "")


def facts_of(arrival: Arrival, route: Route, at: datetime) -> CallFacts:
    """Args: route, of our number; at, now, which the texts show as the shop's clocks do."""
    other_party = arrival.parameters.get("called" if arrival.direction == "outbound" else "caller", "")
    return CallFacts(
        direction=arrival.direction,
        caller_number=other_party,
        shop_name=route.label,
        shop_number=own_number(arrival),
        at=at.astimezone(UTC if route.timetable is None else route.timetable.zone),
        variables={
            name.removeprefix(VARIABLE_PREFIX): value
            for name, value in arrival.parameters.items()
            if name.startswith(VARIABLE_PREFIX)
        },
    )

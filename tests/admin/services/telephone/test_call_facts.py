"""What a persona's texts say of a call: who is on the other end, whichever way it was placed, by the shop's clocks."""

from datetime import UTC, datetime

from admin.services.telephone.call_facts import facts_of, own_number
from admin.services.telephone.directory import Route
from admin.services.telephone.opening_hours import OpeningHours, Timetable
from relay import Arrival

AT = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
PARTIES = {"caller": "+15551230001", "called": "+15551230002", "var_order": "two pizzas", "variable": "of nobody"}
BERLIN = Route(label="Luna", timetable=Timetable(OpeningHours(time_zone="Europe/Berlin")))


def test_of_a_call_that_came_in_the_caller_is_the_other_party() -> None:
    arrival = Arrival(call_sid="CA1", parameters=PARTIES)
    facts = facts_of(arrival, BERLIN, AT).values()
    assert own_number(arrival) == "+15551230002"
    assert facts["caller.number"] == "+15551230001"
    assert (facts["shop.name"], facts["shop.number"]) == ("Luna", "+15551230002")
    assert facts["call.direction"] == "inbound"


def test_of_a_call_that_was_placed_whoever_was_called_is_the_other_party() -> None:
    arrival = Arrival(call_sid="CA1", direction="outbound", parameters=PARTIES)
    facts = facts_of(arrival, BERLIN, AT).values()
    assert own_number(arrival) == "+15551230001"
    assert (facts["caller.number"], facts["shop.number"]) == ("+15551230002", "+15551230001")


def test_what_the_call_was_placed_with_is_known_by_its_name_and_nothing_else_is() -> None:
    facts = facts_of(Arrival(call_sid="CA1", parameters=PARTIES), BERLIN, AT)
    assert facts.variables == {"order": "two pizzas"}


def test_the_day_is_the_shops() -> None:
    facts = facts_of(Arrival(call_sid="CA1"), BERLIN, AT).values()
    assert (facts["now.date"], facts["now.time"], facts["now.weekday"]) == ("2026-03-03", "00:30", "Tuesday")
    assert facts_of(Arrival(call_sid="CA1"), Route(), AT).values()["now.date"] == "2026-03-02"

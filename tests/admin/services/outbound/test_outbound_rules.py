"""May this call be placed? The guards against toll fraud, and against calling people at night."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import msgspec
import pytest

from admin.services.outbound.outbound_rules import OutboundRules, QuietHours, Refusal, refuse_call, refuse_destination
from admin.store.outbound import Usage

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
BERLIN, NEW_YORK, LONDON = "+4930901820", "+12125551234", "+442079460000"
CALLER = "+4930123456"
RULES = OutboundRules(countries=frozenset({"DE", "US"}))
IDLE = Usage(calls=0, user_calls=0, active_calls=0)


def refuse(number: str = BERLIN, *, at: datetime = NOON, usage: Usage = IDLE, **rules: Any) -> Refusal | None:
    return refuse_call(msgspec.structs.replace(RULES, **rules), number, CALLER, usage, at)


def code(refusal: Refusal | None) -> str | None:
    return None if refusal is None else refusal.code


def test_nobody_is_called_until_a_country_is_named() -> None:
    assert code(refuse_destination(OutboundRules(), BERLIN)) == "outbound_disabled"


@pytest.mark.parametrize(
    ("countries", "number", "expected"),
    [
        ({"DE"}, BERLIN, None),
        ({"+49"}, BERLIN, None),
        ({"DE"}, LONDON, "destination_not_allowed"),
        ({"US"}, NEW_YORK, None),
        ({"US"}, "+18765551234", "destination_not_allowed"),  # Jamaica shares the calling code of the United States
        ({"+1"}, "+18764521234", None),
        ({"DE"}, "+491713920000", None),  # a mobile phone
        ({"DE"}, "+498001234567", None),  # free of charge for whoever calls
    ],
)
def test_only_named_countries_may_be_called(countries: set[str], number: str, expected: str | None) -> None:
    assert code(refuse(number, countries=frozenset(countries), quiet_hours=None)) == expected


@pytest.mark.parametrize(
    ("country", "number"),
    [
        ("DE", "+499001234567"),  # premium rate
        ("US", "+19002345678"),
        ("DE", "+491801234567"),  # shared cost
        ("GB", "+447012345678"),  # a personal number, which forwards to whatever it likes
        ("+881", "+881612345678"),  # a satellite
    ],
)
def test_expensive_numbers_of_an_allowed_country_are_refused(country: str, number: str) -> None:
    refusal = refuse(number, countries=frozenset({country}), quiet_hours=None)
    assert code(refusal) == "destination_not_allowed"


@pytest.mark.parametrize("number", ["", "030 901820", "+49 30 901820", "+4930", "+10000000000", "+49309018201\n", "x"])
def test_what_is_no_number_in_the_international_form_is_refused(number: str) -> None:
    assert code(refuse(number)) == "number_invalid"


def test_a_number_does_not_call_itself() -> None:
    assert code(refuse_call(RULES, BERLIN, BERLIN, IDLE, NOON)) == "destination_not_allowed"


@pytest.mark.parametrize(
    ("at", "number", "expected"),
    [
        (time(6, 59), BERLIN, "quiet_hours"),  # UTC; Berlin is an hour ahead in March
        (time(7, 0), BERLIN, None),
        (time(19, 59), BERLIN, None),
        (time(20, 0), BERLIN, "quiet_hours"),
        (time(12, 0), NEW_YORK, "quiet_hours"),  # seven in the morning there
        (time(13, 0), NEW_YORK, None),
    ],
)
def test_nobody_is_called_at_night_where_they_are(at: time, number: str, expected: str | None) -> None:
    assert code(refuse(number, at=datetime.combine(NOON.date(), at, UTC))) == expected


def test_a_number_that_may_be_in_several_zones_is_called_when_it_is_day_in_all_of_them() -> None:
    free_of_charge = "+18002345678"  # from New York to Honolulu
    morning_in_new_york = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
    assert code(refuse(free_of_charge, at=morning_in_new_york)) == "quiet_hours"


def test_quiet_hours_may_lie_in_one_zone_for_all() -> None:
    assert code(refuse(NEW_YORK, time_zone="Europe/Berlin")) is None


def test_quiet_hours_may_lie_within_a_day_or_be_switched_off() -> None:
    midday = QuietHours(time(12), time(14))
    assert (midday.holds(time(11, 59)), midday.holds(time(12)), midday.holds(time(14))) == (False, True, False)
    assert code(refuse(at=datetime(2026, 3, 2, 2, 0, tzinfo=UTC), quiet_hours=None)) is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(calls=9, user_calls=2, active_calls=1), None),
        (Usage(calls=10, user_calls=0, active_calls=0), "daily_calls_reached"),
        (Usage(calls=3, user_calls=3, active_calls=0), "user_daily_calls_reached"),
        (Usage(calls=0, user_calls=0, active_calls=2), "too_many_calls_at_once"),
    ],
)
def test_calls_are_capped_for_all_for_a_user_and_at_once(usage: Usage, expected: str | None) -> None:
    refusal = refuse(usage=usage, daily_calls=10, daily_calls_per_user=3, calls_at_once=2)
    assert code(refusal) == expected
    assert refusal is None or refusal.retry_after is not None


def test_a_cap_gives_way_a_day_after_the_oldest_call() -> None:
    usage = Usage(calls=10, user_calls=0, active_calls=0, oldest_at=NOON - timedelta(hours=20))
    refusal = refuse(usage=usage, daily_calls=10)
    assert refusal is not None
    assert refusal.retry_after == timedelta(hours=4)

"""Opening hours as a clock on the wall shows them, also in the nights in which it is put forward or back."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.services.telephone.opening_hours import (
    DAYS,
    ExceptionalDate,
    Interval,
    OpeningHours,
    Timetable,
    UnusableHoursError,
    WeeklyHours,
)

BERLIN = "Europe/Berlin"
# Berlin, the whole hour that is half an hour, a change at midnight, the southern half, and none at all.
ZONES = [BERLIN, "Australia/Lord_Howe", "America/Havana", "America/Santiago", "Asia/Kolkata", "UTC"]


def every_day(opens: str, closes: str, zone: str = BERLIN) -> Timetable:
    return Timetable(OpeningHours(time_zone=zone, weekly=(WeeklyHours(days=DAYS, opens=opens, closes=closes),)))


def at(moment: str, zone: str = BERLIN) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone))


def utc(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [("09:00", True), ("08:59:59", False), ("17:59:59", True), ("18:00", False), ("00:00", False)],
)
def test_opening_is_within_the_hours_and_closing_is_not(moment: str, is_open: bool) -> None:
    assert every_day("09:00", "18:00").is_open(at(f"2026-03-02T{moment}")) is is_open


def test_only_the_days_that_are_named_are_open() -> None:
    weekdays = WeeklyHours(days=("monday", "friday"), opens="09:00", closes="18:00")
    shop = Timetable(OpeningHours(time_zone=BERLIN, weekly=(weekdays,)))
    days = [shop.is_open(at(f"2026-03-0{day}T12:00")) for day in range(2, 9)]  # a Monday to a Sunday
    assert days == [True, False, False, False, True, False, False]


def test_a_lunch_break_is_closed() -> None:
    mornings, evenings = Interval(opens="11:30", closes="14:00"), Interval(opens="17:00", closes="23:00")
    day = ExceptionalDate(date=date(2026, 3, 2), intervals=(mornings, evenings))
    shop = Timetable(OpeningHours(time_zone=BERLIN, exceptions=(day,)))
    assert [shop.is_open(at(f"2026-03-02T{hour}:00")) for hour in (12, 15, 18)] == [True, False, True]


def test_hours_that_end_after_midnight_run_into_the_next_day() -> None:
    fridays = WeeklyHours(days=("friday",), opens="18:00", closes="02:00")
    bar = Timetable(OpeningHours(time_zone=BERLIN, weekly=(fridays,)))
    assert [bar.is_open(at(moment)) for moment in ("2026-03-06T23:00", "2026-03-07T01:59", "2026-03-07T02:00")] == [
        True,
        True,
        False,
    ]
    assert not bar.is_open(at("2026-03-06T01:00"))


def test_a_whole_day_ends_at_midnight() -> None:
    sundays = WeeklyHours(days=("sunday",), opens="00:00", closes="24:00")
    shop = Timetable(OpeningHours(time_zone=BERLIN, weekly=(sundays,)))
    open_at = [shop.is_open(at(each)) for each in ("2026-03-08T00:00", "2026-03-08T23:59:59", "2026-03-09T00:00")]
    assert open_at == [True, True, False]


def test_a_date_of_its_own_replaces_the_week_but_not_the_night_before() -> None:
    nights = WeeklyHours(days=DAYS, opens="18:00", closes="02:00")
    closed, short = (
        ExceptionalDate(date=date(2026, 12, 24)),
        ExceptionalDate(date=date(2026, 12, 31), intervals=(Interval(opens="10:00", closes="12:00"),)),
    )
    bar = Timetable(OpeningHours(time_zone=BERLIN, weekly=(nights,), exceptions=(closed, short)))
    assert bar.is_open(at("2026-12-24T01:00"))
    assert not bar.is_open(at("2026-12-24T20:00"))
    assert not bar.is_open(at("2026-12-25T01:00"))
    assert [bar.is_open(at(f"2026-12-31T{hour}:00")) for hour in (11, 20)] == [True, False]


def test_the_hours_follow_the_shops_clock_over_the_year() -> None:
    shop = every_day("09:00", "18:00")
    assert [shop.is_open(utc(f"2026-{month}-02T08:30")) for month in ("01", "07")] == [True, True]
    assert [shop.is_open(utc(f"2026-{month}-02T07:30")) for month in ("01", "07")] == [False, True]


def test_hours_within_the_hour_that_is_skipped_are_the_rest_of_the_night() -> None:
    """On 29 March 2026 Berlin's clocks jump from 02:00 to 03:00, at 01:00 UTC."""
    late = every_day("02:30", "03:15")
    assert [late.is_open(utc(f"2026-03-29T{clock}")) for clock in ("00:59:59", "01:00", "01:14", "01:15")] == [
        False,
        True,
        True,
        False,
    ]
    assert not any(every_day("02:15", "02:45").is_open(utc(f"2026-03-29T{hour:02}:30")) for hour in range(24))


def test_hours_within_the_hour_that_comes_twice_are_one_stretch() -> None:
    """On 25 October 2026 Berlin's clocks show 02:00 to 03:00 twice, from 00:00 to 02:00 UTC."""
    night = every_day("22:00", "02:30")
    quarters = [utc("2026-10-24T20:00") + timedelta(minutes=15 * number) for number in range(24)]
    assert [night.is_open(quarter) for quarter in quarters] == [True] * 22 + [False] * 2


@pytest.mark.parametrize(
    "hours",
    [
        {"time_zone": "Europe/Atlantis"},
        {"time_zone": "Europe"},
        {"time_zone": BERLIN, "weekly": [{"days": ["monday"], "opens": "09:00", "closes": "09:00"}]},
        {"time_zone": BERLIN, "exceptions": [{"date": "2026-12-24"}, {"date": "2026-12-24"}]},
        {
            "time_zone": BERLIN,
            "exceptions": [{"date": "2026-12-24", "intervals": [{"opens": "09:00", "closes": "09:00"}]}],
        },
    ],
)
def test_hours_that_no_clock_shows_are_refused(hours: dict[str, object]) -> None:
    with pytest.raises(UnusableHoursError):
        Timetable(msgspec.convert(hours, OpeningHours))


@pytest.mark.parametrize("clock", ["9:00", "24:01", "12:60", "noon", "", "12:00:00", "24:00", "09:00\n"])
def test_a_time_that_no_clock_shows_is_refused(clock: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"opens": clock, "closes": "18:00"}, Interval)


clocks = st.times().map(lambda each: each.strftime("%H:%M"))
zones = st.sampled_from(ZONES)
moments = st.integers(0, 3 * 365 * 24 * 60).map(lambda minutes: utc("2025-01-01") + timedelta(minutes=minutes))


def reads_open(moment: datetime, opens: str, closes: str, zone: str) -> bool:
    """What somebody says who looks at the wall, every day alike."""
    shown = moment.astimezone(ZoneInfo(zone)).time()
    from_, to = time.fromisoformat(opens), time.fromisoformat(closes)
    return from_ <= shown < to if from_ < to else shown >= from_ or shown < to


@given(moments, clocks, clocks, zones)
def test_whoever_reads_open_off_the_wall_is_right(moment: datetime, opens: str, closes: str, zone: str) -> None:
    if opens != closes and reads_open(moment, opens, closes, zone):
        assert every_day(opens, closes, zone).is_open(moment)


@given(moments, clocks, clocks, zones)
def test_whoever_reads_closed_is_right_on_all_days_but_those_with_a_jump(
    moment: datetime, opens: str, closes: str, zone: str
) -> None:
    local = ZoneInfo(zone)
    nearby = (moment + timedelta(days=days) for days in (-2, -1, 0, 1, 2))
    jumps = len({each.astimezone(local).utcoffset() for each in nearby}) > 1
    if opens != closes and not jumps:
        assert every_day(opens, closes, zone).is_open(moment) == reads_open(moment, opens, closes, zone)


@given(st.dates(date(2025, 1, 2), date(2027, 12, 30)), clocks, clocks, zones)
def test_a_days_hours_are_one_stretch(day: date, opens: str, closes: str, zone: str) -> None:
    if opens == closes:
        return
    only = ExceptionalDate(date=day, intervals=(Interval(opens=opens, closes=closes),))
    shop = Timetable(OpeningHours(time_zone=zone, exceptions=(only,)))
    noon = datetime.combine(day, time(12), UTC)
    steps = [shop.is_open(noon + timedelta(minutes=10 * number)) for number in range(-300, 301)]
    changes = sum(one != other for one, other in pairwise(steps))
    assert changes <= 2
    assert not steps[0]
    assert not steps[-1]

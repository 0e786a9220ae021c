"""Opening hours: when a number is answered by its persona, and when its callers meet the fallback. Pure.

Hours are what a clock on the shop's wall shows, so they are kept as that, with the wall's time zone, and turned into
moments for the day that is asked about. Twice a year that clock jumps. A time that it skips is the moment of the jump;
of one that it shows twice, opening means the first and closing the second. So hours are never torn in two, and whoever
reads "open" off the wall is right.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from admin.patterns import END

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DAYS: Final[tuple[Day, ...]] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MIDNIGHT: Final = "24:00"  # at the end of a day
MAX_INTERVALS: Final = 50  # of a week
MAX_INTERVALS_OF_A_DATE: Final = 10
MAX_EXCEPTIONS: Final = 400

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)

_TIME: Final = "([01][0-9]|2[0-3]):[0-5][0-9]"

Opens = Annotated[str, msgspec.Meta(pattern=f"^{_TIME}{END}", examples=["09:00"])]
Closes = Annotated[str, msgspec.Meta(pattern=f"^({_TIME}|{MIDNIGHT}){END}", examples=["18:30"])]
ZoneName = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*{END}", max_length=64, examples=["Europe/Berlin"]
    ),
]


class UnusableHoursError(ValueError):
    """Hours that say nothing a clock could show. Its text says what is wrong."""


class Interval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From when to when, HH:MM. Closing before opening means the next day; 24:00 is a day's end."""

    opens: Opens
    closes: Closes


class WeeklyHours(Interval, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same interval on several days of the week."""

    days: Annotated[tuple[Day, ...], msgspec.Meta(min_length=1, max_length=7)]


class ExceptionalDate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A date with hours of its own, in place of its week's; without any it is closed."""

    date: date
    intervals: Annotated[tuple[Interval, ...], msgspec.Meta(max_length=MAX_INTERVALS_OF_A_DATE)] = ()


class OpeningHours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When somebody is there. time_zone: of the tz database."""

    time_zone: ZoneName
    weekly: Annotated[tuple[WeeklyHours, ...], msgspec.Meta(max_length=MAX_INTERVALS)] = ()
    exceptions: Annotated[tuple[ExceptionalDate, ...], msgspec.Meta(max_length=MAX_EXCEPTIONS)] = ()


class Timetable:
    """Opening hours, ready to be asked. Raises: UnusableHoursError. Attributes: zone, of the shop's clocks."""

    def __init__(self, hours: OpeningHours) -> None:
        self.zone = _zone(hours.time_zone)
        self._by_date = {each.date: each.intervals for each in hours.exceptions}
        if len(self._by_date) < len(hours.exceptions):
            raise UnusableHoursError("a date is listed twice among the exceptions")
        self._by_weekday = [[each for each in hours.weekly if day in each.days] for day in DAYS]
        _require_length(interval for day in (*self._by_weekday, *self._by_date.values()) for interval in day)

    def is_open(self, at: datetime) -> bool:
        """Whether this moment lies within the hours."""
        return any(opens <= at < closes for opens, closes in self._periods_around(at))

    def _periods_around(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        """What may last at this moment: of the day before, which may run into this one, and of the one after, which
        has begun where a clock that is put back shows the old date once more.
        """
        today = at.astimezone(self.zone).date()
        for day in (today - _DAY, today, today + _DAY):
            for interval in self._by_date.get(day, self._by_weekday[day.weekday()]):
                yield self._period(day, interval)

    def _period(self, day: date, interval: Interval) -> tuple[datetime, datetime]:
        closing_day = day + _DAY if interval.closes <= interval.opens or interval.closes == MIDNIGHT else day
        closing_time = "00:00" if interval.closes == MIDNIGHT else interval.closes
        return self._moment(day, interval.opens, fold=0), self._moment(closing_day, closing_time, fold=1)

    def _moment(self, day: date, clock: str, *, fold: int) -> datetime:
        """When the clock on the wall shows this, in UTC. fold: which time, should it do so twice."""
        shown = datetime.combine(day, time.fromisoformat(clock), self.zone)
        before, after = (shown.replace(fold=each).astimezone(UTC) for each in (0, 1))
        if before <= after:
            return (before, after)[fold]
        return self._jump(after, before)  # never shown: each reading takes the other's side of the jump

    def _jump(self, early: datetime, late: datetime) -> datetime:
        """When the clock is put forward, which it is between these two moments."""
        offset = early.astimezone(self.zone).utcoffset()
        while late - early > _SECOND:
            middle = early + (late - early) / 2
            if middle.astimezone(self.zone).utcoffset() == offset:
                early = middle
            else:
                late = middle
        return late.replace(microsecond=0)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: a folder of zones
        raise UnusableHoursError(f"there is no time zone {name}") from None


def _require_length(intervals: Iterable[Interval]) -> None:
    if any(each.opens == each.closes for each in intervals):
        raise UnusableHoursError("an interval opens and closes at the same time; the whole day is 00:00 to 24:00")

"""May this call be placed? The guards against toll fraud and against calling people at night. Pure.

Whoever gets hold of a key, or of an agent's words, will try to have expensive numbers called. So nothing may be called
until somebody names the countries, premium numbers are never called, and what is left is capped: per user, for all, at
once. Whether a number may be reached also holds for transfers, which are paid for in the same way.
"""

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec
import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType
from phonenumbers import timezone as zones

from admin.store.outbound import Usage

DAY: Final = timedelta(days=1)  # the caps look back so far: nobody gets two days' calls around midnight
RETRY_AT_ONCE: Final = timedelta(seconds=30)

# What an ordinary call reaches. The rest is what fraud lives on: premium-rate and shared-cost numbers, personal numbers
# that forward to whatever they like, satellites, pagers, and numbers that nobody can tell the kind of.
_ORDINARY: Final = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
        PhoneNumberType.TOLL_FREE,
    }
)

_NOWHERE: Final = "001"  # phonenumbers' region of satellites and international services, whatever their type

RefusalCode = Literal[
    "outbound_disabled", "number_invalid", "destination_not_allowed", "quiet_hours",
    "too_many_calls_at_once", "daily_calls_reached", "user_daily_calls_reached",
]  # fmt: skip


class QuietHours(msgspec.Struct, frozen=True):
    """When nobody is called, from one time of day to another, which may lie after midnight."""

    begin: time
    end: time

    def holds(self, at: time) -> bool:
        """Whether this time of day is quiet."""
        if self.begin <= self.end:
            return self.begin <= at < self.end
        return at >= self.begin or at < self.end


class OutboundRules(msgspec.Struct, frozen=True, kw_only=True):
    """What may be called, how often, and when.

    countries: regions (DE) or calling codes (+49), none switches outbound calls off; quiet_hours: None for never;
    time_zone: of the quiet hours, None for the destination's own; caller_number: that the first account's calls are
    placed from while it has no number of its own.
    """

    countries: frozenset[str] = frozenset()
    daily_calls: int = 200
    daily_calls_per_user: int = 50
    calls_at_once: int = 5
    quiet_hours: QuietHours | None = QuietHours(time(21), time(8))
    time_zone: str | None = None
    caller_number: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    """Why not. retry_after: when it may be tried again, None if that would not help."""

    code: RefusalCode
    message: str
    retry_after: timedelta | None = None


def refuse_destination(rules: OutboundRules, number: str) -> Refusal | None:
    """Why this number may not be reached, None if it may. number: as somebody wrote it."""
    if not rules.countries:
        return Refusal("outbound_disabled", "outbound calls are switched off: OUTBOUND_COUNTRIES names no country")
    parsed = parse(number)
    if parsed is None:
        return Refusal("number_invalid", "that is no telephone number in the international form, such as +4930901820")
    region = phonenumbers.region_code_for_number(parsed)
    if not rules.countries & {f"+{parsed.country_code}", region}:
        return Refusal("destination_not_allowed", "numbers of that country may not be called from here")
    if region == _NOWHERE or phonenumbers.number_type(parsed) not in _ORDINARY:
        return Refusal("destination_not_allowed", "only ordinary fixed, mobile and toll-free numbers may be called")
    return None


def refuse_call(rules: OutboundRules, number: str, caller: str, usage: Usage, now: datetime) -> Refusal | None:
    """Why this call may not be placed now, None if it may. caller: the number it is placed from."""
    if (refusal := refuse_destination(rules, number)) is not None:
        return refusal
    if number == caller:
        return Refusal("destination_not_allowed", "a number cannot call itself")
    return _refuse_hour(rules, number, now) or _refuse_amount(rules, usage, now)


def parse(number: str) -> PhoneNumber | None:
    """The number, None if it is not one that exists, written in E.164."""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    is_e164 = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == number
    return parsed if is_e164 else None


def _refuse_hour(rules: OutboundRules, number: str, now: datetime) -> Refusal | None:
    quiet, parsed = rules.quiet_hours, parse(number)
    if quiet is None or parsed is None:
        return None
    names = (rules.time_zone,) if rules.time_zone is not None else _zones_of(parsed)
    # A number may lie in several zones. It is called when it is day in all of them.
    if not any(quiet.holds(now.astimezone(ZoneInfo(name)).time()) for name in names):
        return None
    span = f"{quiet.begin:%H:%M} to {quiet.end:%H:%M}"
    return Refusal("quiet_hours", f"nobody is called from {span} where that number is")


def _zones_of(number: PhoneNumber) -> Sequence[str]:
    found: Sequence[str] = zones.time_zones_for_number(number)
    return [name for name in found if name != zones.UNKNOWN_TIMEZONE] or ["UTC"]


def _refuse_amount(rules: OutboundRules, usage: Usage, now: datetime) -> Refusal | None:
    if usage.active_calls >= rules.calls_at_once:
        message = f"{rules.calls_at_once} outbound calls are in progress, and no more are allowed at once"
        return Refusal("too_many_calls_at_once", message, RETRY_AT_ONCE)
    if usage.user_calls >= rules.daily_calls_per_user:
        message = f"you have placed {usage.user_calls} calls within a day, and no more are allowed"
        return Refusal("user_daily_calls_reached", message, _until_day_after(usage.user_oldest_at, now))
    if usage.calls >= rules.daily_calls:
        message = f"{usage.calls} calls were placed within a day, and no more are allowed"
        return Refusal("daily_calls_reached", message, _until_day_after(usage.oldest_at, now))
    return None


def _until_day_after(oldest_at: datetime | None, now: datetime) -> timedelta:
    return DAY if oldest_at is None else max(timedelta(seconds=1), oldest_at + DAY - now)

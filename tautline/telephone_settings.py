"""The part of the settings that says which Twilio account is ours, and how it is used: placed calls, and the tunnel.

`Settings` has these variables among its own, and is read, checked and shown as one. The rules' defaults are their own.
"""

import re
from datetime import time
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from admin.services.outbound.twilio_rest import API_URL, Credentials
from tautline.documented import Documented
from tautline.persona_settings import PersonaSettings
from tautline.setting_types import Number, Switch, Word

if TYPE_CHECKING:  # the numbering plans of the world take a while to load, and `tautline --help` needs none
    from admin.services.outbound.outbound_rules import OutboundRules

OFF: Final = "off"  # OUTBOUND_QUIET_HOURS: an empty variable means unset, so having none needs a word

_QUIET: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_COUNTRY: Final = re.compile(r"[A-Z]{2}|\+[1-9][0-9]{0,2}")
_API_ADDRESS: Final = r"\A(https://[A-Za-z0-9._-]+|http://(127\.0\.0\.1|localhost))(:[0-9]{1,5})?\Z"

Calls = Annotated[int, msgspec.Meta(ge=0, le=100_000)]


class TelephoneSettings(PersonaSettings, frozen=True, kw_only=True, rename="upper"):
    """What TELEPHONE_DOCUMENTED describes, checked. It continues PersonaSettings, because structs have one parent."""

    twilio_account_sid: Annotated[str, msgspec.Meta(pattern=r"\AAC[0-9a-fA-F]{32}\Z")] | None = None
    twilio_auth_token: Word | None = None
    twilio_auth_token_secondary: Word | None = None
    twilio_shared_keys: str = ""
    twilio_number: Number | None = None
    twilio_api_url: Annotated[str, msgspec.Meta(pattern=_API_ADDRESS)] = API_URL
    outbound_countries: str = ""
    outbound_daily_calls: Calls = 200
    outbound_daily_calls_per_user: Calls = 50
    outbound_calls_at_once: Calls = 5
    outbound_quiet_hours: str = "21:00-08:00"
    outbound_time_zone: str | None = None
    enable_ngrok: Switch = "off"
    ngrok_authtoken: Word | None = None

    def twilio_credentials(self) -> Credentials | None:
        """The account that calls are placed with, None if it is not known."""
        if self.twilio_account_sid is None or self.twilio_auth_token is None:
            return None
        return Credentials(
            account_sid=self.twilio_account_sid, auth_token=self.twilio_auth_token, api_url=self.twilio_api_url
        )

    def shared_keys(self) -> dict[str, str]:
        """TWILIO_SHARED_KEYS, taken apart: secrets by id."""
        pairs = (each.partition(":") for each in self.twilio_shared_keys.split(",") if each)
        return {key: secret for key, _, secret in pairs}

    def outbound_rules(self) -> "OutboundRules":
        """What may be called, how often, and when."""
        from admin.services.outbound.outbound_rules import OutboundRules, QuietHours

        found = _QUIET.fullmatch(self.outbound_quiet_hours)
        begin, end = (time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))) if found else (None, None)
        return OutboundRules(
            countries=frozenset(each for each in self.outbound_countries.split(",") if each),
            daily_calls=self.outbound_daily_calls,
            daily_calls_per_user=self.outbound_daily_calls_per_user,
            calls_at_once=self.outbound_calls_at_once,
            quiet_hours=QuietHours(begin, end) if begin is not None and end is not None else None,
            time_zone=self.outbound_time_zone,
            caller_number=self.twilio_number,
        )


def countries(text: str) -> str:
    """OUTBOUND_COUNTRIES in one way of writing. Raises: ValueError."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, SUPPORTED_REGIONS

    found = [each.strip().upper() for each in text.split(",")]
    known = SUPPORTED_REGIONS | {f"+{code}" for code in COUNTRY_CODE_TO_REGION_CODE}
    if not all(_COUNTRY.fullmatch(each) and each in known for each in found):
        raise ValueError
    return ",".join(found)


def quiet_hours(text: str) -> str:
    """OUTBOUND_QUIET_HOURS in one way of writing. Raises: ValueError."""
    text = text.lower().replace(" ", "")
    if text != OFF and not _QUIET.fullmatch(text):
        raise ValueError
    return text


def time_zone(text: str) -> str:
    """A time zone that there is. Raises: ValueError."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, OSError):  # a folder of zones is an OSError
        raise ValueError from None
    return text


def key_list(text: str) -> str:
    """TWILIO_SHARED_KEYS in one way of writing. Raises: ValueError."""
    pairs = [each.strip() for each in text.split(",")]
    if not all(re.fullmatch(r"[\x21-\x7e]+", each) and all(each.partition(":")[::2]) for each in pairs):
        raise ValueError
    return ",".join(pairs)


TELEPHONE_DOCUMENTED: tuple[Documented, ...] = (
    Documented(
        variable="TWILIO_ACCOUNT_SID",
        meaning="The Twilio account that places outgoing calls.",
        must_be="AC and 32 hexadecimal digits",
        example="AC0123456789abcdef0123456789abcdef",
    ),
    Documented(
        variable="TWILIO_AUTH_TOKEN",
        meaning="The account's primary auth token; it proves that a request is Twilio's.",
        must_be="the token as Twilio's console shows it, without spaces",
        example="00112233445566778899aabbccddeeff",
        secrecy="secret",
    ),
    Documented(
        variable="TWILIO_NUMBER",
        meaning="The number that calls are placed from by accounts without one of their own, and that the tunnel and "
        "`tautline twilio configure-number` point at this server.",
        must_be="a telephone number in the international form",
        example="+4930901820",
    ),
    Documented(
        variable="TWILIO_API_URL",
        meaning="Twilio's REST API; another one is for a simulator.",
        must_be="https:// and a host, or http://127.0.0.1 and a port",
        example="https://api.twilio.com",
    ),
    Documented(
        variable="OUTBOUND_COUNTRIES",
        meaning="Where calls may be placed to; empty switches outbound calls off. +1 stands for all its countries, US "
        "for one.",
        must_be="regions or calling codes, separated by commas",
        example="DE,AT,+41",
    ),
    Documented(
        variable="OUTBOUND_DAILY_CALLS",
        meaning="How many calls may be placed within 24 hours, by all together.",
        must_be="a whole number from 0 to 100000",
        example="500",
    ),
    Documented(
        variable="OUTBOUND_DAILY_CALLS_PER_USER",
        meaning="How many of them one user may place.",
        must_be="a whole number from 0 to 100000",
        example="100",
    ),
    Documented(
        variable="OUTBOUND_CALLS_AT_ONCE",
        meaning="How many placed calls may be in progress at once.",
        must_be="a whole number from 0 to 100000",
        example="10",
    ),
    Documented(
        variable="OUTBOUND_QUIET_HOURS",
        meaning="When nobody is called, in the time zone of whoever would be called; off for never.",
        must_be="two times of day, or off",
        example="20:30-09:00",
    ),
    Documented(
        variable="OUTBOUND_TIME_ZONE",
        meaning="The time zone of the quiet hours, instead of the called number's own.",
        must_be="a time zone's name",
        example="Europe/Berlin",
    ),
    Documented(
        variable="ENABLE_NGROK",
        meaning="Whether the start opens a tunnel through ngrok, for development, and uses its address as PUBLIC_URL.",
        must_be="off or on",
        example="on",
    ),
    Documented(
        variable="NGROK_AUTHTOKEN",
        meaning="The token of the ngrok account that the tunnel belongs to.",
        must_be="the token as ngrok's dashboard shows it, without spaces",
        example="2abcDEFghiJKLmnoPQRstuVWXyz_1234567890abcdefghij",
        secrecy="secret",
    ),
    Documented(
        variable="TWILIO_AUTH_TOKEN_SECONDARY",
        meaning="Another auth token whose signatures count, too: the new one, while Twilio still signs with the old.",
        must_be="the token as Twilio's console shows it, without spaces",
        example="ffeeddccbbaa99887766554433221100",
        secrecy="secret",
    ),
    Documented(
        variable="TWILIO_SHARED_KEYS",
        meaning="Shared keys that sign webhooks in place of the auth token, where Twilio was told to use one.",
        must_be="ids and secrets joined by colons, separated by commas",
        example="webhooks_sharedkey_1:secret",
        secrecy="secret",
    ),
)

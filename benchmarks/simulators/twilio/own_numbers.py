"""The account's telephone numbers, and where the calls to each are reported: IncomingPhoneNumbers.json."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from benchmarks.simulators.twilio.resources import API_VERSION, ApiProblemError

BAD_VOICE_METHOD: Final = 21403
BAD_VOICE_URL: Final = 21402

Form = Mapping[str, Sequence[str]]


class OwnNumber(msgspec.Struct, kw_only=True):
    """One number. voice_url: asked for TwiML when somebody calls it."""

    sid: str
    number: str
    voice_url: str = ""
    voice_method: str = "POST"


class OwnNumbers:
    """All of an account's. Attributes: by_number, for tests to look at."""

    def __init__(self, account_sid: str, numbers: Iterable[str]) -> None:
        self._account_sid = account_sid
        self.by_number = {number: OwnNumber(sid=_sid(number), number=number) for number in sorted(numbers)}

    def page(self, wanted: str) -> dict[str, Any]:
        """The numbers that hold these digits, or all, as one page."""
        found = [each for each in self.by_number.values() if wanted.lstrip("+") in each.number]
        uri = f"/{API_VERSION}/Accounts/{self._account_sid}/IncomingPhoneNumbers.json"
        return {
            "incoming_phone_numbers": [self.resource(each) for each in found],
            "first_page_uri": uri,
            "next_page_uri": None,
            "previous_page_uri": None,
            "page": 0,
            "page_size": 50,
            "start": 0,
            "end": max(0, len(found) - 1),
            "uri": uri,
        }

    def find(self, sid: str) -> OwnNumber | None:
        """The number with this SID."""
        return next((each for each in self.by_number.values() if each.sid == sid), None)

    def change(self, number: OwnNumber, form: Form) -> None:
        """What a request asks for. Raises: ApiProblemError."""
        url, method = _last(form, "VoiceUrl"), _last(form, "VoiceMethod")
        if url is not None and not url.startswith(("http://", "https://")):
            raise ApiProblemError(400, BAD_VOICE_URL, f"VoiceUrl is not a valid URL: {url}")
        if method is not None and method not in ("GET", "POST"):
            raise ApiProblemError(400, BAD_VOICE_METHOD, f"VoiceMethod may be GET or POST, not {method}")
        number.voice_url = number.voice_url if url is None else url
        number.voice_method = method or number.voice_method

    def resource(self, number: OwnNumber) -> dict[str, Any]:
        """A number as the API tells of it."""
        return {
            "sid": number.sid,
            "account_sid": self._account_sid,
            "phone_number": number.number,
            "friendly_name": number.number,
            "voice_url": number.voice_url,
            "voice_method": number.voice_method,
            "capabilities": {"voice": True, "sms": False, "mms": False, "fax": False},
            "api_version": API_VERSION,
            "uri": f"/{API_VERSION}/Accounts/{self._account_sid}/IncomingPhoneNumbers/{number.sid}.json",
        }


def _last(form: Form, name: str) -> str | None:
    values = form.get(name)
    return values[-1] if values else None


def _sid(number: str) -> str:
    return f"PN{hashlib.sha256(number.encode()).hexdigest()[:32]}"

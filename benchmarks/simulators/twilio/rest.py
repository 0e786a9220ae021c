"""The REST API: authenticate, find the resource, do what is asked. Knows no socket; `httpd.py` brings the requests.

Served under /2010-04-01/Accounts/{sid}: Calls.json (create), Calls/{sid}.json (fetch, update), Recordings/{sid} with
.json, .wav or nothing behind it (fetch, delete), IncomingPhoneNumbers.json (list), IncomingPhoneNumbers/{sid}.json
(fetch, update).
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import parse_qs

import msgspec
import trio

from benchmarks.simulators.twilio.call import Call
from benchmarks.simulators.twilio.httpd import HttpRequest, HttpResponse
from benchmarks.simulators.twilio.options import CallOptions
from benchmarks.simulators.twilio.own_numbers import OwnNumbers
from benchmarks.simulators.twilio.parameters import BAD_STATUS_EVENTS, has_unknown_events, read_create, read_update
from benchmarks.simulators.twilio.progress import TERMINAL
from benchmarks.simulators.twilio.recordings import Recordings
from benchmarks.simulators.twilio.resources import ApiProblemError, as_json, call_resource, recording_resource

NOT_AUTHENTICATED: Final = 20003
WRONG_METHOD: Final = 20004
NOT_FOUND: Final = 20404
TOO_MANY_REQUESTS: Final = 20429
BAD_CALL_STATE: Final = 21220

_PATH: Final = re.compile(
    r"/2010-04-01/Accounts/(?P<account>AC\w+)/(?:(?P<calls>Calls)\.json|Calls/(?P<call>CA\w+)\.json"
    r"|Recordings/(?P<recording>RE\w+)(?P<suffix>\.json|\.wav)?"
    r"|(?P<numbers>IncomingPhoneNumbers)\.json|IncomingPhoneNumbers/(?P<number>PN\w+)\.json)"
)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Whose API this is. The Auth Token signs webhooks, too; an API key's secret only opens the API."""

    sid: str
    auth_token: str
    api_keys: Mapping[str, str] = {}  # SK… to its secret
    numbers: frozenset[str] = frozenset()  # that calls may come from; empty allows any

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Account({self.sid})"


class Faults:
    """What to go wrong next, on request. Attributes may be set at any time."""

    def __init__(self) -> None:
        self.too_many = 0  # so many requests are answered with 429
        self.hang_s = 0.0  # every request waits so long before it is looked at
        self.refused: dict[str, int] = {}  # numbers that cannot be called, with the code that says so
        self.forgets_ended_calls = False  # a call that is over is 404 instead of 400 when somebody ends it


class Switch(Protocol):
    """What the API acts on: the simulator's calls."""

    account: Account
    template: CallOptions
    recordings: Recordings
    faults: Faults
    calls: dict[str, Call]
    own_numbers: OwnNumbers

    def warn(self, code: int, detail: str) -> None:
        """Note what Twilio would have logged."""

    def start_outbound(self, options: CallOptions) -> Call:
        """Begin to place a call."""


class RestApi:
    """Answers requests."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """One request, whatever comes of it."""
        await trio.sleep(self._switch.faults.hang_s)
        try:
            return self._answer(request)
        except ApiProblemError as problem:
            return problem.response()

    def _answer(self, request: HttpRequest) -> HttpResponse:
        self._authenticate(request)
        if self._switch.faults.too_many > 0:
            self._switch.faults.too_many -= 1
            raise ApiProblemError(429, TOO_MANY_REQUESTS, "Too Many Requests")
        path = _PATH.fullmatch(request.path)
        if path is None or path["account"] != self._switch.account.sid:
            raise _not_found(request)
        if path["calls"]:
            return self._create(request)
        if path["call"]:
            return self._call(request, path["call"])
        if path["numbers"]:
            return self._numbers(request)
        if path["number"]:
            return self._number(request, path["number"])
        return self._recording(request, path["recording"], path["suffix"] or "")

    def _authenticate(self, request: HttpRequest) -> None:
        account = self._switch.account
        user, secret = _credentials(request.headers.get("authorization", ""))
        known = account.auth_token if user == account.sid else account.api_keys.get(user)
        if known is None or not hmac.compare_digest(known.encode(), secret.encode()):
            raise ApiProblemError(401, NOT_AUTHENTICATED, "Authenticate")

    def _create(self, request: HttpRequest) -> HttpResponse:
        _require(request, "POST")
        switch, form = self._switch, request.form()
        options = read_create(form, switch.template, switch.account.numbers)
        if (code := switch.faults.refused.get(options.to_number)) is not None:
            raise ApiProblemError(400, code, f"{options.to_number} cannot be called")
        if has_unknown_events(form):
            switch.warn(BAD_STATUS_EVENTS, "StatusCallbackEvent names events that do not exist")
        return as_json(201, call_resource(switch.start_outbound(options)))

    def _call(self, request: HttpRequest, sid: str) -> HttpResponse:
        _require(request, "GET", "POST")
        call = self._switch.calls.get(sid)
        if call is None:
            raise _not_found(request)
        if request.method == "GET":
            return as_json(200, call_resource(call))
        return self._update(request, call)

    def _update(self, request: HttpRequest, call: Call) -> HttpResponse:
        update = read_update(request.form())
        if update.ends_as is not None:
            return self._end(request, call, update.ends_as == "completed")
        if update.order is not None:
            if not call.redirect(update.order):
                raise ApiProblemError(400, BAD_CALL_STATE, "Call is not in-progress. Cannot redirect.")
            if update.subscription is not None:
                call.subscribe(update.subscription)
        return as_json(200, call_resource(call))

    def _end(self, request: HttpRequest, call: Call, even_if_answered: bool) -> HttpResponse:
        if call.status in TERMINAL:
            if self._switch.faults.forgets_ended_calls:
                raise _not_found(request)
            raise ApiProblemError(400, BAD_CALL_STATE, f"Call is {call.status}. Cannot end it.")
        if call.status == "in-progress" and not even_if_answered:
            return as_json(200, call_resource(call))  # canceling is for calls that nobody has answered yet
        was_answered = call.status == "in-progress"
        call.hang_up()
        return as_json(200, call_resource(call, status="completed" if was_answered else "canceled"))

    def _numbers(self, request: HttpRequest) -> HttpResponse:
        _require(request, "GET")
        wanted = parse_qs(request.query).get("PhoneNumber", [""])[-1]
        return as_json(200, self._switch.own_numbers.page(wanted))

    def _number(self, request: HttpRequest, sid: str) -> HttpResponse:
        _require(request, "GET", "POST")
        own_numbers = self._switch.own_numbers
        number = own_numbers.find(sid)
        if number is None:
            raise _not_found(request)
        if request.method == "POST":
            own_numbers.change(number, request.form())
        return as_json(200, own_numbers.resource(number))

    def _recording(self, request: HttpRequest, sid: str, suffix: str) -> HttpResponse:
        _require(request, "GET", "DELETE")
        recording = self._switch.recordings.get(sid)
        if recording is None:
            raise _not_found(request)
        if request.method == "DELETE":
            self._switch.recordings.delete(sid)
            return HttpResponse(status=204)
        if suffix == ".json":
            return as_json(200, recording_resource(recording, self._switch.recordings))
        if recording.status != "completed":
            raise _not_found(request)
        return HttpResponse(status=200, body=recording.wav(), content_type="audio/x-wav")


def _require(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise ApiProblemError(405, WRONG_METHOD, f"Method {request.method} is not allowed here")


def _not_found(request: HttpRequest) -> ApiProblemError:
    return ApiProblemError(404, NOT_FOUND, f"The requested resource {request.path} was not found")


def _credentials(authorization: str) -> tuple[str, str]:
    """User and password of Basic authentication, empty if there are none."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        decoded = base64.b64decode(encoded, validate=True).decode() if scheme.lower() == "basic" else ""
    except (binascii.Error, ValueError):
        decoded = ""
    user, _, password = decoded.partition(":")
    return user, password

"""Twilio's REST API through the official client: places calls, changes live ones, points numbers at us.

The client is synchronous, so each request runs in a thread, of which there are few. A request is repeated only where
that can do no harm: reading, and changes that leave the same state however often they are made. Placing a call is
repeated only when Twilio was not reached, or said that it had not even looked (429): a call that is placed twice rings
twice.

Importing the client takes a second; `load` does it ahead, in a thread.
"""

import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
import structlog
import trio

from admin.services.outbound.twilio_errors import (
    TwilioError,
    TwilioGoneError,
    TwilioRefusedError,
    TwilioSilentError,
    TwilioUnreachableError,
)

API_URL: Final = "https://api.twilio.com"
TIMEOUT_S: Final = 10.0  # to connect, and again between two pieces of the answer
THREADS: Final = 4  # Twilio places one call each second by default; more would only queue there
TRIES: Final = 3
FIRST_PAUSE_S: Final = 0.25  # at most; doubled each time
MATCHES: Final = 20  # of a search for a number, which also finds those that hold it as a part
STATUS_EVENTS: Final = ("initiated", "ringing", "answered", "completed")

_TOO_MANY: Final = 429  # Twilio's promise: such a request was not processed
_GONE: Final = (21220, 20404)

Detection = Literal["off", "enable", "detect_message_end"]
Result = TypeVar("Result")
_DETECTION: Final[dict[Detection, str | None]] = {
    "off": None,
    "enable": "Enable",
    "detect_message_end": "DetectMessageEnd",
}
_logger = structlog.stdlib.get_logger("tautline.twilio")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A Twilio account. api_url: where its API is; another one than Twilio's own is for a simulator."""

    account_sid: str
    auth_token: str
    api_url: str = API_URL

    def __repr__(self) -> str:
        """Without the token."""
        return f"Credentials({self.account_sid})"


class NewCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call to be placed. url: asked for TwiML when it is answered; status_url: told how it gets on."""

    to: str
    caller: str
    url: str
    status_url: str
    detection: Detection
    max_duration_s: int


class PlacedCall(msgspec.Struct, frozen=True):
    """A call that Twilio has taken on."""

    sid: str
    status: str


class OwnNumber(msgspec.Struct, frozen=True):
    """A telephone number of the account, and where its calls are reported."""

    sid: str
    number: str
    voice_url: str


class TwilioRest:
    """One account's API.

    Args: credentials; sleep, between two tries; spread, a number from 0 to 1 that keeps many from trying again at once.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        timeout_s: float = TIMEOUT_S,
        sleep: Callable[[float], Awaitable[None]] = trio.sleep,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._credentials, self._timeout_s = credentials, timeout_s
        self._sleep, self._spread = sleep, spread
        self._limiter = trio.CapacityLimiter(THREADS)
        self._client: Any = None

    async def load(self) -> None:
        """Import the client now, so that the first call need not wait for it."""
        await trio.to_thread.run_sync(self._api, limiter=self._limiter)

    async def place(self, call: NewCall) -> PlacedCall:
        """Have a call placed.

        Raises: TwilioRefusedError, TwilioUnreachableError; TwilioSilentError when the call may have been placed.
        """

        def create(client: Any) -> PlacedCall:
            made = client.calls.create(
                to=call.to,
                from_=call.caller,
                url=call.url,
                status_callback=call.status_url,
                status_callback_event=list(STATUS_EVENTS),
                time_limit=call.max_duration_s,
                **_detection(call.detection),
            )
            return PlacedCall(made.sid, made.status)

        return await self._ask("calls.create", create, is_repeatable=False)

    async def hang_up(self, call_sid: str) -> None:
        """End a call, whether it rings or is answered. One that is over already is as good as ended.

        Raises: TwilioError.
        """
        try:
            await self._ask("calls.end", lambda client: client.calls(call_sid).update(status="completed"))
        except TwilioGoneError:
            _logger.info("twilio.call_was_over", call_sid=call_sid)

    async def redirect(self, call_sid: str, twiml: str) -> None:
        """Have a live call do something else, at once: what it was doing is cut, and a media stream is closed.

        Raises: TwilioGoneError when it is not in progress; TwilioError.
        """
        await self._ask("calls.redirect", lambda client: client.calls(call_sid).update(twiml=twiml))

    async def own_number(self, number: str) -> OwnNumber | None:
        """A number of the account, None if it has none like that. Raises: TwilioError."""

        def find(client: Any) -> OwnNumber | None:
            found = client.incoming_phone_numbers.list(phone_number=number, limit=MATCHES)  # those that hold it
            return next((_own_number(each) for each in found if each.phone_number == number), None)

        return await self._ask("numbers.find", find)

    async def point(self, number: OwnNumber, url: str) -> OwnNumber:
        """Have calls to this number reported to `url` by POST. Raises: TwilioError."""

        def update(client: Any) -> OwnNumber:
            return _own_number(client.incoming_phone_numbers(number.sid).update(voice_url=url, voice_method="POST"))

        return await self._ask("numbers.point", update)

    async def _ask(self, what: str, work: Callable[[Any], Result], *, is_repeatable: bool = True) -> Result:
        for left in reversed(range(TRIES)):
            try:
                return await trio.to_thread.run_sync(self._run, work, limiter=self._limiter)
            except (TwilioUnreachableError, TwilioSilentError) as error:
                is_safe = is_repeatable or isinstance(error, TwilioUnreachableError)
                _logger.warning("twilio.request_failed", what=what, code=error.code, tries_left=left if is_safe else 0)
                if not is_safe or not left:
                    raise
            await self._sleep(FIRST_PAUSE_S * 2 ** (TRIES - 1 - left) * self._spread())
        raise AssertionError("the last try returns or raises")

    def _run(self, work: Callable[[Any], Result]) -> Result:
        """One request, in a thread."""
        from requests.exceptions import RequestException
        from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException

        client = self._api()
        try:
            return work(client)
        except TwilioRestException as error:
            raise _said_no(error.status, error.code, error.msg) from error
        except TwilioServiceException as error:
            raise _said_no(error.status, error.code, error.detail or error.title) from error
        except TwilioException as error:  # what the client raises where a list was asked for
            response = error.args[1] if len(error.args) > 1 else None
            raise _said_no(getattr(response, "status_code", 500), None, str(error.args[0])) from error
        except RequestException as error:
            raise (TwilioUnreachableError() if _was_never_sent(error) else TwilioSilentError()) from error
        except json.JSONDecodeError as error:
            raise TwilioSilentError from error

    def _api(self) -> Any:
        if self._client is None:  # two threads at once may both build one; either will do
            self._client = _client(self._credentials, self._timeout_s)
        return self._client


def _client(credentials: Credentials, timeout_s: float) -> Any:
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    http_client = TwilioHttpClient(timeout=timeout_s)
    client = Client(credentials.account_sid, credentials.auth_token, http_client=http_client)
    _ = client.calls, client.incoming_phone_numbers  # imports what is behind them
    if credentials.api_url != API_URL:
        http_client.session.trust_env = False  # no proxy between two ends of one machine
        client.get_hostname = lambda uri: _moved(uri, credentials.api_url)
    return client


def _moved(uri: str, api_url: str) -> str:
    parts = urlsplit(uri)
    return f"{api_url}{parts.path}" + (f"?{parts.query}" if parts.query else "")


def _detection(detection: Detection) -> dict[str, str]:
    # The synchronous kind: Twilio asks for TwiML when it has found out, and says what in the same request.
    value = _DETECTION[detection]
    return {} if value is None else {"machine_detection": value}


def _own_number(resource: Any) -> OwnNumber:
    return OwnNumber(resource.sid, resource.phone_number, resource.voice_url or "")


def _said_no(status: int, code: int | None, reason: str) -> TwilioError:
    if status == _TOO_MANY:
        return TwilioUnreachableError("Twilio has too many requests to look at this one; nothing was done")
    if status >= 500:
        return TwilioSilentError()
    if code in _GONE:
        return TwilioGoneError(code or status, reason)
    return TwilioRefusedError(code or status, reason)


def _was_never_sent(error: Exception) -> bool:
    """Whether there was no connection to send the request on. When in doubt: it was sent."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import ConnectTimeout
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    if isinstance(error, ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if isinstance(error, NoConnection) and error.args else None
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)

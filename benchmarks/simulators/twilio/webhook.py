"""The HTTP side: what Twilio asks and tells a voice application, form-encoded and signed.

Asks for TwiML (the voice URL, an action, a redirect) and tells how the call ended (the status callback). Redirect
answers are not followed: Twilio does, but loses the form on the way, so to a relay they are faults.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, Literal
from urllib.parse import urlencode

import httpx
import msgspec
import trio

from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.options import CallOptions
from benchmarks.simulators.twilio.signature import sign
from benchmarks.simulators.twilio.stream import USER_AGENT, tls_context
from benchmarks.simulators.twilio.twiml import MAX_BYTES, Method

CONNECT_TIMEOUT_S: Final = 5.0
TOTAL_TIMEOUT_S: Final = 15.0
MAX_ATTEMPTS: Final = 2  # Twilio tries a second time, if no connection came about

BAD_URL: Final = 11100
RETRIEVAL_FAILED: Final = 11200
BAD_CONTENT_TYPE: Final = 12300
_XML_TYPES: Final = ("text/xml", "application/xml", "text/html")

CallStatus = Literal["ringing", "in-progress", "completed", "busy", "no-answer", "failed"]


class CallIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this call is to the application."""

    call_sid: str
    account_sid: str


class Webhooks:
    """One call's requests. It keeps cookies over the call, as Twilio does. Close it with `aclose`.

    Attributes: statuses, of all answers, in order.
    """

    def __init__(
        self, options: CallOptions, identity: CallIdentity, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Args: transport, in place of the network, for tests."""
        self.statuses: list[int] = []
        self._options, self._identity = options, identity
        self._client = httpx.AsyncClient(
            transport=transport,
            verify=tls_context(),
            timeout=httpx.Timeout(TOTAL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            headers={"User-Agent": USER_AGENT},
            trust_env=False,
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def ask(self, url: str, method: Method, status: CallStatus) -> bytes:
        """Fetch TwiML. Raises: CallProblemError for anything but a successful answer with XML."""
        response, body = await self._request(url, method, self._fields(status))
        if not response.is_success:
            raise CallProblemError(
                RETRIEVAL_FAILED,
                f"{method} {url} answered HTTP {response.status_code}, not TwiML",
                status=response.status_code,
            )
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in _XML_TYPES:
            raise CallProblemError(BAD_CONTENT_TYPE, f"{method} {url} answered {content_type!r}, not XML")
        return body

    async def tell_ended(self, url: str, status: CallStatus, duration_s: float) -> None:
        """The status callback's last event. Raises: CallProblemError unless it was taken with 2xx."""
        seconds = round(duration_s)
        fields = self._fields(status) | {
            "SequenceNumber": "0",  # a number's status callback fires for the last event only
            "Timestamp": format_datetime(datetime.now(UTC)),
            "CallbackSource": "call-progress-events",
            "CallDuration": str(seconds),
            "Duration": str(-(-seconds // 60)),  # billed minutes, begun ones count
        }
        response, _ = await self._request(url, "POST", fields)
        if not response.is_success:
            raise CallProblemError(
                RETRIEVAL_FAILED, f"POST {url} answered HTTP {response.status_code}", status=response.status_code
            )

    def _fields(self, status: CallStatus) -> dict[str, str]:
        options = self._options
        return {
            "CallSid": self._identity.call_sid,
            "AccountSid": self._identity.account_sid,
            "From": options.from_number,
            "To": options.to_number,
            "Caller": options.from_number,
            "Called": options.to_number,
            "CallStatus": status,
            "Direction": options.direction,
            "ApiVersion": "2010-04-01",
            **options.extra_fields,
        }

    async def _request(self, url: str, method: Method, fields: Mapping[str, str]) -> tuple[httpx.Response, bytes]:
        request = self._build(url, method, fields)
        failure = ""
        for _ in range(MAX_ATTEMPTS):
            try:
                with trio.fail_after(TOTAL_TIMEOUT_S):
                    return await self._exchange(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = str(error) or type(error).__name__
            except (httpx.RequestError, trio.TooSlowError) as error:
                detail = f"{method} {url} did not answer: {str(error) or type(error).__name__}"
                raise CallProblemError(RETRIEVAL_FAILED, detail) from None
        raise CallProblemError(RETRIEVAL_FAILED, f"{method} {url} cannot be reached: {failure}")

    async def _exchange(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        response = await self._client.send(request, stream=True)
        self.statuses.append(response.status_code)
        body = bytearray()
        try:
            async for part in response.aiter_bytes():
                # More than any document may have is not kept, so `parse` refuses it. It is read all the same, for as
                # long as requests may last: httpx cannot stop half-way without leaving generators behind.
                body += part[: MAX_BYTES + 1 - len(body)]
        finally:
            await response.aclose()
        return response, bytes(body)

    def _build(self, url: str, method: Method, fields: Mapping[str, str]) -> httpx.Request:
        public = public_url(url, method, fields)
        params = dict(fields) if method == "POST" else {}
        headers = {"Host": public.netloc.decode()}
        if self._options.auth_token is not None:
            headers["X-Twilio-Signature"] = sign(self._options.auth_token, signed_text(public), params)
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8"
        content = urlencode(params).encode() if method == "POST" else None
        return self._client.build_request(method, self._dialled(public), content=content, headers=headers)

    def _dialled(self, public: httpx.URL) -> httpx.URL:
        if self._options.connect_to is None:
            return public
        host, port = self._options.connect_to
        return public.copy_with(scheme="http", host=host, port=port)


def public_url(url: str, method: Method, fields: Mapping[str, str]) -> httpx.URL:
    """The URL that the application is asked under: with the fields as query for GET, never with a fragment.

    Raises: CallProblemError if it is not an http or https URL.
    """
    try:
        parsed = httpx.URL(url).copy_with(fragment=None)
    except httpx.InvalidURL as error:
        raise CallProblemError(BAD_URL, f"{url!r} is not a URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise CallProblemError(BAD_URL, f"{url!r} is not an http or https URL")
    if method == "POST":
        return parsed
    query = "&".join(part for part in (parsed.query.decode(), urlencode(fields)) if part)
    return parsed.copy_with(query=query.encode())


def signed_text(url: httpx.URL) -> str:
    """What is signed of a URL: all of it as asked, but no user, and for https no port."""
    signed = url.copy_with(port=None) if url.scheme == "https" else url
    return f"{signed.scheme}://{signed.netloc.decode()}{signed.raw_path.decode()}"

"""The HTTP side: what Twilio asks and tells a voice application, form-encoded and signed.

Asks for TwiML (the voice URL, an action, a redirect), tells what nobody has to answer (callbacks), and fetches what
`<Play>` plays. Redirect answers are not followed: Twilio does, but loses the form on the way, so to a relay they are
faults.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import msgspec
import trio

from benchmarks.simulators.twilio.callbacks import Callback
from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.options import CallOptions, Method
from benchmarks.simulators.twilio.progress import CallStatus
from benchmarks.simulators.twilio.signature import sign
from benchmarks.simulators.twilio.stream import USER_AGENT, tls_context
from benchmarks.simulators.twilio.twiml import MAX_BYTES

CONNECT_TIMEOUT_S: Final = 5.0
TOTAL_TIMEOUT_S: Final = 15.0
MAX_ATTEMPTS: Final = 2  # Twilio tries a second time, if no connection came about
MAX_MEDIA_BYTES: Final = 16 << 20  # of what <Play> fetches

BAD_URL: Final = 11100
RETRIEVAL_FAILED: Final = 11200
BAD_CONTENT_TYPE: Final = 12300
_XML_TYPES: Final = ("text/xml", "application/xml", "text/html")


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

    async def ask(self, url: str, method: Method, status: CallStatus, more: Mapping[str, str] | None = None) -> bytes:
        """Fetch TwiML. Raises: CallProblemError for anything but a successful answer with XML.

        Args: more, fields beside the usual ones: an action's results, a fallback's error.
        """
        response, body = await self._request(url, method, self.fields(status) | dict(more or {}))
        _require_success(response, method, url)
        content_type = _content_type(response)
        if content_type not in _XML_TYPES:
            raise CallProblemError(BAD_CONTENT_TYPE, f"{method} {url} answered {content_type!r}, not XML")
        return body

    async def tell(self, callback: Callback) -> None:
        """Deliver a callback. Raises: CallProblemError unless it was taken with 2xx."""
        response, _ = await self._request(callback.url, callback.method, callback.fields)
        _require_success(response, callback.method, callback.url)

    async def fetch(self, url: str) -> tuple[str, bytes]:
        """What <Play> plays: its content type and its bytes. Raises: CallProblemError."""
        response, body = await self._request(url, "GET", {}, max_bytes=MAX_MEDIA_BYTES)
        _require_success(response, "GET", url)
        return _content_type(response), body

    def fields(self, status: CallStatus) -> dict[str, str]:
        """What every request about this call carries."""
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

    async def _request(
        self, url: str, method: Method, fields: Mapping[str, str], *, max_bytes: int = MAX_BYTES
    ) -> tuple[httpx.Response, bytes]:
        request = self._build(url, method, fields)
        failure = ""
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                request.headers["I-Twilio-Idempotency-Token"] = str(uuid4())
            try:
                with trio.fail_after(TOTAL_TIMEOUT_S):
                    return await self._exchange(request, max_bytes)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = str(error) or type(error).__name__
            except (httpx.RequestError, trio.TooSlowError) as error:
                detail = f"{method} {url} did not answer: {str(error) or type(error).__name__}"
                raise CallProblemError(RETRIEVAL_FAILED, detail) from None
        raise CallProblemError(RETRIEVAL_FAILED, f"{method} {url} cannot be reached: {failure}")

    async def _exchange(self, request: httpx.Request, max_bytes: int) -> tuple[httpx.Response, bytes]:
        response = await self._client.send(request, stream=True)
        self.statuses.append(response.status_code)
        body = bytearray()
        try:
            async for part in response.aiter_bytes():
                # One byte more than allowed is kept, so that its reader refuses it. The rest is read all the same, for
                # as long as requests may last: httpx cannot stop half-way without leaving generators behind.
                body += part[: max_bytes + 1 - len(body)]
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


def _require_success(response: httpx.Response, method: Method, url: str) -> None:
    if not response.is_success:
        raise CallProblemError(
            RETRIEVAL_FAILED, f"{method} {url} answered HTTP {response.status_code}", status=response.status_code
        )


def _content_type(response: httpx.Response) -> str:
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower()


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
    if not fields:
        return parsed
    query = "&".join(part for part in (parsed.query.decode(), urlencode(fields)) if part)
    return parsed.copy_with(query=query.encode())


def signed_text(url: httpx.URL) -> str:
    """What is signed of a URL: all of it as asked, but no user, and for https no port."""
    signed = url.copy_with(port=None) if url.scheme == "https" else url
    return f"{signed.scheme}://{signed.netloc.decode()}{signed.raw_path.decode()}"

"""A voice application to ask and to tell: answers each path with its page, and keeps what it was asked and when.

Every request's signature has to please Twilio's own validator.
"""

from urllib.parse import parse_qsl

import httpx
import msgspec
import trio
from twilio.request_validator import RequestValidator

from benchmarks.simulators.twilio import Caller, CallOptions, CallReport, HangUp, Recording, place_call
from tests.benchmarks.twilio.conftest import FakeRelay

TOKEN = "00112233445566778899aabbccddeeff"
BASE = "https://relay.example"
OPTIONS = CallOptions(
    webhook_url=f"{BASE}/voice", connect_to=("127.0.0.1", 5050), seed=7, max_seconds=20, auth_token=TOKEN
)
STREAM = '<Stream url="wss://relay.example/media"><Parameter name="token" value="a&amp;b"/></Stream>'


def speech(ms: int) -> bytes:
    """As loud as the line allows."""
    return b"\x80\x00" * (ms * 4)


class Asked(msgspec.Struct, frozen=True):
    """One request: its path, its form or query, and when it came."""

    path: str
    fields: dict[str, str]
    at_s: float


class Application:
    """Pages by path: TwiML without its root, or a status, or a file's bytes. An unknown path is 404."""

    def __init__(self, pages: dict[str, str | int | bytes]) -> None:
        self.requests: list[Asked] = []
        self.pages = pages

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl(request.content.decode(), keep_blank_values=True))
        query = dict(parse_qsl(request.url.query.decode(), keep_blank_values=True))
        self.requests.append(Asked(request.url.path, form or query, trio.current_time()))
        public = f"https://{request.headers['host']}{request.url.raw_path.decode()}"
        assert RequestValidator(TOKEN).validate(public, form, request.headers["X-Twilio-Signature"])
        match self.pages.get(request.url.path, 404):
            case int(status):
                return httpx.Response(status)
            case bytes(file):
                return httpx.Response(200, content=file, headers={"Content-Type": "audio/x-wav"})
            case page:
                return httpx.Response(200, content=f"<Response>{page}</Response>", headers={"Content-Type": "text/xml"})

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.requests]

    @property
    def asked(self) -> list[tuple[str, dict[str, str]]]:
        return [(asked.path, asked.fields) for asked in self.requests]

    def told(self, path: str) -> list[dict[str, str]]:
        """What came to this path, in order."""
        return [asked.fields for asked in self.requests if asked.path == path]


async def call(
    application: Application, relay: FakeRelay, *, caller: Caller | None = None, options: CallOptions = OPTIONS
) -> CallReport:
    """One call; by default the caller is silent and hangs up after a second."""
    caller = caller or Recording(b"", actions=[HangUp(980)])
    transport = httpx.MockTransport(application)
    report = await place_call(options, caller, dial=relay.dial, http_transport=transport)
    await trio.testing.wait_all_tasks_blocked()
    return report

"""docs/api.md is done as it stands: every request on it is sent, in its order, and answered as the page says.

A block holds exchanges: a request, and from `HTTP/1.1` on its answer. `…` is any text, `"…"` any value; objects need
not be whole; `{name}` is taken from an answer that shows it first, and put where it stands after that. A comment that
begins with `meanwhile:` names something that happens in the world (World.happen).
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import msgspec
import pytest
import trio

from admin.api import Telephone, open_api
from admin.app import Services, create_app
from admin.principal import SCOPES
from admin.routes.access import CSRF_HEADER
from admin.services.calls.call_record import Rung
from admin.services.live.live import Live
from admin.services.outbound.outbound_rules import OutboundRules
from admin.services.people.people import PeopleRules
from admin.services.rate_limits import RateRules
from admin.store.database import Database
from relay import CallerTranscribed, CallStarted, Totals, UpstreamReady
from tests.admin.api.call_rows import add_call, add_turns
from tests.admin.api.conftest import CHEAP, WallClock
from tests.admin.api.telephone import FakeTwilio, sid_of
from tests.services.speech import serving_speech
from tests.services.web import serving_web

PAGE: Final = Path(__file__).parent.parent / "docs" / "api.md"
PUBLIC_URL: Final = "https://relay.example.com"
CUSTOMER, SHOP = "+4917112345678", "+4930123456"
SID: Final = sid_of(1017)  # far behind those that are placed here
ANYTHING: Final = "…"

_STEP = re.compile(r"^```http\n(?P<block>.*?)^```$|^<!-- meanwhile: (?P<happening>.*?) -->$", re.DOTALL | re.MULTILINE)
_NEXT_REQUEST = re.compile(r"\n\n(?=(?:GET|POST|PUT|PATCH|DELETE) /)")
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]*): (.*)")
_NAME = re.compile(r"(?<!\{)\{([a-z_]+)\}(?!\})")  # a template's gap has two braces
_GAP = re.compile(rf"({ANYTHING}|{_NAME.pattern})")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A request or an answer, as the page has it. first: its first line."""

    first: str
    headers: dict[str, str]
    body: str


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, and what comes back."""

    request: Message
    answer: Message


def exchanges_in(block: str) -> list[Exchange]:
    return [_exchange(each) for each in _NEXT_REQUEST.split(block)]


def _exchange(text: str) -> Exchange:
    asked, mark, answered = text.partition("\nHTTP/1.1 ")
    assert mark, f"no answer stands below: {text}"
    return Exchange(request=_message(asked), answer=_message(answered))


def _message(text: str) -> Message:
    first, *lines = text.strip("\n").split("\n")
    headers = {}
    while lines and (header := _HEADER.fullmatch(lines[0])):
        headers[header[1]] = header[2]
        lines.pop(0)
    return Message(first=first, headers=headers, body="\n".join(lines).strip("\n"))


class Names(dict[str, str]):
    """What names stand for by now."""

    def put_into(self, text: str) -> str:
        """The text with its names replaced. Raises: KeyError for one that no answer has shown."""
        return _NAME.sub(lambda name: self[name[1]], text)

    def require(self, expected: Any, found: Any, where: str) -> None:
        """Let this value pass if it is what the page shows, and learn the names in it."""
        match expected:
            case dict():
                assert isinstance(found, dict), where
                for key, value in expected.items():
                    assert key in found, f"{where}.{key} is missing in {found}"
                    self.require(value, found[key], f"{where}.{key}")
            case list():
                assert isinstance(found, list), where
                assert len(found) == len(expected), f"{where}: {found}"
                for number, value in enumerate(expected):
                    self.require(value, found[number], f"{where}[{number}]")
            case str() if expected != ANYTHING:
                assert isinstance(found, str), f"{where}: {found!r}"
                self.require_text(expected, found, where)
            case _:
                same = expected == ANYTHING or (type(expected) is type(found) and expected == found)
                assert same, f"{where}: {found!r}, not {expected!r}"

    def require_text(self, expected: str, found: str, where: str, *, is_beginning: bool = False) -> None:
        """The same for text."""
        pattern = re.compile(self._pattern(expected), re.DOTALL)
        fits = pattern.match(found) if is_beginning else pattern.fullmatch(found)
        assert fits, f"{where}: {found!r}, not {expected!r}"
        self.update(fits.groupdict())

    def _pattern(self, text: str) -> str:
        pieces, position = [], 0
        for gap in _GAP.finditer(text):
            pieces.append(re.escape(text[position : gap.start()]))
            name, position = gap[2], gap.end()
            if name is None:
                pieces.append(".*?")
            else:
                pieces.append(re.escape(self[name]) if name in self else f"(?P<{name}>[^\\s;]+)")
        return "".join([*pieces, re.escape(text[position:])])


class World:
    """The server that the page is about, and what happens around it. names: what the page's names stand for."""

    def __init__(self, client: httpx.Client, database: Database, live: Live, names: Names) -> None:
        self._client, self._database, self._live, self.names = client, database, live, names

    async def send(self, exchange: Exchange) -> None:
        """Ask, and compare."""
        asked, said = exchange.request, exchange.answer
        method, _, path = self.names.put_into(asked.first).partition(" ")
        headers = {name: self.names.put_into(value) for name, value in asked.headers.items()}
        if "key" in self.names and not {"Authorization", "Cookie"} & headers.keys():
            headers["Authorization"] = f"Bearer {self.names['key']}"
        body = self.names.put_into(asked.body)
        if body:
            msgspec.json.decode(body)
            headers["Content-Type"] = "application/json"
        self._client.cookies.clear()  # what a browser would send stands on the page
        blank_lines = said.body.count("\n\n")
        response, found = await trio.to_thread.run_sync(self._ask, method, path, headers, body, blank_lines)
        where = f"{asked.first} -> {found}"
        assert said.first == f"{response.status_code} {HTTPStatus(response.status_code).phrase}", where
        for name, value in said.headers.items():
            self.names.require_text(value, response.headers.get(name, ""), f"{where}: {name}")
        if said.body.startswith("{"):
            self.names.require(msgspec.json.decode(said.body), msgspec.json.decode(found), asked.first)
        elif said.body:
            text = found.replace("\r\n", "\n").strip("\n")
            self.names.require_text(said.body, text, asked.first, is_beginning=_is_stream(response))

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: str, blank_lines: int
    ) -> tuple[httpx.Response, str]:
        """The answer, and its text: of a stream, which would never end, what has one blank line more than the page."""
        with self._client.stream(method, path, headers=headers, content=body or None) as response:
            if not _is_stream(response):
                return response, response.read().decode()
            text = ""
            for piece in response.iter_text():
                text += piece
                if text.count("\n\n") > blank_lines:
                    break
            return response, text

    def happen(self, what: str) -> None:
        """Something happens that no request on the page brings about."""
        happenings: dict[str, Callable[[], None]] = {
            "a caller has ordered a pizza": self._ordered,
            "a caller is being listened to": self._called,
            "the caller says something": self._asked,
        }
        happenings[what]()

    def _ordered(self) -> None:
        at = WallClock().at
        sid = add_call(self._database, UUID(self.names["account_id"]), at, call_sid=SID, caller=CUSTOMER, called=SHOP)
        add_turns(self._database, sid, at, ("agent", "Good evening."), ("caller", "A quattro stagioni, please."))

    def _called(self) -> None:
        account_id = UUID(self.names["account_id"])
        rung = Rung(call_sid="CA1", direction="inbound", caller=CUSTOMER, called=SHOP, account_id=account_id)
        self._live.rung(rung)
        self._live.offer("CA1", CallStarted(stream_sid="MZ1"))
        is_ready = UpstreamReady(session_id="sess_1", open_ms=0.0, configure_ms=0.0, held_audio_ms=0)
        self._live.offer("CA1", is_ready)

    def _asked(self) -> None:
        self._live.offer("CA1", CallerTranscribed(item_id="item_1", words="Do you deliver?"))


def _is_stream(response: httpx.Response) -> bool:
    content_type: str = response.headers.get("Content-Type", "")
    return content_type.startswith("text/event-stream")


@asynccontextmanager
async def serving(database: Database) -> AsyncIterator[World]:
    wall = WallClock()
    live = Live(wall)
    rules = OutboundRules(countries=frozenset({"DE"}))
    async with serving_speech(first_audio_delay_s=0.0, pace=float("inf")) as speech:
        api = open_api(
            database,
            wall,
            live=live,
            speech=speech.speech,
            telephone=Telephone(rest=FakeTwilio(), public_url=PUBLIC_URL, rules=rules),
            people=PeopleRules(password_cost=CHEAP, secure_cookies=True),
            rate_rules=RateRules(),
        )
        app = create_app(Services(totals=Totals, readiness=list, public_url=PUBLIC_URL, api=api, logs_requests=False))
        token = await api.setup.offer()
        assert token is not None
        async with serving_web(app) as port:
            base = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=base, trust_env=False, timeout=20) as client:
                yield World(client, database, live, Names(setup_token=token))


async def do(page: str, world: World) -> int:
    """Everything on the page. Returns how many requests it has."""
    count = 0
    for step in _STEP.finditer(page):
        if step["happening"] is not None:
            world.happen(step["happening"])
            continue
        for exchange in exchanges_in(step["block"]):
            with trio.fail_after(30):
                await world.send(exchange)
            count += 1
    return count


async def difference(page: str, database: Database) -> str:
    """What the server answers first that is not what the page says, "" if nothing is."""
    async with serving(database) as world:
        try:
            done = await do(page, world)
        except AssertionError as error:
            return str(error)  # before the server ends, or it would be buried in groups
    assert done == page.count("\nHTTP/1.1 "), "there is a request that is in no block"
    return ""


async def test_the_server_answers_as_the_page_says(database: Database) -> None:
    assert await difference(PAGE.read_text(), database) == ""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("HTTP/1.1 201 Created", "HTTP/1.1 200 OK"),
        ('"role": "owner"', '"role": "viewer"'),
        ('"signs_in_with": ["password"]', '"signs_in_with": []'),
        ("tautline_session={session}", "session={session}"),
        ('"csrf_token": "{csrf_token}"', '"csrf": "…"'),
        ('"code": "csrf_token_invalid"', '"code": "invalid_csrf_token"'),
    ],
)
async def test_a_page_that_is_wrong_is_found_out(database: Database, right: str, wrong: str) -> None:
    page = PAGE.read_text()
    assert right in page
    assert await difference(page.replace(right, wrong, 1), database) != ""


def test_the_table_of_roles_says_what_they_may_do() -> None:
    rows = re.findall(r"^\| `([a-z]+:[a-z]+)` \| (\S* ?)\| (\S* ?)\| (\S* ?)\|", PAGE.read_text(), re.MULTILINE)
    told = {
        role: {row[0] for row in rows if row[column].strip() == "yes"}
        for column, role in enumerate(("viewer", "manager", "owner"), start=1)
    }
    assert told == {role: set(scopes) for role, scopes in SCOPES.items()}


def test_the_page_names_the_header_that_the_app_reads() -> None:
    assert f"\n{CSRF_HEADER}: {{csrf_token}}\n" in PAGE.read_text()

"""What it takes to have an admin side visited: a database with an owner, a relay on it, a persona, the visitors."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import httpx
import msgspec
import trio

from admin.store import migrating
from admin.store.database import Database
from benchmarks.admin_visitors import READY, Order, Visits
from benchmarks.load import LoadError
from benchmarks.owner import add_owner
from benchmarks.process_cpu import Relay
from benchmarks.relays import OURS

REQUESTS_PER_S: Final = 50.0
PREVIEWS_PER_S: Final = 1.0
WATCHERS: Final = 5  # as many as one user may have
NUMBER: Final = "+15551230002"
PERSONA: Final = {"name": "Luna", "greeting": "Good morning, how can I help?", "instructions": "Be brief."}
AS_OFTEN_AS_THEY_LIKE: Final = "1000000"  # a minute

_CHECKOUT: Final = Path(__file__).resolve().parent.parent

Measured = TypeVar("Measured")


class VisitorsError(LoadError):
    """The admin side could not be visited. The message tells why."""


class Premises(msgspec.Struct, frozen=True):
    """A relay to be started, and the key of its owner."""

    relay: Relay
    key: str


@contextmanager
def new_premises() -> Iterator[Premises]:
    """A database of its own while the context lasts, with an owner in it."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'admin.db'}"
        with closing(Database(url)) as database:
            migrating.upgrade(database.engine)
            key, _ = add_owner(database, datetime.now(UTC))
        yield Premises(with_database(url), key)


def with_database(url: str) -> Relay:
    """Our relay on this database, with the log that it has by default, and with room for all who ask."""

    def environment(port: int, upstream: str) -> dict[str, str]:
        return OURS.environment(port, upstream) | {
            "DATABASE_URL": url,
            "LOG_LEVEL": "info",
            "RATE_LIMIT_PER_MINUTE": AS_OFTEN_AS_THEY_LIKE,
            "RATE_LIMIT_PER_ADDRESS_PER_MINUTE": AS_OFTEN_AS_THEY_LIKE,
        }

    return msgspec.structs.replace(OURS, environment=environment)


async def set_up(stream_url: str, key: str) -> Order:
    """Have a persona answer a number, through the API. Returns: what visitors need to know.

    Args: stream_url, a relay's media stream. Raises: VisitorsError.
    """
    url = str(httpx.URL(stream_url).copy_with(scheme="http", path="/"))
    auth = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=auth, trust_env=False) as client:
        persona_id: str = (await _post(client, "/api/personas", PERSONA))["id"]
        await _post(client, f"/api/personas/{persona_id}/activate", None)
        await _post(client, "/api/numbers", {"number": NUMBER})
    return Order(
        url=url,
        key=key,
        persona_id=persona_id,
        number=NUMBER,
        requests_per_s=REQUESTS_PER_S,
        previews_per_s=PREVIEWS_PER_S,
        watchers=WATCHERS,
    )


async def _post(client: httpx.AsyncClient, path: str, body: object) -> dict[str, str]:
    try:
        response = await client.post(path, json=body)
    except httpx.TransportError as error:
        raise VisitorsError(f"POST {path}: {error!r}") from None
    if not response.is_success:
        raise VisitorsError(f"POST {path} was answered with {response.status_code}: {response.text}")
    answer: dict[str, str] = response.json()
    return answer


async def visited(order: Order, measure: Callable[[], Awaitable[Measured]]) -> tuple[Measured, Visits]:
    """Measure while the admin side is visited. Raises: VisitorsError, in a group, and what `measure` raises."""
    run = partial(
        trio.run_process,
        [sys.executable, "-m", "benchmarks.admin_visitors", msgspec.json.encode(order).decode()],
        env={**os.environ, "PYTHONPATH": str(_CHECKOUT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        check=False,
    )
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - for the type checker
        said = bytearray()
        while not said.startswith(READY):
            said += await _more(process.stdout)
        measured = await measure()
        await process.stdin.aclose()
        async for piece in process.stdout:
            said += piece
    try:
        return measured, msgspec.json.decode(said.removeprefix(READY), type=Visits)
    except msgspec.DecodeError:
        raise VisitorsError("the visitors did not tell what they saw") from None


async def _more(stream: trio.abc.ReceiveStream) -> bytes:
    if piece := await stream.receive_some():
        return bytes(piece)
    raise VisitorsError("the visitors ended before they began")

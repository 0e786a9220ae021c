"""The running API is held against its own description, by a tool that knows nothing else of it.

schemathesis makes requests from /openapi.json, good ones and bad ones, alone and one after the other, always the same
for the same description, and looks at each answer: no failure of ours, no status, shape or type that is not described,
bad input refused and good input taken.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import trio

from admin.api import open_api
from admin.app import Services, create_app
from admin.store.database import Database
from benchmarks.owner import add_owner
from relay import Totals
from tautline.web import open_web_app

EXAMPLES = 10  # for each operation, beside those that its shapes alone give
WITHIN_S = 240
# Checks that are left out, and why.
LEFT_OUT = {"object_level_authorization": "there is one key; whose things are whose is what tests/admin/api is about"}
# Operations that refuse some input that has the right shape, and why no shape can say it.
# And each with a cursor: only those that a page has given are good.
NUMBER = "opening hours that make no sense together, and numbers that no telephone has"
ORDER = "a number must be one that a telephone may have"
REFUSE_MORE = {
    "post_key": "a key that is made has yet to expire",
    "get_summary": "`from` comes before `to`, by a year at most",
    "post_number": NUMBER,
    "put_number": NUMBER,
    "patch_number": NUMBER,
    "post_call": ORDER,
    "post_call_api_outbound_initiate": ORDER,
    "post_preview": "a persona without a greeting has nothing to say, unless a text is sent",
}
# Checks that are left out for single operations, and why.
NO_TELEPHONE = ("not_a_server_error", "503 twilio_not_configured is what they say where no telephone is")
LEFT_OUT_OF = {
    "post_call": NO_TELEPHONE,
    "post_call_api_outbound_initiate": NO_TELEPHONE,
    "post_preview": ("not_a_server_error", "503 model_not_configured is what it says where no model is"),
}
# Operations that are left out, and why.
ENDLESS = {"get_live_events": "a stream goes on until the client goes away: tests/tautline/test_live_streams.py"}
# Twilio's routes take a form that Twilio signs and answer with TwiML: tests/admin/test_twiml.py looks at those.
ONLY = "^/(api/|health$|ready$|$)"


@contextmanager
def served(database: Database) -> Iterator[str]:
    """The app on a port of its own, in a thread of its own; its address."""
    api = open_api(database, lambda: datetime.now(UTC))
    access = msgspec.structs.replace(api.access, by_jwt=_nobody)  # a Supabase that has issued no token
    api = msgspec.structs.replace(api, access=access)
    services = Services(totals=Totals, readiness=list, api=api, logs_requests=False)
    addresses: list[str] = []
    is_up, stop = threading.Event(), trio.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def serve() -> None:
        token.append(trio.lowlevel.current_trio_token())
        async with open_web_app(create_app(services)) as serve_stream, trio.open_nursery() as nursery:
            open_port = partial(trio.serve_tcp, serve_stream, 0, host="127.0.0.1")
            listeners: list[trio.SocketListener] = await nursery.start(open_port)
            addresses.append(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
            is_up.set()
            await stop.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert is_up.wait(20)
        yield addresses[0]
    finally:
        token[0].run_sync_soon(stop.set)
        thread.join()


async def _nobody(_token: str) -> None:
    return None


def configuration(address: str) -> str:
    """For schemathesis, in its TOML: where a good shape alone does not make good input."""
    paths = httpx.get(f"{address}/openapi.json").json()["paths"].values()
    operations = [operation for path in paths for operation in path.values()]
    paged = {
        operation["operationId"]
        for operation in operations
        if any(parameter["name"] == "cursor" for parameter in operation["parameters"])
    }
    without = {name: ["positive_data_acceptance"] for name in sorted(paged | set(REFUSE_MORE))}
    for name, (check, _) in LEFT_OUT_OF.items():
        without.setdefault(name, []).append(check)
    lines = [f"checks.{name}.enabled = false" for name in LEFT_OUT]
    for name, checks in without.items():
        lines += ["[[operations]]", f'include-operation-id = "{name}"']
        lines += [f"checks.{check}.enabled = false" for check in checks]
    return "\n".join(lines)


@pytest.mark.timeout(WITHIN_S + 20)
def test_the_api_does_what_it_says_of_itself(database: Database, tmp_path: Path) -> None:
    with served(database) as address:
        (tmp_path / "schemathesis.toml").write_text(configuration(address))
        result = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{address}/openapi.json"),
                *("--include-path-regex", ONLY),
                *(word for name in ENDLESS for word in ("--exclude-operation-id", name)),
                *("--header", f"Authorization: Bearer {add_owner(database, datetime.now(UTC))[0]}"),
                *("--max-examples", str(EXAMPLES), "--generation-deterministic"),
                *("--request-timeout", "20", "--no-color", "--no-shrink"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr

"""The relays that are measured side by side: ours, and the ones in benchmarks.baselines; each as a process of its own.

Which of them can run here is asked before a measurement: a baseline whose packages are missing is left out, by name and
with the reason, and the others are measured.
"""

import platform
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

import msgspec

from benchmarks.baselines import node_packages
from benchmarks.process_cpu import Relay


def _baseline(port: int, upstream: str, *, module: str, more: tuple[str, ...] = ()) -> list[str]:
    start = [sys.executable, "-m", f"benchmarks.baselines.{module}"]
    return [*start, "--port", str(port), "--upstream", upstream, *more]


def _nothing(_port: int, _upstream: str) -> dict[str, str]:
    return {}


OURS: Final = Relay(
    name="tautline",  # started as its console script starts it
    command=lambda _port, _upstream: [sys.executable, "-c", "from tautline.cli import main; main()", "serve"],
    environment=lambda port, upstream: {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "OPENAI_REALTIME_URL": upstream,
        "OPENAI_API_KEY": "bench",
        "TAUTLINE_ENV": "development",
        "GREETING": "",
        "CACHE_GREETING": "off",  # an echo cannot speak an apology
        "MAX_CALLS": "10000",  # how many it holds is to be measured, not set
        "LOG_LEVEL": "warning",
    },
    ready_path="/health",
)
NODE: Final = Relay(
    name="node",
    command=lambda port, upstream: [
        *("node", str(node_packages.FOLDER / "relay.js")),
        *("--port", str(port), "--upstream", upstream),
    ],
    environment=_nothing,
    ready_path=None,
)
FASTAPI: Final = Relay(
    name="fastapi",
    command=partial(_baseline, module="fastapi_relay"),
    environment=_nothing,
    ready_path=None,
)
FASTAPI_ASYNCIO: Final = Relay(
    name="fastapi-asyncio",
    command=partial(_baseline, module="fastapi_relay", more=("--loop", "asyncio")),
    environment=_nothing,
    ready_path=None,
)
TRIO_WEBSOCKET: Final = Relay(
    name="trio-websocket",
    command=partial(_baseline, module="trio_websocket_relay"),
    environment=_nothing,
    ready_path=None,
)
PICOWS: Final = Relay(
    name="picows",
    command=partial(_baseline, module="picows_relay"),
    environment=_nothing,
    ready_path=None,
)
RELAYS: Final = (OURS, NODE, FASTAPI, FASTAPI_ASYNCIO, TRIO_WEBSOCKET, PICOWS)
TITLES: Final = {
    OURS.name: "Tautline",
    NODE.name: "Node ws + Fastify, as in Twilio's sample",
    FASTAPI.name: "FastAPI + websockets, as in Twilio's sample, on uvloop",
    FASTAPI_ASYNCIO.name: "FastAPI + websockets on plain asyncio",
    TRIO_WEBSOCKET.name: "plain trio-websocket",
    PICOWS.name: "the thinnest on picows (C) and uvloop",
}
_PACKAGES: Final = {
    OURS.name: ("tautline", "trio", "wsproto", "msgspec", "numpy"),
    FASTAPI.name: ("fastapi", "starlette", "uvicorn", "websockets", "uvloop"),
    FASTAPI_ASYNCIO.name: ("fastapi", "starlette", "uvicorn", "websockets"),
    TRIO_WEBSOCKET.name: ("trio", "trio-websocket", "wsproto"),
    PICOWS.name: ("picows", "aiofastnet", "uvloop", "msgspec"),
}


class Choice(msgspec.Struct, frozen=True):
    """Which relays can be run here, and why the others cannot: reason by name."""

    relays: tuple[Relay, ...]
    left_out: dict[str, str]


def choose(relays: Iterable[Relay] = RELAYS) -> Choice:
    """Those that can be run here; fetches the Node baseline's packages when they are not there yet."""
    wanted = tuple(relays)
    reasons = {relay.name: why_not(relay) for relay in wanted}
    return Choice(
        tuple(relay for relay in wanted if reasons[relay.name] is None),
        {name: reason for name, reason in reasons.items() if reason is not None},
    )


def why_not(relay: Relay) -> str | None:
    """Why it cannot be run here; None when it can."""
    check = _CHECKS.get(relay.name)
    return check() if check else None


def versions(relays: Iterable[Relay]) -> dict[str, str]:
    """Of what these relays are made of, by name. They must be able to run here."""
    names = [relay.name for relay in relays]
    found = {"python": platform.python_version()}
    for name in names:
        found |= {package: version(package) for package in _PACKAGES.get(name, ())}
    return found | (node_packages.versions() if NODE.name in names else {})


def _why_python_absent(*packages: str) -> str | None:
    missing = [package for package in packages if find_spec(package) is None]
    return f"not installed: {', '.join(missing)} (dependency group `baselines`)" if missing else None


_CHECKS: Final[dict[str, Callable[[], str | None]]] = {
    NODE.name: node_packages.why_absent,
    FASTAPI.name: partial(_why_python_absent, "fastapi", "uvicorn", "websockets", "uvloop"),
    FASTAPI_ASYNCIO.name: partial(_why_python_absent, "fastapi", "uvicorn", "websockets"),
    PICOWS.name: partial(_why_python_absent, "picows", "uvloop"),
}

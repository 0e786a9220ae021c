"""The OpenAI list as a black-box test: what a Realtime server must show to a strict client, point by point.

Points that take a script, a fault or a clock of the server's own (10, 32 to 34, 45, 58, 59, 61, 62) are no part of it.
"""

import trio
from trio_websocket import ConnectionRejected, HandshakeError

from benchmarks.conformance import (
    openai_conversation,
    openai_hearing,
    openai_responses,
    openai_session,
    openai_transport,
)
from benchmarks.conformance.check import Check, run_checks, without
from benchmarks.conformance.openai_client import Realtime
from benchmarks.conformance.report import Report
from benchmarks.conformance.wire import UnreachableError, first_rejection

MODULES = (openai_transport, openai_session, openai_hearing, openai_responses, openai_conversation)
CHECKS: tuple[Check[Realtime], ...] = tuple(check for module in MODULES for check in module.checklist)


async def check_openai(url: str, api_key: str, *, patience_s: float = 5.0) -> Report:
    """Run the whole list against a server; patience_s, how long to wait for each thing that should come.

    Raises: UnreachableError when nobody listens there, or no WebSocket can be opened.
    """
    realtime = Realtime(url=url, api_key=api_key, patience_s=patience_s)
    await _reach(realtime)
    results = await run_checks(CHECKS, realtime)
    return Report(conformance="openai", url=url, results=tuple(without(api_key, results)))


async def _reach(realtime: Realtime) -> None:
    """One session, opened before anything is judged."""
    problem = ""
    try:
        async with realtime.connect():
            pass
    except* ConnectionRejected as group:
        problem = f"refuses the upgrade with HTTP {first_rejection(group).status_code}: is the key right?"
    except* (OSError, trio.TooSlowError, HandshakeError):
        problem = "cannot be reached: is the server started, and is this its WebSocket address?"
    if problem:
        raise UnreachableError(f"{realtime.url} {problem}")

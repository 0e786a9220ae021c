"""The Twilio list as a black-box test: what a relay must show to Twilio and to OpenAI, held at both its outer ends.

Cases that show only inside (logs, counters, memory), at the webhook, or after long waits are no part of it.
"""

import trio
from trio_websocket import ConnectionRejected, HandshakeError

from benchmarks.conformance import relay_enduring, relay_speaking, relay_starting
from benchmarks.conformance.check import Check, UnmetError, run_checks, without
from benchmarks.conformance.relay_call import Relay, Upstream, upgrade_signature
from benchmarks.conformance.report import Report
from benchmarks.conformance.wire import UnreachableError, first_rejection

MODULES = (relay_starting, relay_speaking, relay_enduring)
CHECKS: tuple[Check[Relay], ...] = tuple(check for module in MODULES for check in module.checklist)


async def check_relay(
    url: str,
    upstream: Upstream,
    *,
    auth_token: str | None = None,
    signed_url: str | None = None,
    patience_s: float = 2.0,
) -> Report:
    """Run the whole list against a relay.

    Args: url, ws:// or wss:// address of its media stream; upstream, being served, where the relay opens its realtime
    sessions; auth_token, for a relay that checks signatures and its streams' tokens; signed_url, what it is that Twilio
    would sign if the relay knows itself under another address; patience_s, how long to wait for each thing.
    Raises: UnreachableError when nobody listens there, or the relay opens its sessions elsewhere.
    """
    signature = upgrade_signature(auth_token, signed_url or url) if auth_token else None
    relay = Relay(url, upstream, signature=signature, token_secret=auth_token, patience_s=patience_s)
    await _reach(relay)
    results = await run_checks(CHECKS, relay)
    return Report(conformance="relay", url=url, results=tuple(without(auth_token or "", results)))


async def _reach(relay: Relay) -> None:
    """One call, started before anything is judged."""
    problem = ""
    try:
        async with relay.call(is_set_up=False):
            pass
    except* ConnectionRejected as group:
        status = first_rejection(group).status_code
        problem = f"refuses the upgrade with HTTP {status}: are address, TWILIO_AUTH_TOKEN and PUBLIC_URL the relay's?"
    except* (OSError, trio.TooSlowError, HandshakeError):
        problem = "cannot be reached: is the relay started, and is this the address of its media stream?"
    except* UnmetError:
        problem = f"took the call, but opened no session here: start it with OPENAI_REALTIME_URL={relay.upstream.url}"
    if problem:
        raise UnreachableError(f"{relay.url} {problem}")

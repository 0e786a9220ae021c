"""`tautline conformance`: both lists as a black-box test of any server, told as a table or as JSON."""

from functools import partial
from urllib.parse import urlsplit

import trio
from rich.console import Console

from benchmarks.conformance import Report, UnreachableError, Upstream, as_json, as_table, check_openai, check_relay
from benchmarks.conformance import exit_code as verdict

EXIT_UNREACHABLE = 2


async def judge_openai(url: str, api_key: str, console: Console, *, patience_s: float, json: bool) -> int:
    """Run the OpenAI list against a Realtime server. Returns the exit code: 0, 1 when a check failed, 2 unreachable."""
    try:
        report = await check_openai(url, api_key, patience_s=patience_s)
    except UnreachableError as error:
        return _unreachable(error)
    return _tell(report, console, json=json)


async def judge_relay(
    url: str,
    upstream_port: int,
    console: Console,
    *,
    auth_token: str | None,
    public_url: str | None,
    patience_s: float,
    json: bool,
) -> int:
    """Run the Twilio list against a relay, standing in for Twilio and for OpenAI.

    Args: upstream_port, where OpenAI is played; auth_token and public_url, the relay's own, if it checks signatures.
    Returns: the exit code, as above.
    """
    upstream = Upstream(patience_s)
    async with trio.open_nursery() as nursery:
        try:
            realtime_url = await nursery.start(partial(upstream.serve, upstream_port))
        except OSError as error:
            return _unreachable(UnreachableError(f"port {upstream_port} cannot be had for OpenAI's side: {error}"))
        _stderr().print(f"OpenAI's side listens. Start the relay with: OPENAI_REALTIME_URL={realtime_url}")
        _stderr().print("A tautline also with UPSTREAM_SPARES=0 CACHE_GREETING=off: it must open no session unasked.")
        try:
            check = partial(check_relay, url, upstream, signed_url=_signed(url, public_url), patience_s=patience_s)
            report = await check(auth_token=auth_token)
        except UnreachableError as error:
            return _unreachable(error)
        finally:
            nursery.cancel_scope.cancel()
    return _tell(report, console, json=json)


def _tell(report: Report, console: Console, *, json: bool) -> int:
    if json:
        print(as_json(report))  # noqa: T201 - the one line that was asked for
    else:
        console.print(as_table(report))
    return verdict(report)


def _signed(url: str, public_url: str | None) -> str:
    """What Twilio would sign: the relay's public address, wherever it is dialled here."""
    if public_url is None:
        return url
    return public_url.replace("http", "ws", 1) + urlsplit(url).path


def _unreachable(error: UnreachableError) -> int:
    _stderr().print(str(error), style="bold red", markup=False)
    return EXIT_UNREACHABLE


def _stderr() -> Console:
    return Console(stderr=True, soft_wrap=True, highlight=False)

"""The doctor: is this machine, with these settings, fit to carry calls? Looks at everything, changes nothing.

Each check is a small async function that returns one `CheckResult` in words a person can act on. They run side by side,
each within its own time, and none sends a key anywhere.
"""

import errno
import os
import platform
import resource
import ssl
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx
import msgspec
import trio

from proto import mulaw
from tautline.phrases import FOLDER, Phrases, phrases_of
from tautline.settings import Settings, SettingsError

CHECK_TIMEOUT_S = 10.0
HTTP_TIMEOUT_S = 5.0
DESCRIPTORS_PER_CALL = 2  # Twilio's socket and OpenAI's
FEW_CALLS = 400
DESCRIPTORS_ELSEWHERE = 100  # the listener, web requests, log files, the database: a generous guess
OFFSET_WARNING_S = 30  # signed, short-lived tokens bear it
OFFSET_PROBLEM_S = 300  # TLS and signing do not

Outcome = Literal["ok", "warning", "problem"]


class CheckResult(msgspec.Struct, frozen=True):
    """One finding. advice: what to do about it, "" when nothing is to be done."""

    name: str
    outcome: Outcome
    detail: str
    advice: str = ""


Check = Callable[[Settings], Awaitable[CheckResult]]


async def run_checks(settings: Settings) -> list[CheckResult]:
    """All findings, in a fixed order. Takes at most CHECK_TIMEOUT_S; a check that does not finish is a problem."""
    results: dict[str, CheckResult] = {}

    async def run(name: str, check: Check) -> None:
        results[name] = CheckResult(
            name, "problem", f"no result within {CHECK_TIMEOUT_S:.0f} s", "Look at the network and the name server."
        )
        with trio.move_on_after(CHECK_TIMEOUT_S):
            results[name] = await check(settings)

    async with trio.open_nursery() as nursery:
        for name, check in CHECKS.items():
            nursery.start_soon(run, name, check)
    return [results[name] for name in CHECKS]


def settings_problem(error: SettingsError) -> CheckResult:
    """The finding when there are no settings to check with."""
    return CheckResult("settings", "problem", "; ".join(error.problems), "Correct them; `.env.example` explains each.")


async def check_settings(settings: Settings) -> CheckResult:
    """They have been loaded; say what is switched off."""
    await trio.lowlevel.checkpoint()
    if warnings := settings.warnings():
        return CheckResult("settings", "warning", " ".join(warnings), "Fine for development; set them for real calls.")
    return CheckResult("settings", "ok", f"complete, for {settings.tautline_env}")


async def check_platform(_settings: Settings) -> CheckResult:
    """The relay needs Python 3.11 and a selector that takes many sockets."""
    await trio.lowlevel.checkpoint()
    found = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    if sys.platform == "win32":
        return CheckResult("platform", "problem", found, "Run it on Linux or macOS, or in a container.")
    return CheckResult("platform", "ok", found)


async def check_descriptors(_settings: Settings) -> CheckResult:
    """How many calls the limit of open files leaves room for."""
    await trio.lowlevel.checkpoint()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CheckResult("open files", "ok", "unlimited")
    calls = max(0, soft - DESCRIPTORS_ELSEWHERE) // DESCRIPTORS_PER_CALL
    detail = f"{soft} allowed, enough for about {calls} calls at once"
    if calls < FEW_CALLS:
        return CheckResult("open files", "warning", detail, "Raise it before many calls come: `ulimit -n 65536`.")
    return CheckResult("open files", "ok", detail)


async def check_log_dir(settings: Settings) -> CheckResult:
    """Whether log files can be written where they shall be."""
    log_dir = settings.log_dir
    if log_dir is None:
        return CheckResult("log files", "ok", "none wanted; logs go to the standard error output")

    def write() -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=log_dir) as file:
            file.write(b"x")

    try:
        await trio.to_thread.run_sync(write, abandon_on_cancel=True)
    except OSError as error:
        return CheckResult(
            "log files", "problem", f"{log_dir}: {error.strerror}", "Set LOG_DIR to a writable directory."
        )
    return CheckResult("log files", "ok", f"{log_dir} is writable")


async def check_phrases(settings: Settings) -> CheckResult:
    """Which phrases have been rendered, and whether those that have not can be kept."""
    if not settings.renders_phrases:
        await trio.lowlevel.checkpoint()
        return CheckResult("phrases", "ok", "none are rendered: the model speaks the greeting, the apology is built in")
    wanted, folder = phrases_of(settings.persona(), settings.realtime_url()), Phrases(settings.data_dir / FOLDER)

    def find() -> dict[str, bytes]:
        return {place: folder.find(phrase) for place, phrase in wanted.items()}

    found = await trio.to_thread.run_sync(find, abandon_on_cancel=True)
    said = [f"{place} {_length(audio) if audio else 'not rendered yet'}" for place, audio in found.items()]
    if not all(found.values()) and not _can_be_made(settings.data_dir):
        said.append(f"{settings.data_dir} cannot be written")
        return CheckResult("phrases", "warning", ", ".join(said), "Set DATA_DIR to a writable directory.")
    return CheckResult("phrases", "ok", ", ".join(said))


async def check_port(settings: Settings) -> CheckResult:
    """Whether the server could listen; a port that Tautline itself answers on is no problem."""
    where = f"{settings.host} port {settings.port}"
    if settings.port == 0:
        return CheckResult("port", "ok", "any free one")
    try:
        listeners = await trio.open_tcp_listeners(settings.port, host=settings.host)
    except OSError as error:
        if _is_in_use(error) and await _is_tautline(settings):
            return CheckResult("port", "ok", f"{where}: Tautline is running there")
        return CheckResult("port", "problem", f"{where}: {_reason(error)}", "Stop what holds it, or set HOST and PORT.")
    for listener in listeners:
        await listener.aclose()
    return CheckResult("port", "ok", f"{where} is free")


async def check_public_url(settings: Settings) -> CheckResult:
    """Whether the world, Twilio included, reaches this server under PUBLIC_URL."""
    name, url = "public address", settings.public_url
    if url is None:
        return CheckResult(name, "warning", "PUBLIC_URL is not set; not checked", "Set it before Twilio is to call.")
    host = urlsplit(url).hostname or ""
    try:
        await trio.socket.getaddrinfo(host, None)
    except OSError:
        return CheckResult(name, "problem", f"{host} is not known to the name server", "Correct PUBLIC_URL or the DNS.")
    start = "Start the server and its proxy or tunnel, then look again."
    try:
        response = await _get(f"{url}/health")
    except httpx.HTTPError as error:
        return CheckResult(name, "warning", f"{url} does not answer: {type(error).__name__}", start)
    if response.status_code != 200:
        return CheckResult(name, "warning", f"{url}/health answers {response.status_code}", start)
    return CheckResult(name, "ok", f"{url} answers")


async def check_openai(settings: Settings) -> CheckResult:
    """Whether the Realtime API takes connections; nothing is sent, least of all the key."""
    if settings.uses_simulator:
        return CheckResult("OpenAI", "ok", "the built-in simulator stands in for it")
    address = urlsplit(settings.openai_realtime_url)
    is_tls = address.scheme == "wss"
    host, port = address.hostname or "", address.port or (443 if is_tls else 80)
    advice = "Check OPENAI_REALTIME_URL, the firewall and the proxy: outgoing connections must be allowed."
    try:
        if is_tls:
            async with await trio.open_ssl_over_tcp_stream(host, port, https_compatible=True) as stream:
                await stream.do_handshake()
        else:
            async with await trio.open_tcp_stream(host, port):
                pass
    except (OSError, trio.BrokenResourceError) as error:
        return CheckResult("OpenAI", "problem", f"{host} port {port}: {_reason(error)}", advice)
    return CheckResult("OpenAI", "ok", f"{host} port {port} takes {'TLS ' if is_tls else ''}connections")


async def check_clock(settings: Settings) -> CheckResult:
    """The monotonic clock runs forward, and the wall clock agrees with a server's Date."""
    before = time.monotonic()
    await trio.lowlevel.checkpoint()
    if time.monotonic() < before:
        return CheckResult(
            "clock", "problem", "the monotonic clock runs backwards", "Look at the virtual machine's clock."
        )
    offset_s = await _clock_offset_s(settings)
    if offset_s is None:
        return CheckResult("clock", "ok", "the monotonic clock runs; no server was there to compare the time with")
    detail = f"{abs(offset_s):.0f} s {'ahead of' if offset_s > 0 else 'behind'} the server that was asked"
    if abs(offset_s) < OFFSET_WARNING_S:
        return CheckResult("clock", "ok", detail)
    outcome: Outcome = "warning" if abs(offset_s) < OFFSET_PROBLEM_S else "problem"
    return CheckResult("clock", outcome, detail, "Let NTP set this machine's clock.")


CHECKS: dict[str, Check] = {
    "settings": check_settings,
    "platform": check_platform,
    "open files": check_descriptors,
    "log files": check_log_dir,
    "phrases": check_phrases,
    "port": check_port,
    "public address": check_public_url,
    "OpenAI": check_openai,
    "clock": check_clock,
}


async def _clock_offset_s(settings: Settings) -> float | None:
    """How far this machine's clock is ahead, to the second: that is as fine as a Date header is."""
    for url in _servers_with_a_date(settings):
        try:
            date = (await _get(url)).headers.get("date", "")
            return time.time() - parsedate_to_datetime(date).timestamp()
        except (httpx.HTTPError, ValueError):
            continue
    return None


def _servers_with_a_date(settings: Settings) -> list[str]:
    if settings.uses_simulator:
        return []
    # Not our own server: its clock is this machine's.
    address = urlsplit(settings.openai_realtime_url)
    return [f"{'https' if address.scheme == 'wss' else 'http'}://{address.netloc}/"]


async def _is_tautline(settings: Settings) -> bool:
    try:
        about = (await _get(f"http://127.0.0.1:{settings.port}/")).json()
        return isinstance(about, dict) and about.get("name") == "tautline"
    except (httpx.HTTPError, ValueError):
        return False


async def _get(url: str) -> httpx.Response:
    # The way calls go: no proxy from the environment, and the certificates that the system trusts.
    context = ssl.create_default_context()
    async with httpx.AsyncClient(timeout=HTTP_TIMEOUT_S, trust_env=False, verify=context) as client:
        return await client.get(url)


def _length(audio: bytes) -> str:
    return f"rendered ({mulaw.duration_ms(len(audio)) / 1000:.1f} s)"


def _can_be_made(directory: Path) -> bool:
    """Or is there, and can be written; without trying it."""
    there = next(path for path in (directory.absolute(), *directory.absolute().parents) if os.access(path, os.F_OK))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _is_in_use(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) and error.__cause__ else error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__

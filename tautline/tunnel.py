"""A tunnel for development: ngrok gives this machine an address that Twilio can reach, for as long as the server runs.

ngrok's program is not part of this package and is never downloaded behind anybody's back: who wants a tunnel installs
it. Whatever goes wrong here is said once, and the server starts without a tunnel.
"""

import logging
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import structlog
import trio

from admin.errors import AdminError
from admin.services.outbound.number_webhook import INCOMING_PATH, point_number
from admin.services.outbound.twilio_rest import TwilioRest
from tautline.settings import Settings

WITHIN_S: Final = 20  # to have a tunnel; pyngrok itself gives up after 15, but waits for ever for a silent program
PROGRAM: Final = "ngrok"
PROGRAM_PATH: Final = "PYNGROK_NGROK_PATH"  # of pyngrok's own variables; the only one that matters here
MAX_REASON_CHARACTERS: Final = 300

_logger = structlog.stdlib.get_logger("tautline.tunnel")


class NoTunnelError(Exception):
    """There is no tunnel. Its text says why, for people, without secrets."""


@asynccontextmanager
async def open_tunnel(settings: Settings, port: int) -> AsyncIterator[Settings]:
    """The settings to serve with: their public address is the tunnel's, if one is wanted and can be had.

    The number of TWILIO_NUMBER is pointed at it. Leaving ends the tunnel; the number stays as it is, because the next
    start points it elsewhere anyway.
    """
    if settings.enable_ngrok == "off":
        yield settings
        return
    with TemporaryDirectory(prefix="tautline-ngrok-") as folder:
        try:
            config, url = await _open(settings, port, Path(folder))
        except NoTunnelError as error:
            known = settings.public_url or "no public address, so Twilio cannot reach it"
            _logger.error("tunnel.not_opened", why=str(error), consequence=f"The server starts with {known}.")
            yield settings
            return
        try:
            _logger.info("tunnel.opened", public_url=url)
            served = msgspec.structs.replace(settings, public_url=url)
            await _point(served)
            yield served
        finally:
            with trio.CancelScope(shield=True):  # a bounded goodbye: the program is killed
                await trio.to_thread.run_sync(_close, config)


async def _open(settings: Settings, port: int, folder: Path) -> tuple[Any, str]:
    if settings.ngrok_authtoken is None:
        raise NoTunnelError("NGROK_AUTHTOKEN is not set; ngrok's dashboard shows the token of your account")
    if port == 0:
        raise NoTunnelError("PORT=0 is any free port, and a tunnel must lead to a certain one")
    program = _program()
    if program is None:
        raise NoTunnelError(f"the program {PROGRAM} is not installed; https://ngrok.com/download says how")
    start = partial(_start, program, settings.ngrok_authtoken, port, folder)
    with trio.move_on_after(WITHIN_S):
        found: tuple[Any, str] = await trio.to_thread.run_sync(start, abandon_on_cancel=True)
        return found
    raise NoTunnelError(f"ngrok has said nothing for {WITHIN_S} s")


def _program() -> str | None:
    """Where ngrok is: where PYNGROK_NGROK_PATH says, else on the path."""
    named = os.environ.get(PROGRAM_PATH)
    return shutil.which(named or PROGRAM)


def _start(program: str, token: str, port: int, folder: Path) -> tuple[Any, str]:
    """Runs in a thread. Returns pyngrok's configuration and the tunnel's public address. Raises: NoTunnelError."""
    from pyngrok import conf, ngrok
    from pyngrok.exception import PyngrokError

    # Its log repeats ngrok's lines, and one of those shows a token that ngrok does not like.
    logging.getLogger("pyngrok").setLevel(logging.CRITICAL + 1)
    config = conf.PyngrokConfig(
        ngrok_path=program,
        config_path=str(_write_config(folder, token)),
        config_version="2",  # which every ngrok of version 3 reads
        start_new_session=True,  # or Ctrl-C would end the tunnel before the calls in it
    )
    config.auth_token = None  # pyngrok would show it in the list of processes; the file is ours alone
    try:
        tunnel = ngrok.connect(str(port), "http", pyngrok_config=config, schemes=["https"])
    except (PyngrokError, OSError) as error:
        ngrok.kill(config)
        raise NoTunnelError(_reason(error, token)) from None
    return config, str(tunnel.public_url).rstrip("/")


def _close(config: Any) -> None:
    from pyngrok import ngrok

    ngrok.kill(config)


def _write_config(folder: Path, token: str) -> Path:
    file = folder / "ngrok.yml"
    file.touch(mode=0o600)
    # JSON is YAML; a token is without quotes and spaces, but that is the settings' business.
    file.write_bytes(msgspec.json.encode({"version": "2", "authtoken": token, "update_check": False}))
    return file


def _reason(error: Exception, token: str) -> str:
    said = getattr(error, "ngrok_error", None) or str(error)
    return " ".join(str(said).replace(token, "***").split())[:MAX_REASON_CHARACTERS]


async def _point(settings: Settings) -> None:
    credentials = settings.twilio_credentials()
    if credentials is None or settings.twilio_number is None:
        hint = "Set TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_NUMBER to have the number pointed here."
        _logger.info("tunnel.number_not_pointed", help=hint)
        return
    url = f"{settings.public_url}{INCOMING_PATH}"
    try:
        pointed = await point_number(TwilioRest(credentials), settings.twilio_number, url)
    except AdminError as error:
        _logger.error("tunnel.number_not_pointed", why=error.message, number=settings.twilio_number)
        return
    _logger.info("tunnel.number_pointed", number=pointed.number, before=pointed.before, now=pointed.after)

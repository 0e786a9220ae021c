"""`tautline twilio configure-number`: points one of the account's numbers at this server, and says what it changed."""

import re
from typing import Final

import msgspec
from rich.console import Console

from admin.errors import AdminError
from admin.services.outbound.number_webhook import INCOMING_PATH, point_number
from admin.services.outbound.twilio_rest import Credentials, TwilioRest
from tautline.settings import Settings

_URL: Final = re.compile(r"https?://[^\s]+")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done."""

    credentials: Credentials
    number: str
    url: str


def order(settings: Settings, number: str | None, url: str | None) -> Order:
    """The order that options and settings make together. Raises: ValueError, which says what is missing."""
    credentials, number = settings.twilio_credentials(), number or settings.twilio_number
    if credentials is None:
        raise ValueError("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are needed: they say whose number it is")
    if number is None:
        raise ValueError("A number is needed: --number, or TWILIO_NUMBER")
    if url is None:
        if settings.public_url is None:
            raise ValueError("An address is needed: --url, or PUBLIC_URL")
        url = f"{settings.public_url}{INCOMING_PATH}"
    if not _URL.fullmatch(url):
        raise ValueError("--url must be an address such as https://relay.example.com/incoming-call")
    return Order(credentials=credentials, number=number, url=url)


async def configure(order: Order, console: Console) -> int:
    """Do it. Returns the exit code."""
    try:
        pointed = await point_number(TwilioRest(order.credentials), order.number, order.url)
    except AdminError as error:
        console.print(f"{order.number} was not changed: {error.message}", style="red", highlight=False, markup=False)
        return 1
    if pointed.has_changed:
        before = pointed.before or "nothing"
        said = f"Calls to {pointed.number} are now reported to {pointed.after}; before: {before}"
    else:
        said = f"Calls to {pointed.number} are reported to {pointed.after} already; nothing was changed"
    console.print(said, highlight=False, markup=False)
    return 0

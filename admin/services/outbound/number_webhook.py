"""Pointing a telephone number at this server: where Twilio reports the calls that come in to it."""

from typing import Final

import msgspec

from admin.errors import NotFoundError
from admin.services.outbound.twilio_rest import TwilioRest

INCOMING_PATH: Final = "/incoming-call"


class Pointed(msgspec.Struct, frozen=True):
    """What a number's webhook was, and what it is now."""

    number: str
    before: str
    after: str

    @property
    def has_changed(self) -> bool:
        """Whether anything had to be done."""
        return self.before != self.after


async def point_number(rest: TwilioRest, number: str, url: str) -> Pointed:
    """Have calls to this number reported to `url`.

    Raises: NotFoundError when the Twilio account has no such number; TwilioError.
    """
    own = await rest.own_number(number)
    if own is None:
        raise NotFoundError("telephone_number")
    if own.voice_url != url:
        await rest.point(own, url)
    return Pointed(number, own.voice_url, url)

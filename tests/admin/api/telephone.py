"""A Twilio for tests of the REST API: keeps what it is asked for, and does what a test tells it to."""

from collections.abc import Awaitable, Callable

from admin.services.outbound.twilio_errors import TwilioError
from admin.services.outbound.twilio_rest import Credentials, NewCall, PlacedCall, TwilioRest

CREDENTIALS = Credentials(account_sid="AC" + "5" * 32, auth_token="00112233445566778899aabbccddeeff")


async def _go_on() -> None:
    """Nothing keeps Twilio from answering."""


class FakeTwilio(TwilioRest):
    """Attributes: placed, what it was asked for; fails_with, raised instead of doing anything; before_answer, awaited
    between its doing something and its answer; ended and redirected, calls by SID."""

    def __init__(self) -> None:
        super().__init__(CREDENTIALS)
        self.placed: list[NewCall] = []
        self.fails_with: TwilioError | None = None
        self.before_answer: Callable[[], Awaitable[None]] = _go_on
        self.ended: list[str] = []
        self.redirected: list[tuple[str, str]] = []

    async def place(self, call: NewCall) -> PlacedCall:
        """See TwilioRest."""
        self.placed.append(call)
        call_sid = sid_of(len(self.placed))
        await self.before_answer()
        if self.fails_with is not None:
            raise self.fails_with
        return PlacedCall(call_sid, "queued")

    async def hang_up(self, call_sid: str) -> None:
        """See TwilioRest."""
        if self.fails_with is not None:
            raise self.fails_with
        self.ended.append(call_sid)
        await self.before_answer()

    async def redirect(self, call_sid: str, twiml: str) -> None:
        """See TwilioRest."""
        if self.fails_with is not None:
            raise self.fails_with
        self.redirected.append((call_sid, twiml))
        await self.before_answer()


def sid_of(number: int) -> str:
    """The SID of the call that is placed as this one, from 1."""
    return f"CA{number:032x}"

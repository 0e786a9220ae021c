"""Calls in progress, changed from outside: ended, handed on, spoken into.

Twilio runs one document per call. A new one cuts what the call was doing, the media stream included, so the relay's
session ends with it. After a transfer that is what is wanted. After spoken words the call is connected to a stream
again: a new session with the same persona, which does not know what was said before.

What Twilio has done is noted, whether or not somebody still waits for the answer.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
import structlog
import trio
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from admin.errors import ConflictError, InvalidInputError, NotFoundError, StoreUnavailableError
from admin.patterns import END, KEEPABLE
from admin.principal import Principal
from admin.services.calls.call_status import TERMINAL
from admin.services.outbound.call_orders import E164
from admin.services.outbound.number_webhook import INCOMING_PATH
from admin.services.outbound.outbound import CALL_PATH, as_error, require_twilio
from admin.services.outbound.outbound_rules import OutboundRules, refuse_destination
from admin.services.outbound.twilio_errors import TwilioGoneError
from admin.services.outbound.twilio_rest import TwilioRest
from admin.services.telephone import answers
from admin.store import audit
from admin.store import outbound as store
from admin.store.database import Database

MAX_WORDS_CHARACTERS: Final = 1000  # spoken for about a minute; and a document has 4000 at most

Change = Literal["hung_up", "transferred", "spoken_into"]

_logger = structlog.stdlib.get_logger("tautline.outbound")


class TransferOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom the call is handed on to. to: a number that outbound calls may reach, by default the staff's."""

    to: E164 | None = None


class Words(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said to the caller. language: as Twilio's <Say> takes it, such as de-DE."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_WORDS_CHARACTERS, pattern=KEEPABLE)]
    language: Annotated[str, msgspec.Meta(pattern=rf"^[a-z]{{2,3}}(-[A-Z]{{2}})?{END}")] | None = None


class CallChange(msgspec.Struct, frozen=True, kw_only=True):
    """What Twilio was told to do with the call; how it gets on from there is told by the call's record."""

    call_sid: str
    change: Change


class LiveCalls:
    """Changes them.

    Args: as `Outbound`'s; staff_number, E.164, None if nobody can be reached.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        *,
        rest: TwilioRest | None,
        public_url: str | None,
        rules: OutboundRules,
        staff_number: str | None,
    ) -> None:
        self._database, self._now = database, now
        self._rest, self._public_url = rest, public_url
        self._rules, self._staff_number = rules, staff_number

    async def hang_up(self, principal: Principal, call_sid: str) -> CallChange:
        """End a call, also one that still rings. Raises: NotFoundError, ConflictError (call_is_over), TwilioError."""
        rest, _ = require_twilio(self._rest, self._public_url)
        await self._call(principal, call_sid)
        return await self._change(principal, call_sid, partial(rest.hang_up, call_sid), "hung_up")

    async def transfer(self, principal: Principal, call_sid: str, transfer: TransferOrder) -> CallChange:
        """Hand a call on; it is the relay's no longer.

        Raises: as `hang_up`; NotAllowedError (destination_not_allowed and its like); InvalidInputError (no_staff).
        """
        rest, public_url = require_twilio(self._rest, self._public_url)
        call = await self._call(principal, call_sid)
        number = await self._destination(principal, call_sid, transfer)
        # Twilio shows the caller's number for a call that came in; for one that we placed it shows only our own.
        caller_id = call["caller"] if call["direction"] == "outbound" else None
        document = answers.dial_staff(number, action=answers.after_dial_url(public_url), caller_id=caller_id)
        redirect = partial(_redirect, rest, call_sid, document)
        return await self._change(principal, call_sid, redirect, "transferred", to=number)

    async def say(self, principal: Principal, call_sid: str, words: Words) -> CallChange:
        """Cut the conversation, say this, and connect the call to a new session. Raises: as `hang_up`."""
        rest, public_url = require_twilio(self._rest, self._public_url)
        call = await self._call(principal, call_sid)
        path = f"{CALL_PATH}/{call['id']}" if call["direction"] == "outbound" else INCOMING_PATH
        document = answers.say_and_ask(words.text, language=words.language, url=f"{public_url}{path}")
        redirect = partial(_redirect, rest, call_sid, document)
        return await self._change(principal, call_sid, redirect, "spoken_into", characters=len(words.text))

    async def _call(self, principal: Principal, call_sid: str) -> RowMapping:
        """The account's call. Raises: NotFoundError; ConflictError when it is over."""
        found = await self._database.read(lambda connection: store.named(connection, principal.account_id, call_sid))
        if found is None:
            raise NotFoundError("call")
        # Only what Twilio itself has told: a stream's end is written as the call's, and may not have been it.
        if found["status"] in TERMINAL and found["sequence_number"] is not None:
            raise ConflictError("the call is over", code="call_is_over")
        return found

    async def _destination(self, principal: Principal, call_sid: str, transfer: TransferOrder) -> str:
        if transfer.to is None or transfer.to == self._staff_number:
            if self._staff_number is None:
                raise InvalidInputError("STAFF_NUMBER is not set, so there is nobody to hand on to", code="no_staff")
            return self._staff_number
        refusal = refuse_destination(self._rules, transfer.to)
        if refusal is not None:
            await self._note(principal, call_sid, "transfer_refused", to=transfer.to, code=refusal.code)
            raise as_error(refusal)
        return transfer.to

    async def _change(
        self, principal: Principal, call_sid: str, ask: Callable[[], Awaitable[None]], change: Change, **facts: Any
    ) -> CallChange:
        """Ask Twilio, and note that it was done. Our failing to note it changes nothing about the answer."""
        # Whoever goes away meanwhile must not leave a change behind that nobody has made. Bounded by the timeouts of
        # Twilio's client and of the database.
        with trio.CancelScope(shield=True):
            await ask()
            try:
                await self._note(principal, call_sid, change, **facts)
            except StoreUnavailableError:
                _logger.exception("call.change_not_noted", call_sid=call_sid, change=change)
        return CallChange(call_sid=call_sid, change=change)

    async def _note(self, principal: Principal, call_sid: str, what: str, **facts: Any) -> None:
        def note(connection: Connection) -> None:
            audit.record(connection, principal, f"call.{what}", subject=call_sid, facts=facts, at=self._now())

        _logger.info(f"call.{what}", call_sid=call_sid, user_id=str(principal.user_id))
        await self._database.write(note)


async def _redirect(rest: TwilioRest, call_sid: str, document: str) -> None:
    try:
        await rest.redirect(call_sid, document)
    except TwilioGoneError as error:
        raise ConflictError("the call is not in progress", code="call_not_in_progress") from error

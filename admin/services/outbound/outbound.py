"""Calls that we place: decided on and reserved in one transaction, then asked of Twilio, then answered for.

A call is reserved before Twilio hears of it, so that caps hold however many ask at once, and no call is placed that
nobody knows of. The webhook that Twilio asks when the call is answered names our reservation, and may come before
Twilio's answer to us: whichever says the call's SID first, names it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
import structlog
import trio
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from admin.errors import (
    HouseOnlyError,
    InvalidInputError,
    NotAllowedError,
    NotFoundError,
    StoreUnavailableError,
    TooManyRequestsError,
)
from admin.principal import Principal
from admin.services.outbound import idempotency
from admin.services.outbound.call_orders import CallOrder, OutboundCall
from admin.services.outbound.idempotency import Answered
from admin.services.outbound.outbound_rules import DAY, OutboundRules, Refusal, refuse_call
from admin.services.outbound.twilio_errors import (
    TwilioError,
    TwilioNotConfiguredError,
    TwilioRefusedError,
    TwilioSilentError,
    TwilioUnreachableError,
)
from admin.services.outbound.twilio_rest import NewCall, TwilioRest
from admin.services.telephone import answers
from admin.store import audit, idempotency_keys
from admin.store import outbound as store
from admin.store.column_types import new_id
from admin.store.database import Database

CALL_PATH: Final = "/outbound-call"  # and the call's id: where Twilio asks what to do once it is answered
RESERVED: Final = "call"  # in the query of the call's callbacks: its id
REFUSES_MACHINES: Final = "refuse_machines"  # in the query of the call's webhook, which Twilio signs

CREATED: Final = 201
BRIEFED_WITHIN_S: Final = 5.0  # Twilio gives up after 15 s, and the one who was called hears an error

Result = TypeVar("Result")
_logger = structlog.stdlib.get_logger("tautline.outbound")


class Placement(msgspec.Struct, frozen=True):
    """What became of an order. is_replay: it had been carried out before."""

    call: OutboundCall
    is_replay: bool = False


class Briefing(msgspec.Struct, frozen=True, kw_only=True):
    """What a call that was answered is about.

    account_id: who had it placed, None if nobody knows; persona_version: as a stream's token has it, "" for the
    settings'.
    """

    account_id: UUID | None = None
    persona_id: UUID | None = None
    persona_version: str = ""
    variables: Mapping[str, str] = {}


class _Reserved(msgspec.Struct, frozen=True, kw_only=True):
    call_id: UUID
    caller: str
    persona_id: UUID | None
    persona_version: int | None


class Outbound:
    """Places calls.

    Args: database; now, wall time; rest, None without a Twilio account; public_url, where Twilio reaches us, None if
    nobody knows; rules.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        *,
        rest: TwilioRest | None,
        public_url: str | None,
        rules: OutboundRules,
    ) -> None:
        self._database, self._now = database, now
        self._rest, self._public_url, self._rules = rest, public_url, rules

    async def place(self, principal: Principal, order: CallOrder, key: str | None) -> Placement:
        """Place a call. key: the client's, under which a repeated request gets the first one's answer.

        Raises: NotAllowedError, TooManyRequestsError and InvalidInputError with the code of what stands against it;
        HouseOnlyError; NotFoundError (persona); ConflictError (in_progress); KeyReusedError; TwilioError.
        """
        rest, public_url = require_twilio(self._rest, self._public_url)
        now, call_id = self._now(), new_id()

        def decide(connection: Connection) -> _Reserved | Answered | Refusal:
            store.serialise(connection)
            return self._decide(connection, principal, order, key, call_id, now)

        decided = await self._database.write(decide)
        match decided:
            case Answered():
                return Placement(_answered_before(decided), is_replay=True)
            case Refusal():
                _logger.warning("call.refused", code=decided.code, user_id=str(principal.user_id))
                raise as_error(decided)
            case _Reserved():
                # From here on a call may ring, so who asked for it going away changes nothing. Bounded by the
                # timeouts of Twilio's client and of the database.
                with trio.CancelScope(shield=True):
                    call = await self._ask(rest, public_url, principal, order, decided, key, now)
                return Placement(call)

    async def briefing(self, call_id: UUID, call_sid: str) -> Briefing:
        """What the call is about that Twilio asks about under this SID. Without the database: nothing in particular."""
        try:
            with trio.fail_after(BRIEFED_WITHIN_S):  # for a turn at the database: others' requests may be in a queue
                row = await self._name(lambda connection: _adopt_and_find(connection, call_id, call_sid))
        except (StoreUnavailableError, IntegrityError, trio.TooSlowError):
            _logger.exception("call.not_briefed", call_sid=call_sid, consequence="The settings' persona speaks.")
            return Briefing()
        if row is None:
            _logger.warning("call.unknown", call_sid=call_sid, consequence="The settings' persona speaks.")
            return Briefing()
        pinned = row["persona_id"], row["persona_version"]
        version = "" if None in pinned else f"{pinned[0]}:{pinned[1]}"
        return Briefing(
            account_id=row["account_id"],
            persona_id=row["persona_id"],
            persona_version=version,
            variables=row["variables"] or {},
        )

    def _decide(
        self,
        connection: Connection,
        principal: Principal,
        order: CallOrder,
        key: str | None,
        call_id: UUID,
        now: datetime,
    ) -> _Reserved | Answered | Refusal:
        """All that must not be done twice at once: the key, the rules, the reservation."""
        account_id = principal.account_id
        if key is not None:
            before = idempotency.claim(connection, account_id, key, idempotency.fingerprint(order), now)
            if before is not None:
                return before
        caller = self._caller(connection, principal, order.from_)
        usage = store.usage(connection, principal.user_id, since=now - DAY, now=now)
        refusal = refuse_call(self._rules, order.to, caller, usage, now)
        if refusal is not None:
            if key is not None:
                idempotency_keys.remove(connection, account_id, key)
            facts = {"to": order.to, "code": refusal.code}
            audit.record(connection, principal, "call.refused", facts=facts, at=now)
            return refusal
        persona = store.persona(connection, account_id, order.persona_id)
        if persona is None and order.persona_id is not None:
            raise NotFoundError("persona")
        reserved = _Reserved(
            call_id=call_id,
            caller=caller,
            persona_id=None if persona is None else persona["id"],
            persona_version=None if persona is None else persona["version"],
        )
        store.reserve(
            connection,
            call_id,
            now,
            account_id=account_id,
            created_by=principal.user_id,
            caller=caller,
            called=order.to,
            persona_id=reserved.persona_id,
            persona_version=reserved.persona_version,
            variables=order.variables,
        )
        facts = {"to": order.to, "from": caller}
        audit.record(connection, principal, store.ORDERED, subject=call_id, facts=facts, at=now)
        return reserved

    def _caller(self, connection: Connection, principal: Principal, wanted: str | None) -> str:
        """The number to call from. Raises: InvalidInputError, HouseOnlyError."""
        servers = self._rules.caller_number
        number = wanted or store.first_number(connection, principal.account_id)
        if number is None and principal.is_house:
            number = servers
        if number is None:
            raise InvalidInputError("this account has no telephone number to call from", code="no_caller_number")
        owner = store.number_owner(connection, number)
        if owner is None and number == servers and not principal.is_house:
            raise HouseOnlyError("calling from TWILIO_NUMBER")
        if owner == principal.account_id or (owner is None and number == servers):
            return number
        raise InvalidInputError("that is not one of this account's numbers", code="caller_number_unknown")

    async def _ask(
        self,
        rest: TwilioRest,
        public_url: str,
        principal: Principal,
        order: CallOrder,
        reserved: _Reserved,
        key: str | None,
        now: datetime,
    ) -> OutboundCall:
        call_id, account_id = reserved.call_id, principal.account_id
        refuses = f"?{REFUSES_MACHINES}=1" if order.amd == "enable" else ""
        new_call = NewCall(
            to=order.to,
            caller=reserved.caller,
            url=f"{public_url}{CALL_PATH}/{call_id}{refuses}",
            status_url=f"{public_url}{answers.STATUS_PATH}?{RESERVED}={call_id}",
            detection=order.amd,
            max_duration_s=order.max_duration_s,
        )
        try:
            placed = await rest.place(new_call)
        except TwilioUnreachableError:
            await self._settle(lambda connection: self._withdraw(connection, principal, call_id, key))
            raise
        except TwilioError as error:
            await self._settle(partial(self._fail, account_id=account_id, call_id=call_id, key=key, error=error))
            raise
        call = OutboundCall(
            id=call_id,
            call_sid=placed.sid,
            status=placed.status,
            to=order.to,
            from_=reserved.caller,
            persona_id=reserved.persona_id,
            persona_version=reserved.persona_version,
            created_at=now,
        )
        _logger.info("call.placed", call_sid=call.call_sid, user_id=str(principal.user_id))
        return await self._settle(lambda connection: _place(connection, account_id, call, key)) or call

    async def _settle(self, work: Callable[[Connection], Result]) -> Result | None:
        """Write down what Twilio did. It has done it, so our failing to write changes nothing about the answer."""
        try:
            return await self._name(work)
        except (StoreUnavailableError, IntegrityError):
            _logger.exception("call.not_settled", consequence="The call's webhook will name it.")
            return None

    async def _name(self, work: Callable[[Connection], Result]) -> Result:
        try:
            return await self._database.write(work)
        except IntegrityError:  # a callback made the call's row at this very moment; now it is there
            return await self._database.write(work)

    def _withdraw(self, connection: Connection, principal: Principal, call_id: UUID, key: str | None) -> None:
        store.withdraw(connection, call_id)
        if key is not None:
            idempotency_keys.remove(connection, principal.account_id, key)
        audit.record(connection, principal, store.WITHDRAWN, subject=call_id, at=self._now())

    def _fail(
        self, connection: Connection, *, account_id: UUID, call_id: UUID, key: str | None, error: TwilioError
    ) -> None:
        code = str(error.twilio_code) if isinstance(error, TwilioRefusedError) else error.code
        is_over = isinstance(error, TwilioRefusedError)
        store.note_failure(connection, call_id, self._now(), error_code=code, is_over=is_over)
        if key is not None:
            body = {"message": error.message, "twilio_code": getattr(error, "twilio_code", None)}
            idempotency_keys.answer(connection, account_id, key, error.status, body)


def require_twilio(rest: TwilioRest | None, public_url: str | None) -> tuple[TwilioRest, str]:
    """What it takes to act on calls. Raises: TwilioNotConfiguredError."""
    if rest is None:
        raise TwilioNotConfiguredError("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are not both set")
    if public_url is None:
        raise TwilioNotConfiguredError("PUBLIC_URL is not set, so Twilio could not ask what to do with a call")
    return rest, public_url


def as_error(refusal: Refusal) -> NotAllowedError | TooManyRequestsError | InvalidInputError:
    """What a refusal is answered with."""
    if refusal.code == "number_invalid":
        return InvalidInputError(refusal.message, code=refusal.code)
    if refusal.retry_after is None:
        return NotAllowedError(refusal.message, code=refusal.code)
    headers = {"Retry-After": str(int(refusal.retry_after.total_seconds()))}
    return TooManyRequestsError(refusal.message, code=refusal.code, headers=headers)


def _place(connection: Connection, account_id: UUID, call: OutboundCall, key: str | None) -> OutboundCall:
    call = msgspec.structs.replace(call, id=store.adopt(connection, call.id, call.call_sid))
    if key is not None:
        idempotency_keys.answer(connection, account_id, key, CREATED, msgspec.to_builtins(call))
    return call


def _adopt_and_find(connection: Connection, call_id: UUID, call_sid: str) -> Any:
    store.adopt(connection, call_id, call_sid)
    return store.ordered(connection, call_id, call_sid)


def _answered_before(answered: Answered) -> OutboundCall:
    """The call of the first request. Raises: TwilioError, if that is what the first one was answered."""
    if answered.status == TwilioSilentError.status:
        raise TwilioSilentError
    if answered.status == TwilioRefusedError.status:
        code = answered.body["twilio_code"]
        error = TwilioRefusedError(code, "")
        error.message = answered.body["message"]
        raise error
    return msgspec.convert(answered.body, OutboundCall)

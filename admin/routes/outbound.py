"""The REST API of calls that we place, and of calls in progress that somebody changes from outside."""

import re
from typing import Annotated, Final

import msgspec
from quart import Blueprint, request
from quart_schema import document_headers, validate_request, validate_response

from admin.errors import InvalidInputError, NotFoundError
from admin.routes.access import Access
from admin.routes.call_names import take_call_names
from admin.services.outbound.call_orders import CallOrder, OutboundCall
from admin.services.outbound.idempotency import MAX_KEY_CHARACTERS
from admin.services.outbound.live_calls import CallChange, LiveCalls, TransferOrder, Words
from admin.services.outbound.outbound import CREATED, Outbound

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"

KEY_PATTERN: Final = "^[!-~]+$"

_KEY: Final = re.compile(KEY_PATTERN)
_CALL_SID: Final = re.compile(r"CA[0-9a-fA-F]{32}")


class OrderHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """idempotency_key: made up by the client, a new one for each call; the same again does not call again."""

    idempotency_key: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY_CHARACTERS, pattern=KEY_PATTERN)]
        | msgspec.UnsetType
    ) = msgspec.UNSET


def outbound_blueprint(access: Access, outbound: Outbound, live_calls: LiveCalls) -> Blueprint:
    """POST /api/outbound/initiate and its alias /api/calls; POST /api/calls/{sid}/hangup, /transfer and /say."""
    blueprint = Blueprint("outbound", __name__)
    take_call_names(blueprint)

    @blueprint.post("/api/outbound/initiate")
    @blueprint.post("/api/calls")
    @document_headers(OrderHeaders)
    @validate_request(CallOrder)
    @validate_response(OutboundCall, CREATED)
    async def post_call(data: CallOrder) -> tuple[OutboundCall, int, dict[str, str]]:
        """Place a call. An Idempotency-Key makes it safe to send this again: the call is placed once.

        400 number_invalid, no_caller_number, caller_number_unknown. 403 outbound_disabled, destination_not_allowed,
        quiet_hours, house_only (the server's own number). 404 persona_not_found. 409 in_progress.
        422 idempotency_key_reused. 429 too_many_calls_at_once, daily_calls_reached, user_daily_calls_reached.
        502 twilio_refused. 503 twilio_not_configured, twilio_unreachable: no call was placed. 504 twilio_answer_lost: a
        call may have been placed.
        """
        principal = await access.require("outbound:write")
        placement = await outbound.place(principal, data, _idempotency_key())
        return placement.call, CREATED, {REPLAYED: "true"} if placement.is_replay else {}

    @blueprint.post("/api/calls/<call:call_sid>/hangup")
    @validate_response(CallChange)
    async def post_hangup(call_sid: str) -> CallChange:
        """End a call, also one that still rings.

        404 call_not_found. 409 call_is_over. 502 twilio_refused. 504 twilio_answer_lost.
        """
        principal = await access.require("calls:write")
        return await live_calls.hang_up(principal, _known(call_sid))

    @blueprint.post("/api/calls/<call:call_sid>/transfer")
    @validate_request(TransferOrder)
    @validate_response(CallChange)
    async def post_transfer(call_sid: str, data: TransferOrder) -> CallChange:
        """Hand a call on, to a number that may be called from here or to the staff; the conversation ends with it.

        400 number_invalid, no_staff. 403 destination_not_allowed, outbound_disabled. 404 call_not_found.
        409 call_is_over, call_not_in_progress. 502 twilio_refused. 504 twilio_answer_lost.
        """
        principal = await access.require("calls:write")
        return await live_calls.transfer(principal, _known(call_sid), data)

    @blueprint.post("/api/calls/<call:call_sid>/say")
    @validate_request(Words)
    @validate_response(CallChange)
    async def post_say(call_sid: str, data: Words) -> CallChange:
        """Say something to the caller, in Twilio's voice. It cuts the conversation; afterwards a new one begins, with
        the same persona and without memory of the first.

        404 call_not_found. 409 call_is_over, call_not_in_progress. 502 twilio_refused. 504 twilio_answer_lost.
        """
        principal = await access.require("calls:write")
        return await live_calls.say(principal, _known(call_sid), data)

    return blueprint


def _idempotency_key() -> str | None:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not (len(key) <= MAX_KEY_CHARACTERS and _KEY.fullmatch(key)):
        message = f"the {IDEMPOTENCY_KEY} must be 1 to {MAX_KEY_CHARACTERS} characters of ASCII without spaces"
        raise InvalidInputError(message)
    return key


def _known(call_sid: str) -> str:
    """What could be a call of Twilio's: only those can be changed. Raises: NotFoundError."""
    if not _CALL_SID.fullmatch(call_sid):
        raise NotFoundError("call")
    return call_sid

"""Twilio's webhooks: what to do with a call that comes in, with one whose stream has ended, and after a dial.

Every request must carry Twilio's signature; nothing is looked at or done before it is checked.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final
from uuid import UUID

import structlog
from quart import Blueprint, Response, request

from admin.routes.twilio_requests import METHODS, check_signatures, fields
from admin.services.calls.call_report import direction_of, read_call
from admin.services.outbound.number_webhook import INCOMING_PATH
from admin.services.outbound.outbound import CALL_PATH, REFUSES_MACHINES, Briefing
from admin.services.telephone import answers
from admin.services.telephone.call_facts import VARIABLE_PREFIX
from admin.services.telephone.fallbacks import Message, kind_of
from admin.services.telephone.outcomes import STAFF, Endings
from admin.services.telephone.reception import Reception
from admin.services.telephone.signature import TwilioSignature
from relay import TOKEN_PARAMETER, Direction

NAME = "twiml"  # the blueprint's; an unexpected failure in it is answered in TwiML

_REACHED = ("completed", "answered")  # of DialCallStatus; the others are busy, no-answer, failed and canceled

IssueToken = Callable[[str, Direction, str], str]  # for a call, by its SID; last the persona's version, or ""
Brief = Callable[[UUID, str], Awaitable[Briefing]]  # about a call of ours, by our id and by its SID
NOBODY: Final = Reception()  # every number is the settings' persona's, and nobody listens
REACHED, NOT_REACHED = "transferred", "transfer_failed"  # what became of a caller who was put through

_logger = structlog.stdlib.get_logger("tautline.admin")


def twiml_blueprint(
    signature: TwilioSignature | None,
    public_url: str | None,
    *,
    issue_token: IssueToken | None,
    has_room: Callable[[], bool],
    outcomes: Endings,
    staff_number: str | None,
    brief: Brief | None = None,
    reception: Reception = NOBODY,
) -> Blueprint:
    """Twilio's routes.

    Args: signature, None leaves requests unchecked, which only development without an auth token may do; issue_token,
    makes the stream's token, None where none is asked for; has_room, whether one more call can be taken; outcomes, how
    calls ended; staff_number, where a person is reached, None if nowhere; brief, what a call that we placed is about,
    None where none are placed; reception, what answers a number, and where what is learnt of calls goes.
    """
    blueprint = Blueprint(NAME, __name__)
    check_signatures(blueprint, signature)

    @blueprint.route(INCOMING_PATH, methods=METHODS)
    @blueprint.route("/voice", methods=METHODS)
    @blueprint.route("/twilio/voice", methods=METHODS)
    async def answer_call() -> Response:
        """Answer a call: connect it to the media stream, or say that we are busy, or do what the number's owner wants
        outside of opening hours. 403 signature_invalid, 400 host_unusable.
        """
        asked = await fields()
        route = reception.route(asked)
        is_open = reception.is_open(route, asked)
        reception.rung(route, asked, is_answered=is_open)
        if not is_open:
            _logger.info("call.met_closed", call_sid=asked.get("CallSid"), fallback=kind_of(route.fallback))
            reception.told(
                asked, read_call, outcome=kind_of(route.fallback), is_over=isinstance(route.fallback, Message)
            )
            return twiml_response(answers.meet_closed(route.fallback, public_url=public_url))
        if not has_room():
            _logger.warning("call.declined", call_sid=asked.get("CallSid"))
            reception.told(asked, read_call, outcome="declined", is_over=True)
            return twiml_response(answers.decline())
        return _connect(public_url, asked, _token(issue_token, asked, route.persona_version))

    if brief is not None:
        _add_outbound_call(
            blueprint, public_url, issue_token=issue_token, has_room=has_room, brief=brief, reception=reception
        )

    @blueprint.route(answers.AFTER_STREAM_PATH, methods=METHODS)
    async def after_stream() -> Response:
        """Say what happens when the media stream has closed: a person takes over, or the call ends. 403
        signature_invalid.
        """
        asked = await fields()
        call_sid = asked.get("CallSid", "")
        ending = outcomes.find(call_sid)
        if staff_number is None or ending is None or not ending.needs_staff:
            reception.told(asked, read_call)
            return twiml_response(answers.hang_up())
        _logger.info("staff.dialled", call_sid=call_sid, reason=ending.reason)
        reception.told(asked, read_call, outcome=STAFF)
        document = answers.dial_staff(
            staff_number, action=answers.after_dial_url(public_url), caller_id=_own_number(asked)
        )
        return twiml_response(document)

    @blueprint.route(answers.AFTER_DIAL_PATH, methods=METHODS)
    async def after_dial() -> Response:
        """Say what happens when staff was dialled: the call ends, with a sorry if nobody answered. 403
        signature_invalid.
        """
        asked = await fields()
        is_reached = asked.get("DialCallStatus") in _REACHED
        _logger.info("staff.call_ended", call_sid=asked.get("CallSid"), is_reached=is_reached)
        reception.told(asked, read_call, outcome=REACHED if is_reached else NOT_REACHED, is_over=True)
        return twiml_response(answers.hang_up() if is_reached else answers.regret())

    @blueprint.route(answers.AFTER_VOICEMAIL_PATH, methods=METHODS)
    async def after_voicemail() -> Response:
        """Say what happens when a caller has left a message: the call ends. 403 signature_invalid."""
        reception.told(await fields(), read_call, is_over=True)
        return twiml_response(answers.thank())

    return blueprint


def _add_outbound_call(
    blueprint: Blueprint,
    public_url: str | None,
    *,
    issue_token: IssueToken | None,
    has_room: Callable[[], bool],
    brief: Brief,
    reception: Reception,
) -> None:
    @blueprint.route(f"{CALL_PATH}/<uuid:call_id>", methods=METHODS)
    async def answer_outbound_call(call_id: UUID) -> Response:
        """Connect a call that we placed and somebody answered, or that was spoken into, to the media stream. 403
        signature_invalid.
        """
        asked = await fields()
        call_sid = asked.get("CallSid", "")
        briefing = await brief(call_id, call_sid)
        reception.answered(asked, account_id=briefing.account_id, persona_id=briefing.persona_id)
        if _is_unwanted(asked.get("AnsweredBy", ""), refuses_machines=REFUSES_MACHINES in request.args):
            _logger.info("call.met_machine", call_sid=call_sid, answered_by=asked["AnsweredBy"])
            return twiml_response(answers.hang_up())
        if not has_room():
            _logger.warning("call.declined", call_sid=call_sid)
            return twiml_response(answers.decline())
        token = _token(issue_token, asked, briefing.persona_version)
        return _connect(public_url, asked, token, variables=briefing.variables)


def _connect(
    public_url: str | None, asked: Mapping[str, str], token: str, *, variables: Mapping[str, str] = MappingProxyType({})
) -> Response:
    """Have Twilio open the media stream, with what its `start` is to say."""
    document = answers.connect(
        stream_url=answers.stream_url(public_url, request.headers.get("Host")),
        action=answers.after_stream_url(public_url),
        status_callback=answers.stream_status_url(public_url),
        parameters={
            "caller": asked.get("From", ""),
            "called": asked.get("To", ""),
            TOKEN_PARAMETER: token,
            **{f"{VARIABLE_PREFIX}{name}": value for name, value in variables.items()},
        },
    )
    return twiml_response(document)


def _is_unwanted(answered_by: str, *, refuses_machines: bool) -> bool:
    """Whether nobody can be talked to, as answering machine detection found; nobody talks to a fax."""
    return answered_by == "fax" or (refuses_machines and answered_by.startswith("machine"))


def twiml_response(document: str) -> Response:
    """A document for Twilio. Twilio caches GET answers that allow it, and no two calls have the same answer."""
    return Response(document, content_type="text/xml; charset=utf-8", headers={"Cache-Control": "no-store"})


def _token(issue_token: IssueToken | None, fields: Mapping[str, str], persona_version: str = "") -> str:
    """A new token each time Twilio asks, also when it asks again; "" when there is none or no call to make it for."""
    call_sid = fields.get("CallSid", "")
    if issue_token is None or not call_sid:
        return ""
    return issue_token(call_sid, direction_of(fields), persona_version)


def _own_number(fields: Mapping[str, str]) -> str | None:
    """The number of ours that a call was placed from, None for a call that came in.

    Twilio shows staff the caller's number for a call that came in; for one that we placed it shows only our own.
    """
    return fields.get("From") or None if direction_of(fields) == "outbound" else None

"""Twilio's webhooks: what to do with a call that comes in, with one whose stream has ended, and after a dial.

Every request must carry Twilio's signature; nothing is looked at or done before it is checked.
"""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl
from uuid import UUID

import structlog
from quart import Blueprint, Response, request

from admin.errors import InvalidSignatureError
from admin.services import answers
from admin.services.outbound import CALL_PATH, REFUSES_MACHINES, Briefing
from admin.services.outcomes import Endings
from admin.services.signature import SETTINGS_HEADER, SIGNATURE_HEADER, TwilioSignature
from relay import TOKEN_PARAMETER, Direction

NAME = "twiml"  # the blueprint's; an unexpected failure in it is answered in TwiML

VARIABLE_PREFIX = "var_"  # of the stream's parameters that hold facts for the persona's instructions

_FORM = "application/x-www-form-urlencoded"
_METHODS = ["GET", "POST"]
_REACHED = ("completed", "answered")  # of DialCallStatus; the others are busy, no-answer, failed and canceled

IssueToken = Callable[[str, Direction, str], str]  # for a call, by its SID; last the persona's version, or ""
Brief = Callable[[UUID, str], Awaitable[Briefing]]  # about a call of ours, by our id and by its SID
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
) -> Blueprint:
    """Twilio's routes.

    Args: signature, None leaves requests unchecked, which only development without an auth token may do; issue_token,
    makes the stream's token, None where none is asked for; has_room, whether one more call can be taken; outcomes, how
    calls ended; staff_number, where a person is reached, None if nowhere; brief, what a call that we placed is about,
    None where none are placed.
    """
    blueprint = Blueprint(NAME, __name__)

    @blueprint.before_request
    async def require_signature() -> None:
        if signature is not None:
            await _require(signature)

    @blueprint.route("/incoming-call", methods=_METHODS)
    @blueprint.route("/voice", methods=_METHODS)
    async def answer_call() -> Response:
        """Answer a call: connect it to the media stream, or say that we are busy. 403 signature_invalid, 400
        host_unusable.
        """
        fields = dict(reversed(await _fields()))  # the first of a repeated field counts
        if not has_room():
            _logger.warning("call.declined", call_sid=fields.get("CallSid"))
            return twiml_response(answers.decline())
        document = answers.connect(
            stream_url=answers.stream_url(public_url, request.headers.get("Host")),
            action=answers.after_stream_url(public_url),
            parameters={
                "caller": fields.get("From", ""),
                "called": fields.get("To", ""),
                TOKEN_PARAMETER: _token(issue_token, fields),
            },
        )
        return twiml_response(document)

    if brief is not None:
        _add_outbound_call(blueprint, public_url, issue_token=issue_token, has_room=has_room, brief=brief)

    @blueprint.route(answers.AFTER_STREAM_PATH, methods=_METHODS)
    async def after_stream() -> Response:
        """Say what happens when the media stream has closed: a person takes over, or the call ends. 403
        signature_invalid.
        """
        fields = dict(reversed(await _fields()))
        call_sid = fields.get("CallSid", "")
        ending = outcomes.find(call_sid)
        if staff_number is None or ending is None or not ending.needs_staff:
            return twiml_response(answers.hang_up())
        _logger.info("staff.dialled", call_sid=call_sid, reason=ending.reason)
        document = answers.dial_staff(
            staff_number, action=answers.after_dial_url(public_url), caller_id=_own_number(fields)
        )
        return twiml_response(document)

    @blueprint.route(answers.AFTER_DIAL_PATH, methods=_METHODS)
    async def after_dial() -> Response:
        """Say what happens when staff was dialled: the call ends, with a sorry if nobody answered. 403
        signature_invalid.
        """
        fields = dict(reversed(await _fields()))
        is_reached = fields.get("DialCallStatus") in _REACHED
        _logger.info("staff.call_ended", call_sid=fields.get("CallSid"), is_reached=is_reached)
        return twiml_response(answers.hang_up() if is_reached else answers.regret())

    return blueprint


def _add_outbound_call(
    blueprint: Blueprint,
    public_url: str | None,
    *,
    issue_token: IssueToken | None,
    has_room: Callable[[], bool],
    brief: Brief,
) -> None:
    @blueprint.route(f"{CALL_PATH}/<uuid:call_id>", methods=_METHODS)
    async def answer_outbound_call(call_id: UUID) -> Response:
        """Connect a call that we placed and somebody answered, or that was spoken into, to the media stream. 403
        signature_invalid.
        """
        fields = dict(reversed(await _fields()))
        call_sid = fields.get("CallSid", "")
        briefing = await brief(call_id, call_sid)
        if _is_unwanted(fields.get("AnsweredBy", ""), refuses_machines=REFUSES_MACHINES in request.args):
            _logger.info("call.met_machine", call_sid=call_sid, answered_by=fields["AnsweredBy"])
            return twiml_response(answers.hang_up())
        if not has_room():
            _logger.warning("call.declined", call_sid=call_sid)
            return twiml_response(answers.decline())
        document = answers.connect(
            stream_url=answers.stream_url(public_url, request.headers.get("Host")),
            action=answers.after_stream_url(public_url),
            parameters={
                "caller": fields.get("From", ""),
                "called": fields.get("To", ""),
                TOKEN_PARAMETER: _token(issue_token, fields, briefing.persona_version),
                **{f"{VARIABLE_PREFIX}{name}": value for name, value in briefing.variables.items()},
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
    return issue_token(call_sid, _direction(fields), persona_version)


def _own_number(fields: Mapping[str, str]) -> str | None:
    """The number of ours that a call was placed from, None for a call that came in.

    Twilio shows staff the caller's number for a call that came in; for one that we placed it shows only our own.
    """
    return fields.get("From") or None if _direction(fields) == "outbound" else None


def _direction(fields: Mapping[str, str]) -> Direction:
    # Twilio says inbound, outbound-api or outbound-dial.
    return "outbound" if fields.get("Direction", "").startswith("outbound") else "inbound"


async def _require(signature: TwilioSignature) -> None:
    given, settings = request.headers.get(SIGNATURE_HEADER), request.headers.get(SETTINGS_HEADER)
    if _is_form():
        is_signed = signature.http(_target(), given, form=await _fields(), settings=settings)
    else:
        is_signed = signature.http(_target(), given, body=await _body(), settings=settings)
    if not is_signed:
        # The usual cause is a PUBLIC_URL that is not what Twilio's console says; this line helps to see it.
        _logger.warning("webhook.refused", path=request.path, was_signed=given is not None)
        raise InvalidSignatureError("the request is not signed by Twilio for this address")


async def _fields() -> list[tuple[str, str]]:
    """The request's parameters in their order, blanks kept: of a form's body, else of the query."""
    # Twilio writes UTF-8. Anything else is replaced here and then fails the signature instead of raising.
    raw = await _body() if _is_form() else request.query_string
    return parse_qsl(raw.decode(errors="replace"), keep_blank_values=True)


def _is_form() -> bool:
    return request.method == "POST" and request.mimetype == _FORM


async def _body() -> bytes:
    """The whole body, bounded by the app's limits of size and time."""
    return await request.get_data(cache=True, as_text=False, parse_form_data=False)


def _target() -> str:
    """Raw path and query as the request line had them, which is what Twilio signed."""
    path = request.scope["raw_path"].decode("latin-1")
    query = request.query_string.decode("latin-1")
    return f"{path}?{query}" if query else path

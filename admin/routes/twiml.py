"""Twilio's webhooks: what to do with a call that comes in, and with one whose stream has ended.

Every request must carry Twilio's signature; nothing is looked at or done before it is checked.
"""

from urllib.parse import parse_qsl

import structlog
from quart import Blueprint, Response, request

from admin.errors import InvalidSignatureError
from admin.services import answers
from admin.services.signature import TwilioSignature

NAME = "twiml"  # the blueprint's; an unexpected failure in it is answered in TwiML

_FORM = "application/x-www-form-urlencoded"
_METHODS = ["GET", "POST"]
_logger = structlog.stdlib.get_logger("tautline.admin")


def twiml_blueprint(signature: TwilioSignature | None, public_url: str | None) -> Blueprint:
    """Twilio's routes. signature: None leaves requests unchecked, which only development without a token may do."""
    blueprint = Blueprint(NAME, __name__)

    @blueprint.before_request
    async def require_signature() -> None:
        if signature is not None:
            await _require(signature)

    @blueprint.route("/incoming-call", methods=_METHODS)
    @blueprint.route("/voice", methods=_METHODS)
    async def answer_call() -> Response:
        """Answer a call: connect it to the media stream. 403 signature_invalid, 400 host_unusable."""
        fields = dict(reversed(await _fields()))  # the first of a repeated field counts
        document = answers.connect(
            stream_url=answers.stream_url(public_url, request.headers.get("Host")),
            action=answers.after_stream_url(public_url),
            parameters={"caller": fields.get("From", ""), "called": fields.get("To", "")},
        )
        return twiml_response(document)

    @blueprint.route(answers.AFTER_STREAM_PATH, methods=_METHODS)
    async def after_stream() -> Response:
        """Say what happens when the media stream has closed: the call ends. 403 signature_invalid."""
        return twiml_response(answers.hang_up())

    return blueprint


def twiml_response(document: str) -> Response:
    """A document for Twilio. Twilio caches GET answers that allow it, and no two calls have the same answer."""
    return Response(document, content_type="text/xml; charset=utf-8", headers={"Cache-Control": "no-store"})


async def _require(signature: TwilioSignature) -> None:
    given = request.headers.get("X-Twilio-Signature")
    if _is_form():
        is_signed = signature.http(_target(), given, form=await _fields())
    else:
        is_signed = signature.http(_target(), given, body=await _body())
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

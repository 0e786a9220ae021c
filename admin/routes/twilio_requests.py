"""Twilio's requests as they come: signed or refused, and what stands in them.

Nothing of a request is looked at or done before its signature is checked.
"""

from urllib.parse import parse_qsl

import structlog
from quart import Blueprint, request

from admin.errors import InvalidSignatureError
from admin.services.telephone.signature import SETTINGS_HEADER, SIGNATURE_HEADER, TwilioSignature

METHODS = ["GET", "POST"]  # as whoever sets up the webhook at Twilio chooses

_FORM = "application/x-www-form-urlencoded"
_logger = structlog.stdlib.get_logger("tautline.admin")


def check_signatures(blueprint: Blueprint, signature: TwilioSignature | None) -> None:
    """Refuse what Twilio has not signed, in all routes of this blueprint. signature: None checks nothing."""

    @blueprint.before_request
    async def require_signature() -> None:
        if signature is not None:
            await _require_signed(signature)


async def fields() -> dict[str, str]:
    """The request's parameters; the first of a repeated one counts."""
    return dict(reversed(await _all_fields()))


async def _require_signed(signature: TwilioSignature) -> None:
    given, settings = request.headers.get(SIGNATURE_HEADER), request.headers.get(SETTINGS_HEADER)
    if _is_form():
        is_signed = signature.http(_target(), given, form=await _all_fields(), settings=settings)
    else:
        is_signed = signature.http(_target(), given, body=await _body(), settings=settings)
    if not is_signed:
        # The usual cause is a PUBLIC_URL that is not what Twilio's console says; this line helps to see it.
        _logger.warning("webhook.refused", path=request.path, was_signed=given is not None)
        raise InvalidSignatureError("the request is not signed by Twilio for this address")


async def _all_fields() -> list[tuple[str, str]]:
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

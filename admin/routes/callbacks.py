"""Twilio's callbacks: what it tells of calls and asks nothing. All are signed, and answered when they are safe."""

from functools import partial
from uuid import UUID

import structlog
from quart import Blueprint, Response, request

from admin.routes.twilio_requests import METHODS, check_signatures, fields
from admin.services.calls.call_report import read_call, read_recording, read_stream
from admin.services.calls.call_status import status_of
from admin.services.outbound.outbound import RESERVED
from admin.services.telephone import answers
from admin.services.telephone.reception import Reception
from admin.services.telephone.signature import TwilioSignature

MAX_LOGGED_CHARACTERS = 200

_logger = structlog.stdlib.get_logger("tautline.callbacks")


def callbacks_blueprint(signature: TwilioSignature | None, reception: Reception) -> Blueprint:
    """The callbacks. signature: None leaves them unchecked, which only development without an auth token may do."""
    blueprint = Blueprint("callbacks", __name__)
    check_signatures(blueprint, signature)

    @blueprint.route(answers.STATUS_PATH, methods=METHODS)
    @blueprint.route("/twilio/status", methods=METHODS)
    async def status() -> Response:
        """Take how a call gets on. 403 signature_invalid."""
        told = await fields()
        word = told.get("CallStatus", "")[:MAX_LOGGED_CHARACTERS]
        if word and status_of(word) is None:
            _logger.warning("callback.status_unknown", call_sid=told.get("CallSid"), status=word)
        await reception.called_back(told, partial(read_call, call_id=_reserved()))
        return _taken()

    @blueprint.route(answers.STREAM_STATUS_PATH, methods=METHODS)
    async def stream_status() -> Response:
        """Take that a media stream began, ended or failed. 403 signature_invalid."""
        told = await fields()
        if told.get("StreamEvent") == "stream-error":
            error = told.get("StreamError", "")[:MAX_LOGGED_CHARACTERS]
            _logger.warning("stream.failed", call_sid=told.get("CallSid"), error=error)
        await reception.called_back(told, read_stream)
        return _taken()

    @blueprint.route("/voice/amd", methods=METHODS)
    async def machine_detection() -> Response:
        """Take who or what answered a call that we placed. 403 signature_invalid."""
        await reception.called_back(await fields(), read_call)
        return _taken()

    @blueprint.route(answers.RECORDING_PATH, methods=METHODS)
    async def recording() -> Response:
        """Take what became of a recording. 403 signature_invalid."""
        told = await fields()
        report = await reception.called_back(told, read_recording)
        if report is not None and report.recording is not None:
            _logger.info("recording.told", call_sid=report.call_sid, status=report.recording.status)
        return _taken()

    return blueprint


def _reserved() -> UUID | None:
    try:
        return UUID(request.args.get(RESERVED, ""))
    except ValueError:
        return None


def _taken() -> Response:
    return Response(b"", status=204)

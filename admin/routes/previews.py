"""A persona's voice over HTTP: a WAV file, alone or in JSON."""

import base64
from functools import wraps
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from quart import Blueprint, Response, request
from quart_schema import document_response, hide, validate_request

from admin.routes.access import Access
from admin.services.personas.previews import SAMPLE_RATE_HZ, PreviewInput, Previews

PATH: Final = "/personas/<uuid:persona_id>/preview"


class PreviewAudio(msgspec.Struct, frozen=True, kw_only=True):
    """A preview in JSON. audio_base64: the file."""

    audio_base64: str
    format: Literal["wav"]
    sample_rate_hz: int
    duration_ms: int


def previews_blueprint(access: Access, previews: Previews) -> Blueprint:
    """POST /api/personas/{id}/preview, and the same under /personas."""
    blueprint = Blueprint("previews", __name__)

    @blueprint.post(f"/api{PATH}")
    @validate_request(PreviewInput)
    @document_response(PreviewAudio)
    async def post_preview(persona_id: UUID, data: PreviewInput) -> Response:
        """Hear a persona's greeting, or a text in its voice; as JSON or, by Accept, as audio/wav.

        It costs what a short answer costs, unless it was heard a while ago. 400 nothing_to_say, text_too_long; 404
        persona_not_found; 429 preview_busy; 502 model_unreachable, model_refused, model_lost, model_misspoke; 503
        model_not_configured; 504 preview_timeout.
        """
        principal = await access.require("personas:write")
        preview = await previews.speak(principal, persona_id, data)
        offered = ["application/json", "audio/wav"]
        if request.accept_mimetypes.best_match(offered, default=offered[0]) == offered[1]:
            return Response(preview.wav(), content_type=offered[1])
        audio = PreviewAudio(
            audio_base64=base64.b64encode(preview.wav()).decode(),
            format="wav",
            sample_rate_hz=SAMPLE_RATE_HZ,
            duration_ms=preview.duration_ms,
        )
        return Response(msgspec.json.encode(audio), content_type=offered[0])

    @wraps(post_preview)
    async def post_preview_alias(**given: Any) -> Response:
        response: Response = await post_preview(**given)
        return response

    blueprint.post(PATH, endpoint="alias")(hide(post_preview_alias))
    return blueprint

"""Previews: a persona's voice heard without a call. What it says first, or a text that somebody tries, as audio.

A preview is a short realtime session of its own, as all renderings are (relay.rendering): it costs money, so what was
rendered is kept for a while, only so many are made at once, each has a time limit, and one that nobody waits for any
more is given up. Whatever ends it, its line to OpenAI is closed.
"""

import hashlib
import io
import wave
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
import structlog
import trio
from sqlalchemy import Connection

from admin.errors import (
    InvalidInputError,
    ModelFailedError,
    ModelTooSlowError,
    NoModelError,
    NotFoundError,
    TooManyRequestsError,
)
from admin.patterns import KEEPABLE
from admin.principal import Principal
from admin.services.personas import templates
from admin.services.personas.kept_audio import KeptAudio
from admin.services.personas.persona_body import PersonaBody, Voice
from admin.services.personas.templates import CallFacts
from admin.store import personas
from admin.store.database import Database
from proto import mulaw
from relay import MAX_RENDERED_CHARACTERS, RENDERING_VERSION, ConnectLine, RenderingError, render_speech

SAMPLE_RATE_HZ: Final = 8000
SAMPLE_BYTES: Final = 2

# No encoding can hold half a surrogate pair, no database NUL.
PreviewText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_RENDERED_CHARACTERS, pattern=KEEPABLE)]
# By what happened to the line to OpenAI; None: it spoke, but not what it was given.
_FAILURES: Final[dict[str | None, tuple[str, str]]] = {
    "unreachable": ("model_unreachable", "OpenAI cannot be reached"),
    "untrusted": ("model_unreachable", "OpenAI cannot be reached safely"),
    "refused": ("model_refused", "OpenAI refused; the voice, the model or the account may be the reason"),
    "silent": ("model_lost", "OpenAI fell silent"),
    "mute": ("model_lost", "OpenAI fell silent"),
    "lost": ("model_lost", "OpenAI failed while it spoke"),
    None: ("model_misspoke", "OpenAI did not say what it was given; try again"),
}
_logger = structlog.stdlib.get_logger("tautline.previews")


class PreviewRules(msgspec.Struct, frozen=True, kw_only=True):
    """at_once: previews made at the same time; within_s: for each; kept_bytes: of audio, in memory."""

    at_once: int = 4
    within_s: float = 30.0
    kept_bytes: int = 16 * 1024 * 1024


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """Where speech is rendered. connect: opens a line to OpenAI; service: its address with the model, since another
    one has another voice.
    """

    connect: ConnectLine
    service: str


OpenSpeech = Callable[[str | None], Speech]  # told the model, None for the server's own


class PreviewInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to speak. text: None for the persona's greeting; voice: None for the persona's."""

    text: PreviewText | None = None
    voice: Voice | None = None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What was spoken: μ-law, 8 kHz, as callers hear it."""

    audio: bytes

    @property
    def duration_ms(self) -> int:
        """How long it is."""
        return mulaw.duration_ms(len(self.audio))

    def wav(self) -> bytes:
        """As a WAV file of 16-bit samples, which everything can play."""
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(SAMPLE_BYTES)
            writer.setframerate(SAMPLE_RATE_HZ)
            writer.writeframes(mulaw.decode(self.audio).astype("<i2").tobytes())
        return file.getvalue()


class Previews:
    """Args: database; now, wall time; speech, where a model speaks, None where there is no OpenAI key; rules."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        speech: OpenSpeech | None,
        rules: PreviewRules | None = None,
    ) -> None:
        self._database, self._now, self._speech = database, now, speech
        self._rules = rules or PreviewRules()
        self._kept: KeptAudio[bytes] = KeptAudio(self._rules.kept_bytes)
        self._making = 0

    async def speak(self, asking: Principal, persona_id: UUID, wanted: PreviewInput) -> Preview:
        """Have a persona speak.

        Raises: NotFoundError; InvalidInputError, nothing_to_say, text_too_long; NoModelError; TooManyRequestsError,
        preview_busy; ModelTooSlowError, preview_timeout; ModelFailedError.
        """
        body = await self._database.read(lambda connection: _body(connection, asking.account_id, persona_id))
        text = wanted.text or templates.fill(body.greeting, CallFacts(at=self._now()).values()).strip()
        voice = wanted.voice or body.voice
        if not text:
            raise InvalidInputError("the persona has no greeting; send a text", code="nothing_to_say")
        if len(text) > MAX_RENDERED_CHARACTERS:
            message = f"only texts up to {MAX_RENDERED_CHARACTERS} characters are spoken"
            raise InvalidInputError(message, code="text_too_long")
        if self._speech is None:
            raise NoModelError
        speech = self._speech(body.model)
        key = _key(speech.service, voice, body.speed, text)
        audio = self._kept.find(key)
        if not audio:
            audio = await self._make(speech, voice, body.speed, text)
            self._kept.keep(key, audio)
        return Preview(audio=audio)

    async def _make(self, speech: Speech, voice: str, speed: float, text: str) -> bytes:
        if self._making >= self._rules.at_once:
            message = "as many previews as may be are being made"
            raise TooManyRequestsError(message, code="preview_busy", headers={"Retry-After": "2"})
        self._making += 1
        try:
            with trio.fail_after(self._rules.within_s):
                return await render_speech(speech.connect, voice, text, speed=speed)
        except trio.TooSlowError:
            raise ModelTooSlowError("it was not spoken in time; try again", code="preview_timeout") from None
        except RenderingError as error:
            _logger.warning("preview.failed", why=error.detail)
            code, message = _FAILURES[None if error.failure is None else error.failure.kind]
            raise ModelFailedError(message, code=code) from error
        finally:
            self._making -= 1


def _body(connection: Connection, account_id: UUID, persona_id: UUID) -> PersonaBody:
    row = personas.by_id(connection, account_id, persona_id)
    if row is None:
        raise NotFoundError("persona")
    return msgspec.convert(row["body"], PersonaBody)


def _key(service: str, voice: str, speed: float, text: str) -> bytes:
    return hashlib.sha256(msgspec.json.encode((RENDERING_VERSION, service, voice, speed, text))).digest()

"""Phrases: what is always said in the same words, spoken once and kept: the persona's greeting and its apology.

Stands beside the calls. `Phrases` is the folder they lie in; `SpokenPersona` gives each call that begins the persona
with as much of them as there is by then, and has the rest rendered. Whatever goes wrong here, calls go on: the model
speaks the greeting, and a built-in apology stands in for the persona's own.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from random import SystemRandom
from typing import Literal

import msgspec
import structlog
import trio

from proto import mulaw
from relay import Persona, RenderingError, render_speech
from relay.rendering import MAX_AUDIO_MS, VERSION, Connect
from relay.retry import Failure, Retry, RetryIn, failure_of_code

FOLDER = "phrases"  # within DATA_DIR
APOLOGY_CLIP = Path(__file__).parent / "sounds" / "apology.ulaw"
RENDER_WITHIN_S = 30.0  # one attempt; two seconds are usual
RETRY_FOR_S = 600.0  # while the service is in trouble; then the next start of the server tries again
LONGEST_PAUSE_S = 60.0
LOOK_EVERY_S = 5.0  # for what another process renders
MAX_MISSPOKEN = 3  # each attempt costs as much as a short answer

Place = Literal["greeting", "apology"]

_MAX_BYTES = MAX_AUDIO_MS * mulaw.BYTES_PER_MS
_logger = structlog.stdlib.get_logger("tautline.phrases")


class Phrase(msgspec.Struct, frozen=True, kw_only=True):
    """Who says what. service: its address with the model, since another service would have another voice."""

    service: str
    voice: str
    text: str

    @property
    def file_name(self) -> str:
        """Where it is kept: a hash, so that no text and no voice can name a path."""
        facts = msgspec.json.encode((VERSION, self.service, self.voice, self.text))
        return f"{hashlib.sha256(facts).hexdigest()}.ulaw"


def phrases_of(persona: Persona, service: str) -> dict[Place, Phrase]:
    """What this persona always says in the same words."""
    texts: dict[Place, str] = {"greeting": persona.greeting, "apology": persona.apology}
    return {place: Phrase(service=service, voice=persona.voice, text=text) for place, text in texts.items() if text}


class Phrases:
    """A folder of rendered phrases: raw μ-law, one file each, which nobody deletes. Its methods wait for the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, phrase: Phrase) -> bytes:
        """Its audio; b"" when there is none that can be played."""
        try:
            with (self._folder / phrase.file_name).open("rb") as file:
                audio = file.read(_MAX_BYTES + 1)
        except OSError:
            return b""
        is_sound = 0 < len(audio) <= _MAX_BYTES and len(audio) % mulaw.FRAME_BYTES == 0
        return audio if is_sound and not mulaw.is_silence(audio) else b""

    def keep(self, phrase: Phrase, audio: bytes) -> None:
        """Store it: all of it or nothing, whatever happens meanwhile. Raises: OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Next to where it goes: only within one file system does a rename replace in one step.
        descriptor, name = tempfile.mkstemp(dir=self._folder, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(audio)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._folder / phrase.file_name)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


class SpokenPersona:
    """A persona whose phrases become audio by and by.

    Args: persona; phrases, where they are kept; service, as in Phrase; connect, opens a line to it; renders, whether
    what is missing is rendered here, not by another process that keeps it in the same place.
    Attributes: apology_clip, the built-in apology, for whoever has none of their own.
    """

    def __init__(
        self, persona: Persona, phrases: Phrases, *, service: str, connect: Connect, renders: bool = True
    ) -> None:
        # In English, whatever the text says, but there before any model has spoken.
        self.apology_clip = APOLOGY_CLIP.read_bytes()
        self._persona = msgspec.structs.replace(persona, apology_audio=self.apology_clip)
        self._wanted = phrases_of(persona, service)
        self._phrases, self._connect, self._renders = phrases, connect, renders

    def current(self) -> Persona:
        """The persona with what has been rendered so far."""
        return self._persona

    async def keep_rendered(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Use what was rendered before, then render what is missing, or wait for it; started in between.

        Ends when all is there or given up.
        """
        missing = await self._use_found()
        _logger.info(
            "phrases.found", rendered=[place for place in self._wanted if place not in missing], missing=missing
        )
        task_status.started()
        try:
            if not self._renders:
                await self._use_what_comes(missing)
                return
            for place in missing:
                await self._render(place)
        except Exception:  # a fault of ours costs the phrases, not the calls
            _logger.exception("phrases.broken")

    async def _use_found(self) -> list[Place]:
        found = await trio.to_thread.run_sync(self._find_all)
        for place, audio in found.items():
            self._use(place, audio)
        return [place for place in self._wanted if place not in found]

    async def _use_what_comes(self, missing: list[Place]) -> None:
        with trio.move_on_after(len(missing) * RETRY_FOR_S):  # by then who renders has given up
            while missing:
                await trio.sleep(LOOK_EVERY_S)
                missing = await self._use_found()

    def _find_all(self) -> dict[Place, bytes]:
        audio = {place: self._phrases.find(phrase) for place, phrase in self._wanted.items()}
        return {place: each for place, each in audio.items() if each}

    def _use(self, place: Place, audio: bytes) -> None:
        """From the next call on."""
        self._persona = msgspec.structs.replace(self._persona, **{f"{place}_audio": audio})

    async def _render(self, place: Place) -> None:
        """Until it is in use, or given up."""
        retry, misspoken = Retry(SystemRandom(), budget_s=RETRY_FOR_S, longest_s=LONGEST_PAUSE_S), 0
        while (error := await self._attempt(place)) is not None:
            misspoken += error.failure is None
            verdict = retry.failed(error.failure or failure_of_code(None), trio.current_time())
            if not isinstance(verdict, RetryIn) or misspoken == MAX_MISSPOKEN:
                _logger.warning("phrases.given_up", phrase=place, why=error.detail, help="The next start tries again.")
                return
            _logger.debug("phrases.attempt_failed", phrase=place, why=error.detail, again_in_s=verdict.delay_s)
            await trio.sleep(verdict.delay_s)

    async def _attempt(self, place: Place) -> RenderingError | None:
        phrase = self._wanted[place]
        try:
            with trio.fail_after(RENDER_WITHIN_S):
                audio = await render_speech(self._connect, phrase.voice, phrase.text)
        except trio.TooSlowError:
            return RenderingError(f"it was not spoken within {RENDER_WITHIN_S:.0f} s", Failure(kind="silent"))
        except RenderingError as error:
            return error
        self._use(place, audio)
        await self._keep(phrase, audio)
        _logger.info("phrases.rendered", phrase=place, audio_ms=mulaw.duration_ms(len(audio)))
        return None

    async def _keep(self, phrase: Phrase, audio: bytes) -> None:
        try:
            await trio.to_thread.run_sync(self._phrases.keep, phrase, audio)
        except OSError as error:
            _logger.warning("phrases.not_kept", why=error.strerror, help="Set DATA_DIR to a writable directory.")

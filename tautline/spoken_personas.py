"""Spoken personas: the phrases of whoever answers become audio by and by, and each call has what there is by then.

Stands beside the calls. The settings' persona and the stored ones that answer a number or are active are the same here:
their phrases are found on disk or rendered, one at a time, and kept in memory, where a call that begins finds them
without waiting. Whatever goes wrong, calls go on: the model speaks the greeting, and a built-in apology stands in for
the persona's own.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from random import SystemRandom
from typing import Final

import msgspec
import structlog
import trio

from admin.services.personas.kept_audio import KeptAudio
from admin.services.personas.previews import OpenSpeech
from admin.services.telephone.directory import Answering
from proto import mulaw
from relay import Persona, RenderingError, render_speech
from relay.retry import Failure
from tautline import phrases
from tautline.phrases import Phrase, Phrases, Place, phrases_of
from tautline.render_queue import RenderQueue

RENDER_WITHIN_S: Final = 30.0  # one attempt; two seconds are usual
LOOK_EVERY_S: Final = 5.0  # for what another process renders
REST_AFTER_FAULT_S: Final = 60.0
MEMORY_BYTES: Final = 64 * 1024 * 1024  # some 2000 greetings of four seconds

_logger = structlog.stdlib.get_logger("tautline.phrases")


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a phrase is wanted for. version: of the persona, as in Answering; model: "" for the server's."""

    place: Place
    version: str
    model: str


class SpokenPersonas:
    """Args: usual, the settings' persona; kept, where audio is on disk; speech, where it is spoken; renders, whether
    what is missing is rendered here, not by another process that keeps it in the same place; memory_bytes, how much
    audio is in memory at most.

    Attributes: usual, without audio.
    """

    def __init__(
        self,
        usual: Persona,
        kept: Phrases,
        speech: OpenSpeech,
        *,
        renders: bool = True,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.usual = usual
        # In English, whatever the text says, but there before any model has spoken.
        self._apology_clip = phrases.APOLOGY_CLIP.read_bytes()
        self._kept, self._speech, self._renders = kept, speech, renders
        self._memory_bytes = memory_bytes
        self._audio: KeptAudio[Phrase] = KeptAudio(memory_bytes)
        self._wanted: dict[Phrase, _Wanted] = {}
        self._queue = RenderQueue(SystemRandom())
        self._changed = trio.Event()  # what is wanted; another one after each change
        self.want(())

    def with_audio(self, persona: Persona) -> Persona:
        """A persona with what there is of its phrases. Does not wait."""
        said = phrases_of(persona, self._service(persona.model))
        audio = {place: self._audio.find(phrase) for place, phrase in said.items()}
        return msgspec.structs.replace(
            persona,
            greeting_audio=audio.get("greeting", b""),
            apology_audio=audio.get("apology") or self._apology_clip,
        )

    def want(self, answering: Iterable[Answering]) -> None:
        """These answer from now on, and the settings' persona. Does not wait."""
        everybody = [Answering(version="", persona=self.usual), *answering]
        services = {model: self._service(model) for model in {each.persona.model for each in everybody}}
        wanted: dict[Phrase, _Wanted] = {}
        for each in everybody:
            model = each.persona.model
            for place, phrase in phrases_of(each.persona, services[model]).items():
                wanted.setdefault(phrase, _Wanted(place=place, version=each.version, model=model))
        self._wanted = wanted
        self._queue.want(phrase for phrase in wanted if phrase not in self._audio)
        self._changed.set()
        self._changed = trio.Event()

    async def keep_rendered(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Use what was rendered before, then start to have the rest rendered. Runs until cancelled."""
        try:
            await self._use_found()
        except Exception:
            _logger.exception("phrases.broken")
        missing = len(self._queue.missing)
        _logger.info("phrases.found", rendered=len(self._wanted) - missing, missing=missing)
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_repeat, self._look)
            if self._renders:
                nursery.start_soon(_repeat, self._render_next)

    def _service(self, model: str) -> str:
        return self._speech(model or None).service

    async def _look(self) -> None:
        """Use what is on disk, and wait until there may be more."""
        changed = self._changed
        await self._use_found()
        comes_by_itself = not self._renders and bool(self._queue.missing)
        with trio.move_on_after(LOOK_EVERY_S if comes_by_itself else inf):
            await changed.wait()

    async def _render_next(self) -> None:
        """Wait until there is something to render, and render it; or until it may be something else."""
        changed = self._changed
        phrase, at = self._queue.next()
        with trio.CancelScope(deadline=at):
            await changed.wait()
            return
        if phrase is not None and phrase in self._queue:  # nobody else has found it meanwhile
            await self._render(phrase, self._wanted[phrase])

    async def _use_found(self) -> None:
        found = await trio.to_thread.run_sync(self._find_all, self._queue.missing)
        for phrase, audio in found.items():
            self._use(phrase, audio)

    def _find_all(self, missing: Sequence[Phrase]) -> dict[Phrase, bytes]:
        """In a thread. No more than memory may hold; the rest is found when its turn to be rendered comes."""
        found: dict[Phrase, bytes] = {}
        size_bytes = 0
        for phrase in missing:
            if size_bytes <= self._memory_bytes and (audio := self._kept.find(phrase)):
                found[phrase] = audio
                size_bytes += len(audio)
        return found

    def _use(self, phrase: Phrase, audio: bytes) -> None:
        """From the next call on."""
        self._audio.keep(phrase, audio)
        self._queue.fulfilled(phrase)

    async def _render(self, phrase: Phrase, wanted: _Wanted) -> None:
        if found := await trio.to_thread.run_sync(self._kept.find, phrase):  # of another server on this folder
            self._use(phrase, found)
            return
        facts = {"phrase": wanted.place, "persona_version": wanted.version}
        audio = await self._attempt(phrase, wanted.model)
        if isinstance(audio, RenderingError):
            self._failed(phrase, audio, facts)
            return
        self._use(phrase, audio)
        self._queue.rendered(phrase)
        await self._keep(phrase, audio)
        _logger.info("phrases.rendered", **facts, audio_ms=mulaw.duration_ms(len(audio)))

    async def _attempt(self, phrase: Phrase, model: str) -> bytes | RenderingError:
        connect = self._speech(model or None).connect
        try:
            with trio.fail_after(RENDER_WITHIN_S):
                return await render_speech(connect, phrase.voice, phrase.text, speed=phrase.speed)
        except trio.TooSlowError:
            return RenderingError(f"it was not spoken within {RENDER_WITHIN_S:.0f} s", Failure(kind="silent"))
        except RenderingError as error:
            return error
        except Exception:  # of ours, and of this phrase: the others may do better
            _logger.exception("phrases.broken")
            return RenderingError("a fault of ours")

    def _failed(self, phrase: Phrase, error: RenderingError, facts: dict[str, str]) -> None:
        """Say it once for each phrase, and once more when it is given up."""
        setback = self._queue.failed(phrase, error.failure, trio.current_time())
        if phrase not in self._queue:
            return
        if setback.again_in_s == inf:
            _logger.warning("phrases.given_up", **facts, why=error.detail, help="Another wording, or the next start.")
        elif setback.is_first:
            meanwhile = "It is tried again; until then calls go without."
            _logger.warning("phrases.not_rendered", **facts, why=error.detail, consequence=meanwhile)
        else:
            _logger.debug("phrases.not_rendered", **facts, why=error.detail, again_in_s=setback.again_in_s)

    async def _keep(self, phrase: Phrase, audio: bytes) -> None:
        in_use = list(self._wanted)

        def keep() -> None:
            self._kept.keep(phrase, audio)
            self._kept.tidy(in_use)

        try:
            await trio.to_thread.run_sync(keep)
        except OSError as error:
            _logger.warning("phrases.not_kept", why=error.strerror, help="Set DATA_DIR to a writable directory.")


async def _repeat(step: Callable[[], Awaitable[None]]) -> None:
    """Until cancelled. A fault of ours costs the phrases a while, and the calls nothing."""
    while True:
        try:
            await step()
        except Exception:
            _logger.exception("phrases.broken")
            await trio.sleep(REST_AFTER_FAULT_S)

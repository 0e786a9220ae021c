"""Phrases: what is always said in the same words, spoken once and kept: a persona's greeting and its apology.

`Phrases` is the folder they lie in, one file for each text, voice, speed and model, whoever says it. Several processes
may have the same folder: a file is there as a whole or not at all, and two that make the same one do no harm.
"""

import hashlib
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from proto import mulaw
from relay import Persona
from relay.rendering import MAX_AUDIO_MS, VERSION

FOLDER = "phrases"  # within DATA_DIR
APOLOGY_CLIP = Path(__file__).parent / "sounds" / "apology.ulaw"
KEPT_BYTES = 256 * 1024 * 1024  # on disk; some 8000 greetings of four seconds

Place = Literal["greeting", "apology"]

_MAX_BYTES = MAX_AUDIO_MS * mulaw.BYTES_PER_MS
_SOUND, _UNFINISHED = ".ulaw", ".part"


class Phrase(msgspec.Struct, frozen=True, kw_only=True):
    """Who says what, and how.

    service: its address with the model, since another one would have another voice; speed: as Persona's.
    """

    service: str
    voice: str
    text: str
    speed: float = 1.0

    @property
    def file_name(self) -> str:
        """Where it is kept: a hash, so that no text and no voice can name a path."""
        facts = msgspec.json.encode((VERSION, self.service, self.voice, self.speed, self.text))
        return f"{hashlib.sha256(facts).hexdigest()}{_SOUND}"


def phrases_of(persona: Persona, service: str) -> dict[Place, Phrase]:
    """What this persona always says in the same words."""
    texts: dict[Place, str] = {"greeting": persona.greeting, "apology": persona.apology}
    return {
        place: Phrase(service=service, voice=persona.voice, text=text, speed=persona.speed)
        for place, text in texts.items()
        if text.strip()
    }


class Phrases:
    """A folder of rendered phrases: raw μ-law, one file each. Its methods wait for the disk.

    Args: kept_bytes, how much it may hold, unless more is in use.
    """

    def __init__(self, folder: Path, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._folder, self._kept_bytes = folder, kept_bytes

    def find(self, phrase: Phrase) -> bytes:
        """Its audio, which is used now; b"" when there is none that can be played."""
        path = self._folder / phrase.file_name
        try:
            with path.open("rb") as file:
                audio = file.read(_MAX_BYTES + 1)
        except OSError:
            return b""
        with suppress(OSError):
            os.utime(path)  # the time of a file is that of its last use
        is_sound = 0 < len(audio) <= _MAX_BYTES and len(audio) % mulaw.FRAME_BYTES == 0
        return audio if is_sound and not mulaw.is_silence(audio) else b""

    def keep(self, phrase: Phrase, audio: bytes) -> None:
        """Store it: all of it or nothing, whatever happens meanwhile. Raises: OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Next to where it goes: only within one file system does a rename replace in one step.
        descriptor, name = tempfile.mkstemp(dir=self._folder, suffix=_UNFINISHED)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(audio)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._folder / phrase.file_name)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def tidy(self, in_use: Collection[Phrase]) -> None:
        """Delete what has not been used for longest, as far as there is too much, and never what is in use.

        Raises: OSError.
        """
        spared, size_bytes = {phrase.file_name for phrase in in_use}, 0
        for _, file_bytes, path in sorted(self._files(), reverse=True):
            size_bytes += file_bytes
            if size_bytes > self._kept_bytes and path.name not in spared:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Each with its time and its size, also what a process that was killed has not finished."""
        for path in self._folder.iterdir():
            if path.suffix in (_SOUND, _UNFINISHED):
                with suppress(FileNotFoundError):  # another process tidies, too
                    about = path.stat()
                    yield about.st_mtime_ns, about.st_size, path

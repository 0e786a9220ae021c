"""A few spoken lines between a pizzeria and its caller: what the simulators say without a microphone or a model.

The voices are synthetic: every clip was made with espeak-ng and shaped to the telephone band with sox
(`make_clips.py`). They are real speech only in rhythm and level; do not judge a voice or a recogniser by them. Neither
program is needed here: the clips lie beside this file as raw μ-law, 8 kHz, and are read once per process.
"""

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from proto import mulaw

Speaker = Literal["assistant", "caller"]

CLIPS_DIR = Path(__file__).parent / "clips"
CATALOG = CLIPS_DIR / "catalog.json"


class Word(msgspec.Struct, frozen=True):
    """One spoken word. Its times are estimates: a sentence's length, shared out by the words' lengths in letters."""

    text: str
    start_ms: int  # from the start of the clip
    end_ms: int


class CatalogEntry(msgspec.Struct, frozen=True):
    """What the catalog says of one clip; the audio is in `<name>.ulaw` beside it."""

    name: str
    speaker: Speaker
    transcript: str
    words: tuple[Word, ...]  # in the order spoken; together they are the transcript


class Clip(CatalogEntry, frozen=True):
    """One spoken line with its audio."""

    mulaw: bytes  # μ-law, 8 kHz, a whole number of 20 ms frames

    @property
    def duration_ms(self) -> int:
        """How long the clip sounds, in ms."""
        return mulaw.duration_ms(len(self.mulaw))


def clip(name: str) -> Clip:
    """The clip of this name. Raises: KeyError, naming the clips there are."""
    try:
        return _all_clips()[name]
    except KeyError:
        raise KeyError(f"no clip {name!r}; there are {', '.join(_all_clips())}") from None


def clips(speaker: Speaker) -> list[Clip]:
    """All that this speaker says, in the catalog's order, which is that of a conversation."""
    return [spoken for spoken in _all_clips().values() if spoken.speaker == speaker]


@cache
def _all_clips() -> dict[str, Clip]:
    entries = msgspec.json.decode(CATALOG.read_bytes(), type=list[CatalogEntry])
    return {entry.name: _with_audio(entry) for entry in entries}


def _with_audio(entry: CatalogEntry) -> Clip:
    audio = (CLIPS_DIR / f"{entry.name}.ulaw").read_bytes()
    return Clip(entry.name, entry.speaker, entry.transcript, entry.words, audio)

"""Speak the clips anew and rewrite their catalog. Needs espeak-ng and sox. Run: python -m benchmarks.speech.make_clips

Only for whoever changes a line or a voice: the clips are kept in the repository, and nothing else needs these two
programs. Each sentence is spoken alone, cut to its sound and joined to the next by a pause of known length, so the
word times in the catalog can drift within a sentence only. The same versions of both programs make the same bytes.
"""

import subprocess
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.speech import CATALOG, CLIPS_DIR, CatalogEntry, Speaker, Word
from proto import mulaw
from proto.mulaw import Samples

LEVEL_DBOV: Final = -21.0  # a clear talker on the telephone, with room above for the peaks
QUIET_DBOV: Final = -45.0  # at that level, what lies below this is pause
LEAD_MS: Final = 20
TAIL_MS: Final = 60
SYNTHESIS_TIMEOUT_S: Final = 30.0


class Voice(msgspec.Struct, frozen=True):
    """How espeak-ng is to speak."""

    name: str  # an espeak-ng voice, with its variant after the plus sign
    words_per_minute: int
    pitch: int  # 0 to 99


class Line(msgspec.Struct, frozen=True):
    """One clip to be: its sentences, and the pause between two of them."""

    name: str
    speaker: Speaker
    sentences: tuple[str, ...]
    pause_ms: int = 250


VOICES: Final[dict[Speaker, Voice]] = {
    "assistant": Voice("en-us+f3", words_per_minute=170, pitch=55),
    "caller": Voice("en-gb", words_per_minute=165, pitch=38),
}

LINES: Final = (
    Line("greeting", "assistant", ("Good evening, this is Luna's Pizzeria.", "How can I help you?")),
    Line("ask_hours", "caller", ("Hello, until what time are you open tonight?",)),
    Line(
        "opening_hours",
        "assistant",
        ("We are open until eleven tonight.", "The kitchen closes at half past ten."),
    ),
    Line("ask_menu", "caller", ("And what pizzas do you have on the menu?",)),
    Line("one_moment", "assistant", ("One moment, I'll look that up.",)),
    Line(
        "menu",
        "assistant",
        (
            "Our Margherita comes with tomato, mozzarella and fresh basil.",
            "The Diavola has spicy salami and roasted peppers.",
            "On the Capricciosa you find ham, mushrooms, artichokes and olives.",
            "The Quattro Formaggi is made with four cheeses from the Alps.",
            "And the pizza of the week has figs, goat cheese and honey.",
        ),
    ),
    Line("interrupt_vegetarian", "caller", ("Sorry, just the vegetarian ones, please.",)),
    Line(
        "vegetarian",
        "assistant",
        (
            "Of course.",
            "Without meat we have the Margherita, the Quattro Formaggi, and the pizza of the week with figs.",
        ),
    ),
    Line("book_table", "caller", ("Lovely.", "Could I book a table for four people at eight o'clock?")),
    Line("table_booked", "assistant", ("Your table for four is booked for eight o'clock.", "We look forward to you.")),
    Line("anything_else", "assistant", ("Is there anything else I can do for you?",)),
    Line("thanks_bye", "caller", ("That was all, thank you.", "Goodbye!")),
    Line("goodbye", "assistant", ("Thank you for calling Luna's Pizzeria.", "Have a lovely evening!")),
    Line("still_there", "assistant", ("Hello, are you still there?",)),
    Line(
        "sorry",
        "assistant",
        ("I'm sorry, we have a technical problem.", "Please call again later."),
        pause_ms=150,
    ),
    Line(
        "caller_long",
        "caller",
        (
            "Good evening, my name is Daniel.",
            "We were at your place last summer.",
            "Next Friday my sister has her birthday.",
            "There will be nine of us, and two of them are small children.",
            "Do you have a table in the garden for us?",
        ),
        pause_ms=400,
    ),
)


def main() -> None:
    """Write every clip and then the catalog."""
    entries = []
    for line in LINES:
        entry, audio = render(line)
        (CLIPS_DIR / f"{line.name}.ulaw").write_bytes(audio)
        entries.append(entry)
        print(f"{line.name}: {mulaw.duration_ms(len(audio))} ms")
    CATALOG.write_bytes(msgspec.json.format(msgspec.json.encode(entries), indent=1) + b"\n")


def render(line: Line) -> tuple[CatalogEntry, bytes]:
    """One line as catalog entry and μ-law. Raises: RuntimeError when a sentence comes out silent."""
    parts: list[Samples] = [_pause(LEAD_MS)]
    words: list[Word] = []
    for number, sentence in enumerate(line.sentences):
        if number:
            parts.append(_pause(line.pause_ms))
        spoken = _cut_to_sound(_speak(VOICES[line.speaker], sentence))
        start_ms = mulaw.duration_ms(sum(part.size for part in parts))
        words += _words(sentence, start_ms, start_ms + mulaw.duration_ms(spoken.size))
        parts.append(_at_level(spoken))
    parts.append(_pause(TAIL_MS))
    entry = CatalogEntry(line.name, line.speaker, " ".join(line.sentences), tuple(words))
    return entry, _whole_frames(mulaw.encode(np.concatenate(parts)))


def _speak(voice: Voice, sentence: str) -> Samples:
    """What espeak-ng says, in the telephone band."""
    speak = ["espeak-ng", "-v", voice.name, "-s", str(voice.words_per_minute), "-p", str(voice.pitch), "--stdout"]
    # -D: no dither, so that each run gives the same bytes; gain -3 leaves the filter's overshoot room.
    telephone = ["sox", "-D", "-t", "wav", "-", "-t", "raw", "-e", "signed-integer", "-b", "16", "-c", "1", "-L"]
    telephone += ["-r", str(mulaw.SAMPLE_RATE_HZ), "-", "gain", "-3", "sinc", "300-3400"]
    wav = _run([*speak, sentence], stdin=b"")
    return np.frombuffer(_run(telephone, stdin=wav), "<i2").astype(np.int16)


def _run(command: list[str], *, stdin: bytes) -> bytes:
    finished = subprocess.run(  # noqa: S603 - the commands are the two above, and no shell reads them
        command, input=stdin, capture_output=True, check=True, timeout=SYNTHESIS_TIMEOUT_S
    )
    return finished.stdout


def _cut_to_sound(spoken: Samples) -> Samples:
    """Without the silence that the synthesiser puts around a sentence."""
    window = 10 * mulaw.BYTES_PER_MS
    windows = _at_level(spoken)[: spoken.size // window * window].reshape(-1, window)
    loud = [index for index, samples in enumerate(windows) if mulaw.level_dbov(samples) > QUIET_DBOV]
    if not loud:
        raise RuntimeError("espeak-ng spoke nothing: is this voice installed?")
    return spoken[loud[0] * window : (loud[-1] + 1) * window]


def _at_level(spoken: Samples) -> Samples:
    gain = 10.0 ** ((LEVEL_DBOV - mulaw.level_dbov(spoken)) / 20)
    louder: NDArray[np.float64] = np.rint(spoken * gain)
    return louder.clip(-32768, 32767).astype(np.int16)


def _words(sentence: str, start_ms: int, end_ms: int) -> list[Word]:
    texts = sentence.split()
    letters = np.array([0, *(len(text) for text in texts)])
    edges = start_ms + np.cumsum(letters) * (end_ms - start_ms) // letters.sum()
    return [Word(text, int(edges[i]), int(edges[i + 1])) for i, text in enumerate(texts)]


def _pause(ms: int) -> Samples:
    return np.zeros(ms * mulaw.BYTES_PER_MS, np.int16)


def _whole_frames(audio: bytes) -> bytes:
    missing = -len(audio) % mulaw.FRAME_BYTES
    return audio + bytes([mulaw.SILENCE_BYTE]) * missing


if __name__ == "__main__":
    main()

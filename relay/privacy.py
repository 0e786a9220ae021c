"""What of a call may be kept: applied to every record before it is offered to a call log, and to every capture.

Pure. A persona carries one `Privacy` for its calls. While a call lasts its words are in memory, because the model must
be told them again when a session is lost; nothing here changes what is said or heard, only what is written down.
"""

import re
import unicodedata

import msgspec

from relay.log import AgentHeard, CallerTranscribed, CallStarted, KeyPressed, LogEvent

MASK = "*"
MASKED_RUN = 3  # so many digits spoken in a row are a number of somebody's, not "a table for two"


class Privacy(msgspec.Struct, frozen=True, kw_only=True):
    """What may be written down of a call.

    keep_audio: its sound. keep_transcript: its words and pressed keys. mask_digits: digits become `*` in the words that
    are kept, so that numbers of cards, accounts and telephones are not kept with them.
    """

    keep_audio: bool = True
    keep_transcript: bool = True
    mask_digits: bool = False


def redacted(event: LogEvent, privacy: Privacy) -> LogEvent | None:
    """The record as it may be kept; None for one that would have nothing left to say.

    Words that may not be kept are absent, "" where a record must have some; keys become `*`: that one was pressed is
    not private. All that a record calls private is treated so, whatever record it is, but for who called whom: that is
    nobody's words, and without it the record would be about nobody.
    """
    if not event.private or (privacy.keep_transcript and not privacy.mask_digits):
        return event
    match event:
        case CallStarted():
            return event
        case KeyPressed():
            return msgspec.structs.replace(event, digit=MASK)
        case CallerTranscribed() if not privacy.keep_transcript:
            return None
        case AgentHeard() if not privacy.keep_transcript:
            return msgspec.structs.replace(event, words=None)
    found: dict[str, str | None] = {name: getattr(event, name) for name in event.private}
    kept = {name: _redacted_text(text, privacy) for name, text in found.items() if text is not None}
    return msgspec.structs.replace(event, **kept)


def may_capture_private(privacy: Privacy) -> bool:
    """Whether a capture may hold audio, words and keys, if its operator asks for them.

    A capture holds all or none of it: it has the words in pieces, in which no run of digits can be found, and its audio
    speaks the digits that are masked elsewhere. So one reservation is enough for none.
    """
    return privacy.keep_audio and privacy.keep_transcript and not privacy.mask_digits


def _redacted_text(text: str, privacy: Privacy) -> str:
    return masked_digits(text) if privacy.keep_transcript else ""


# Digits, written and spelled out.

# As `casefold` writes them: "ß" is "ss".
_NUMBERS = {
    *("zero", "nought", "oh", "o", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
    *("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred", "thousand"),
    *("double", "triple", "doppel", "hundert", "tausend"),
    *("null", "eins", "zwei", "zwo", "drei", "vier", "fünf", "fuenf", "sechs", "sieben", "acht", "neun"),
    *("zehn", "elf", "zwölf", "zwoelf", "dreizehn", "vierzehn", "fünfzehn", "fuenfzehn", "sechzehn", "siebzehn"),
    *("achtzehn", "neunzehn", "zwanzig", "dreissig", "vierzig", "fünfzig", "fuenfzig", "sechzig", "siebzig"),
    *("achtzig", "neunzig"),
}
_GERMAN_PAIR = re.compile(  # "vierunddreißig": two digits in one word
    r"(?:ein|zwei|drei|vier|fünf|fuenf|sechs|sieben|acht|neun)und"
    r"(?:zwanzig|dreissig|vierzig|fünfzig|fuenfzig|sechzig|siebzig|achtzig|neunzig)"
)
# They stand between the digits of a number without ending it.
_FILLERS = {"and", "then", "uh", "um", "er", "erm", "und", "dann", "äh", "ähm", "öh", "hm"}

_WORD = re.compile(r"\w+")


def masked_digits(text: str) -> str:
    """The text with every digit as `*`, and so every word of a run of three or more digits that are spelled out.

    A digit is whatever character stands for a number, in any script. Spelled out means the names of numbers in English
    and German ("oh", "zwo" and "double" too), with whatever punctuation or hesitation between. Not found are fewer than
    three in a row, other languages, words written together, and what a transcription misheard ("for", "won").
    """
    text = unicodedata.normalize("NFC", text)  # "ü" may come as two characters
    run: list[re.Match[str]] = []
    masked: set[int] = set()  # where the words of such runs begin
    for word in _WORD.finditer(text):
        if _digits_in(word[0]):
            run.append(word)
        elif word[0].casefold() not in _FILLERS:
            masked |= _masked_run(run)
            run = []
    masked |= _masked_run(run)
    rest = _WORD.sub(lambda word: MASK if word.start() in masked and not word[0].isnumeric() else word[0], text)
    return "".join(MASK if character.isnumeric() else character for character in rest)


def _masked_run(run: list[re.Match[str]]) -> set[int]:
    digits = sum(_digits_in(word[0]) for word in run)
    return {word.start() for word in run} if digits >= MASKED_RUN else set()


def _digits_in(word: str) -> int:
    """How many digits a word stands for; 0 for one that is no number."""
    if word.isnumeric():
        return len(word)
    if word.casefold() in _NUMBERS:
        return 1
    return 2 if _GERMAN_PAIR.fullmatch(word.casefold()) else 0

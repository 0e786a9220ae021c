"""Whether somebody said what they were to say, as far as two transcripts can tell.

Pure. What counts is words: letters and digits, whatever their case, accents' encoding, punctuation and spacing. Two
differences pass. Where one side has a number in digits, the other may have other words in its place, up to three for
each digit: "11:30" and "half past eleven". And one word in ten may be another word, because names are spelt in more
ways than one. A word too many, or one too few, is never right: "Sure!" before a greeting is what models add.
"""

import re
import unicodedata
from difflib import SequenceMatcher

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = str.maketrans("", "", "'’`")  # "it's" is one word, with or without
_WORDS_PER_DIGIT = 3  # "half past eleven" is what 11:30 takes, "triple nine" what 999
_WORDS_PER_MISSPELLING = 10


def says_the_same(text: str, transcript: str) -> bool:
    """Whether the transcript is of these words, by the rule above. Both without any word are the same, too."""
    wanted, found = _words(text), _words(transcript)
    if "".join(wanted) == "".join(found):
        return True  # "voice mail" and "voicemail"
    respelt = 0
    for _, i, j, k, m in _differences(wanted, found):
        ours, theirs = wanted[i:j], found[k:m]
        if _is_same_number(ours, theirs) or "".join(ours) == "".join(theirs):
            continue
        if len(ours) != len(theirs):
            return False
        respelt += len(ours)
    return respelt <= len(wanted) // _WORDS_PER_MISSPELLING


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES))


def _differences(wanted: list[str], found: list[str]) -> list[tuple[str, int, int, int, int]]:
    opcodes = SequenceMatcher(None, wanted, found, autojunk=False).get_opcodes()
    return [opcode for opcode in opcodes if opcode[0] != "equal"]


def _is_same_number(ours: list[str], theirs: list[str]) -> bool:
    """One side is digits, and the other something in their place that may be the same number."""
    for digits, words in ((ours, theirs), (theirs, ours)):
        counts = [sum(character.isdigit() for character in word) for word in digits]
        if 0 < len(words) <= sum(counts) * _WORDS_PER_DIGIT and all(counts):
            return True
    return False

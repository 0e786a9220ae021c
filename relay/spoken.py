"""What the agent says in one content part, and which of its words had sounded when it was cut.

Pure. The service tells words and audio apart, and does not say which belongs to which. Two things are known: words run
ahead of their audio, and a voice speaks at an even pace. So a cut is found in two steps, both in characters:

- the estimate: the share of the audio that was heard is the share of the text that was heard. Once the part is complete
  its audio is all that was sent; while it is being generated the words at hand are taken to reach LEAD_MS further than
  the audio at hand. MARGIN_MS come off what was heard, because pauses make a voice uneven;
- the bound: words that came when there were G ms of audio sound after G ms, so they were not heard by anybody who heard
  less than that.

The smaller of both is cut back to the last whole word. A language written without spaces is cut at any character.

How far off that is, against clips whose words' times are known (tests/relay/test_spoken.py; the times are themselves
estimates within each sentence, so a real voice will do worse): at any moment of a complete part the claim ends 0.3 s
before the cut in the median, is at most 2 words short, and in 3 of 100 cuts names the word that is sounding. While it
is being generated it ends 0.6 s before, is up to 6 words short, and in 1 of 1000 cuts names the word that is sounding.

Nothing but lengths and white space counts here, never which letters: a call that is replayed with its words masked is
cut at the same places.
"""

from relay.playout import Heard

LEAD_MS = 1500  # of audio that the words are ahead: 50 to 150 ms at some twelve times real time
MARGIN_MS = 200  # about a pause between two sentences
LONGEST_WORD = 30  # characters; what is longer without a space is no word but a line of a language without spaces
MAX_CHARACTERS = 16_000  # a quarter of an hour of speech
MAX_CHECKPOINTS = 1000


class Spoken:
    """The words of one content part. `heard` is None until it is settled how much of it the caller heard."""

    def __init__(self) -> None:
        self.words = ""  # all that are known, heard or not
        self.heard: Heard | None = None
        self._is_complete = False  # all words are there, and by then all audio was
        self._breaks_off = False  # generation was stopped: there are words without audio
        self._checkpoints: list[tuple[int, int]] = []  # (audio ms there was, characters before the words of then)

    def add(self, delta: str, generated_ms: int) -> None:
        """More words came, when there were `generated_ms` of audio. After a cut they were not heard, and are left."""
        if self._is_cut:
            return
        is_later = not self._checkpoints or self._checkpoints[-1][0] < generated_ms
        if is_later and len(self._checkpoints) < MAX_CHECKPOINTS:
            self._checkpoints.append((generated_ms, len(self.words)))
        self.words = (self.words + delta)[:MAX_CHARACTERS]

    def complete(self, transcript: str) -> None:
        """These are all words, and all audio came before. After a cut that is the stopped rest, and is left."""
        if not self._is_cut:
            self.words, self._is_complete = transcript[:MAX_CHARACTERS], True

    def break_off(self) -> None:
        """The model was stopped before its end: its last words have no audio. A cut has taken them already."""
        if not self._is_cut:
            self._breaks_off = True

    def settle(self, heard: Heard) -> None:
        """So much was heard. Only less can be said later: nobody hears more of what was cut."""
        if self.heard is None or heard.heard_ms < self.heard.heard_ms:
            self.heard = heard

    def words_heard(self, heard: Heard) -> str | None:
        """The words that sounded in this much audio; None if no words came with it."""
        if not self.words:
            return None
        if heard.is_whole and not self._breaks_off:
            return self.words
        is_all_audio = self._is_complete and not self._breaks_off
        audio_ms = heard.sent_ms + (0 if is_all_audio else LEAD_MS)
        sounded_ms = max(heard.heard_ms - MARGIN_MS, 0)
        estimate = len(self.words) * sounded_ms // max(audio_ms, 1)
        bounds = (at for generated_ms, at in self._checkpoints if generated_ms >= heard.heard_ms)
        return _whole_words(self.words, min([estimate, *bounds]))

    @property
    def _is_cut(self) -> bool:
        return self.heard is not None and not self.heard.is_whole


def _whole_words(text: str, length: int) -> str:
    """The words that end within so many characters."""
    if length >= len(text):
        return text
    begins = length
    while begins > 0 and not text[begins].isspace():
        begins -= 1
    ends = length
    while ends < len(text) and not text[ends].isspace():
        ends += 1
    return text[: length if ends - begins > LONGEST_WORD else begins].rstrip()

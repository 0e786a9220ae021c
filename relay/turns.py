"""How long the caller waited: the split of each answer's delay into the model's part and the playout's part.

Pure. The relay's own part is measured by the session, which alone sees a real clock.
"""

from proto import mulaw
from relay.log import AnswerBegan, AnswerSounded, LogEvent
from relay.playout import Key, MarkName, Outgoing


class TurnClock:
    """Follows one answer at a time from the caller's last word to its first sound. `now` in monotonic seconds."""

    def __init__(self) -> None:
        self._asked_at: float | None = None  # the caller fell silent, or we asked the model to speak
        self._response_id = ""  # whose audio went out last
        self._began_at: float | None = None  # its first audio, if it sounds at once and no mark followed yet
        self._bytes_sent = 0  # of it, since then
        self._first_mark = ""
        self._first_mark_due_at = 0.0  # when the mark would pass, were the line without delay

    def asked(self, now: float) -> None:
        """The model is to speak from now on."""
        self._asked_at = now

    def audio_sent(self, key: Key, outgoing: list[Outgoing], *, was_idle: bool, now: float) -> list[LogEvent]:
        """Audio of a content part went out; `was_idle`: nothing was sounding before it."""
        began: list[LogEvent] = []
        if key.response_id != self._response_id:
            asked_at = now if self._asked_at is None else self._asked_at
            self._response_id, self._asked_at = key.response_id, None
            self._began_at, self._bytes_sent = (now if was_idle else None), 0
            model_ms = (now - asked_at) * 1000
            began.append(AnswerBegan(response_id=key.response_id, item_id=key.item_id, model_ms=model_ms))
        self._find_first_mark(outgoing)
        return began

    def mark_echoed(self, name: str, now: float) -> list[LogEvent]:
        """A mark came back."""
        if name != self._first_mark:
            return []
        self._first_mark = ""
        late_ms = (now - self._first_mark_due_at) * 1000
        return [AnswerSounded(response_id=self._response_id, playout_ms=late_ms)]

    def _find_first_mark(self, outgoing: list[Outgoing]) -> None:
        for piece in outgoing:
            if self._began_at is None:
                return
            if isinstance(piece, MarkName):
                self._first_mark = piece.name
                self._first_mark_due_at = self._began_at + self._bytes_sent / mulaw.SAMPLE_RATE_HZ
                self._began_at = None
            else:
                self._bytes_sent += len(piece)

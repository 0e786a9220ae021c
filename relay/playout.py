"""The ledger of the agent's voice: what was sent towards the caller, what has been heard, and what was cut.

Pure: no Trio, no clock, no log. Audio is put on one axis, the *stream position*: bytes sent to Twilio since the last
clear, padding included. Twilio plays that stream in order at 8 bytes per ms and echoes marks as it passes them, so one
number, the position heard, answers every question: which item is sounding, how much of it was heard, what is left.
Between two echoes the position runs with time, but never past the next mark that has not come back.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass

import msgspec

from proto import mulaw

MARK_EVERY_BYTES = 200 * mulaw.BYTES_PER_MS  # a mark at least every 200 ms: the resolution of the ledger
MAX_SEGMENTS = 1000  # parts and stretches of parts; as for marks
MAX_PENDING_MARKS = 3000  # ten minutes of audio; a peer that never echoes must not make us grow


class Key(msgspec.Struct, frozen=True, gc=False):
    """Whose audio it is: one content part of one item of one response."""

    response_id: str
    item_id: str
    content_index: int


class MarkName(msgspec.Struct, frozen=True):
    """Send a mark of this name now, after the audio before it."""

    name: str


class Heard(msgspec.Struct, frozen=True):
    """How much of one content part the caller heard, once that is settled. is_whole: all of it, and no more was due."""

    key: Key
    heard_ms: int
    sent_ms: int
    is_whole: bool


@dataclass(slots=True)
class _Segment:
    """A stretch of one content part that is contiguous in the stream."""

    key: Key
    start: int  # stream position of its first byte
    length: int = 0  # bytes of audio, padding not counted
    is_open: bool = True  # more may come


Outgoing = bytes | MarkName


class Playout:
    """What the caller has heard, and when. Positions in bytes of μ-law; `now` in monotonic seconds."""

    def __init__(self) -> None:
        self._segments: list[_Segment] = []  # in stream order; those heard to their end are gone
        self._pending: OrderedDict[str, int] = OrderedDict()  # marks not echoed yet -> their stream position
        self._sent = 0  # stream position of the next byte
        self._acknowledged = 0  # position of the last mark that came back
        self._anchor = (0, 0.0)  # a stream position, and when it was known to sound
        self._unmarked = 0  # bytes sent since the last mark
        self._remainder = b""  # less than a frame, waiting for more of the open segment
        self._generation = 0  # of mark names; each clear begins a new one
        self._marks_made = 0

    @property
    def is_sounding(self) -> bool:
        """Something was sent that Twilio has not confirmed as played."""
        return bool(self._remainder) or self._acknowledged < self._sent

    def push(self, key: Key, audio: bytes, now: float) -> list[Outgoing]:
        """Take audio of any length; give whole 20 ms frames to send, and marks between them."""
        outgoing: list[Outgoing] = []
        if not self._goes_on(key):
            outgoing += self._pad_remainder(now)
            self._segments.append(_Segment(key, self._sent))
            del self._segments[:-MAX_SEGMENTS]
        audio = self._remainder + audio
        whole = len(audio) - len(audio) % mulaw.FRAME_BYTES
        self._remainder = audio[whole:]
        return outgoing + self._send(audio[:whole], whole, now)

    def finish(self, key: Key, now: float) -> list[Outgoing]:
        """No more audio of this content part: send its last bytes, padded to a frame, and its end mark."""
        outgoing: list[Outgoing] = []
        if self._segments and self._segments[-1].key == key:
            outgoing += self._pad_remainder(now)
        is_open = False
        for segment in self._segments:
            if segment.key == key and segment.is_open:
                segment.is_open, is_open = False, True
        return [*outgoing, self._mark()] if is_open else []

    def finish_response(self, response_id: str, now: float) -> list[Outgoing]:
        """No more audio of this response, whether or not each part said so."""
        keys = [segment.key for segment in self._segments if segment.is_open and segment.key.response_id == response_id]
        return [outgoing for key in dict.fromkeys(keys) for outgoing in self.finish(key, now)]

    def echo(self, name: str, now: float) -> list[Heard] | None:
        """A mark came back. None if it is not one of ours, or was cleared; else the parts now heard to their end."""
        if name not in self._pending:
            return None
        while True:  # marks return in order, so this one confirms all before it
            oldest, position = self._pending.popitem(last=False)
            if oldest == name:
                break
        self._acknowledged = max(self._acknowledged, position)
        self._anchor = (position, now)
        return self._settle_heard()

    def interrupt(self, now: float) -> list[Heard]:
        """Twilio's buffer is being cleared: settle what was heard of each part, in stream order, and start anew."""
        heard = self._heard_until(self._position(now))
        self._start_anew()
        return heard

    def _goes_on(self, key: Key) -> bool:
        """The stream ends with audio of this part; what stood behind it may have been heard and dropped."""
        if not self._segments:
            return False
        last = self._segments[-1]
        return last.key == key and last.is_open and last.start + last.length == self._sent

    def _start_anew(self) -> None:
        self._segments.clear()
        self._pending.clear()
        self._sent = self._acknowledged = self._unmarked = 0
        self._anchor = (0, 0.0)
        self._remainder = b""
        self._generation += 1  # echoes of cleared marks name an older one, and are no longer pending

    def _position(self, now: float) -> int:
        """The stream position sounding now: at least what is confirmed, at most the next mark and what was sent."""
        position, at = self._anchor
        running = position + round((now - at) * mulaw.SAMPLE_RATE_HZ)  # a byte is a sample
        next_mark = next(iter(self._pending.values()), self._sent)
        return max(self._acknowledged, min(running, next_mark, self._sent))

    def _send(self, frames: bytes, real_bytes: int, now: float) -> list[Outgoing]:
        """Put whole frames, of which the first `real_bytes` are audio, on the stream, marks between them."""
        if self._position(now) >= self._sent:
            self._anchor = (self._sent, now)  # the buffer was empty: these frames sound at once
        outgoing: list[Outgoing] = []
        at = 0
        while at < len(frames):  # by index: cutting off the front would copy a long delta once per mark
            chunk = frames[at : at + MARK_EVERY_BYTES - self._unmarked]
            at += len(chunk)
            self._sent += len(chunk)
            self._unmarked += len(chunk)
            outgoing.append(chunk)
            if self._unmarked >= MARK_EVERY_BYTES:
                outgoing.append(self._mark())
        self._segments[-1].length += real_bytes
        return outgoing

    def _pad_remainder(self, now: float) -> list[Outgoing]:
        """Send what is less than a frame; silence fills the frame, and is not counted as heard."""
        if not self._remainder:
            return []
        remainder, self._remainder = self._remainder, b""
        return self._send(remainder.ljust(mulaw.FRAME_BYTES, bytes([mulaw.SILENCE_BYTE])), len(remainder), now)

    def _mark(self) -> MarkName:
        self._marks_made += 1
        self._unmarked = 0
        name = f"g{self._generation}.{self._marks_made}"
        self._pending[name] = self._sent
        if len(self._pending) > MAX_PENDING_MARKS:
            self._pending.popitem(last=False)
        return MarkName(name)

    def _settle_heard(self) -> list[Heard]:
        """Drop the parts that were sent whole and confirmed whole."""
        whole = [heard for heard in self._heard_until(self._acknowledged) if heard.is_whole]
        for heard in whole:
            self._segments = [segment for segment in self._segments if segment.key != heard.key]
        return whole

    def _heard_until(self, position: int) -> list[Heard]:
        """Every part on the stream, in the order it began, as heard when `position` sounds."""
        heard_bytes: Counter[Key] = Counter()
        sent_bytes: Counter[Key] = Counter()
        for segment in self._segments:
            heard_bytes[segment.key] += min(max(position - segment.start, 0), segment.length)
            sent_bytes[segment.key] += segment.length
        open_keys = {segment.key for segment in self._segments if segment.is_open}
        return [
            Heard(
                key,
                heard_ms=mulaw.duration_ms(heard_bytes[key]),
                sent_ms=mulaw.duration_ms(sent_bytes[key]),
                is_whole=key not in open_keys and heard_bytes[key] == sent_bytes[key],
            )
            for key in sent_bytes
        ]

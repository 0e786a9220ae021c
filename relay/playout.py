"""The ledger of the agent's voice: what was sent towards the caller, what has been heard, and what was cut.

Pure: no Trio, no clock, no log. Audio is put on one axis, the *stream position*: bytes sent to Twilio since the last
clear, padding included. Twilio plays that stream in order at 8 bytes per ms and echoes marks as it passes them, so one
number, the position heard, answers every question: which item is sounding, how much of it was heard, what is left.
Where it is between two echoes, and how far off that may be, `playout_clock` tells.

After a clear Twilio gives all marks back at once. The first that cannot have been played shows how long the clear took,
and so, once it is too late to be told, what was heard: `reconciled_ms`. It does not correct the truncate. A clear that
took longer than the audio did let *more* be heard, and a truncate can only be made smaller; one that took less time
shows that the run was late, which the run's own marks had shown before. What is left is jitter, of the echo as well.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import inf

import msgspec

from proto import mulaw
from relay.playout_clock import PlayoutClock, Reach

MARK_EVERY_BYTES = 200 * mulaw.BYTES_PER_MS  # a mark at least every 200 ms: the resolution of the ledger
MAX_SEGMENTS = 1000  # parts and stretches of parts; as for marks
MAX_PENDING_MARKS = 3000  # ten minutes of audio; a peer that never echoes must not make us grow
MARK_LOST_AFTER_S = 10.0  # an echo is late by a round trip, rarely by a second; until then an interruption is exact
MAX_SETTLED = 64  # parts heard to their end, of which more may come by mistake; as many as responses may be active


class Key(msgspec.Struct, frozen=True, gc=False):
    """Whose audio it is: one content part of one item of one response."""

    response_id: str
    item_id: str
    content_index: int


class MarkName(msgspec.Struct, frozen=True):
    """Send a mark of this name now, after the audio before it."""

    name: str


class Heard(msgspec.Struct, frozen=True):
    """How much of one content part the caller heard, once that is settled. is_whole: all of it, and no more was due.

    error_bound_ms: how far off heard_ms may be, either way, if no message's way varies more than it did lately.
    """

    key: Key
    heard_ms: int
    sent_ms: int
    is_whole: bool
    error_bound_ms: int = 0


@dataclass(slots=True)
class _Segment:
    """A stretch of one content part that is contiguous in the stream."""

    key: Key
    start: int  # stream position of its first byte
    length: int = 0  # bytes of audio, padding not counted
    is_open: bool = True  # more may come

    @property
    def end(self) -> int:
        return self.start + self.length

    def heard_by(self, position: int) -> int:
        """How many of its bytes have sounded when this position of the stream has."""
        return min(max(position - self.start, 0), self.length)


class _Clear(msgspec.Struct, frozen=True, gc=False):
    """A clear whose effect is not known yet."""

    sent_at: float
    witness: str  # a mark that cannot have been played: it comes back when the clear has arrived
    fitting_trip_s: float | None  # sending to witness, if what was said to be heard is exact


Outgoing = bytes | MarkName


class Playout:
    """What the caller has heard, and when. Positions in bytes of μ-law; `now` in monotonic seconds.

    Attributes: reconciled_ms, how much more (or less, below 0) was heard of what the last interrupt settled than it
    said, as soon as the clear's echo has told that; None if it has not, or cannot.
    """

    def __init__(self) -> None:
        self.reconciled_ms: int | None = None
        self._clock = PlayoutClock()
        self._segments: list[_Segment] = []  # in stream order; those heard to their end are gone
        self._settled: OrderedDict[Key, None] = OrderedDict()  # parts heard to their end, of which all is said
        self._pending: OrderedDict[str, int] = OrderedDict()  # marks not echoed yet -> their stream position
        self._cleared: _Clear | None = None
        self._sent = 0  # stream position of the next byte
        self._acknowledged = 0  # position of the last mark that came back
        self._unmarked = 0  # bytes sent since the last mark
        self._remainder = b""  # less than a frame, waiting for more of the open segment
        self._generation = 0  # of mark names; each clear begins a new one
        self._marks_made = 0

    @property
    def is_sounding(self) -> bool:
        """Something was sent that Twilio has not confirmed as played."""
        return bool(self._remainder) or self._acknowledged < self._sent

    def push(self, key: Key, audio: bytes, now: float) -> list[Outgoing]:
        """Take audio of any length; give whole 20 ms frames to send, and marks between them.

        What comes of a part after it has been settled is dropped: its end was announced, and then heard.
        """
        outgoing: list[Outgoing] = []
        if not self._goes_on(key):
            if key in self._settled:
                return []
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
            self._reconcile(name, now)
            return None
        passed = self._reach(now).likely
        skipped = next(iter(self._pending)) != name
        while True:  # marks return in order, so this one confirms all before it
            oldest, position = self._pending.popitem(last=False)
            if oldest == name:
                break
        self._acknowledged = max(self._acknowledged, position)
        self._clock.echoed(position, now, passed=passed, skipped=skipped)
        return self._settle_heard()

    def interrupt(self, now: float) -> list[Heard]:
        """Twilio's buffer is being cleared: settle what is heard of each part by then, in stream order; start anew."""
        reach = self._reach(now)
        heard = _heard_of(self._segments, reach)
        self._await_clear(reach, now)
        self._start_anew()
        return heard

    @property
    def given_up_at(self) -> float:
        """When audio counts as played though its last mark has not come back; inf while there is none to wait for."""
        if self._acknowledged >= self._sent:
            return inf
        return self._clock.played_at(self._sent) + MARK_LOST_AFTER_S

    def give_up(self) -> list[Heard]:
        """The marks that have not come back will not: what was sent counts as played. Gives the parts heard whole."""
        self._acknowledged = self._sent
        self._pending.clear()
        return self._settle_heard()

    def is_settled(self, key: Key) -> bool:
        """It was heard to its end, and nothing that comes of it later counts."""
        return key in self._settled

    def unsettled(self) -> list[Heard]:
        """The parts that were not heard to their end yet, in stream order, as if all that was sent were heard."""
        return _heard_of(self._segments, Reach(self._sent, self._sent, self._sent))

    def _goes_on(self, key: Key) -> bool:
        """The stream ends with audio of this part; what stood behind it may have been heard and dropped."""
        if not self._segments:
            return False
        last = self._segments[-1]
        return last.key == key and last.is_open and last.end == self._sent

    def _start_anew(self) -> None:
        self._segments.clear()
        self._pending.clear()
        self._sent = self._acknowledged = self._unmarked = 0
        self._clock.start_anew()
        self._remainder = b""
        self._generation += 1  # echoes of cleared marks name an older one, and are no longer pending

    def _reach(self, now: float) -> Reach:
        next_mark = next(iter(self._pending.values()), None)
        return self._clock.reach(now, confirmed=self._acknowledged, next_mark=next_mark, sent=self._sent)

    def _await_clear(self, reach: Reach, now: float) -> None:
        """Find the mark by whose echo it will be known when the clear that is sent now has arrived."""
        self.reconciled_ms, self._cleared = None, None
        witness = next((name for name, position in self._pending.items() if position > reach.at_most), None)
        if witness is not None:
            self._cleared = _Clear(now, witness, self._clock.fitting_trip_s(now, reach.likely))

    def _reconcile(self, name: str, now: float) -> None:
        """A mark came back that is not pending: perhaps with it the clear's effect."""
        cleared = self._cleared
        if cleared is None or name != cleared.witness:
            return
        self._cleared = None
        trip_s = now - cleared.sent_at
        self._clock.clear_echoed(trip_s)
        if cleared.fitting_trip_s is not None:
            self.reconciled_ms = round((trip_s - cleared.fitting_trip_s) * 1000)

    def _send(self, frames: bytes, real_bytes: int, now: float) -> list[Outgoing]:
        """Put whole frames, of which the first `real_bytes` are audio, on the stream, marks between them."""
        self._clock.sends(self._sent, now)
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
        confirmed = self._acknowledged
        unheard = {segment.key for segment in self._segments if segment.is_open or segment.end > confirmed}
        whole = [segment for segment in self._segments if segment.key not in unheard]
        if not whole:
            return []
        self._segments = [segment for segment in self._segments if segment.key in unheard]
        heard = _heard_of(whole, Reach(confirmed, confirmed, confirmed))
        for part in heard:
            self._settled[part.key] = None
        while len(self._settled) > MAX_SETTLED:
            self._settled.popitem(last=False)
        return heard


def _heard_of(segments: list[_Segment], reach: Reach) -> list[Heard]:
    """Each part that these stretches make up, in the order it began, as heard at this position."""
    by_key: dict[Key, list[_Segment]] = {}
    for segment in segments:
        by_key.setdefault(segment.key, []).append(segment)
    return [_heard(key, stretches, reach) for key, stretches in by_key.items()]


def _heard(key: Key, segments: list[_Segment], reach: Reach) -> Heard:
    """How much of a part was heard, given all stretches of it."""
    at_least, likely, at_most = (
        sum(segment.heard_by(position) for segment in segments)
        for position in (reach.at_least, reach.likely, reach.at_most)
    )
    sent = sum(segment.length for segment in segments)
    return Heard(
        key,
        heard_ms=mulaw.duration_ms(likely),
        sent_ms=mulaw.duration_ms(sent),
        is_whole=likely == sent and not any(segment.is_open for segment in segments),
        error_bound_ms=-(-max(at_most - likely, likely - at_least) // mulaw.BYTES_PER_MS),  # rounded up
    )

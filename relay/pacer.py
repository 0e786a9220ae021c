"""The agent's voice on its way to Twilio, sent just before it sounds instead of as fast as the model makes it.

Pure: no Trio, no clock, no log. Stands between the model's deltas and relay.playout, only where a persona asks for it.
Twilio plays what it has; all that can be held back is what it was not given yet. So it is given a small lead, and a
hold falls silent when that lead has sounded.

Deadlines are absolute. What was released since the voice last began sounds until a time that follows from the bytes
alone; being late moves nothing, the next batch is only larger. The way to Twilio is left out: it delays all alike.
"""

from collections import Counter, deque
from dataclasses import dataclass
from math import inf

import msgspec

from proto import mulaw
from proto.errors import RelayError
from relay.playout import Key

STEP_MS = 40  # released at once while the voice sounds: half the messages and wake-ups of single frames
STEP_BYTES = STEP_MS * mulaw.BYTES_PER_MS
MIN_LEAD_MS = 60  # a step, and a frame of slack for whoever calls `due`
MAX_QUEUED_MS = 600_000
MAX_ENTRIES = 10_000  # parts, stretches of parts, and their ends


class PacerOverflowError(RelayError):
    """More waits than a call can want to say. What did not fit was not taken, and what waits is unharmed.

    Attributes: queued_ms, what was waiting.
    """

    def __init__(self, queued_ms: int) -> None:
        self.queued_ms = queued_ms
        super().__init__(f"the agent is {queued_ms} ms ahead of what the caller hears")


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Audio of one content part, to be sent now: whole 20 ms frames, but for the last of a stretch."""

    key: Key
    audio: bytes


class PartEnd(msgspec.Struct, frozen=True, gc=False):
    """All audio of this content part was given."""

    key: Key


class ResponseEnd(msgspec.Struct, frozen=True, gc=False):
    """All audio of this response was given."""

    response_id: str


Piece = Chunk | PartEnd | ResponseEnd


@dataclass(slots=True)
class _Stretch:
    """Audio of one part that waits without anything in between. A bytearray gives away its front without a copy."""

    key: Key
    audio: bytearray


class Pacer:
    """What waits for its time. `now` in monotonic seconds.

    Args: lead_ms, how far Twilio may be ahead of what sounds; at least MIN_LEAD_MS (ValueError).
    """

    def __init__(self, lead_ms: int) -> None:
        if lead_ms < MIN_LEAD_MS:
            raise ValueError(f"a lead of {lead_ms} ms would not last from one step to the next")
        self._lead_bytes = lead_ms * mulaw.BYTES_PER_MS
        self._waiting: deque[_Stretch | PartEnd | ResponseEnd] = deque()
        self._queued_bytes = 0
        self._began_at = -inf  # when the voice last began to sound
        self._released_bytes = 0  # since then, padding included
        self.is_held = False

    @property
    def is_empty(self) -> bool:
        """Nothing waits, neither audio nor an end."""
        return not self._waiting

    @property
    def queued_ms(self) -> int:
        """How much audio waits."""
        return mulaw.duration_ms(self._queued_bytes)

    @property
    def deadline(self) -> float:
        """When `due` next has something; past, or -inf, for at once. inf while held, or with no whole frame to send."""
        if self.is_held or not self._waiting:
            return inf
        first, step_bytes = self._waiting[0], 0  # an end needs no room: its time has passed
        if isinstance(first, _Stretch):
            step_bytes = self._fitting(first, STEP_BYTES)
            if step_bytes == 0:
                return inf
        ahead_bytes = self._released_bytes + _whole_frames(step_bytes) - self._lead_bytes
        return self._began_at + ahead_bytes / mulaw.SAMPLE_RATE_HZ

    def put(self, key: Key, audio: bytes) -> None:
        """Audio of a content part, of any length, after all that was put before.

        Raises: PacerOverflowError beyond MAX_QUEUED_MS or MAX_ENTRIES.
        """
        if mulaw.duration_ms(self._queued_bytes + len(audio)) > MAX_QUEUED_MS:
            raise PacerOverflowError(self.queued_ms)
        if not audio:
            return
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, _Stretch) and last.key == key:
            last.audio += audio
        else:
            self._append(_Stretch(key, bytearray(audio)))
        self._queued_bytes += len(audio)

    def finish(self, key: Key) -> None:
        """No more audio of this content part. Raises: PacerOverflowError beyond MAX_ENTRIES."""
        self._append(PartEnd(key))

    def finish_response(self, response_id: str) -> None:
        """No more audio of this response. Raises: PacerOverflowError beyond MAX_ENTRIES."""
        self._append(ResponseEnd(response_id))

    def due(self, now: float) -> list[Piece]:
        """All that is to be sent now, in order; a late call gets more, and the lead is whole again."""
        pieces: list[Piece] = []
        if self.is_held:
            return pieces
        while self._waiting:
            if not isinstance(first := self._waiting[0], _Stretch):
                self._waiting.popleft()
                pieces.append(first)
                continue
            nbytes = self._fitting(first, self._room_bytes(now))
            if nbytes == 0 or nbytes < self._fitting(first, STEP_BYTES):
                break  # asked before the deadline
            pieces.append(self._release(first, nbytes, now))
        return pieces

    def hold(self) -> None:
        """Release nothing until `resume` or `clear`; the caller hears what Twilio has, and then silence."""
        self.is_held = True

    def resume(self) -> None:
        """Go on where the hold began: `due` has the rest, in the same order."""
        self.is_held = False

    def clear(self) -> dict[Key, int]:
        """Forget all that waits, and end a hold; Twilio's buffer is being cleared too.

        Returns: bytes that were never sent, by content part, in the order in which they would have sounded.
        """
        dropped: Counter[Key] = Counter()
        for entry in self._waiting:
            if isinstance(entry, _Stretch):
                dropped[entry.key] += len(entry.audio)
        self._waiting.clear()
        self._queued_bytes = self._released_bytes = 0
        self._began_at, self.is_held = -inf, False
        return dict(dropped)

    def _append(self, entry: _Stretch | PartEnd | ResponseEnd) -> None:
        if len(self._waiting) >= MAX_ENTRIES:
            raise PacerOverflowError(self.queued_ms)
        self._waiting.append(entry)

    def _room_bytes(self, now: float) -> int:
        """How much Twilio may be given now."""
        sounded_bytes = (now - self._began_at) * mulaw.SAMPLE_RATE_HZ
        if sounded_bytes >= self._released_bytes:
            return self._lead_bytes  # all has sounded: the next byte begins anew
        return self._lead_bytes - self._released_bytes + round(sounded_bytes)

    def _fitting(self, first: _Stretch, room_bytes: int) -> int:
        """How much of the first stretch may go: whole frames, and its last bytes once nothing can complete them."""
        is_closed = len(self._waiting) > 1
        if is_closed and _whole_frames(len(first.audio)) <= room_bytes:
            return len(first.audio)
        nbytes = min(len(first.audio), room_bytes)
        return nbytes - nbytes % mulaw.FRAME_BYTES

    def _release(self, stretch: _Stretch, nbytes: int, now: float) -> Chunk:
        if self._began_at + self._released_bytes / mulaw.SAMPLE_RATE_HZ <= now:
            self._began_at, self._released_bytes = now, 0
        chunk = Chunk(stretch.key, bytes(stretch.audio[:nbytes]))
        del stretch.audio[:nbytes]
        if not stretch.audio:
            self._waiting.popleft()
        self._queued_bytes -= nbytes
        self._released_bytes += _whole_frames(nbytes)  # the ledger pads a part's last frame with silence
        return chunk


def _whole_frames(nbytes: int) -> int:
    """As many bytes as the frames have that these take up."""
    return nbytes + -nbytes % mulaw.FRAME_BYTES

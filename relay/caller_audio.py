"""The caller's voice on its way to OpenAI: held while OpenAI connects, gaps filled so that its VAD keeps its time.

Pure. Server VAD runs on appended audio, not on the clock: what is never appended is never heard, and silence that is
never appended never ends a turn. Some carriers send nothing during silence, so the silence is put back here.
"""

from collections import deque
from math import inf

from proto import mulaw, twilio

MAX_HELD_BYTES = 10_000 * mulaw.BYTES_PER_MS
MAX_GAP_MS = 10_000
STALLED_AFTER_S = 0.750  # no frame for so long while the caller speaks: close the turn for VAD
STALL_SILENCE_MS = 1_000  # longer than any silence window we configure by default


class CallerAudio:
    """What to append for each frame that came, and when none came. Payloads are μ-law; `now` in monotonic seconds."""

    def __init__(self) -> None:
        self._held: deque[bytes] | None = deque()  # None once OpenAI listens
        self._held_bytes = 0
        self._expected_ms: int | None = None  # timestamp at which the next frame is due
        self._last_frame_at = inf
        self._is_speaking = False
        self._gap_filled = False  # the present gap was closed by silence already
        self.dropped_bytes = 0  # of the oldest audio, while holding

    @property
    def deadline(self) -> float:
        """When `stalled` is due, if no frame comes before."""
        if self._held is not None or not self._is_speaking or self._gap_filled:
            return inf
        return self._last_frame_at + STALLED_AFTER_S

    def speech_started(self) -> None:
        """OpenAI hears the caller speak: from now on a pause of frames must not keep the turn open."""
        self._is_speaking = True

    def speech_stopped(self) -> None:
        """OpenAI found the end of the turn."""
        self._is_speaking = False

    def frame(self, body: twilio.MediaBody, now: float) -> bytes:
        """One frame arrived; give what is to be appended for it: silence for a gap before it, then its own bytes."""
        audio = self._gap_before(body) + body.payload
        self._last_frame_at, self._gap_filled = now, False
        if self._held is None:
            return audio
        self._hold(self._held, audio)
        return b""

    def release(self) -> bytes:
        """OpenAI listens from now on; give all that was held, in order."""
        held, self._held = b"".join(self._held or ()), None
        return held

    def stalled(self) -> bytes:
        """No frame came until `deadline`: give the silence that lets VAD end the turn. Once per gap."""
        self._gap_filled = True
        return mulaw.silence(STALL_SILENCE_MS)

    def _gap_before(self, body: twilio.MediaBody) -> bytes:
        if body.timestamp is None:
            self._expected_ms = None
            return b""
        expected_ms = self._expected_ms
        # One frame out of order does not move the line's time back, or its successor would look late.
        self._expected_ms = max(expected_ms or 0, body.timestamp + mulaw.duration_ms(len(body.payload)))
        if expected_ms is None or self._gap_filled:
            return b""
        gap_ms = body.timestamp - expected_ms
        # Timestamps wander by a few ms around 20; only a whole missing frame is a gap.
        return mulaw.silence(min(gap_ms, MAX_GAP_MS)) if gap_ms >= mulaw.FRAME_MS else b""

    def _hold(self, held: deque[bytes], audio: bytes) -> None:
        held.append(audio)
        self._held_bytes += len(audio)
        while self._held_bytes > MAX_HELD_BYTES:
            oldest = held.popleft()
            self._held_bytes -= len(oldest)
            self.dropped_bytes += len(oldest)

"""The caller's voice on its way to OpenAI: held while no session listens, gaps filled so that its VAD keeps its time.

Pure. Server VAD runs on appended audio, not on the clock: what is never appended is never heard, and silence that is
never appended never ends a turn. Some carriers send nothing during silence, so the silence is put back here.

A session takes with it what it heard and did not answer. So all of a turn that is not answered yet stays here until it
is, and of everything else the last half second before the session's last sign of life, and what came after it: whether
that was heard nobody knows. The session that takes over hears it again.
"""

from math import inf

from proto import mulaw, twilio

MAX_HELD_BYTES = 10_000 * mulaw.BYTES_PER_MS
MAX_UNCONFIRMED_BYTES = 6_000 * mulaw.BYTES_PER_MS  # a dead session is found within 5 s
LEAD_IN_BYTES = 500 * mulaw.BYTES_PER_MS  # VAD tells of speech after it began; it begins to listen that long before
MAX_GAP_MS = 10_000
STALLED_AFTER_S = 0.750  # no frame for so long while the caller speaks: close the turn for VAD
STALL_SILENCE_MS = 1_000  # longer than any silence window we configure by default


class CallerAudio:
    """What to append for each frame that came, and when none came. Payloads are μ-law; `now` in monotonic seconds."""

    def __init__(self) -> None:
        # Held, or told to a session that may not live to answer it. A list: so few, and a deque would be 1 KB more.
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._is_holding = True  # until a session listens
        self._expected_ms: int | None = None  # timestamp at which the next frame is due
        self._last_frame_at = inf
        self._is_speaking = False
        self._is_answered = True  # the last turn, as far as we know
        self._gap_filled = False  # the present gap was closed by silence already
        self.dropped_bytes = 0  # of the oldest audio, while holding

    @property
    def deadline(self) -> float:
        """When `stalled` is due, if no frame comes before."""
        if self._is_holding or not self._is_speaking or self._gap_filled:
            return inf
        return self._last_frame_at + STALLED_AFTER_S

    @property
    def is_speaking(self) -> bool:
        """The caller is in the middle of a turn, as OpenAI hears it."""
        return self._is_speaking

    @property
    def is_answered(self) -> bool:
        """Nothing that the caller said waits for an answer."""
        return self._is_answered

    @property
    def is_unconfirmed(self) -> bool:
        """There is audio of which nobody knows whether OpenAI heard it, or that it has not answered."""
        return self._kept_bytes > LEAD_IN_BYTES

    def speech_started(self) -> None:
        """OpenAI hears the caller speak: from now on a pause of frames must not keep the turn open."""
        self._is_speaking, self._is_answered = True, False

    def speech_stopped(self) -> None:
        """OpenAI found the end of the turn."""
        self._is_speaking = False

    def answered(self) -> None:
        """The agent has begun to answer what the caller said."""
        self._is_answered = not self._is_speaking
        self.session_lives()

    def session_lives(self) -> None:
        """OpenAI said something: it has heard all but the last of what was appended."""
        if self._is_answered and not self._is_holding:
            self._forget_beyond(LEAD_IN_BYTES)

    def frame(self, body: twilio.MediaBody, now: float) -> bytes:
        """One frame arrived; give what is to be appended for it: silence for a gap before it, then its own bytes."""
        gap = self._gap_before(body)
        self._last_frame_at, self._gap_filled = now, False
        if gap:
            self._keep(gap)  # apart from the frame: a gap of ten seconds must not push it out
        self._keep(body.payload)
        return b"" if self._is_holding else gap + body.payload

    def hold(self) -> None:
        """No session listens any more."""
        self._is_holding, self._is_speaking = True, False

    def release(self) -> bytes:
        """A session listens from now on: give all that it has to hear first, in order."""
        self._is_holding = False
        return b"".join(self._kept)

    def stalled(self) -> bytes:
        """No frame came until `deadline`: give the silence that lets VAD end the turn. Once per gap."""
        self._gap_filled = True
        silence = mulaw.silence(STALL_SILENCE_MS)
        self._keep(silence)  # or a session that takes over would hear the turn's end without its silence: as speech
        return silence

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

    def _keep(self, audio: bytes) -> None:
        self._kept.append(audio)
        self._kept_bytes += len(audio)
        limit_bytes = MAX_HELD_BYTES if self._is_holding or not self._is_answered else MAX_UNCONFIRMED_BYTES
        if self._kept_bytes > limit_bytes:
            self._forget_beyond(limit_bytes)

    def _forget_beyond(self, limit_bytes: int) -> None:
        while self._kept_bytes > limit_bytes:
            oldest = self._kept.pop(0)
            self._kept_bytes -= len(oldest)
            if self._is_holding:
                self.dropped_bytes += len(oldest)

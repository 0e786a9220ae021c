"""What the sessions with the model are promised of the caller's voice.

All of it reaches some session in order and unchanged: a session that becomes ready hears a tail of what was said, from
before anything that none has heard, or whose answer nobody heard, and from then on each frame as it comes. Silence is
added where the line's timestamps have a gap, and once when a caller who speaks falls off the line.
"""

from proto import mulaw, realtime, twilio
from relay import log
from relay.events import Command, DropUpstream, Event, SwitchUpstream, Timeout, ToBeside
from tests.relay.agent_voice_model import SILENCE

KEPT_BYTES = 10 * 8000
STALL = mulaw.silence(1000)


class CallerVoice:
    """One caller's audio, silence for its gaps included. Positions are bytes of it."""

    def __init__(self) -> None:
        self.frames = 0
        self.audio = bytearray()
        self._longest = 0  # frame, or silence, in it
        self._boundaries = {0}  # around frames, and the silence of gaps
        self._heard = 0  # by some session
        self._position: int | None = None  # what the session in use has heard; None while none listens
        self._unanswered: int | None = None  # where the caller began to speak, if nothing was said to that
        self._expected_ms: int | None = None
        self._is_speaking = self._is_closed_by_silence = False

    def saw(self, event: Event, given: list[Command], *, is_answer: bool) -> None:
        """is_answer: the event is audio for the caller to hear, or a tool that is called for them."""
        match event:
            case twilio.Media(media=body) if body.track == "inbound" and body.payload:
                self._line_carries(body)
            case realtime.SpeechStarted():
                self._is_speaking = True
                self._unanswered = len(self.audio) if self._unanswered is None else self._unanswered
            case realtime.SpeechStopped():
                self._is_speaking = False
        if is_answer:
            self._unanswered = None
        self._is_told(event, given)
        if self._position is not None:
            assert self._position == len(self.audio), "who listens hears everything at once"

    def _line_carries(self, body: twilio.MediaBody) -> None:
        gap = SILENCE * (8 * self._missing_ms(body))
        self.frames += 1
        self._adds(gap)
        self._adds(body.payload)
        self._is_closed_by_silence = False

    def _adds(self, audio: bytes) -> None:
        self.audio += audio
        self._longest = max(self._longest, len(audio))
        self._boundaries.add(len(self.audio))

    def _missing_ms(self, body: twilio.MediaBody) -> int:
        expected_ms = self._expected_ms
        if body.timestamp is None:
            self._expected_ms = None
            return 0
        self._expected_ms = max(expected_ms or 0, body.timestamp + len(body.payload) // 8)
        if expected_ms is None or self._is_closed_by_silence or body.timestamp - expected_ms < 20:
            return 0
        return min(body.timestamp - expected_ms, 10_000)

    def _is_told(self, event: Event, given: list[Command]) -> None:
        """What each session hears, in the order in which it does."""
        lead_in = b""
        is_released = False
        for command in given:
            match command:
                case log.UpstreamReady() if isinstance(event, realtime.SessionUpdated):
                    is_released = True
                case DropUpstream(beside=False):
                    self._position, self._is_speaking = None, False
                case ToBeside(command=realtime.AppendAudio(audio=audio)):
                    assert audio, "nothing is not appended"
                    lead_in = audio
                case SwitchUpstream():
                    self._takes_over(lead_in)
                case realtime.AppendAudio(audio=audio):
                    assert audio, "nothing is not appended"
                    self._hears(event, audio, is_first=is_released)
                    is_released = False
        if is_released:
            self._takes_over(b"")

    def _hears(self, event: Event, audio: bytes, *, is_first: bool) -> None:
        if is_first:
            self._takes_over(audio)
            return
        if isinstance(event, Timeout):
            self._turn_is_closed(audio)
        assert self._position is not None, "somebody listens"
        assert self.audio.startswith(audio, self._position)
        self._position += len(audio)
        self._heard = max(self._heard, self._position)

    def _turn_is_closed(self, silence: bytes) -> None:
        assert silence == STALL, "nothing is made up but silence"
        assert self._is_speaking, "only a turn needs to be ended"
        assert not self._is_closed_by_silence, "once is enough"
        self._is_closed_by_silence = True
        self._adds(silence)

    def _takes_over(self, lead_in: bytes) -> None:
        """Whole frames, back to what was not heard or not answered, as far as ten seconds reach."""
        begins = len(self.audio) - len(lead_in)
        assert self.audio.endswith(lead_in)
        assert begins in self._boundaries
        assert len(lead_in) <= KEPT_BYTES
        is_full = len(lead_in) + self._longest > KEPT_BYTES
        assert begins <= self._heard or is_full, "nothing is missing"
        assert self._unanswered is None or begins <= self._unanswered or is_full, "an answer is still owed"
        self._position = self._heard = len(self.audio)

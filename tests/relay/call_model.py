"""A `Call` beside what its peers are promised: every event goes to both, and the commands must keep the promises.

Not what is decided is foretold, but what must be true whatever is decided. `FarEnd` is Twilio, sample for sample;
`AgentVoice`, `CallerVoice` and `Sessions` are three views of one call, written from what the caller, Twilio and the
model's sessions are promised. Here it begins and ends: once, with a reason that fits, and with accounts that add up.
"""

from collections.abc import Sequence
from math import inf

from proto import realtime, twilio
from relay import log
from relay.call import Call
from relay.events import (
    Abort,
    Beside,
    Command,
    EndReason,
    Event,
    HangUp,
    Malformed,
    SocketClosed,
    Timeout,
    UpstreamUnreachable,
)
from relay.persona import Persona
from relay.tools import ToolOffer
from tests.relay.agent_voice_model import AgentVoice
from tests.relay.caller_voice_model import CallerVoice
from tests.relay.far_end import FarEnd
from tests.relay.sessions_model import Sessions

TIMEOUTS_AT_ONCE = 8  # several things may be due at one time, and each may have another follow

# What the model, a tool or the time may bring about with any event.
DECIDED: set[EndReason] = {"openai_unreachable", "openai_refused", "agent_ended", "caller_silent", "max_duration"}


class ModelledCall:
    """One call and its model. Time stands still unless `wait` moves it."""

    def __init__(self, persona: Persona, offers: Sequence[ToolOffer], *, sending_s: float) -> None:
        self.began_at = self.now = 100.0  # a monotonic clock does not begin at 0
        self._persona, self._offers = persona, offers
        self.call = Call(persona, self.now, offers)
        self.far = FarEnd(sending_s)
        self.agent = AgentVoice(persona, self.far, self.call._floor._voice._playout)
        self.caller = CallerVoice()
        self.sessions = Sessions()
        self.stream_sid = ""
        self.is_over = False
        self.history: list[tuple[Event, float, list[Command]]] = []
        self.has_failed = False

    def happens(self, event: Event) -> None:
        """Something happens to the call, and all its promises must be kept."""
        if self._is_of_nobody(event):
            return
        self.far.move_to(self.now)
        self.has_failed = True  # until all is checked
        given = self.call.handle(event, self.now)
        self.history.append((event, self.now, given))
        if self.is_over:
            assert given == [], "after the end nothing comes"
        else:
            self._is_as_promised(event, given)
        self.has_failed = False

    def _is_of_nobody(self, event: Event) -> bool:
        """The session hands on what a socket says only while the call has not dropped it."""
        if isinstance(event, Beside):
            return self.sessions.beside is None
        is_of_openai = isinstance(event, realtime.ServerEvent | realtime.Unhandled | UpstreamUnreachable)
        is_of_openai |= isinstance(event, SocketClosed | Malformed) and event.peer == "openai"
        return is_of_openai and self.sessions.in_use is None

    def _is_as_promised(self, event: Event, given: list[Command]) -> None:
        if isinstance(event, twilio.Start) and any(isinstance(command, log.CallStarted) for command in given):
            self.stream_sid = event.stream_sid
        self._ends_for_a_reason(event, given)
        for command in given:
            if isinstance(command, twilio.Outbound):
                assert command.stream_sid == self.stream_sid != "", "nothing is said before the stream begins"
        if isinstance(event, twilio.Media | twilio.Mark | twilio.Dtmf) and not self._is_ours(event):
            assert all(isinstance(command, log.MessageIgnored) for command in given)
            event = twilio.Connected()  # means as much
        self._every_view_agrees(event, given)
        if self.is_over:
            self._accounts_add_up(given)
        assert (self.call.deadline == inf) or not self.is_over

    def _is_ours(self, event: twilio.Media | twilio.Mark | twilio.Dtmf | twilio.Stop) -> bool:
        return self.stream_sid != "" and event.stream_sid == self.stream_sid

    def _every_view_agrees(self, event: Event, given: list[Command]) -> None:
        session = self.sessions.in_use
        is_answer = isinstance(event, realtime.AudioDelta) and self.agent.is_current(event.response_id)
        is_answer |= isinstance(event, realtime.OutputItemDone)
        is_cut_by_openai = session is not None and session.is_cut_by_openai
        self.sessions.saw(event, given)
        self.caller.saw(event, given, is_answer=is_answer)
        self.agent.saw(event, given, self.now, is_cut_by_openai=is_cut_by_openai)

    def _ends_for_a_reason(self, event: Event, given: list[Command]) -> None:
        ends = [command.reason for command in given if isinstance(command, HangUp | log.CallEnded)]
        must, may = self._reasons(event)
        assert ends in ([[must, must]] if must else [[], *([reason, reason] for reason in may)])
        if ends:
            assert isinstance(given[-2], log.CallEnded)
            assert isinstance(given[-1], HangUp)
            self.is_over = True

    def _reasons(self, event: Event) -> tuple[EndReason | None, set[EndReason]]:
        """Why the call has to end with this event, if it has, and why it may."""
        match event:
            case twilio.Stop() if self._is_ours(event):
                return "caller_hung_up", set()
            case SocketClosed(peer="twilio", code=code):
                return "garbage" if code in (1002, 1007, 1009) else "twilio_closed", set()
            case Abort(reason=reason):
                return reason, set()
            case Malformed(peer="twilio", tag="start"):
                return "bad_start", set()
            case twilio.Start():
                return None if self._is_welcome(event) else "bad_start", DECIDED
            case Malformed(peer="twilio"):
                return None, DECIDED | {"garbage"}
        return None, DECIDED if self.stream_sid else set()

    def _is_welcome(self, event: twilio.Start) -> bool:
        if self.stream_sid:
            return event.stream_sid == self.stream_sid
        return event.stream_sid == event.start.stream_sid != "" and event.start.media_format == twilio.MediaFormat()

    def _accounts_add_up(self, given: list[Command]) -> None:
        ended = given[-2]
        assert isinstance(ended, log.CallEnded)
        assert ended.frames_from_caller == self.caller.frames
        assert ended.audio_ms_to_caller == self.agent.sent_in_all // 8
        assert ended.barge_ins == self.agent.barge_ins
        assert ended.total_tokens == self.agent.total_tokens
        assert ended.ignored == dict(self.call.ignored)
        assert ended.duration_ms == round((self.now - self.began_at) * 1000)

    def wait(self, seconds: float, *, is_punctual: bool = True) -> None:
        """Time passes; echoes come back when they are due, and so do timeouts if the session is punctual."""
        until = self.now + seconds
        while True:
            wakes_at = max(self.call.deadline, self.now) if is_punctual else inf
            at = min(self.far.next_change_at, wakes_at)
            if at > until:
                break
            self.now = max(self.now, at)
            self.far.move_to(self.now)
            for name in self.far.returned(self.now):
                self.happens(twilio.Mark(self.stream_sid, twilio.MarkBody(name)))
            if self.now >= wakes_at:
                self.time_is_up()
        self.now = until

    def time_is_up(self) -> None:
        """Timeouts until nothing is due any more: each must bring that nearer, or the session would never sleep."""
        self.happens(Timeout())
        for _ in range(TIMEOUTS_AT_ONCE):
            if self.call.deadline > self.now:
                return
            self.happens(Timeout())
        assert self.call.deadline > self.now, "the deadline moves"

    def replay(self) -> None:
        """The same events at the same times give the same commands."""
        again = Call(self._persona, self.began_at, self._offers)
        for event, now, given in self.history:
            assert again.handle(event, now) == given

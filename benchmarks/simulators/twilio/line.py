"""The telephone line at Twilio's end of one stream: the caller, the playback buffer and the numbering of messages.

Pure: no socket, no clock. `hear` takes what the relay sent, `step` does what is due by `now` and returns what to send,
`due_at` says when to step next. Frames go out on absolute deadlines, 20 ms apart: a late step catches up and never
shifts the rest.
"""

from typing import Final, assert_never

import msgspec

from benchmarks.simulators.twilio import events, messages
from benchmarks.simulators.twilio.caller import Caller
from benchmarks.simulators.twilio.level import SpeechDetector, is_speech
from benchmarks.simulators.twilio.playout import BYTES_PER_S, Playout, PlayoutOverflowError, Run
from benchmarks.simulators.twilio.report import CallRecord, EndedBy
from proto import mulaw

FRAME_S: Final = mulaw.FRAME_MS / 1000
FIRST_TIMESTAMP_MS: Final = 155  # real streams begin between 100 and 200 ms, never at 0
# WebSocket close codes (RFC 6455, 7.4.1) for which Twilio reports more than an end, with its own code.
_BAD_CLOSURES: Final = {
    1002: (31924, "WebSocket protocol error"),
    1006: (31921, "the relay's socket went without a closing handshake"),
    1007: (31924, "WebSocket protocol error, text is not UTF-8"),
}


class StreamIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What `start` says about a stream."""

    call_sid: str
    account_sid: str
    stream_sid: str
    parameters: dict[str, str] = {}


class Line:
    """One stream from `start` to `stop`.

    Attributes: ended_by, who ended it, None while it is open.
    """

    def __init__(
        self,
        identity: StreamIdentity,
        caller: Caller,
        record: CallRecord,
        *,
        ends_at: float,
        observe: events.Observer = events.unobserved,
    ) -> None:
        """Args: ends_at, the time limit on the monotonic clock, s."""
        self.ended_by: EndedBy | None = None
        self._identity = identity
        self._caller, self._record, self._observe = caller, record, observe
        self._ends_at = ends_at
        self._playout = Playout()
        self._heard_earlier_ms = mulaw.duration_ms(record.heard_bytes)
        self._caller_speech, self._agent_speech = SpeechDetector(), SpeechDetector()
        self._sequence = 0  # of the last message
        self._chunk = 0  # of the last media message
        self._start_s = 0.0
        self._ticks = 0  # frames asked of the caller
        self._sent = bytearray()  # what the caller said, one frame per tick

    def begin(self, now: float) -> list[str]:
        """The two messages that open a stream."""
        self._start_s = now
        self._record.stream_sid = self._identity.stream_sid
        if self._record.stream_start_s is None:
            self._record.stream_start_s = now
        body = messages.StartBody(
            account_sid=self._identity.account_sid,
            stream_sid=self._identity.stream_sid,
            call_sid=self._identity.call_sid,
            custom_parameters=self._identity.parameters,
        )
        self._observe(
            events.StreamStarted(
                at_ms=self._record.at_ms(now),
                call_sid=self._identity.call_sid,
                stream_sid=self._identity.stream_sid,
            )
        )
        start = messages.Start(self._next_sequence(), body, self._identity.stream_sid)
        return [messages.encode(messages.Connected()), messages.encode(start)]

    def hear(self, raw: str | bytes, now: float) -> None:
        """One message from the relay. What Twilio would not accept becomes a warning and changes nothing."""
        if self.ended_by is not None:
            return
        try:
            self._obey(messages.decode(raw, self._identity.stream_sid), now)
        except messages.InvalidMessageError as error:
            self._record.warn(messages.INVALID_MESSAGE, str(error), now)
        except PlayoutOverflowError as error:
            self.fail(str(error), now)

    def due_at(self) -> float:
        """When `step` has something to do."""
        echo_at = self._playout.next_echo_at()
        due_at = min(self._next_frame_at, self._ends_at)
        return due_at if echo_at is None else min(due_at, echo_at)

    def step(self, now: float) -> list[str]:
        """All that is due: mark echoes, frames, keys; `stop` when the caller leaves or the time is up."""
        if self.ended_by is not None:
            return []
        out = self._echoes(now)
        while self.ended_by is None and self._next_frame_at <= min(now, self._ends_at):
            out += self._tick(self._next_frame_at)
        if self.ended_by is None and now >= self._ends_at:
            self._end("time_limit", now)
        if self.ended_by in ("caller", "time_limit"):
            body = messages.StopBody(self._identity.account_sid, self._identity.call_sid)
            out.append(messages.encode(messages.Stop(self._next_sequence(), body, self._identity.stream_sid)))
        return out

    def closed(self, code: int, now: float) -> None:
        """The relay closed the socket. Whatever was still to be played is lost."""
        if self.ended_by is not None:
            return
        if code in _BAD_CLOSURES:
            warning_code, detail = _BAD_CLOSURES[code]
            self._record.warn(warning_code, detail, now)
        self._end("relay", now)

    def fail(self, error: str, now: float) -> None:
        """The stream cannot go on."""
        if self.ended_by is None:
            self._record.error = error
            self._end("error", now)

    @property
    def _next_frame_at(self) -> float:
        # The n-th frame is sent when its 20 ms are over.
        return self._start_s + (self._ticks + 1) * FRAME_S

    def _obey(self, message: messages.Inbound, now: float) -> None:
        match message:
            case messages.Play():
                self._playout.queue(messages.audio_of(message), now)
            case messages.MarkRequest(mark=body):
                self._playout.mark(body.name, now)
                self._record.marks_sent += 1
                self._observe(events.MarkReceived(at_ms=self._record.at_ms(now), name=body.name))
            case messages.Clear():
                self._clear(now)
            case _:
                assert_never(message)

    def _clear(self, now: float) -> None:
        clearing = self._playout.clear(now)
        self._record.clears += 1
        self._observe(
            events.Cleared(
                at_ms=self._record.at_ms(now),
                dropped_ms=mulaw.duration_ms(clearing.dropped_bytes),
                heard_ms=mulaw.duration_ms(clearing.heard_bytes),
            )
        )

    def _echoes(self, now: float) -> list[str]:
        out = []
        for echo in self._playout.advance(now):
            self._record.marks_echoed += 1
            self._observe(events.MarkEchoed(at_ms=self._record.at_ms(echo.due_s), name=echo.name))
            mark = messages.Mark(self._next_sequence(), self._identity.stream_sid, messages.MarkBody(echo.name))
            out.append(messages.encode(mark))
        return out

    def _tick(self, frame_at: float) -> list[str]:
        """The caller's next frame, and whatever else the caller does with it."""
        until_ms = self._record.at_ms(frame_at)
        hearing = is_speech(self._playout.sounding(frame_at, FRAME_S))
        heard_ms = self._heard_earlier_ms + mulaw.duration_ms(self._playout.heard_bytes(frame_at))
        frame = self._caller.frame(until_ms - mulaw.FRAME_MS, hearing=hearing, heard_ms=heard_ms)
        self._tell_speech(frame, hearing, until_ms)
        out = self._media(frame)
        for digit in self._caller.keys:
            self._observe(events.KeyPressed(at_ms=until_ms, digit=digit))
            body = messages.DtmfBody(digit)
            out.append(messages.encode(messages.Dtmf(self._identity.stream_sid, self._next_sequence(), body)))
        if self._caller.hung_up:
            self._end("caller", frame_at)
        return out

    def _media(self, frame: bytes) -> list[str]:
        timestamp_ms = FIRST_TIMESTAMP_MS + self._ticks * mulaw.FRAME_MS
        self._ticks += 1
        self._sent += frame or mulaw.silence(mulaw.FRAME_MS)
        if not frame:
            return []  # lost on the way: the timestamps go on, the numbers do not
        self._chunk += 1
        self._record.frames_sent += 1
        body = messages.media_body(self._chunk, timestamp_ms, frame)
        return [messages.encode(messages.Media(self._next_sequence(), body, self._identity.stream_sid))]

    def _tell_speech(self, frame: bytes, hearing: bool, until_ms: int) -> None:
        match self._caller_speech.hear(is_speech(frame), until_ms):
            case ("started", at_ms):
                self._observe(events.CallerSpeaking(at_ms=at_ms))
            case ("stopped", at_ms):
                self._observe(events.CallerSilent(at_ms=at_ms))
        change = self._agent_speech.hear(hearing, until_ms)
        if change is not None:
            state, at_ms = change
            self._observe(events.AgentHeard(at_ms=at_ms, state=state))

    def _end(self, ended_by: EndedBy, now: float) -> None:
        self.ended_by = ended_by
        self._record.heard += self._playout.heard(now)
        if self._sent:
            self._record.sent.append(
                Run(self._start_s, bytes(self._sent[: round((now - self._start_s) * BYTES_PER_S)]))
            )

    def _next_sequence(self) -> str:
        self._sequence += 1
        return str(self._sequence)

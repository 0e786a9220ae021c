"""The telephone line at Twilio's end of one stream: the caller, the playback buffer and the numbering of messages.

Pure: no socket, no clock. `hear` takes what the relay sent, `step` does what is due by `now` and returns what to send,
`due_at` says when to step next. Frames go out on absolute deadlines, 20 ms apart: a late step catches up and never
shifts the rest. A network that is not ideal lies in between, as two pipes and a carrier (`network.py`).
"""

from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Final, assert_never

import msgspec

from benchmarks.simulators.twilio import events, messages
from benchmarks.simulators.twilio.caller import Caller, Foreseeable
from benchmarks.simulators.twilio.level import SpeechDetector, is_speech
from benchmarks.simulators.twilio.network import NEVER, Carrier, Network, Pipe
from benchmarks.simulators.twilio.playout import BYTES_PER_S, Echo, Playout, PlayoutOverflowError, Run
from benchmarks.simulators.twilio.report import CallRecord, EndedBy
from proto import mulaw

FRAME_S: Final = mulaw.FRAME_MS / 1000
FORESIGHT_S: Final = 3600.0  # a silence without end is passed in pieces
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


class SilentFrame(msgspec.Struct, frozen=True, gc=False):
    """A media message of 20 ms of silence, by its numbers alone."""

    sequence: int
    chunk: int
    timestamp_ms: int


class Closing(msgspec.Struct, frozen=True):
    """The relay's end of the socket closed."""

    code: int


_SAID_GOODBYE: Final = ("caller", "time_limit", "api", "redirected")  # endings at Twilio's side: the relay gets `stop`


class Line:
    """One stream from `start` to `stop`.

    Attributes: ended_by, who ended it, None while it is open; failure, what Twilio would call a stream error.
    """

    def __init__(
        self,
        identity: StreamIdentity,
        caller: Caller,
        record: CallRecord,
        *,
        ends_at: float,
        observe: events.Observer = events.unobserved,
        network: Network | None = None,
        random: Random | None = None,
    ) -> None:
        """Args: ends_at, the time limit on the monotonic clock, s; random, for what the network leaves to chance."""
        self.ended_by: EndedBy | None = None
        self.failure: str | None = None
        self.network = network or Network()
        self._carrier = Carrier(self.network, random or Random())
        self._to_relay: Pipe[str] = Pipe(self.network.to_relay_ms / 1000)
        self._to_twilio: Pipe[str | bytes | Closing] = Pipe(self.network.to_twilio_ms / 1000)
        self._late_echoes: deque[Echo] = deque()
        self._leaving: EndedBy | None = None  # asked for from outside, done with the next step
        self._identity = identity
        self._caller, self._record, self._observe = caller, record, observe
        self._is_plain, self._is_suppressing = self.network.is_plain, self.network.silence_suppression
        self._foreseeable = caller if isinstance(caller, Foreseeable) else None
        self._ends_at = ends_at
        self._vanishes_at = NEVER  # known once the stream begins
        self._silent_until = -NEVER  # for certain, unless the relay says something
        self._has_news = False  # since frames were last asked for
        self._playout = Playout()
        self._heard_earlier_ms = mulaw.duration_ms(record.heard_bytes)
        self._caller_speech, self._agent_speech = SpeechDetector(), SpeechDetector()
        self._sequence = 0  # of the last message
        self._chunk = 0  # of the last media message
        self._start_s = 0.0
        self._ticks = 0  # frames asked of the caller
        self._sent = bytearray()  # what the caller said, one frame per tick
        self._sent_from_s = 0.0  # when its first byte was said

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended and its last message has left."""
        return self.ended_by is not None and self._to_relay.next_at() == NEVER

    def begin(self, now: float) -> list[str]:
        """Open the stream: what to send at once, if the network delivers at once."""
        self._start_s = self._sent_from_s = now
        if self.network.vanishes_at_ms is not None:
            self._vanishes_at = now + self.network.vanishes_at_ms / 1000
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
        self._send(messages.Connected(), now)
        self._send(start, now)
        return self._to_relay.take(now)

    def hear(self, raw: str | bytes, now: float) -> None:
        """One message from the relay, on its way to Twilio."""
        self._to_twilio.put(raw, now)
        self._take_arrived(now)

    def closed(self, code: int, now: float) -> None:
        """The relay closed the socket; what it sent before arrives before."""
        self._to_twilio.put(Closing(code), now)
        self._take_arrived(now)

    def leave(self, left_by: EndedBy) -> None:
        """Something outside the stream ends it: say so to the relay with the next step."""
        self._leaving, self._has_news = left_by, True

    def _take_arrived(self, now: float) -> None:
        self._has_news = True
        for arrived in self._to_twilio.take(now):
            if isinstance(arrived, Closing):
                self._note_closing(arrived.code, now)
            elif self.ended_by is None:
                self._read(arrived, now)

    def _read(self, raw: str | bytes, now: float) -> None:
        """What Twilio would not accept becomes a warning and changes nothing."""
        try:
            self._obey(messages.decode(raw, self._identity.stream_sid), now)
        except messages.InvalidMessageError as error:
            self._record.warn(messages.INVALID_MESSAGE, str(error), now)
        except PlayoutOverflowError as error:
            self.fail(str(error), now)

    def due_at(self) -> float:
        """When `step` has something to do."""
        if self.ended_by is not None:
            return self._to_relay.next_at()
        frame_at = self._next_frame_at
        if self._vanished_by(frame_at):
            return min(self._ends_at, self._to_twilio.next_at())
        return min(frame_at, self._other_due_at())

    def _other_due_at(self) -> float:
        """When something is due that is no frame."""
        echo_at = self._playout.next_echo_at()
        late_echo_at = self._late_echoes[0].due_s if self._late_echoes else NEVER
        arrival_at = min(self._to_relay.next_at(), self._to_twilio.next_at())
        return min(self._ends_at, arrival_at, late_echo_at, NEVER if echo_at is None else echo_at)

    def step(self, now: float) -> list[str]:
        """All that is due: mark echoes, frames, keys; `stop` when the caller leaves or the time is up."""
        self._take_arrived(now)
        if self.ended_by is None:
            self._do_what_is_due(now)
        return self._to_relay.take(now)

    def frames(self, before: float) -> Iterator[tuple[float, list[str] | SilentFrame]]:
        """Step from frame to frame as long as nothing else is due: the time of each, and what to send then.

        The same as `step` at each `due_at`, for who has nothing else to do before then, and no time to lose: what is
        known to be silence is not listened for, and not written down. It ends when this line is told something, and it
        has nothing for a network that is not plain: `step` then.

        Args: before, s: all these frames are due earlier.
        """
        if not self._is_plain:
            return
        self._has_news = self.ended_by is not None or self._leaving is not None
        until = min(before, self._vanishes_at, self._other_due_at())
        while not self._has_news and (frame_at := self._next_frame_at) < until:
            is_foreseen = self._foresees_silence(frame_at)
            if is_foreseen and self._is_suppressing:
                self._skip(min(self._silent_until, until))
                continue
            frame = _SILENT_FRAME if is_foreseen else self._ask_caller(frame_at)
            if frame == _SILENT_FRAME and (is_foreseen or self._is_frame_all()):
                yield frame_at, self._silent_frame()
            else:
                self._send_all(frame, frame_at)
                yield frame_at, self._to_relay.take(frame_at)

    def _foresees_silence(self, frame_at: float) -> bool:
        """Whether the next frame is silence for certain, and nothing is to be noticed about it."""
        if frame_at < self._silent_until:
            return True
        since = frame_at - FRAME_S
        is_talking = self._caller_speech.is_speaking or self._agent_speech.is_speaking
        if is_talking or self._foreseeable is None or not self._playout.is_silent_from(since):
            return False
        silent_until_ms = self._foreseeable.silent_until_ms(self._record.at_ms(frame_at) - mulaw.FRAME_MS)
        self._silent_until = min(self._record.zero_s + silent_until_ms / 1000, since + FORESIGHT_S)
        return frame_at < self._silent_until

    def _is_frame_all(self) -> bool:
        """Whether the caller's last frame is all there is to send, and it will be sent."""
        return not (self._is_suppressing or self._caller.keys or self._caller.hung_up)

    def _silent_frame(self) -> SilentFrame:
        timestamp_ms = FIRST_TIMESTAMP_MS + self._begin_frame(_SILENT_FRAME)
        self._chunk += 1
        self._record.frames_sent += 1
        self._sequence += 1
        return SilentFrame(self._sequence, self._chunk, timestamp_ms)

    def _skip(self, until: float) -> None:
        """Frames that the carrier does not send. Of a fraction of a frame it is left to `step` what becomes of it."""
        frames = max(1, int((until - self._next_frame_at) / FRAME_S))
        self._keep_sent(len(self._sent))
        self._ticks += frames
        self._record.frames_lost += frames
        self._sent_from_s = self._start_s + self._ticks * FRAME_S

    def _do_what_is_due(self, now: float) -> None:
        self._echo(now)
        while self.ended_by is None and self._next_frame_at <= min(now, self._ends_at):
            if self._vanished_by(self._next_frame_at):
                break  # nobody is left to speak or to hang up
            frame_at = self._next_frame_at
            self._send_all(self._ask_caller(frame_at), frame_at)
        if self.ended_by is None and self._leaving is not None:
            self._end(self._leaving, now)
        if self.ended_by is None and now >= self._ends_at:
            self._end("network" if self._vanished_by(now) else "time_limit", now)

    def _note_closing(self, code: int, now: float) -> None:
        """Whatever was still to be played is lost, and what is under way to the relay reaches nobody."""
        self._to_relay.drop()
        if self.ended_by is not None:
            return
        if self._vanished_by(now):
            self._end("network", now)
            return
        if code in _BAD_CLOSURES:
            warning_code, self.failure = _BAD_CLOSURES[code]
            self._record.warn(warning_code, self.failure, now)
        self._end("relay", now)

    def _vanished_by(self, now: float) -> bool:
        return now >= self._vanishes_at

    def fail(self, error: str, now: float) -> None:
        """The stream cannot go on."""
        self._to_relay.drop()
        if self.ended_by is None:
            self._record.error = self.failure = error
            self._end("error", now)

    @property
    def _next_frame_at(self) -> float:
        # The n-th frame is sent when its 20 ms are over.
        return self._start_s + (self._ticks + 1) * FRAME_S

    def _obey(self, message: messages.Inbound, now: float) -> None:
        self._silent_until = -NEVER
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

    def _echo(self, now: float) -> None:
        """Marks whose audio is over go back, as late as the network has them, or never."""
        for echo in self._playout.advance(now):
            if self._carrier.loses_mark():
                self._record.marks_lost += 1
            else:
                self._late_echoes.append(Echo(echo.name, echo.due_s + self.network.mark_delay_ms / 1000))
        while self._late_echoes and self._late_echoes[0].due_s <= now:
            echo = self._late_echoes.popleft()
            self._record.marks_echoed += 1
            self._observe(events.MarkEchoed(at_ms=self._record.at_ms(echo.due_s), name=echo.name))
            self._send(
                messages.Mark(self._next_sequence(), self._identity.stream_sid, messages.MarkBody(echo.name)), now
            )

    def _ask_caller(self, frame_at: float) -> bytes:
        """The caller's next frame, given what is heard until then."""
        until_ms = self._record.at_ms(frame_at)
        hearing = is_speech(self._playout.sounding(frame_at, FRAME_S))
        heard_ms = self._heard_earlier_ms + mulaw.duration_ms(self._playout.heard_bytes(frame_at))
        frame = self._caller.frame(until_ms - mulaw.FRAME_MS, hearing=hearing, heard_ms=heard_ms)
        self._tell_speech(frame, hearing, until_ms)
        return frame

    def _send_all(self, frame: bytes, frame_at: float) -> None:
        """A frame, and whatever else the caller did with it."""
        self._send_frame(frame, frame_at)
        for digit in self._caller.keys:
            self._observe(events.KeyPressed(at_ms=self._record.at_ms(frame_at), digit=digit))
            body = messages.DtmfBody(digit)
            self._send(messages.Dtmf(self._identity.stream_sid, self._next_sequence(), body), frame_at)
        if self._caller.hung_up:
            self._end("caller", frame_at)

    def _send_frame(self, frame: bytes, frame_at: float) -> None:
        began_ms = self._begin_frame(frame or _SILENT_FRAME)
        arrives = self._carrier.carries(began_ms, speaking=self._caller_speech.is_speaking)
        late_s = self._carrier.lateness_s()
        if not frame or not arrives:
            self._record.frames_lost += 1
            return  # the timestamps go on, the numbers do not
        self._send(self._media(frame, began_ms), frame_at, late_s=late_s)

    def _begin_frame(self, said: bytes) -> int:
        """The time of one more frame: where in the stream it begins, ms."""
        began_ms = self._ticks * mulaw.FRAME_MS
        self._ticks += 1
        self._sent += said
        return began_ms

    def _media(self, frame: bytes, began_ms: int) -> messages.Media:
        self._chunk += 1
        self._record.frames_sent += 1
        body = messages.media_body(self._chunk, FIRST_TIMESTAMP_MS + began_ms, frame)
        return messages.Media(self._next_sequence(), body, self._identity.stream_sid)

    def _send(self, message: messages.Outbound, now: float, *, late_s: float = 0.0) -> None:
        self._to_relay.put(messages.encode(message), now, late_s=late_s)

    def _tell_speech(self, frame: bytes, hearing: bool, until_ms: int) -> None:
        spoke = self._caller_speech.hear(is_speech(frame), until_ms)
        if spoke is not None:
            state, at_ms = spoke
            started = state == "started"
            self._observe(events.CallerSpeaking(at_ms=at_ms) if started else events.CallerSilent(at_ms=at_ms))
        heard = self._agent_speech.hear(hearing, until_ms)
        if heard is not None:
            state, at_ms = heard
            self._observe(events.AgentHeard(at_ms=at_ms, state=state))

    def _end(self, ended_by: EndedBy, now: float) -> None:
        self.ended_by, self._has_news = ended_by, True
        self._record.heard += self._playout.heard(min(now, self._vanishes_at))  # nobody plays on behind that
        self._keep_sent(round((now - self._sent_from_s) * BYTES_PER_S))
        if ended_by in _SAID_GOODBYE:
            body = messages.StopBody(self._identity.account_sid, self._identity.call_sid)
            self._send(messages.Stop(self._next_sequence(), body, self._identity.stream_sid), now)

    def _keep_sent(self, most_bytes: int) -> None:
        if self._sent:
            self._record.sent.append(Run(self._sent_from_s, bytes(self._sent[:most_bytes])))
            self._sent.clear()

    def _next_sequence(self) -> str:
        self._sequence += 1
        return str(self._sequence)


_SILENT_FRAME: Final = mulaw.silence(mulaw.FRAME_MS)

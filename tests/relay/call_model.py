"""A `Call` beside a model of what it must do: every event goes to both, and the commands must be those of the model.

`FarEnd` is Twilio: it plays what arrives, sample for sample, so that what was really heard is known. `AgentVoice`,
`CallerVoice` and `Lifetime` are three views of one call, each written from what the peers are promised and not from how
the relay does it. They know no I/O and no clock. Positions are bytes of μ-law, a byte is a sample; times are s.

How far the position heard may be off. The relay's position E and the real one R both move at 8000 bytes a second. What
R begins to play at u was sent by u - sending_s, so E was not beyond it then: E <= R + sending_s. E waits at the next
mark, and marks stand 200 ms apart: E <= R + 200 ms. When a mark is back E starts from it, which R has passed; if it was
played after all had arrived, R does not pause before the end, and E <= R until more is sent. A mark passed at u is back
by u + echoing_s: R - echoing_s <= E, as long as no echo is lost. `OFF_BY_BYTES` is for the roundings of both. Who
echoes marks early is believed, and no bound holds.
"""

from collections import Counter, deque
from dataclasses import dataclass
from math import inf

from benchmarks.simulators.twilio.playout import Playout
from proto import realtime, twilio
from proto.errors import Peer
from relay import log
from relay.call import BENIGN_ERROR_CODES, TERMINAL_ERROR_CODES, Call
from relay.events import (
    Abort,
    Command,
    EndReason,
    Event,
    HangUp,
    Malformed,
    OpenUpstream,
    SocketClosed,
    Timeout,
    UpstreamUnreachable,
)
from relay.persona import Persona
from relay.playout import Key

FRAME_BYTES = 160
BYTES_PER_S = 8000
MARK_BYTES = 1600  # 200 ms
OFF_BY_BYTES = 2  # one for each side's rounding
SILENCE = b"\xff"

ToTwilio = (twilio.Play, twilio.SendMark, twilio.Clear)
ToOpenAI = realtime.Outbound.__args__


@dataclass(eq=False)
class Part:
    """One content part, from its first audio that was let through until it is settled."""

    key: Key
    received: int = 0
    sent: int = 0
    heard: int = 0  # really, at the far end
    end: int = 0  # stream position after its last byte that was sent
    is_open: bool = True


@dataclass
class Stretch:
    """Bytes that follow each other in the stream; part: whose, None for padding."""

    part: Part | None
    nbytes: int


def take(stretches: deque[Stretch], nbytes: int) -> list[Stretch]:
    """Cut this much off the front."""
    taken = []
    while nbytes:
        first = stretches[0]
        cut = Stretch(first.part, min(first.nbytes, nbytes))
        first.nbytes -= cut.nbytes
        nbytes -= cut.nbytes
        taken.append(cut)
        if not first.nbytes:
            stretches.popleft()
    return taken


class FarEnd:
    """Twilio's end: a message arrives `sending_s` after it was sent, an echo `echoing_s` after its mark was played."""

    def __init__(self, sending_s: float) -> None:
        self.sending_s = sending_s
        self.echoing_s = self.worst_echoing_s = 0.0
        self.echoes_to_lose = 0
        self.has_lost_echoes = False
        self._buffer = Playout()
        self._under_way: deque[tuple[float, twilio.Outbound, list[Stretch]]] = deque()
        self._queued: deque[Stretch] = deque()  # in the buffer, and not yet counted as heard
        self._heard = 0
        self._echoes: deque[tuple[float, str]] = deque()

    def echo_after(self, seconds: float) -> None:
        self.echoing_s, self.worst_echoing_s = seconds, max(seconds, self.worst_echoing_s)

    def send(self, message: twilio.Outbound, stretches: list[Stretch], now: float) -> None:
        self._under_way.append((now + self.sending_s, message, stretches))

    @property
    def next_change_at(self) -> float:
        """When the next message arrives, the next mark is played, or the next echo is back at the relay."""
        mark_at = self._buffer.next_echo_at()
        return min(
            self._under_way[0][0] if self._under_way else inf,
            inf if mark_at is None else mark_at,
            self._echoes[0][0] if self._echoes else inf,
        )

    def move_to(self, now: float) -> None:
        while self._under_way and self._under_way[0][0] <= now:
            at, message, stretches = self._under_way.popleft()
            self._count_heard(at)
            self._arrive(message, stretches, at)
        self._count_heard(now)
        for echo in self._buffer.advance(now):
            if self.echoes_to_lose:
                self.echoes_to_lose, self.has_lost_echoes = self.echoes_to_lose - 1, True
                continue
            at_least = self._echoes[-1][0] if self._echoes else 0.0
            self._echoes.append((max(at_least, echo.due_s + self.echoing_s), echo.name))

    def returned(self, now: float) -> list[str]:
        """The names of the marks that are back."""
        names = []
        while self._echoes and self._echoes[0][0] <= now:
            names.append(self._echoes.popleft()[1])
        return names

    def _arrive(self, message: twilio.Outbound, stretches: list[Stretch], now: float) -> None:
        match message:
            case twilio.Play(media=body):
                self._buffer.queue(body.payload, now)
                self._queued += stretches
            case twilio.SendMark(mark=body):
                self._buffer.mark(body.name, now)
            case twilio.Clear():
                self._buffer.clear(now)
                self._queued.clear()

    def _count_heard(self, now: float) -> None:
        heard = self._buffer.heard_bytes(now)
        for stretch in take(self._queued, heard - self._heard):
            if stretch.part:
                stretch.part.heard += stretch.nbytes
        self._heard = heard


class AgentVoice:
    """What the caller is to be sent, and what the model is to be told when the caller interrupts."""

    def __init__(self, persona: Persona, far: FarEnd) -> None:
        self._far = far
        self._cancels = not persona.turn_detection.interrupt_response
        self._is_started = False
        self.active: dict[str, None] = {}
        self.interrupted: set[str] = set()
        self.barge_ins = self.sent_in_all = self.total_tokens = 0
        self.names: list[str] = []  # of all marks ever
        self._settled: set[Key] = set()
        self._truncated: set[tuple[str, int]] = set()
        self.is_honest = True  # no mark came back before it was played; false: until the next clear
        self._begin_stream()

    def _begin_stream(self) -> None:
        self.parts: dict[Key, Part] = {}  # not settled, in the order they began
        self.pending: list[tuple[str, int]] = []  # marks not echoed, and the positions where they stand
        self._due = b""  # audio that must go out; less than a frame between two events
        self._due_stretches: deque[Stretch] = deque()
        self._last: Part | None = None  # the part at the stream's end, until it is over
        self._sent = self._confirmed = self._since_mark = 0
        self._sent_at = -inf
        self._is_anchored = False  # a mark came back that was played after all had arrived
        self._far.has_lost_echoes = False

    def saw(self, event: Event, given: list[Command], now: float) -> None:
        ended = settled = []
        match event:
            case twilio.Start():
                self._is_started = True
            case realtime.ResponseCreated(response=response) if self._is_started:
                self.active[response.id] = None
            case realtime.AudioDelta() if self._is_current(event.response_id) and event.delta:
                self._let_through(event)
            case realtime.AudioDone() if self._is_current(event.response_id):
                ended = self._part_ends(Key(event.response_id, event.item_id, event.content_index))
            case realtime.ResponseDone(response=response) if response.id in self.active:
                ended = self._response_ends(response)
            case realtime.SpeechStarted():
                return self._caller_interrupts(given, now)
            case twilio.Mark(mark=body):
                settled = self._mark_echoed(body.name, given, now)
        if given and isinstance(given[-1], HangUp):
            settled = list(self.parts.values())
        self._tells_what_was_heard(settled, given)
        self._goes_out(given, now, may_mark=bool(ended))
        assert not ended or self._since_mark == 0, "the end of a part is marked"
        return None

    def _is_current(self, response_id: str) -> bool:
        return response_id in self.active and response_id not in self.interrupted

    # Towards the caller.

    def _let_through(self, event: realtime.AudioDelta) -> None:
        key = Key(event.response_id, event.item_id, event.content_index)
        part = self.parts.setdefault(key, Part(key))
        self._settled.discard(key)  # more of it after its end was heard: OpenAI's mistake, and settled anew
        if self._last is not part:
            self._pad()
        self._last, part.is_open = part, True
        part.received += len(event.delta)
        self._due += event.delta
        self._due_stretches.append(Stretch(part, len(event.delta)))

    def _part_ends(self, key: Key) -> list[Part]:
        part = self.parts.get(key)
        if part is None or not part.is_open:
            return []
        part.is_open = False
        if self._last is part:
            self._pad()
            self._last = None
        return [part]

    def _response_ends(self, response: realtime.Response) -> list[Part]:
        del self.active[response.id]
        self.total_tokens += response.usage.total_tokens if response.usage else 0
        ending = [key for key in self.parts if key.response_id == response.id]
        return [part for key in ending for part in self._part_ends(key)]

    def _pad(self) -> None:
        """A part's last bytes fill a frame: with silence, and with less than a frame of it."""
        if missing := -len(self._due) % FRAME_BYTES:
            self._due += SILENCE * missing
            self._due_stretches.append(Stretch(None, missing))

    def _goes_out(self, given: list[Command], now: float, *, may_mark: bool) -> None:
        """Audio is commanded exactly as it came, in whole frames, at once, and marked every 200 ms."""
        for command in given:
            stretches: list[Stretch] = []
            if isinstance(command, twilio.Play):
                stretches = self._plays(command.media.payload)
            elif isinstance(command, twilio.SendMark):
                assert may_mark or self._since_mark == MARK_BYTES, "a mark costs both peers a message"
                self._marks(command.mark.name)
            else:
                continue
            self._far.send(command, stretches, now)
            self._sent_at, self._is_anchored = now, False
        assert len(self._due) < FRAME_BYTES, "whole frames do not wait"

    def _plays(self, audio: bytes) -> list[Stretch]:
        assert audio
        assert len(audio) % FRAME_BYTES == 0
        assert self._due.startswith(audio), "what goes out is what came in, and nothing else"
        self._due = self._due[len(audio) :]
        self._sent += len(audio)
        self.sent_in_all += len(audio)
        self._since_mark += len(audio)
        assert self._since_mark <= MARK_BYTES
        stretches = take(self._due_stretches, len(audio))
        at = self._sent - len(audio)
        for stretch in stretches:
            at += stretch.nbytes
            if stretch.part:
                stretch.part.sent += stretch.nbytes
                stretch.part.end = at
        return stretches

    def _marks(self, name: str) -> None:
        assert name not in self.names, "a mark's name is used once"
        self.names.append(name)
        self.pending.append((name, self._sent))
        self._since_mark = 0

    # Back from the caller.

    def _mark_echoed(self, name: str, given: list[Command], now: float) -> list[Part]:
        """A mark confirms all before it. Gives the parts that are over and confirmed whole."""
        at = [pending for pending, _ in self.pending].index(name) if name in dict(self.pending) else None
        assert (log.MarkEchoed(name=name) in given) == (at is not None)
        if at is None:
            return []
        self._confirmed = self.pending[at][1]
        self._is_anchored = self._sent_at + self._far.sending_s + self._far.worst_echoing_s <= now
        del self.pending[: at + 1]
        return [part for part in self.parts.values() if not part.is_open and part.end <= self._confirmed]

    def _tells_what_was_heard(self, parts: list[Part], given: list[Command]) -> None:
        """These parts are settled now, in the order they began, near the truth; and each of them once."""
        told = [command for command in given if isinstance(command, log.AgentHeard)]
        assert [heard.item_id for heard in told] == [part.key.item_id for part in parts]
        for part, heard in zip(parts, told, strict=True):
            assert heard.generated_ms == part.sent // 8
            self._is_near_the_truth(part, heard.heard_ms)
            assert part.key not in self._settled, "a part is settled once"
            self._settled.add(part.key)
            del self.parts[part.key]

    def _is_near_the_truth(self, part: Part, heard_ms: int) -> None:
        assert type(heard_ms) is int
        assert 0 <= heard_ms <= part.sent // 8 <= part.received // 8
        if part.end <= self._confirmed:
            assert heard_ms == part.sent // 8, "what is confirmed is heard"
        elif self.is_honest:
            ahead = 0.0 if self._is_anchored else min(self._far.sending_s * BYTES_PER_S, MARK_BYTES)
            assert heard_ms * 8 <= part.heard + ahead + OFF_BY_BYTES, "no more is taken for heard than sounded"
            behind = self._far.worst_echoing_s * BYTES_PER_S + OFF_BY_BYTES
            assert self._far.has_lost_echoes or part.heard - behind < heard_ms * 8 + 8, "and not much less"

    def _caller_interrupts(self, given: list[Command], now: float) -> None:
        speaking = [response_id for response_id in self.active if response_id not in self.interrupted]
        is_sounding = bool(self._due) or self._confirmed < self._sent
        if not speaking and not is_sounding:
            assert [type(command) for command in given] == [log.CallerSpoke], "there is nothing to stop"
            return
        parts = list(self.parts.values())
        self._tells_what_was_heard(parts, given)
        cut = self._truncates(parts, given)
        kinds: list[type] = [log.CallerSpoke]
        kinds += [twilio.Clear] * is_sounding + [realtime.CancelResponse] * (len(speaking) * self._cancels)
        kinds += [realtime.TruncateItem] * cut + [log.BargedIn] * bool(cut) + [log.AgentHeard] * len(parts)
        assert [type(command) for command in given] == kinds, "the clear goes first, and nothing goes twice"
        cancelled = [command.response_id for command in given if isinstance(command, realtime.CancelResponse)]
        assert cancelled == speaking * self._cancels
        self.barge_ins += bool(cut)
        self.interrupted.update(speaking, (part.key.response_id for part in parts))
        if is_sounding:
            self._far.send(twilio.Clear(""), [], now)
            self.is_honest = True
        self._begin_stream()

    def _truncates(self, parts: list[Part], given: list[Command]) -> int:
        """What was not heard whole is truncated there, in the order of the stream. Gives how many parts were."""
        truncates = [command for command in given if isinstance(command, realtime.TruncateItem)]
        told_ms = [command.heard_ms for command in given if isinstance(command, log.AgentHeard)]
        at_ms = {(cut.item_id, cut.content_index): cut.audio_end_ms for cut in truncates}
        assert not self._truncated & at_ms.keys(), "an item is truncated once"
        self._truncated |= at_ms.keys()
        expected = []
        for part, heard_ms in zip(parts, told_ms, strict=True):
            where = (part.key.item_id, part.key.content_index)
            if where in at_ms:
                assert part.is_open or heard_ms * 8 < part.sent, "what was heard whole is left alone"
                expected.append((*where, heard_ms))
            else:
                assert not part.is_open
                assert heard_ms == part.sent // 8
        assert [(cut.item_id, cut.content_index, cut.audio_end_ms) for cut in truncates] == expected
        return len(truncates)


class CallerVoice:
    """What OpenAI is to be sent, and when the call is to be woken."""

    def __init__(self, now: float) -> None:
        self.frames = 0
        self.setup_due_at = now + 10.0
        self.is_configured = False
        self._held = b""  # all that was said while OpenAI was not listening
        self._longest = 0  # frame in it, with the silence before it
        self._expected_ms: int | None = None
        self._last_frame_at: float | None = None
        self._is_speaking = self._is_closed_by_silence = False

    @property
    def deadline(self) -> float:
        is_missed = self._is_speaking and not self._is_closed_by_silence and self._last_frame_at is not None
        if not self.is_configured or not is_missed:
            return self.setup_due_at
        assert self._last_frame_at is not None
        return self._last_frame_at + 0.75

    def saw(self, event: Event, given: list[Command], now: float) -> None:
        due = b""
        match event:
            case twilio.Start():
                if any(isinstance(command, OpenUpstream) for command in given):
                    self.setup_due_at = now + 10.0
            case realtime.SpeechStarted():
                self._is_speaking = True
            case realtime.SpeechStopped():
                self._is_speaking = False
            case realtime.SessionUpdated() if any(isinstance(command, log.UpstreamReady) for command in given):
                self.is_configured, self.setup_due_at = True, inf
                return self._releases(given)
            case Timeout() if self.is_configured and now >= self.deadline:
                due = SILENCE * BYTES_PER_S
                self._is_closed_by_silence = True
        assert self._appended(given) == due
        return None

    def saw_frame(self, body: twilio.MediaBody, given: list[Command], now: float) -> None:
        """A frame of the caller's that counts: silence for what is missing before it, and then itself, unchanged."""
        self.frames += 1
        audio = SILENCE * (8 * self._missing_ms(body)) + body.payload
        self._last_frame_at, self._is_closed_by_silence = now, False
        if not self.is_configured:
            self._held += audio
            self._longest = max(self._longest, len(audio))
            audio = b""
        assert self._appended(given) == audio

    def _missing_ms(self, body: twilio.MediaBody) -> int:
        expected_ms = self._expected_ms
        if body.timestamp is None:
            self._expected_ms = None
            return 0
        self._expected_ms = max(expected_ms or 0, body.timestamp + len(body.payload) // 8)
        if expected_ms is None or self._is_closed_by_silence or body.timestamp - expected_ms < 20:
            return 0
        return min(body.timestamp - expected_ms, 10_000)

    def _releases(self, given: list[Command]) -> None:
        """The last ten seconds, less what is left of the frame that the limit falls into."""
        released = self._appended(given)
        assert self._held.endswith(released)
        assert len(released) <= 10 * BYTES_PER_S
        assert released == self._held or len(released) + self._longest > 10 * BYTES_PER_S

    def _appended(self, given: list[Command]) -> bytes:
        appends = [command.audio for command in given if isinstance(command, realtime.AppendAudio)]
        assert len(appends) <= 1
        assert all(appends), "nothing is not appended"
        return b"".join(appends)


class Lifetime:
    """When the call sets itself up, when and why it ends, and what it says about itself."""

    def __init__(self, persona: Persona, caller: CallerVoice) -> None:
        self._has_greeting = bool(persona.greeting)
        self._caller = caller
        self.stream_sid = ""
        self.is_over = False
        self._is_created = False
        self._malformed_in_a_row: Counter[Peer] = Counter()
        self.event_ids: list[str] = []

    def is_ours(self, event: twilio.Media | twilio.Mark | twilio.Dtmf | twilio.Stop) -> bool:
        return self.stream_sid != "" and event.stream_sid == self.stream_sid

    def saw(self, event: Event, given: list[Command], now: float) -> None:
        reason = self._end_of(event, now)
        ends = [command.reason for command in given if isinstance(command, HangUp | log.CallEnded)]
        assert ends == ([reason, reason] if reason else [])
        self.is_over = reason is not None
        self._sets_up(event, given)
        for command in given:
            self._is_addressed(command)
        self._count_malformed(event)

    def _sets_up(self, event: Event, given: list[Command]) -> None:
        due: list[type] = []
        match event:
            case twilio.Start() if not self.stream_sid and not self.is_over:
                self.stream_sid = event.stream_sid
                due = [OpenUpstream]
            case realtime.SessionCreated() if self.stream_sid and not self._is_created:
                self._is_created = True
                due = [realtime.UpdateSession]
            case realtime.SessionUpdated() if any(isinstance(command, log.UpstreamReady) for command in given):
                due = [realtime.CreateResponse] * self._has_greeting
        kinds = (OpenUpstream, realtime.UpdateSession, realtime.CreateResponse)
        assert [type(command) for command in given if isinstance(command, kinds)] == due

    def _is_addressed(self, command: Command) -> None:
        if isinstance(command, ToTwilio):
            assert command.stream_sid == self.stream_sid
        if isinstance(command, (*ToTwilio, *ToOpenAI)):
            assert self.stream_sid, "nothing is said before the stream begins"
        if event_id := getattr(command, "event_id", None):
            assert event_id not in self.event_ids
            self.event_ids.append(event_id)

    def _end_of(self, event: Event, now: float) -> EndReason | None:
        """Why the call is to end with this event, None if it goes on."""
        match event:
            case twilio.Start():
                return None if self._is_welcome(event) else "bad_start"
            case twilio.Stop():
                return "caller_hung_up" if self.is_ours(event) else None
            case SocketClosed(peer="twilio", code=code):
                return "garbage" if code in (1002, 1007, 1009) else "twilio_closed"
            case SocketClosed():
                return "openai_closed"
            case UpstreamUnreachable():
                return "openai_unreachable"
            case Abort(reason=reason):
                return reason
            case realtime.SessionUpdated(session=session):
                is_taken = session.audio.input.format.type == session.audio.output.format.type == "audio/pcmu"
                is_awaited = self._is_created and not self._caller.is_configured
                return "openai_refused" if is_awaited and not is_taken else None
            case realtime.ErrorReported(error=error):
                return "openai_refused" if self._is_fatal(error) else None
            case Malformed(peer="twilio", tag="start"):
                return "bad_start"
            case Malformed(peer=peer) if self._malformed_in_a_row[peer] == 19:
                return "garbage" if peer == "twilio" else "openai_closed"
            case Timeout() if now >= self._caller.setup_due_at:
                return "openai_unreachable" if self.stream_sid else "start_timeout"
        return None

    def _is_welcome(self, event: twilio.Start) -> bool:
        if self.stream_sid:
            return event.stream_sid == self.stream_sid
        return event.stream_sid == event.start.stream_sid != "" and event.start.media_format == twilio.MediaFormat()

    def _is_fatal(self, error: realtime.ErrorDetail) -> bool:
        if error.code in BENIGN_ERROR_CODES or (error.event_id or "").startswith(("truncate-", "cancel-")):
            return False
        return not self._caller.is_configured or error.code in TERMINAL_ERROR_CODES

    def _count_malformed(self, event: Event) -> None:
        match event:
            case Malformed(peer=peer):
                self._malformed_in_a_row[peer] += 1
            case twilio.Message() | twilio.Unhandled():
                self._malformed_in_a_row["twilio"] = 0
            case realtime.ServerEvent() | realtime.Unhandled():
                self._malformed_in_a_row["openai"] = 0


class ModelledCall:
    """One call and its model. Time stands still unless `wait` moves it."""

    def __init__(self, persona: Persona, *, sending_s: float) -> None:
        self.began_at = self.now = 100.0  # a monotonic clock does not begin at 0
        self._persona = persona
        self.call = Call(persona, self.now)
        self.far = FarEnd(sending_s)
        self.agent = AgentVoice(persona, self.far)
        self.caller = CallerVoice(self.now)
        self.lifetime = Lifetime(persona, self.caller)
        self.history: list[tuple[Event, float, list[Command]]] = []
        self.has_failed = False

    def happens(self, event: Event) -> None:
        """Something happens to the call, and it must do what the model does."""
        self.far.move_to(self.now)
        self.has_failed = True  # until all is checked
        given = self.call.handle(event, self.now)
        self.history.append((event, self.now, given))
        if self.lifetime.is_over:
            assert given == [], "after the end nothing comes"
        else:
            self._agrees(event, given)
        self.has_failed = False

    def _agrees(self, event: Event, given: list[Command]) -> None:
        self._every_view_agrees(event, given)
        if self.lifetime.is_over:
            self._ends(given)
        assert self.call.deadline == (inf if self.lifetime.is_over else self.caller.deadline)
        if isinstance(event, Timeout):
            assert self.call.deadline > self.now, "one timeout is enough"

    def _every_view_agrees(self, event: Event, given: list[Command]) -> None:
        if isinstance(event, twilio.Media | twilio.Mark) and not self.lifetime.is_ours(event):
            assert all(isinstance(command, log.MessageIgnored) for command in given)
            event = twilio.Connected()  # means as much
        self.agent.saw(event, given, self.now)
        if isinstance(event, twilio.Media) and event.media.track == "inbound" and event.media.payload:
            self.caller.saw_frame(event.media, given, self.now)
        else:
            self.caller.saw(event, given, self.now)
        self.lifetime.saw(event, given, self.now)

    def _ends(self, given: list[Command]) -> None:
        """The last words are the accounts, and they add up; nothing is left in the ledger."""
        ended, hang_up = given[-2:]
        assert isinstance(ended, log.CallEnded)
        assert isinstance(hang_up, HangUp)
        assert ended.frames_from_caller == self.caller.frames
        assert ended.audio_ms_to_caller == self.agent.sent_in_all // 8
        assert ended.barge_ins == self.agent.barge_ins
        assert ended.total_tokens == self.agent.total_tokens
        assert ended.ignored == dict(self.call.ignored)
        assert ended.duration_ms == round((self.now - self.began_at) * 1000)
        assert not self.agent.parts

    def wait(self, seconds: float, *, is_punctual: bool = True) -> None:
        """Time passes; echoes come back when they are due, and so do timeouts if the session is punctual."""
        until = self.now + seconds
        while True:
            wakes_at = self.call.deadline if is_punctual and self.call.deadline >= self.now else inf
            at = min(self.far.next_change_at, wakes_at)
            if at > until:
                break
            self.now = max(self.now, at)
            self.far.move_to(self.now)
            for name in self.far.returned(self.now):
                self.happens(twilio.Mark(self.lifetime.stream_sid, twilio.MarkBody(name)))
            if self.now >= wakes_at:
                self.happens(Timeout())
        self.now = until

    def replay(self) -> None:
        """The same events at the same times give the same commands."""
        again = Call(self._persona, self.began_at)
        for event, now, given in self.history:
            assert again.handle(event, now) == given

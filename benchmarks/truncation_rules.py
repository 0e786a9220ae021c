"""Five ways to know how much of the agent's speech the caller heard: ours, and four that stand in other projects.

Ours is `relay.call.Call` itself, fed with events. The four are written here, as plainly as they go, after what those
projects do: they count the same bytes, send their marks at the same places and clamp where those do.
"""

from collections import deque
from typing import Final

from benchmarks.truncation_stage import STREAM_SID, Claim, Event, Rule
from proto import mulaw, realtime, twilio
from relay.call import Call
from relay.log import BargedIn
from relay.persona import Persona

MARK_BYTES: Final = 1600  # 200 ms, for the rule whose marks do not follow the deltas
ASSUMED_MS: Final = 50  # how far beyond the last acknowledged delta the caller is assumed to be

Messages = list[twilio.Play | twilio.SendMark]


class Ours:
    """The call as it ships."""

    def __init__(self) -> None:
        self._call = Call(Persona(instructions="Speak."), 0.0)
        pcmu = realtime.AudioEnd(realtime.AudioFormat("audio/pcmu"))
        session = realtime.Session("sess_bench", audio=realtime.SessionAudio(pcmu, pcmu))
        begins = twilio.Start(STREAM_SID, twilio.StartBody(STREAM_SID, "CAbench", media_format=twilio.MediaFormat()))
        for event in (twilio.Connected(), begins, realtime.SessionCreated(session), realtime.SessionUpdated(session)):
            self._call.handle(event, 0.0)

    def handle(self, event: Event, now: float) -> Messages:
        commands = self._call.handle(event, now)
        return [command for command in commands if isinstance(command, twilio.Play | twilio.SendMark)]

    def echoed(self, name: str, now: float) -> None:
        self._call.handle(twilio.Mark(STREAM_SID, twilio.MarkBody(name)), now)

    def interrupted(self, now: float) -> Claim:
        commands = self._call.handle(realtime.SpeechStarted("item_caller"), now)
        cut = {each.item_id: each.audio_end_ms for each in commands if isinstance(each, realtime.TruncateItem)}
        bounds_ms = [command.truncate_error_bound_ms for command in commands if isinstance(command, BargedIn)]
        return Claim(cut, next(iter(cut), None), bounds_ms[0] if bounds_ms else 0)


class BytesSent:
    """The last item, at all that was sent of it: Twilio's Agent Connect 2.5."""

    def __init__(self) -> None:
        self._item_id = ""
        self._sent = 0

    def handle(self, event: Event, _now: float) -> Messages:
        if not isinstance(event, realtime.AudioDelta):
            return []
        if event.item_id != self._item_id:
            self._item_id, self._sent = event.item_id, 0
        self._sent += len(event.delta)
        return [_play(event.delta)]

    def echoed(self, _name: str, _now: float) -> None:
        """It has no marks."""

    def interrupted(self, _now: float) -> Claim:
        return Claim({self._item_id: mulaw.duration_ms(self._sent)}, self._item_id)


class WallClock:
    """The last item, at the time since its first delta; nothing when no mark is out: Twilio's sample relays."""

    def __init__(self) -> None:
        self._item_id = ""
        self._began_at = 0.0
        self._marks_out = 0

    def handle(self, event: Event, now: float) -> Messages:
        if not isinstance(event, realtime.AudioDelta):
            return []
        if event.item_id != self._item_id:
            self._item_id, self._began_at = event.item_id, now
        self._marks_out += 1
        return [_play(event.delta), _mark("responsePart")]

    def echoed(self, _name: str, _now: float) -> None:
        self._marks_out -= 1

    def interrupted(self, now: float) -> Claim:
        if not self._marks_out:
            return Claim({}, self._item_id)
        # The samples read the clock off the caller's frames, which come every 20 ms.
        frames = (now - self._began_at) * 1000 // mulaw.FRAME_MS
        return Claim({self._item_id: int(frames) * mulaw.FRAME_MS}, self._item_id)


class _Ledger:
    """Items in the order of the stream, and the marks in it; positions in bytes."""

    def __init__(self) -> None:
        self.items: dict[str, list[int]] = {}  # where each begins and ends
        self.pending: deque[tuple[str, int]] = deque()  # name, position
        self.sent = self.acknowledged = 0

    def add(self, item_id: str, nbytes: int) -> None:
        self.items.setdefault(item_id, [self.sent, self.sent])
        self.sent += nbytes
        self.items[item_id][1] = self.sent

    def mark(self) -> twilio.SendMark:
        name = f"mark_{self.sent}"
        self.pending.append((name, self.sent))
        return _mark(name)

    def acknowledge(self, name: str) -> None:
        """Marks come back in order, so this one confirms those before it."""
        while self.pending:
            oldest, self.acknowledged = self.pending.popleft()
            if oldest == name:
                return

    def heard_by(self, position: int) -> Claim:
        """The item that is not heard to its end is cut there, and what stands behind it at its beginning."""
        cut = {
            item_id: mulaw.duration_ms(max(position - begins, 0))
            for item_id, (begins, ends) in self.items.items()
            if position < ends
        }
        return Claim(cut, next(iter(cut), next(reversed(self.items))))


class AcknowledgedMarks:
    """A mark after each delta; the last that came back, and 50 ms: OpenAI's Agents SDK for JavaScript."""

    def __init__(self) -> None:
        self._ledger = _Ledger()

    def handle(self, event: Event, _now: float) -> Messages:
        if not isinstance(event, realtime.AudioDelta):
            return []
        self._ledger.add(event.item_id, len(event.delta))
        return [_play(event.delta), self._ledger.mark()]

    def echoed(self, name: str, _now: float) -> None:
        self._ledger.acknowledge(name)

    def interrupted(self, _now: float) -> Claim:
        assumed = self._ledger.acknowledged + ASSUMED_MS * mulaw.BYTES_PER_MS
        return self._ledger.heard_by(min(assumed, self._ledger.sent))


class Interpolated:
    """A mark every 200 ms; the last that came back and the time since, up to the next one. The line has no length."""

    def __init__(self) -> None:
        self._ledger = _Ledger()
        self._anchor = (0, 0.0)  # a position, and when it is taken to have sounded

    def handle(self, event: Event, now: float) -> Messages:
        if not isinstance(event, realtime.AudioDelta):
            return []
        if self._position(now) >= self._ledger.sent:
            self._anchor = (self._ledger.sent, now)
        messages: Messages = []
        audio = event.delta
        while audio:
            until_mark = MARK_BYTES - self._ledger.sent % MARK_BYTES
            self._ledger.add(event.item_id, len(audio[:until_mark]))
            messages.append(_play(audio[:until_mark]))
            audio = audio[until_mark:]
            if self._ledger.sent % MARK_BYTES == 0:
                messages.append(self._ledger.mark())
        return messages

    def echoed(self, name: str, now: float) -> None:
        self._ledger.acknowledge(name)
        self._anchor = (self._ledger.acknowledged, now)

    def interrupted(self, now: float) -> Claim:
        return self._ledger.heard_by(self._position(now))

    def _position(self, now: float) -> int:
        position, at = self._anchor
        limit = self._ledger.pending[0][1] if self._ledger.pending else self._ledger.sent
        return min(position + round((now - at) * mulaw.SAMPLE_RATE_HZ), limit)


RULES: Final[dict[str, type[Rule]]] = {
    "ours": Ours,
    "bytes_sent": BytesSent,
    "wall_clock": WallClock,
    "acknowledged_marks": AcknowledgedMarks,
    "interpolated_marks": Interpolated,
}


def _play(audio: bytes) -> twilio.Play:
    return twilio.Play(STREAM_SID, twilio.PlayBody(audio))


def _mark(name: str) -> twilio.SendMark:
    return twilio.SendMark(STREAM_SID, twilio.MarkBody(name))

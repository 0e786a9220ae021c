"""What the caller is promised of the agent's voice, and the model of what the caller heard.

When the agent is stopped is not foretold here: that a clear was sent, or a response cancelled, is read off the
commands, and what has to be true of it then is checked. Whatever stopped it, the caller is sent exactly the audio of
the responses that were not cut, in order; every part is settled once; what is said to be heard is near the truth.

How far the position heard may be off. A clear sent now takes effect after `sending_s`, and all that was sent took as
long to arrive; so what is heard by then is known from when it was sent, and the relay never says more. It says less
when echoes are late or lost, and how much less at most is the bound that it states. `OFF_BY_BYTES` is for the roundings
of both. Who echoes marks early is believed, and no bound holds.
"""

from collections import deque
from math import inf

from proto import realtime, twilio
from relay import log
from relay.call import APOLOGY_ITEM_ID
from relay.dialogue import GREETING_ITEM_ID
from relay.events import Command, DropUpstream, Event, HangUp, SwitchUpstream, Timeout
from relay.persona import Persona
from relay.playout import MARK_LOST_AFTER_S, Key, Playout
from tests.relay.far_end import FarEnd, Part, Stretch, take

FRAME_BYTES = 160
BYTES_PER_S = 8000
MARK_BYTES = 1600  # 200 ms
OFF_BY_BYTES = 2  # one for each side's rounding
SILENCE = b"\xff"


class AgentVoice:
    """What the caller is to be sent, and what the model is to be told when the caller interrupts.

    Args: ledger, the call's own, looked at for one thing only: whether it still waits for echoes.
    """

    def __init__(self, persona: Persona, far: FarEnd, ledger: Playout) -> None:
        policy = persona.barge_in
        self._persona, self._far, self._ledger = persona, far, ledger
        self._lead_s = policy.lead_ms / 1000 if policy.local_detection else inf
        self.active: dict[str, None] = {}  # responses being generated
        self.interrupted: set[str] = set()
        self._known: set[str] = set()  # of this session
        self._lost: set[str] = set()  # being generated when their session was lost
        self.barge_ins = self.sent_in_all = self.total_tokens = 0
        self.names: list[str] = []  # of all marks ever
        self._settled: set[Key] = set()
        self._truncated: set[tuple[str, int]] = set()
        self._has_apologized = False
        self.is_honest = True  # no mark came back before it was played; false: until the next clear
        self._was_honest, self._confirmed_then = True, 0  # when the parts that are told of were stopped
        self._truths: dict[Key, int] = {}  # how much was really heard of them, if a clear stopped them
        self._begun = 0  # parts
        self._dry_at = 0.0  # when all that was sent would have sounded, were the line without delay
        self._begin_stream()

    def _begin_stream(self) -> None:
        self.parts: dict[Key, Part] = {}  # not settled, in the order they began
        self.pending: list[tuple[str, int]] = []  # marks not echoed, and the positions where they stand
        self._due = bytearray()  # audio that must go out; less than a frame between two events, unless it is paced
        self._due_stretches: deque[Stretch] = deque()
        self._ends: deque[tuple[int, Part]] = deque()  # of parts, and where in all that is due they stand
        self._last: Part | None = None  # the part at the end of what is due, until it is over
        self._queued = self._sent = self._confirmed = self._since_mark = 0

    @property
    def is_sounding(self) -> bool:
        """Something is to be heard that Twilio has not confirmed as played."""
        return bool(self._due) or self._confirmed < self._sent

    def is_current(self, response_id: str) -> bool:
        return response_id in self.active and response_id not in self.interrupted

    def saw(self, event: Event, given: list[Command], now: float, *, is_cut_by_openai: bool) -> None:
        """is_cut_by_openai: the service was told to stop its response by itself when the caller speaks."""
        self._takes_in(event, given)
        self._expected: list[Part] = []  # to be told of as heard, in this order
        self._told: list[tuple[Part, log.AgentHeard]] = []
        self._is_ending = bool(given) and isinstance(given[-1], HangUp)
        is_stopped = self._is_ending or any(isinstance(command, twilio.Clear) for command in given)
        is_waited_for = self._ledger.given_up_at < inf
        if isinstance(event, Timeout) and self._confirmed < self._sent and not is_stopped and not is_waited_for:
            self._is_given_up(now)
        bounds_ms = [command.truncate_error_bound_ms for command in given if isinstance(command, log.BargedIn)]
        self._bound_bytes = 8.0 * bounds_ms[0] if bounds_ms else inf
        known = set(self._known)
        for command in given:
            self._sees(command, now)
        assert not self._expected, "what was heard of each part is told"
        unfinished = [part for part in self.parts.values() if part.key.response_id in self._lost]
        assert not unfinished, "what nobody will finish saying is stopped"
        self._truncates(given, known)
        if isinstance(event, realtime.SpeechStarted) and is_cut_by_openai:
            self.interrupted.update(self.active)
        if self._lead_s == inf:
            self._all_is_out()
        assert not (self._is_ending and self.parts), "nothing is left in the ledger"

    # What is to be heard.

    def _takes_in(self, event: Event, given: list[Command]) -> None:
        match event:
            case twilio.Start() if any(isinstance(command, log.CallStarted) for command in given):
                self._plays_ours(GREETING_ITEM_ID, self._persona.greeting_audio)
            case realtime.ResponseCreated(response=response):
                self.active[response.id] = None
                self._known.add(response.id)
            case realtime.AudioDelta() if self.is_current(event.response_id) and event.delta:
                self._let_through(Key(event.response_id, event.item_id, event.content_index), event.delta)
            case realtime.AudioDone() if self.is_current(event.response_id):
                self._part_ends(Key(event.response_id, event.item_id, event.content_index))
            case realtime.ResponseDone(response=response) if response.id in self.active:
                self._response_ends(response)
            case twilio.Mark(mark=body):
                self._is_echoed(body.name, is_news=log.MarkEchoed(name=body.name) in given)

    def _plays_ours(self, item_id: str, audio: bytes) -> None:
        if audio:
            self._let_through(Key("", item_id, 0), audio)
            self._part_ends(Key("", item_id, 0))

    def _let_through(self, key: Key, audio: bytes) -> None:
        if key in self._settled:
            return  # its end was heard, and nothing of it is due any more
        part = self.parts.setdefault(key, Part(key))
        if not part.opened or not part.is_open:
            self._begun += 1
            part.opened = self._begun
        if self._last is not part:
            self._pad()
        self._last, part.is_open = part, True
        part.received += len(audio)
        self._is_due(part, audio)

    def _part_ends(self, key: Key) -> None:
        part = self.parts.get(key)
        if part is None or not part.is_open:
            return
        if self._last is part:
            self._pad()
            self._last = None
        self._ends.append((self._queued, part))

    def _response_ends(self, response: realtime.Response) -> None:
        del self.active[response.id]
        self.total_tokens += (response.usage.total_tokens or 0) if response.usage else 0
        for part in sorted(self.parts.values(), key=lambda part: part.opened):
            if part.key.response_id == response.id:
                self._part_ends(part.key)

    def _pad(self) -> None:
        """A part's last bytes fill a frame: with silence, and with less than a frame of it."""
        if missing := -self._queued % FRAME_BYTES:
            self._is_due(None, SILENCE * missing)

    def _is_due(self, part: Part | None, audio: bytes) -> None:
        self._due += audio
        self._due_stretches.append(Stretch(part, len(audio)))
        self._queued += len(audio)

    # What is done about it.

    def _sees(self, command: Command, now: float) -> None:
        match command:
            case twilio.Play(media=body):
                self._far.send(command, self._plays(body.payload, now), now)
            case twilio.SendMark(mark=body):
                self._marks(body.name)
                self._far.send(command, [], now)
            case twilio.Clear():
                assert self.is_sounding or self._lead_s < inf, "there is something to stop"
                self._stops(now)
                self._far.send(command, [], now)
                self._dry_at = now
            case log.MarkEchoed(name=name):
                self._mark_echoed(name)
            case log.AgentHeard():
                self._tells_what_was_heard(command, now)
            case log.BargedIn():
                self.barge_ins += 1
            case realtime.CancelResponse(response_id=response_id):
                assert response_id in self.active, "only what is being generated is cancelled"
                self.interrupted.add(response_id)
            case DropUpstream(beside=False) | SwitchUpstream():
                self._lost.update(filter(self.is_current, self.active))
                for ids in (self.active, self.interrupted, self._known):
                    ids.clear()

    def _plays(self, audio: bytes, now: float) -> list[Stretch]:
        if not self._due and not self._has_apologized:
            self._has_apologized = True  # no model can be had; that is said once
            self._plays_ours(APOLOGY_ITEM_ID, self._persona.apology_audio)
        assert audio
        assert len(audio) % FRAME_BYTES == 0
        assert self._due.startswith(audio), "what goes out is what came in, and nothing else"
        del self._due[: len(audio)]
        self.sent_in_all += len(audio)
        self._since_mark += len(audio)
        assert self._since_mark <= MARK_BYTES
        self._dry_at = max(self._dry_at, now) + len(audio) / BYTES_PER_S
        if self.is_honest:
            # A frame more, when one that was padded had waited for its part to go on.
            assert self._dry_at - now < self._lead_s + 0.021, "what can be held back is not given away"
        stretches = take(self._due_stretches, len(audio))
        for stretch in stretches:
            self._sent += stretch.nbytes
            if stretch.part:
                stretch.part.sent += stretch.nbytes
                stretch.part.end = self._sent
        return stretches

    def _marks(self, name: str) -> None:
        assert name not in self.names, "a mark's name is used once"
        if self._since_mark < MARK_BYTES:
            part = self._next_end()
            assert part is not None, "a mark costs both peers a message"
            part.is_open = False
        self.names.append(name)
        self.pending.append((name, self._sent))
        self._since_mark = 0

    def _next_end(self) -> Part | None:
        """The next part whose end is reached, and not announced yet."""
        while self._ends and self._sent >= self._ends[0][0] // FRAME_BYTES * FRAME_BYTES:
            _, part = self._ends.popleft()
            if part.is_open:
                return part
        return None

    def _all_is_out(self) -> None:
        """What is not paced goes out at once."""
        assert len(self._due) < FRAME_BYTES, "whole frames do not wait"
        assert self._next_end() is None, "the end of a part is marked"

    # What was heard of it.

    def _is_given_up(self, now: float) -> None:
        """No echo of what was sent last will come: it counts as played, but not before it must have been for long."""
        assert now >= self._dry_at + MARK_LOST_AFTER_S - 0.001
        self._confirmed = self._sent
        self._are_confirmed()
        self.pending.clear()

    def _is_echoed(self, name: str, *, is_news: bool) -> None:
        """Each echo counts once, unless it was cleared; or confirms nothing, after an interruption of silence."""
        is_pending = name in dict(self.pending)
        if is_news or not is_pending:
            assert is_news == is_pending
            return
        assert dict(self.pending)[name] == self._confirmed, "each echo counts once"
        assert not self.parts
        self.pending = [(other, at) for other, at in self.pending if other != name]

    def _mark_echoed(self, name: str) -> None:
        """A mark confirms all before it; the parts that are over and confirmed whole are settled."""
        at = [pending for pending, _ in self.pending].index(name)
        self._confirmed = self.pending[at][1]
        del self.pending[: at + 1]
        self._are_confirmed()

    def _are_confirmed(self) -> None:
        """The parts that are over, and played, are settled."""
        self._confirmed_then, self._truths = self._confirmed, {}
        self._expected = [part for part in self.parts.values() if not part.is_open and part.end <= self._confirmed]
        for part in self._expected:
            del self.parts[part.key]

    def _stops(self, now: float) -> None:
        """All that sounds is settled, and nothing of it comes after."""
        assert not self._expected
        self._expected, self._truths = list(self.parts.values()), self._far.heard_by_a_clear(now)
        self._was_honest, self._confirmed_then = self.is_honest, self._confirmed
        self.interrupted.update(self.active, (part.key.response_id for part in self._expected))
        self.is_honest |= self.is_sounding
        self._begin_stream()

    def _tells_what_was_heard(self, heard: log.AgentHeard, now: float) -> None:
        """These parts are settled now, in the order they began, near the truth; and each of them once."""
        if not self._expected:
            assert self._is_ending or not self.is_sounding, "whoever is stopped is stopped by a clear"
            self._stops(now)
        part = self._expected.pop(0)
        assert heard.item_id == part.key.item_id
        assert part.key not in self._settled, "a part is settled once"
        self._settled.add(part.key)
        self._told.append((part, heard))
        self._generated_is_true(part, heard.generated_ms)
        self._is_near_the_truth(part, heard.heard_ms, self._truths.get(part.key, part.heard))

    def _generated_is_true(self, part: Part, generated_ms: int) -> None:
        """All that came of it, but for less than a frame that waited for more."""
        assert part.sent // 8 <= generated_ms <= part.received // 8
        assert self._lead_s < inf or generated_ms == part.sent // 8

    def _is_near_the_truth(self, part: Part, heard_ms: int, truth: int) -> None:
        assert type(heard_ms) is int
        assert 0 <= heard_ms <= part.sent // 8
        if part.end <= self._confirmed_then:
            assert heard_ms == part.sent // 8, "what is confirmed is heard"
        elif self._was_honest:
            assert heard_ms * 8 <= truth + OFF_BY_BYTES, "no more is taken for heard than sounded"
            assert truth < heard_ms * 8 + 8 + self._bound_bytes, "and not less than was said to be possible"

    def _truncates(self, given: list[Command], known: set[str]) -> None:
        """What of this session was cut is truncated where it was cut, in the order of the stream, and once."""
        truncates = [command for command in given if isinstance(command, realtime.TruncateItem)]
        is_barge_in = any(isinstance(command, log.BargedIn) for command in given)
        expected = []
        for part, heard in self._told:
            if heard.was_cut:
                assert part.is_open or heard.heard_ms * 8 < part.received, "what was heard whole is left alone"
            else:
                assert not part.is_open
                assert heard.heard_ms == part.received // 8
            if heard.was_cut and is_barge_in and part.key.response_id in known:
                expected.append((part.key.item_id, part.key.content_index, heard.heard_ms))
        assert [(cut.item_id, cut.content_index, cut.audio_end_ms) for cut in truncates] == expected
        places = {(cut.item_id, cut.content_index) for cut in truncates}
        assert not self._truncated & places, "an item is truncated once"
        self._truncated |= places

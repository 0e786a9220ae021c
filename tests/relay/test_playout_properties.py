"""What the caller has heard: the laws that hold in any conversation, and on any line that keeps within a frame."""

from math import inf
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from benchmarks.truncation_stage import Conditions, FarEnd
from proto import twilio
from relay.playout import Heard, Key, MarkName, Outgoing, Playout
from relay.playout_clock import MIN_JITTER_S
from tests.relay.playouts import FRAME_BYTES, MARK_BYTES, if_stopped, silence_of


class AnyConversation(RuleBasedStateMachine):
    """Parts that come and go, echoes in order, pauses and interruptions, as they may happen on any call."""

    def __init__(self) -> None:
        super().__init__()
        self.playout = Playout()
        self.now = 1000.0
        self.names: set[str] = set()  # of all marks ever
        self.parts_begun = 0
        self.settled: list[Key] = []
        self.has_measured = False
        self.begin_stream()

    def begin_stream(self) -> None:
        self.part: Key | None = None  # the last one, while it is open
        self.came_in = b""  # what the stream should be, padding at the end of each part included
        self.went_out = b""
        self.since_mark_bytes = 0
        self.pending: list[tuple[str, int]] = []  # marks not echoed, and where in the stream they stand
        self.unsettled: set[Key] = set()
        self.finished: dict[Key, int] = {}  # the parts that are complete, and their bytes of audio
        self.heard: dict[Key, int] = {}  # ms, when last looked

    def take(self, outgoing: list[Outgoing]) -> None:
        for piece in outgoing:
            if isinstance(piece, MarkName):
                assert piece.name not in self.names, "a mark's name is used once"
                self.names.add(piece.name)
                self.pending.append((piece.name, len(self.went_out)))
                self.since_mark_bytes = 0
            else:
                assert piece
                assert len(piece) % FRAME_BYTES == 0
                self.went_out += piece
                self.since_mark_bytes += len(piece)
                assert self.since_mark_bytes <= MARK_BYTES

    def pad(self) -> None:
        self.came_in += silence_of(-len(self.came_in) % FRAME_BYTES)

    @rule(audio=st.binary(min_size=1, max_size=50).map(lambda sample: sample * 97))
    def a_part_begins(self, audio: bytes) -> None:
        self.pad()
        self.parts_begun += 1
        self.part = Key(f"resp_{self.parts_begun // 3}", f"item_{self.parts_begun}", self.parts_begun % 2)
        self.part_begins_at = len(self.came_in)
        self.unsettled.add(self.part)
        self.came_in += audio
        self.take(self.playout.push(self.part, audio, self.now))

    @precondition(lambda self: self.part)
    @rule(audio=st.binary(min_size=1, max_size=400))
    def the_part_goes_on(self, audio: bytes) -> None:
        assert self.part
        self.came_in += audio
        self.take(self.playout.push(self.part, audio, self.now))

    @precondition(lambda self: self.part)
    @rule()
    def the_part_ends(self) -> None:
        assert self.part
        self.finished[self.part] = len(self.came_in) - self.part_begins_at
        self.pad()
        self.take(self.playout.finish(self.part, self.now))
        assert self.went_out == self.came_in
        assert self.since_mark_bytes == 0, "the end of a part is marked"
        self.part = None

    @precondition(lambda self: self.pending)
    @rule(skipped=st.integers(0, 3))
    def a_mark_comes_back(self, skipped: int) -> None:
        at = min(skipped, len(self.pending) - 1)
        name, _ = self.pending[at]
        del self.pending[: at + 1]
        settled = self.playout.echo(name, self.now)
        self.has_measured = True
        assert settled is not None
        assert all(part.is_whole and part.sent_ms == self.finished[part.key] // 8 for part in settled)
        self.settle(settled)

    @rule(spent_s=st.floats(0.001, 3.0))
    def time_passes(self, spent_s: float) -> None:
        self.now += spent_s

    @rule()
    def the_caller_interrupts(self) -> None:
        foreseen = if_stopped(self.playout, self.now)
        assert self.playout.interrupt(self.now) == foreseen
        self.settle(foreseen)
        assert not self.unsettled, "an interrupt settles every part"
        assert self.playout.interrupt(self.now) == []
        assert not self.playout.is_sounding
        self.begin_stream()

    def settle(self, parts: list[Heard]) -> None:
        for part in parts:
            assert part.key not in self.settled, "a part is settled once"
            self.settled.append(part.key)
            self.unsettled.remove(part.key)

    @invariant()
    def what_came_in_goes_out_unchanged(self) -> None:
        assert self.came_in.startswith(self.went_out)
        assert len(self.came_in) - len(self.went_out) < FRAME_BYTES

    @invariant()
    def no_more_is_heard_than_can_be(self) -> None:
        parts = if_stopped(self.playout, self.now)
        assert all(0 <= part.heard_ms <= part.sent_ms for part in parts)
        confirmed_at_most = self.pending[0][1] if self.pending else len(self.went_out)
        if not self.has_measured:
            assert sum(part.heard_ms for part in parts) <= confirmed_at_most // 8, "the position waits at the next mark"

    @invariant()
    def what_was_heard_stays_heard(self) -> None:
        heard = {part.key: part.heard_ms for part in if_stopped(self.playout, self.now)}
        assert all(heard[key] >= before for key, before in self.heard.items() if key in heard)
        self.heard = heard


TestAnyConversation = AnyConversation.TestCase
TestAnyConversation.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


deltas = st.tuples(st.integers(0, 2), st.integers(1, 3200), st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.3, 1.0]))
late_echoes_s = st.sampled_from([(0.0, 0.0), (0.0, 0.0), (0.02, 0.2), (0.0, 1.0)])
PARTS = [Key("resp_1", f"item_{number}", 0) for number in range(3)]


class Listener:
    """A playout and the far end that it speaks to; each part's audio is a byte of its own."""

    def __init__(self, conditions: Conditions, seed: int) -> None:
        self.playout, self.far = Playout(), FarEnd(conditions, Random(seed))
        self.now = 100.0
        self.highest_ms = 0  # heard of the whole stream, when last looked

    def pushes(self, part: int, nbytes: int) -> None:
        for piece in self.playout.push(PARTS[part], bytes([part + 1]) * nbytes, self.now):
            if isinstance(piece, MarkName):
                self.far.send(twilio.SendMark("MZ1", twilio.MarkBody(piece.name)), self.now)
            else:
                self.far.send(twilio.Play("MZ1", twilio.PlayBody(piece)), self.now)

    def waits(self, seconds: float) -> None:
        until = self.now + seconds
        while self.far.next_at <= until:
            self.steps()
        self.now = until
        self.looks()

    def steps(self) -> None:
        self.now = self.far.next_at
        assert self.now < inf, "nothing more will happen"
        self.looks()
        for name in self.far.step(self.now):
            self.playout.echo(name, self.now)
            self.looks()

    def looks(self) -> None:
        stopped = [(part.heard_ms, part.sent_ms) for part in if_stopped(self.playout, self.now)]
        assert all(0 <= heard <= sent for heard, sent in stopped)
        assert sum(heard for heard, _ in stopped) >= self.highest_ms - len(stopped), "but for rounding"
        self.highest_ms = sum(heard for heard, _ in stopped)

    def clears(self) -> tuple[list[Heard], bytes]:
        """What is said to be heard, and what was."""
        said = self.playout.interrupt(self.now)
        self.highest_ms = 0
        self.far.send(twilio.Clear("MZ1"), self.now)
        while (truth := self.far.heard_when_cleared) is None:
            self.steps()
        return said, truth


@given(
    spoken=st.lists(deltas, min_size=1, max_size=25),
    one_way_s=st.sampled_from([0.0, 0.04, 0.3]) | st.floats(0.0, 0.2),
    jitter_s=st.floats(0.0, MIN_JITTER_S),
    mark_late_s=late_echoes_s,
    mark_loss=st.sampled_from([0.0, 0.0, 0.5, 1.0]),
    seed=st.integers(0, 1000),
    cut_after_s=st.floats(0.0, 3.0),
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_line_does_to_marks_the_truth_is_within_the_bound(
    spoken: list[tuple[int, int, float]],
    one_way_s: float,
    jitter_s: float,
    mark_late_s: tuple[float, float],
    mark_loss: float,
    seed: int,
    cut_after_s: float,
) -> None:
    """As long as no message's way varies by more than a frame; echoes may be late and lost at will."""
    conditions = Conditions(one_way_s=one_way_s, jitter_s=jitter_s, mark_late_s=mark_late_s, mark_loss=mark_loss)
    listener = Listener(conditions, seed)
    for part, nbytes, pause_s in spoken:
        listener.pushes(part, nbytes)
        listener.waits(pause_s)
    listener.waits(cut_after_s)
    said, truth = listener.clears()
    for each in said:
        really_ms = truth.count(PARTS.index(each.key) + 1) // 8
        assert abs(each.heard_ms - really_ms) <= each.error_bound_ms


@given(seed=st.integers(0, 1000), cut_after_s=st.floats(0.4, 3.0), jitter_s=st.floats(0.0, MIN_JITTER_S))
@settings(max_examples=50, deadline=None)
def test_what_is_reconciled_is_off_only_by_the_jitter_of_echoes(seed: int, cut_after_s: float, jitter_s: float) -> None:
    listener = Listener(Conditions(jitter_s=jitter_s), seed)
    listener.pushes(0, 4 * 8000)
    listener.waits(cut_after_s)
    [said], truth = listener.clears()
    while listener.playout.reconciled_ms is None:
        listener.steps()
    really_off_ms = truth.count(1) / 8 - said.heard_ms
    assert abs(listener.playout.reconciled_ms - really_off_ms) <= jitter_s * 1000 + 2

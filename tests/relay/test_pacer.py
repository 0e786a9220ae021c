"""The agent's voice, sent just before it sounds: single moments first, then the laws that hold in any conversation."""

from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.pacer import MAX_ENTRIES, MAX_QUEUED_MS, Chunk, Pacer, PacerOverflowError, PartEnd, Piece, ResponseEnd
from relay.playout import Key

A, B = Key("resp_1", "item_a", 0), Key("resp_2", "item_b", 0)
STEP_BYTES, LEAD_BYTES = 320, 1600  # 40 ms, 200 ms


def audio_of(pieces: list[Piece]) -> bytes:
    return b"".join(piece.audio for piece in pieces if isinstance(piece, Chunk))


def sizes_ms(pieces: list[Piece]) -> list[float]:
    return [len(piece.audio) / 8 for piece in pieces if isinstance(piece, Chunk)]


def speaking(ms: int, now: float = 0.0) -> Pacer:
    """A pacer that was given so much audio, and whose lead went out."""
    pacer = Pacer(lead_ms=200)
    pacer.put(A, bytes(ms * 8))
    pacer.due(now)
    return pacer


# The lead, and then steps


def test_the_first_audio_goes_out_at_once_up_to_the_lead() -> None:
    pacer = Pacer(lead_ms=200)
    pacer.put(A, bytes(8000))
    assert pacer.due(5.0) == [Chunk(A, bytes(LEAD_BYTES))]
    assert pacer.queued_ms == 800


def test_the_rest_follows_in_steps_as_the_voice_sounds() -> None:
    pacer = speaking(1000, now=5.0)
    sent = []
    while pacer.deadline < inf:
        at = pacer.deadline
        sent += [(round((at - 5.0) * 1000), size_ms) for size_ms in sizes_ms(pacer.due(at))]
    assert sent == [(40 * step, 40) for step in range(1, 21)]
    assert pacer.is_empty


def test_asked_before_its_time_it_has_nothing() -> None:
    pacer = speaking(1000)
    assert pacer.due(0.039) == []
    assert sizes_ms(pacer.due(0.040)) == [40]


def test_a_late_call_catches_up_and_the_deadlines_do_not_move() -> None:
    pacer = speaking(1000)
    assert sizes_ms(pacer.due(0.040 + 0.055)) == [80]  # 95 ms have sounded: four frames are due, 15 ms are not
    assert pacer.deadline == pytest.approx(0.120)
    assert sizes_ms(pacer.due(0.120)) == [40]


def test_ten_minutes_of_late_calls_do_not_drift() -> None:
    pacer = speaking(600_000)
    late_s = 0.0
    while pacer.queued_ms > 40:
        late_s = (late_s + 0.0037) % 0.03  # never twice the same
        pacer.due(pacer.deadline + late_s)
    assert pacer.deadline == pytest.approx(600.0 - 0.200, abs=1e-6)  # the last 40 ms begin to sound at 599.960 s


def test_after_silence_the_next_answer_has_its_whole_lead_again() -> None:
    pacer = speaking(100)
    pacer.put(B, bytes(8000))
    assert pacer.deadline <= 7.0
    assert sizes_ms(pacer.due(7.0)) == [200]


# Parts and their ends


def test_pieces_keep_the_order_in_which_they_came() -> None:
    pacer = Pacer(lead_ms=200)
    pacer.put(A, b"a" * 200)
    pacer.finish(A)
    pacer.finish_response("resp_1")
    pacer.put(B, b"b" * 160)
    assert pacer.due(0.0) == [Chunk(A, b"a" * 200), PartEnd(A), ResponseEnd("resp_1"), Chunk(B, b"b" * 160)]


def test_less_than_a_frame_waits_for_the_rest_of_its_part() -> None:
    pacer = Pacer(lead_ms=200)
    pacer.put(A, b"\x01" * 250)
    assert audio_of(pacer.due(0.0)) == b"\x01" * 160
    assert pacer.deadline == inf
    pacer.put(A, b"\x02" * 70)
    assert audio_of(pacer.due(0.0)) == b"\x01" * 90 + b"\x02" * 70


def test_an_end_lets_the_last_bytes_go() -> None:
    pacer = Pacer(lead_ms=200)
    pacer.put(A, bytes(170))
    pacer.due(0.0)
    pacer.finish(A)
    assert pacer.deadline <= 0.0
    assert pacer.due(0.0) == [Chunk(A, bytes(10)), PartEnd(A)]


def test_an_end_waits_for_the_audio_before_it() -> None:
    pacer = speaking(300)
    pacer.finish(A)
    assert [type(piece) for piece in pacer.due(0.04) + pacer.due(0.08)] == [Chunk, Chunk]
    assert [type(piece) for piece in pacer.due(0.12)] == [Chunk, PartEnd]


def test_an_end_after_all_audio_was_sent_goes_at_once() -> None:
    pacer = speaking(100)
    pacer.finish(A)
    assert pacer.deadline <= 0.0
    assert pacer.due(0.0) == [PartEnd(A)]


# Holding and clearing


def test_held_it_gives_nothing_and_asks_for_nothing() -> None:
    pacer = speaking(1000)
    pacer.hold()
    assert (pacer.due(3.0), pacer.deadline, pacer.queued_ms) == ([], inf, 800)


def test_a_short_hold_is_made_up_for_before_the_voice_runs_dry() -> None:
    pacer = speaking(1000)
    pacer.hold()
    pacer.resume()
    assert sizes_ms(pacer.due(0.150)) == [140]
    assert pacer.deadline == pytest.approx(0.180)  # the voice never stopped, and the grid stands


def test_after_a_long_hold_the_voice_goes_on_where_it_was() -> None:
    pacer = Pacer(lead_ms=200)
    voice = bytes(range(250)) * 32  # one second, no two neighbouring frames alike
    pacer.put(A, voice)
    heard = audio_of(pacer.due(0.0))
    pacer.hold()
    pacer.put(B, b"b" * 160)
    pacer.resume()
    while pacer.deadline < inf:
        heard += audio_of(pacer.due(max(0.6, pacer.deadline)))
    assert heard == voice + b"b" * 160


def test_clearing_says_what_was_never_sent_and_ends_the_hold() -> None:
    pacer = speaking(1000)
    pacer.put(B, bytes(80))
    pacer.finish(B)
    pacer.hold()
    assert pacer.clear() == {A: 6400, B: 80}
    assert (pacer.is_empty, pacer.is_held, pacer.queued_ms, pacer.due(0.1)) == (True, False, 0, [])


def test_after_a_clear_the_next_answer_starts_at_once() -> None:
    pacer = speaking(1000)
    pacer.clear()
    pacer.put(B, bytes(8000))
    assert sizes_ms(pacer.due(0.01)) == [200]


# Bounds


def test_more_than_ten_minutes_are_refused_and_nothing_is_lost() -> None:
    pacer = Pacer(lead_ms=200)
    pacer.put(A, bytes(MAX_QUEUED_MS * 8))
    with pytest.raises(PacerOverflowError) as overflow:
        pacer.put(A, bytes(8))
    assert overflow.value.queued_ms == pacer.queued_ms == MAX_QUEUED_MS


def test_ends_without_end_are_refused() -> None:
    pacer = Pacer(lead_ms=200)
    for _ in range(MAX_ENTRIES):
        pacer.finish(A)
    with pytest.raises(PacerOverflowError):
        pacer.finish_response("resp_1")


def test_a_lead_that_could_not_be_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="20 ms"):
        Pacer(lead_ms=20)


class AnyPlayout(RuleBasedStateMachine):
    """Whatever comes and whenever it is asked for: once, in order, and never further ahead than the lead."""

    def __init__(self) -> None:
        super().__init__()
        self.pacer = Pacer(lead_ms=200)
        self.now = 100.0
        self.expected: list[tuple[Key, int] | PartEnd | ResponseEnd] = []  # each byte has its number
        self.number = 0
        self.sounds_until = 0.0  # at the far end, which plays what it has, padded frames included

    def take(self) -> None:
        was_due = self.pacer.deadline <= self.now + 1e-9
        pieces = self.pacer.due(self.now)
        assert bool(pieces) == was_due
        for piece in pieces:
            if isinstance(piece, Chunk):
                expected = [self.expected.pop(0) for _ in piece.audio]
                assert expected == [(piece.key, byte) for byte in piece.audio]
                frames = -(-len(piece.audio) // 160)
                self.sounds_until = max(self.sounds_until, self.now) + frames * 0.02
            else:
                assert self.expected.pop(0) == piece
        assert self.sounds_until - self.now <= 0.2 + 1e-6
        assert self.pacer.deadline > self.now

    @rule(key=st.sampled_from([A, B]), size=st.integers(0, 4000))
    def the_model_speaks(self, key: Key, size: int) -> None:
        audio = bytes((self.number + each) % 251 for each in range(size))
        self.number += size
        self.pacer.put(key, audio)
        self.expected += [(key, byte) for byte in audio]
        self.take()

    @rule(key=st.sampled_from([A, B]))
    def a_part_ends(self, key: Key) -> None:
        self.pacer.finish(key)
        self.expected.append(PartEnd(key))
        self.take()

    @rule()
    def a_response_ends(self) -> None:
        self.pacer.finish_response("resp_1")
        self.expected.append(ResponseEnd("resp_1"))
        self.take()

    @rule(ms=st.integers(0, 400))
    def time_passes_and_each_deadline_is_met(self, ms: int) -> None:
        until = self.now + ms / 1000
        while self.pacer.deadline <= until:
            was_speaking = self.sounds_until > self.now
            self.now = max(self.now, self.pacer.deadline)
            if was_speaking:
                assert self.sounds_until > self.now + 0.1  # fed long before the voice runs dry
            self.take()
        self.now = until

    @precondition(lambda self: not self.pacer.is_held)
    @rule(ms=st.integers(0, 400))
    def the_loop_stalls(self, ms: int) -> None:
        self.now += ms / 1000
        self.take()

    @rule()
    def it_is_held(self) -> None:
        self.pacer.hold()

    @rule()
    def it_goes_on(self) -> None:
        self.pacer.resume()
        self.take()

    @rule()
    def it_is_cleared(self) -> None:
        waiting = [entry for entry in self.expected if isinstance(entry, tuple)]
        assert self.pacer.clear() == {
            key: len([entry for entry in waiting if entry[0] == key]) for key in dict(waiting)
        }
        self.expected.clear()
        self.sounds_until = self.now
        assert self.pacer.is_empty

    @invariant()
    def the_rest_is_still_there(self) -> None:
        assert self.pacer.queued_ms == len([entry for entry in self.expected if isinstance(entry, tuple)]) // 8
        assert self.pacer.is_empty == (not self.expected)


TestAnyPlayout = AnyPlayout.TestCase
TestAnyPlayout.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

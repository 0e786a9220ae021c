"""What waits to be written: bounded, in order, and dropped only where that is allowed."""

import re

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.outbox import MAX_WRITE_BYTES, Outbox, OutboxFull

LIMIT_BYTES = 1000


def emptied(outbox: Outbox) -> bytes:
    """All that is still to be written."""
    written = b""
    while data := outbox.next_write():
        written += data
        outbox.written(len(data))
    return written


def test_an_empty_outbox_has_nothing_to_write() -> None:
    assert Outbox(LIMIT_BYTES, sheds_audio=True).next_write() == b""


def test_frames_of_one_batch_leave_in_one_write() -> None:
    outbox = Outbox(LIMIT_BYTES, sheds_audio=True)
    for frame in (b"one", b"two", b"three"):
        outbox.put(frame)
    assert outbox.next_write() == b"onetwothree"


def test_what_the_kernel_did_not_take_is_offered_again() -> None:
    outbox = Outbox(LIMIT_BYTES, sheds_audio=True)
    outbox.put(b"one")
    outbox.put(b"two")
    outbox.next_write()
    outbox.written(4)
    outbox.put(b"three")
    assert outbox.next_write() == b"wo"
    assert (outbox.size_bytes, outbox.bytes_written) == (7, 4)


def test_a_write_is_bounded() -> None:
    outbox = Outbox(1 << 20, sheds_audio=True)
    for _ in range(200):
        outbox.put(bytes(1000))
    assert len(outbox.next_write()) < MAX_WRITE_BYTES + 1000
    assert len(emptied(outbox)) == 200_000


def test_a_full_outbox_drops_the_oldest_audio() -> None:
    outbox = Outbox(10, sheds_audio=True)
    for frame in (b"aaaa", b"bbbb", b"cccc"):
        outbox.put(frame, is_audio=True)
    assert emptied(outbox) == b"bbbbcccc"
    assert outbox.dropped_audio_frames == 1


def test_control_pushes_audio_out_but_never_the_reverse() -> None:
    outbox = Outbox(10, sheds_audio=True)
    outbox.put(b"control", is_audio=False)
    outbox.put(b"aaa", is_audio=True)
    outbox.put(b"ctl", is_audio=False)
    with pytest.raises(OutboxFull):
        outbox.put(b"bbb", is_audio=True)
    assert emptied(outbox) == b"controlctl"


def test_an_outbox_that_may_drop_nothing_says_so() -> None:
    outbox = Outbox(10, sheds_audio=False)
    outbox.put(b"aaaaaaaa", is_audio=True)
    with pytest.raises(OutboxFull):
        outbox.put(b"bbbb", is_audio=True)
    assert emptied(outbox) == b"aaaaaaaa"


def test_a_clear_overtakes_the_audio_that_waits() -> None:
    outbox = Outbox(LIMIT_BYTES, sheds_audio=False)
    outbox.put(b"old audio", is_audio=True)
    outbox.put(b"control")
    outbox.put(b"old audio", is_audio=True)
    outbox.discard_audio()
    outbox.put(b"clear")
    assert emptied(outbox) == b"controlclear"
    assert outbox.size_bytes == 0


def test_a_frame_that_has_been_written_in_part_is_written_to_its_end() -> None:
    outbox = Outbox(10, sheds_audio=True)
    outbox.put(b"audio", is_audio=True)
    outbox.next_write()
    outbox.written(2)
    outbox.discard_audio()
    outbox.put(b"ccccccc")
    with pytest.raises(OutboxFull):
        outbox.put(b"d")
    assert emptied(outbox) == b"dioccccccc"


class AnyTraffic(RuleBasedStateMachine):
    """Frames of any size, audio or not, a kernel that takes what it likes, and clears in between."""

    sheds_audio = True

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(LIMIT_BYTES, sheds_audio=self.sheds_audio)
        self.accepted: list[tuple[int, bool]] = []  # number and whether it is audio, of each frame that was taken
        self.discarded: set[int] = set()  # frames that a clear may have dropped
        self.stream = b""
        self.frames_made = 0

    @rule(padding_bytes=st.integers(0, 300), is_audio=st.booleans())
    def a_frame_comes(self, padding_bytes: int, is_audio: bool) -> None:
        self.frames_made += 1
        frame = b"<%05d%s>" % (self.frames_made, b"." * padding_bytes)
        try:
            self.outbox.put(frame, is_audio=is_audio)
        except OutboxFull:
            return
        self.accepted.append((self.frames_made, is_audio))

    @precondition(lambda self: self.outbox.next_write())
    @rule(share=st.floats(0, 1))
    def the_kernel_takes_some(self, share: float) -> None:
        data = self.outbox.next_write()
        taken = int(len(data) * share)
        self.stream += data[:taken]
        self.outbox.written(taken)

    @rule()
    def a_clear_overtakes_all(self) -> None:
        self.outbox.discard_audio()
        self.discarded |= {number for number, is_audio in self.accepted if is_audio}

    @invariant()
    def it_never_exceeds_its_bound(self) -> None:
        assert 0 <= self.outbox.size_bytes <= LIMIT_BYTES

    def teardown(self) -> None:
        waiting = self.outbox.size_bytes
        rest = emptied(self.outbox)
        assert len(rest) == waiting, "the size is what is really there"
        self.stream += rest
        assert re.fullmatch(rb"(<\d{5}\.*>)*", self.stream), "every frame is whole"
        written = [int(number) for number in re.findall(rb"\d{5}", self.stream)]
        assert written == sorted(set(written)), "in order, once"
        missing = {number for number, _ in self.accepted} - set(written)
        assert missing <= {number for number, is_audio in self.accepted if is_audio}, "control is never dropped"
        assert len(missing - self.discarded) <= self.outbox.dropped_audio_frames <= len(missing)
        assert self.outbox.bytes_written == len(self.stream)


class AnyTrafficThatMayNotBeDropped(AnyTraffic):
    """Towards Twilio: full means full."""

    sheds_audio = False


TestAnyTraffic = AnyTraffic.TestCase
TestAnyTrafficThatMayNotBeDropped = AnyTrafficThatMayNotBeDropped.TestCase
TestAnyTraffic.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
TestAnyTrafficThatMayNotBeDropped.settings = TestAnyTraffic.settings

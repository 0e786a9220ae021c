"""The caller's voice: held while OpenAI connects, unchanged, and with its silences put back."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import mulaw
from proto.twilio import MediaBody
from relay.caller_audio import (
    MAX_GAP_MS,
    MAX_HELD_BYTES,
    MAX_UNCONFIRMED_BYTES,
    STALL_SILENCE_MS,
    STALLED_AFTER_S,
    CallerAudio,
)

FRAME = b"\x55" * 160


def frame_at(timestamp: int | None, audio: bytes = FRAME) -> MediaBody:
    return MediaBody(audio, timestamp=timestamp)


def listening() -> CallerAudio:
    """OpenAI listens, nothing was held."""
    caller = CallerAudio()
    assert caller.release() == b""
    return caller


def heard(caller: CallerAudio, *timestamps: int | None) -> list[bytes]:
    """What is appended for frames with these timestamps."""
    return [caller.frame(frame_at(timestamp), 0.0) for timestamp in timestamps]


# Holding


def test_nothing_is_appended_until_openai_listens_and_then_all_of_it_in_order() -> None:
    caller = CallerAudio()
    assert [caller.frame(frame_at(None, bytes([n])), 0.0) for n in (1, 2, 3)] == [b"", b"", b""]
    assert caller.release() == b"\x01\x02\x03"
    assert caller.frame(frame_at(None, b"\x04"), 0.0) == b"\x04"


def test_of_a_long_wait_the_last_ten_seconds_are_kept() -> None:
    caller = CallerAudio()
    frames = [bytes([n % 251]) * 160 for n in range(700)]  # 14 s
    for audio in frames:
        caller.frame(frame_at(None, audio), 0.0)
    assert caller.release() == b"".join(frames[-500:])
    assert caller.dropped_bytes == 200 * 160


@given(st.lists(st.binary(min_size=1, max_size=60).map(lambda sample: sample * 200), max_size=40))
@settings(deadline=None)
def test_what_is_held_is_the_end_of_what_was_said_and_never_more_than_ten_seconds(said: list[bytes]) -> None:
    caller = CallerAudio()
    for audio in said:
        caller.frame(frame_at(None, audio), 0.0)
    held = caller.release()
    assert len(held) <= MAX_HELD_BYTES
    assert b"".join(said).endswith(held)
    assert len(held) + caller.dropped_bytes == sum(map(len, said))


def test_a_gap_while_openai_connects_is_filled_too() -> None:
    caller = CallerAudio()
    heard(caller, 100, 140)
    assert caller.release() == FRAME + mulaw.silence(20) + FRAME


def test_the_newest_frame_survives_a_gap_of_ten_seconds_before_it() -> None:
    caller = CallerAudio()
    heard(caller, 100, 20_000)
    assert caller.release().endswith(FRAME)


# A session that takes over


def numbered(count: int) -> list[bytes]:
    return [bytes([n % 251]) * 160 for n in range(count)]


def test_a_session_that_takes_over_hears_the_last_half_second_before_the_last_sign_of_life_again() -> None:
    caller, frames = listening(), numbered(100)
    for number, audio in enumerate(frames):
        if number == 60:
            caller.session_lives()
        caller.frame(frame_at(None, audio), 0.0)
    assert caller.release() == b"".join(frames[35:])


def test_without_a_sign_of_life_no_more_is_heard_again_than_a_dead_session_can_have_missed() -> None:
    caller, frames = listening(), numbered(500)
    for audio in frames:
        caller.frame(frame_at(None, audio), 0.0)
    assert caller.release() == b"".join(frames[-MAX_UNCONFIRMED_BYTES // mulaw.FRAME_BYTES :])
    assert caller.dropped_bytes == 0


def test_a_turn_that_was_not_answered_is_heard_again_whole() -> None:
    caller, frames = listening(), numbered(200)
    for number, audio in enumerate(frames):
        if number == 50:
            caller.session_lives()
            caller.speech_started()
        if number == 150:
            caller.speech_stopped()
        if number == 160:
            caller.session_lives()  # but has not answered
        caller.frame(frame_at(None, audio), 0.0)
    caller.hold()
    caller.frame(frame_at(None, FRAME), 0.0)
    assert caller.release() == b"".join(frames[25:]) + FRAME


def test_what_was_answered_is_not_said_again() -> None:
    caller, frames = listening(), numbered(200)
    caller.speech_started()
    for number, audio in enumerate(frames):
        if number == 100:
            caller.speech_stopped()
            caller.answered()
        caller.frame(frame_at(None, audio), 0.0)
    assert caller.release() == b"".join(frames[75:])


def test_an_answer_to_an_earlier_turn_does_not_answer_the_one_being_spoken() -> None:
    caller = listening()
    caller.speech_started()
    caller.answered()
    assert not caller.is_answered


# Gaps in the line


def test_the_first_frame_is_not_preceded_by_silence_whatever_its_timestamp() -> None:
    assert heard(listening(), 155) == [FRAME]


def test_frames_that_follow_each_other_are_appended_as_they_are() -> None:
    assert heard(listening(), 100, 120, 140, 160) == [FRAME] * 4


@pytest.mark.parametrize("timestamp", [117, 119, 121, 139])
def test_timestamps_that_wander_by_a_few_ms_are_no_gap(timestamp: int) -> None:
    assert heard(listening(), 100, timestamp) == [FRAME, FRAME]


def test_missing_frames_become_as_much_silence() -> None:
    assert heard(listening(), 100, 320) == [FRAME, mulaw.silence(200) + FRAME]


def test_a_gap_is_filled_with_ten_seconds_at_most() -> None:
    assert heard(listening(), 100, 60_120) == [FRAME, mulaw.silence(MAX_GAP_MS) + FRAME]


def test_a_timestamp_that_goes_backwards_adds_nothing() -> None:
    assert heard(listening(), 100, 40) == [FRAME, FRAME]


def test_one_frame_out_of_order_makes_no_gap_after_it() -> None:
    assert heard(listening(), 100, 60, 120) == [FRAME, FRAME, FRAME]


def test_a_frame_without_timestamp_adds_nothing() -> None:
    assert heard(listening(), 100, None, 900, 920) == [FRAME] * 4


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=20, unique=True), st.integers(0, 500))
@settings(deadline=None)
def test_openai_hears_as_much_time_as_passed_on_the_line(sent_frames: list[int], first_ms: int) -> None:
    """Whichever frames the carrier leaves out, unless it leaves out ten seconds at once."""
    numbers = sorted(number % 450 for number in sent_frames)
    numbers = sorted(set(numbers))
    audio = b"".join(heard(listening(), *(first_ms + 20 * number for number in numbers)))
    assert mulaw.duration_ms(len(audio)) == 20 * (numbers[-1] - numbers[0] + 1)
    assert audio.count(FRAME) == len(numbers)


@given(st.lists(st.tuples(st.integers(-100, 10**12) | st.none(), st.binary(min_size=1, max_size=400)), max_size=10))
@settings(deadline=None)
def test_each_frame_is_appended_unchanged_after_silence_alone(frames: list[tuple[int | None, bytes]]) -> None:
    caller = listening()
    for timestamp, audio in frames:
        appended = caller.frame(frame_at(timestamp, audio), 0.0)
        assert appended.endswith(audio)
        gap = appended[: len(appended) - len(audio)]
        assert gap == mulaw.silence(len(gap) // 8)
        assert len(gap) <= MAX_GAP_MS * 8


# Frames that stop while the caller speaks


def test_frames_that_stop_while_the_caller_speaks_are_missed_after_a_while() -> None:
    caller = listening()
    caller.frame(frame_at(100), 5.0)
    assert caller.deadline == inf
    caller.speech_started()
    assert caller.deadline == 5.0 + STALLED_AFTER_S


def test_a_caller_who_does_not_speak_is_not_missed() -> None:
    caller = listening()
    caller.speech_started()
    caller.frame(frame_at(100), 5.0)
    caller.speech_stopped()
    assert caller.deadline == inf


def test_silence_closes_the_turn_once_per_gap() -> None:
    caller = listening()
    caller.speech_started()
    caller.frame(frame_at(100), 5.0)
    assert caller.stalled() == mulaw.silence(STALL_SILENCE_MS)
    assert caller.deadline == inf
    caller.frame(frame_at(3000), 8.0)
    assert caller.deadline == 8.0 + STALLED_AFTER_S


def test_a_turn_that_silence_closed_is_heard_again_with_that_silence() -> None:
    caller = listening()
    caller.speech_started()
    heard(caller, 100, 120)
    closed_by = caller.stalled()
    caller.hold()
    assert caller.release() == FRAME + FRAME + closed_by


def test_what_was_said_long_before_a_pause_of_the_line_is_not_heard_again() -> None:
    caller = listening()
    caller.speech_started()
    heard(caller, 100, 120)
    caller.stalled()
    caller.speech_stopped()
    caller.answered()
    assert FRAME not in caller.release()


def test_a_gap_that_was_closed_by_silence_is_not_filled_again_when_frames_resume() -> None:
    caller = listening()
    caller.speech_started()
    heard(caller, 100)
    caller.stalled()
    assert heard(caller, 3000, 3020, 3240) == [FRAME, FRAME, mulaw.silence(200) + FRAME]


def test_while_openai_connects_nobody_is_missed() -> None:
    caller = CallerAudio()
    caller.speech_started()
    caller.frame(frame_at(100), 5.0)
    assert caller.deadline == inf

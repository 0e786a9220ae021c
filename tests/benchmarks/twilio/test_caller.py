"""A scripted caller says the right thing at the right time."""

from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulators.twilio import (
    AfterHearing,
    AfterSilence,
    At,
    Caller,
    Conversation,
    Digits,
    HangUp,
    Recording,
    Utterance,
)
from proto import mulaw

SILENCE = mulaw.silence(20)
HELLO = b"\x11" * 320  # 40 ms
AGAIN = b"\x22" * 160


def said(caller: Caller, until_ms: int, hears: Callable[[int], bool] = lambda _: False) -> dict[int, bytes]:
    """The frames that are not silent, by time."""
    frames = {}
    for now_ms in range(0, until_ms, 20):
        frame = caller.frame(now_ms, hearing=hears(now_ms), heard_ms=0)
        assert len(frame) == 160
        if frame != SILENCE:
            frames[now_ms] = frame
        if caller.hung_up:
            frames[now_ms] = b"hung up"
            break
    return frames


def test_a_recording_plays_once_and_then_is_silent() -> None:
    caller = Recording(b"\x11" * 200)
    assert said(caller, 100) == {0: b"\x11" * 160, 20: b"\x11" * 40 + b"\xff" * 120}
    assert caller.done


def test_a_repeated_recording_never_ends() -> None:
    caller = Recording(HELLO, repeat=True)
    assert list(said(caller, 200)) == list(range(0, 200, 20))
    assert not caller.done


def test_an_empty_recording_is_a_silent_caller() -> None:
    caller = Recording(b"", repeat=True)
    assert said(caller, 100) == {}
    assert caller.done


def test_keys_are_pressed_one_after_the_other() -> None:
    caller = Recording(b"", actions=[Digits(40, "5#")])
    pressed = {}
    for now_ms in range(0, 300, 20):
        caller.frame(now_ms, hearing=False, heard_ms=0)
        if caller.keys:
            pressed[now_ms] = caller.keys
    assert pressed == {40: "5", 140: "#"}


def test_letters_are_not_keys() -> None:
    with pytest.raises(ValueError, match="not keys"):
        Digits(0, "5x")


def test_the_caller_hangs_up_on_time() -> None:
    assert said(Recording(b"", actions=[HangUp(60)]), 200) == {60: b"hung up"}


def test_the_caller_waits_until_the_agent_has_spoken_and_fallen_silent() -> None:
    caller = Conversation([Utterance(HELLO, AfterSilence(500))])
    assert list(said(caller, 3000, lambda now_ms: 1000 <= now_ms < 1400)) == [1880, 1900]  # last heard at 1380
    assert caller.done


def test_the_caller_does_not_take_its_turn_before_an_answer() -> None:
    caller = Conversation([Utterance(HELLO, At(0)), Utterance(AGAIN, AfterSilence(100))])
    frames = said(caller, 3000, lambda now_ms: now_ms == 20 or 2000 <= now_ms < 2200)
    assert list(frames) == [0, 20, 2280]  # the agent's sound at 20 ms was no answer to words that were not over


def test_the_caller_interrupts_in_the_middle_of_the_agents_speech() -> None:
    caller = Conversation([Utterance(HELLO, AfterHearing(1000))])

    def hears(now_ms: int) -> bool:  # 400 ms of greeting, a second of nothing, a long answer that breathes
        return now_ms < 400 or (now_ms >= 1400 and not 1700 <= now_ms < 1800)

    assert list(said(caller, 4000, hears)) == [2400, 2420]


def test_a_second_interruption_counts_from_the_first_ones_end() -> None:
    caller = Conversation([Utterance(AGAIN, AfterHearing(200)), Utterance(AGAIN, AfterHearing(200))])
    assert list(said(caller, 1000, lambda _: True)) == [200, 420]


def test_the_caller_hangs_up_when_all_is_said_and_answered() -> None:
    caller = Conversation([Utterance(AGAIN, At(0))], hang_up_after_silence_ms=500)
    frames = said(caller, 5000, lambda now_ms: 1000 <= now_ms < 2000)
    assert frames[2480] == b"hung up"  # last heard at 1980


def test_a_caller_without_an_answer_loses_patience() -> None:
    caller = Conversation([Utterance(AGAIN, At(0))], hang_up_after_silence_ms=500)
    assert list(said(caller, 20_000)) == [0, 10_020]


def test_a_waiting_caller_knows_how_long_it_will_wait() -> None:
    caller = Conversation([Utterance(HELLO, AfterSilence(5000))], actions=[Digits(9000, "1")])
    caller.frame(0, hearing=False, heard_ms=0)
    assert caller.silent_until_ms(20) == 9000  # nobody has spoken: only the key is certain
    for now_ms in range(20, 320, 20):
        caller.frame(now_ms, hearing=now_ms == 20, heard_ms=0)
        assert caller.silent_until_ms(now_ms + 20) == now_ms + 20  # the agent may only be taking a breath
    caller.frame(320, hearing=False, heard_ms=0)
    assert caller.silent_until_ms(340) == 5020


def test_a_caller_who_speaks_foresees_nothing() -> None:
    recording = Recording(HELLO, actions=[HangUp(400)])
    assert recording.silent_until_ms(0) == 0
    recording.frame(0, hearing=False, heard_ms=0)
    recording.frame(20, hearing=False, heard_ms=0)
    assert recording.silent_until_ms(40) == 400


conditions = st.one_of(
    *(st.integers(0, 1500).map(kind) for kind in (AfterSilence, AfterHearing, At)),
)
conversations = st.builds(
    lambda said, leaves_ms, acts: lambda: Conversation(said, hang_up_after_silence_ms=leaves_ms, actions=acts),
    st.lists(st.builds(Utterance, st.sampled_from([HELLO, AGAIN, b""]), conditions), max_size=3),
    st.none() | st.integers(0, 1500),
    st.lists(st.integers(0, 5000).map(lambda at_ms: Digits(at_ms, "12")), max_size=1),
)


@settings(deadline=None, max_examples=100)
@given(conversations, st.lists(st.booleans(), max_size=20))
def test_who_does_not_ask_through_foreseen_silence_misses_nothing(
    caller: Callable[[], Conversation], hears: list[bool]
) -> None:
    """hears: whether the agent is heard, in stretches of 200 ms."""
    asked, trusted = caller(), caller()
    silent_until_ms = -inf
    for number in range(250):
        now_ms, hearing = number * 20, any(hears[number // 10 : number // 10 + 1])
        frame = asked.frame(now_ms, hearing=hearing, heard_ms=0)
        if hearing or now_ms >= silent_until_ms:
            assert trusted.frame(now_ms, hearing=hearing, heard_ms=0) == frame
            assert (trusted.keys, trusted.hung_up) == (asked.keys, asked.hung_up)
            silent_until_ms = trusted.silent_until_ms(now_ms + 20)
        else:
            assert (frame, asked.keys, asked.hung_up) == (SILENCE, "", False)

"""Which words the caller heard of a voice that was cut: single cuts, then speech whose words are timed."""

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import speech
from benchmarks.simulators.openai import Reply
from relay.playout import Heard, Key
from relay.spoken import LEAD_MS, LONGEST_WORD, MARGIN_MS, MAX_CHARACTERS, Spoken
from tests.benchmarks.openai.line import arrivals, phone_line

KEY = Key("resp_1", "item_1", 0)
ORDER = "Your order left the warehouse yesterday."  # 40 characters


def cut(heard_ms: int, sent_ms: int) -> Heard:
    return Heard(KEY, heard_ms=heard_ms, sent_ms=sent_ms, is_whole=False)


def whole(sent_ms: int) -> Heard:
    return Heard(KEY, heard_ms=sent_ms, sent_ms=sent_ms, is_whole=True)


def complete(words: str) -> Spoken:
    """All of it was told before its audio came."""
    spoken = Spoken()
    spoken.add(words, 0)
    spoken.complete(words)
    return spoken


# Single cuts


def test_what_sounded_to_its_end_was_heard_word_for_word() -> None:
    assert complete(ORDER).words_heard(whole(4000)) == ORDER


@pytest.mark.parametrize(
    ("heard_ms", "words"),
    [
        (0, ""),
        (MARGIN_MS + 300, ""),  # in the middle of "Your"
        (MARGIN_MS + 400, "Your"),
        (MARGIN_MS + 1000, "Your order"),
        (MARGIN_MS + 1090, "Your order"),
        (MARGIN_MS + 1500, "Your order left"),
        (4000, "Your order left the warehouse"),
    ],
)
def test_a_cut_leaves_the_words_that_had_ended(heard_ms: int, words: str) -> None:
    assert complete(ORDER).words_heard(cut(heard_ms, 4000)) == words


def test_words_that_ran_ahead_of_an_unfinished_voice_are_not_taken_for_heard() -> None:
    spoken = Spoken()
    spoken.add(ORDER, 0)  # all the words, but one second of audio
    assert spoken.words_heard(cut(1000, 1000)) == "Your order"
    assert 40 * (1000 - MARGIN_MS) // (1000 + LEAD_MS) == 12


def test_words_that_came_after_the_audio_that_was_heard_were_not_heard() -> None:
    spoken = Spoken()
    spoken.add("One moment. ", 0)
    spoken.add("Your order left the warehouse.", 2000)  # after a long pause
    spoken.complete("One moment. Your order left the warehouse.")
    assert spoken.words_heard(cut(1990, 4000)) == "One moment."
    assert spoken.words_heard(cut(2500, 4000)) == "One moment. Your order"


def test_a_voice_that_broke_off_never_spoke_its_last_words() -> None:
    spoken = Spoken()
    spoken.add(ORDER, 0)
    spoken.complete(ORDER)
    spoken.break_off()
    assert spoken.words_heard(whole(2500)) == "Your order left the"


def test_no_words_are_not_the_same_as_no_word_heard() -> None:
    assert Spoken().words_heard(cut(500, 1000)) is None
    assert complete("Hello").words_heard(cut(500, 1000)) == ""


def test_words_that_come_after_a_cut_were_not_heard() -> None:
    spoken = complete("Your order")
    spoken.settle(cut(1000, 1200))
    spoken.add(" left the warehouse.", 1200)
    spoken.complete(ORDER)
    assert spoken.words == "Your order"


def test_words_that_come_after_a_voice_was_heard_to_its_end_belong_to_it() -> None:
    spoken = Spoken()
    spoken.settle(whole(4000))
    spoken.complete(ORDER)
    assert spoken.words_heard(whole(4000)) == ORDER


def test_a_line_without_spaces_is_cut_between_its_characters() -> None:
    line = "本日はお電話いただきまして誠にありがとうございますご予約でしょうか"
    assert len(line) > LONGEST_WORD
    assert complete(line).words_heard(cut(MARGIN_MS + 1000, 3300)) == line[:10]


def test_one_part_keeps_a_quarter_of_an_hour_of_words() -> None:
    spoken = Spoken()
    for _ in range(3):
        spoken.add("x" * (MAX_CHARACTERS // 2), 0)
    assert len(spoken.words) == MAX_CHARACTERS
    assert spoken.words_heard(whole(1000)) == spoken.words


# Laws

told = st.lists(
    st.tuples(st.text("ab \u3042", max_size=12), st.integers(0, 1000)), max_size=12
)  # words, and ms of audio after them


def as_told(deltas: list[tuple[str, int]], *, is_complete: bool, masked: bool = False) -> tuple[Spoken, int]:
    spoken, generated_ms = Spoken(), 0
    for words, audio_ms in deltas:
        shown = "".join(each if each.isspace() else "*" for each in words) if masked else words
        spoken.add(shown, generated_ms)
        generated_ms += audio_ms
    if is_complete:
        spoken.complete(spoken.words)
    return spoken, generated_ms


@given(told, st.booleans(), st.integers(0, 12_000), st.integers(0, 12_000))
@settings(deadline=None)
def test_who_hears_less_is_never_said_to_have_heard_more(
    deltas: list[tuple[str, int]], is_complete: bool, one_ms: int, other_ms: int
) -> None:
    spoken, sent_ms = as_told(deltas, is_complete=is_complete)
    less, more = (spoken.words_heard(cut(ms, sent_ms)) or "" for ms in sorted((one_ms, other_ms)))
    assert more.startswith(less)
    assert spoken.words.startswith(more)


@given(told, st.booleans(), st.integers(0, 12_000))
@settings(deadline=None)
def test_masked_words_are_cut_where_the_words_are(
    deltas: list[tuple[str, int]], is_complete: bool, heard_ms: int
) -> None:
    spoken, sent_ms = as_told(deltas, is_complete=is_complete)
    masked, _ = as_told(deltas, is_complete=is_complete, masked=True)
    heard = cut(min(heard_ms, sent_ms), sent_ms)
    assert len(masked.words_heard(heard) or "") == len(spoken.words_heard(heard) or "")


# Against speech whose words are timed


def generation(clip: speech.Clip) -> list[tuple[str, int]]:
    """What the simulator tells of a clip, in its order: words, or "" for audio; and the ms of audio by then."""
    generated_ms, said = 0, []
    for _, event in arrivals(phone_line(Reply(clip.name))):
        if event["type"] == "response.output_audio_transcript.delta":
            said.append((event["delta"], generated_ms))
        elif event["type"] == "response.output_audio.delta":
            generated_ms += len(base64.b64decode(event["delta"])) // 8
            said.append(("", generated_ms))
    return said


def claimed(clip: speech.Clip, spoken: Spoken, heard: Heard) -> tuple[int, int]:
    """(words claimed beyond those that had ended, ms from the cut to the end of the last word claimed)."""
    count = len((spoken.words_heard(heard) or "").split())
    ended = sum(word.end_ms <= heard.heard_ms for word in clip.words)
    return count - ended, (clip.words[count - 1].end_ms if count else 0) - heard.heard_ms


def test_a_cut_in_a_finished_answer_is_found_within_two_words() -> None:
    cuts = [
        claimed(clip, complete(clip.transcript), cut(heard_ms, clip.duration_ms))
        for clip in speech.clips("assistant")
        for heard_ms in range(0, clip.duration_ms, 20)
    ]
    words, ms = np.array(cuts).T
    assert (words.min(), words.max()) == (-2, 1)
    assert np.mean(words > 0) < 0.03  # then the word that was sounding is named
    assert -350 < np.median(ms) < -300


def test_a_cut_while_the_answer_is_generated_hardly_ever_names_a_word_too_many() -> None:
    cuts = []
    for clip in speech.clips("assistant"):
        spoken = Spoken()
        for words, generated_ms in generation(clip):
            if words:
                spoken.add(words, generated_ms)
            elif generated_ms < clip.duration_ms:
                cuts += [claimed(clip, spoken, cut(ms, generated_ms)) for ms in range(0, generated_ms, 100)]
    words, ms = np.array(cuts).T
    assert len(cuts) > 8000
    assert (words.min(), words.max()) == (-6, 1)
    assert np.mean(words > 0) < 0.001
    assert -650 < np.median(ms) < -550

"""Wording: what passes as the same words, and what does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.wording import says_the_same

GREETING = "Good evening, this is Luna's Pizzeria. How can I help you?"


@pytest.mark.parametrize(
    ("text", "transcript"),
    [
        (GREETING, GREETING),
        (GREETING, "good evening – this is Luna’s pizzeria! How can I help you"),
        ("Leave a message on our voice mail.", "Leave a message on our voicemail."),
        ("We are open until 11 tonight.", "We are open until eleven tonight."),
        ("We close at half past eleven.", "We close at 11:30."),
        ("Call 030 1234.", "Call zero three zero, one two three four."),
        ("Grüß Gott, hier ist Café Müller.", "GRÜSS GOTT, hier ist Cafe\u0301 Mu\u0308ller"),
        ("こんにちは、ルナです。", "こんにちは ルナです"),
        (f"{GREETING} You are speaking with Catherine.", f"{GREETING} You are speaking with Katherine."),
        ("…", ""),
    ],
)
def test_the_same_words_pass_however_they_are_written(text: str, transcript: str) -> None:
    assert says_the_same(text, transcript)
    assert says_the_same(transcript, text)


@pytest.mark.parametrize(
    ("text", "transcript"),
    [
        (GREETING, f"Sure! {GREETING}"),
        (GREETING, f"{GREETING} Are you there?"),
        (GREETING, "Good evening. How can I help you?"),
        (GREETING, "We are open until eleven tonight."),
        (GREETING, ""),
        ("Good evening, Da Mario.", "Good evening, Da Maria."),
        ("Press 1.", "Press."),
        ("Press 1.", "Press the key that has the one on it, please."),
        ("We are open until 11 tonight.", "We are open until eleven tomorrow."),
    ],
)
def test_other_words_do_not(text: str, transcript: str) -> None:
    assert not says_the_same(text, transcript)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_every_text_says_the_same_as_itself_in_capitals(text: str) -> None:
    assert says_the_same(text, text)
    assert says_the_same(text.casefold(), text.casefold() + " !?")


@given(st.lists(st.sampled_from(["good", "evening", "now", "dear", "caller"]), min_size=1, max_size=30), st.data())
@settings(deadline=None)
def test_no_word_may_be_missing_wherever_it_stood(words: list[str], data: st.DataObject) -> None:
    without = data.draw(st.integers(0, len(words) - 1))
    assert not says_the_same(" ".join(words), " ".join(words[:without] + words[without + 1 :]))

"""What may be kept of a call: nothing that its persona does not allow leaves in a record or a capture."""

from collections.abc import Callable
from typing import get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay import log
from relay.log import AgentHeard, CallerSpoke, CallerTranscribed, CallStarted, KeyPressed, LogEvent
from relay.privacy import Privacy, masked_digits, may_capture_private, redacted

NO_WORDS = Privacy(keep_transcript=False)
NO_DIGITS = Privacy(mask_digits=True)

CALLER = CallerTranscribed(item_id="item_1", words="My pin is 4 2 7 1.")
AGENT = AgentHeard(item_id="item_2", heard_ms=900, generated_ms=1200, words="Is it 4271?", was_cut=True)
KEY = KeyPressed(digit="7")
RECORDS = [CALLER, AGENT, KEY]


# Records


@pytest.mark.parametrize("event", RECORDS, ids=lambda event: type(event).__name__)
def test_a_persona_that_does_not_mind_keeps_everything(event: LogEvent) -> None:
    assert redacted(event, Privacy()) is event
    assert redacted(event, Privacy(keep_audio=False)) is event


def test_without_a_transcript_it_is_kept_that_somebody_spoke_but_not_what() -> None:
    assert redacted(CALLER, NO_WORDS) is None
    assert redacted(AGENT, NO_WORDS) == AgentHeard(item_id="item_2", heard_ms=900, generated_ms=1200, was_cut=True)
    assert redacted(KEY, NO_WORDS) == KeyPressed(digit="*")


def test_masked_digits_leave_the_other_words() -> None:
    caller = CallerTranscribed(item_id="item_1", words="My pin is * * * *.")
    assert redacted(CALLER, NO_DIGITS) == caller
    agent = redacted(AGENT, NO_DIGITS)
    assert isinstance(agent, AgentHeard)
    assert (agent.words, agent.heard_ms, agent.was_cut) == ("Is it ****?", 900, True)
    assert redacted(KEY, NO_DIGITS) == KeyPressed(digit="*")


@pytest.mark.parametrize("privacy", [NO_WORDS, NO_DIGITS])
def test_what_is_not_private_is_kept_as_it_is(privacy: Privacy) -> None:
    event = CallerSpoke(item_id="item_4271")
    assert redacted(event, privacy) is event
    silent = AgentHeard(item_id="item_1", heard_ms=10, generated_ms=10)
    assert redacted(silent, privacy) == silent


@pytest.mark.parametrize("privacy", [NO_WORDS, NO_DIGITS])
def test_whom_a_record_is_about_is_kept_whatever_becomes_of_their_words(privacy: Privacy) -> None:
    started = CallStarted(stream_sid="MZ1", caller="+4930901820", called="+15551230001")
    assert redacted(started, privacy) is started


class SecretTold(LogEvent, frozen=True, kw_only=True, tag="test.secret_told"):
    """A record that some later day brings."""

    private = ("secret", "reason")
    secret: str
    reason: str | None = None
    count: int = 4271


def test_a_record_that_privacy_has_never_heard_of_is_redacted_like_the_others() -> None:
    told = SecretTold(secret="4271", reason="because of one two three")
    assert redacted(told, NO_WORDS) == SecretTold(secret="", reason="")
    assert redacted(told, NO_DIGITS) == SecretTold(secret="****", reason="because of * * *")
    assert redacted(SecretTold(secret=""), NO_DIGITS) == SecretTold(secret="")


def records() -> list[type[LogEvent]]:
    return [kind for kind in vars(log).values() if isinstance(kind, type) and issubclass(kind, LogEvent)]


def test_whatever_a_record_calls_private_is_text() -> None:
    assert {CallerTranscribed, AgentHeard, KeyPressed} <= set(records())
    for kind in records():
        for name in kind.private:
            assert get_type_hints(kind)[name] in (str, str | None), f"{kind.__name__}.{name} cannot be masked"


# Captures


@pytest.mark.parametrize(
    ("privacy", "allowed"),
    [
        (Privacy(), True),
        (Privacy(keep_audio=False), False),
        (NO_WORDS, False),
        (NO_DIGITS, False),  # the audio still speaks them
    ],
)
def test_a_capture_holds_what_is_private_only_if_all_of_it_may_be_kept(privacy: Privacy, allowed: bool) -> None:
    assert may_capture_private(privacy) is allowed


# Digits


@pytest.mark.parametrize(
    ("words", "masked"),
    [
        ("It is 4271.", "It is ****."),
        ("Room A4, 2nd floor", "Room A*, *nd floor"),
        ("one two three four", "* * * *"),
        ("My number is Four-Two, seven. ONE!", "My number is *-*, *. *!"),
        ("oh one seven, double five", "* * *, * *"),
        ("four, uh, two and then seven", "*, uh, * and then *"),
        ("4 two 7", "* * *"),
        ("nineteen eighty four", "* * *"),
        ("null eins sieben zwo", "* * * *"),
        ("Null, eins, Dreißig", "*, *, *"),
        ("vierunddreißig sechsundfünfzig", "* *"),
        ("zwölf dann fünf, äh, drei", "* dann *, äh, *"),
        ("fu\u0308nf fu\u0308nf fu\u0308nf", "* * *"),  # as two characters
        ("٤٢٧١ and ４２ and ²½", "**** and ** and **"),
    ],
)
def test_numbers_of_somebodys_are_masked(words: str, masked: str) -> None:
    assert masked_digits(words) == masked


@pytest.mark.parametrize(
    "words",
    [
        "",
        "A table for two at seven, please.",
        "Twenty five euros.",
        "Oh, one moment!",
        "Um acht oder um neun?",
        "Zwei Pizzen und dann drei Salate, eins davon groß.",
        "Someone, often, weight, Neuntöter, Elfenbein",
    ],
)
def test_everyday_numbers_in_words_are_left(words: str) -> None:
    assert masked_digits(words) == words


SPELLED = {
    "en": ["zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "de": ["null", "eins", "zwei", "zwo", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
}


@given(st.text())
@settings(deadline=None)
def test_no_digit_survives(words: str) -> None:
    masked = masked_digits(words)
    assert not any(character.isdigit() for character in masked)
    assert masked_digits(masked) == masked


@given(
    st.sampled_from(["en", "de"]).flatmap(lambda language: st.lists(st.sampled_from(SPELLED[language]), min_size=3)),
    st.sampled_from([" ", ", ", "-", " - ", ". ", " / ", "\n", " uh ", ", und dann "]),
    st.sampled_from(["", "It is ", "Sie lautet: "]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
@settings(deadline=None)
def test_no_digit_that_is_spelled_out_in_a_row_survives(
    digits: list[str], between: str, before: str, case: Callable[[str], str]
) -> None:
    masked = masked_digits(before + between.join(case(digit) for digit in digits) + ", thanks")
    assert masked == before + between.join("*" * len(digits)) + ", thanks"


@given(st.text("abcüß ,.-\n*'"))  # no number has a name in these letters
@settings(deadline=None)
def test_text_without_numbers_is_left(words: str) -> None:
    assert masked_digits(words) == words

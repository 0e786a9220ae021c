"""The caller's keys: what is an action, what is a number, and where one entry ends."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.keypad import MAX_DIGITS, PAUSE_S, Entry, KeyAction, Keypad, KeyPolicy, Typed

STAFF = KeyPolicy(actions={"0": "staff", "*": "repeat"})


def typed(keypad: Keypad, keys: str, now: float = 0.0) -> list[Entry]:
    """Press these keys 0.2 s apart."""
    return [entry for number, key in enumerate(keys) for entry in keypad.pressed(key, now + 0.2 * number)]


def test_digits_close_together_are_one_entry() -> None:
    keypad = Keypad(STAFF)
    assert keypad.deadline == inf
    assert typed(keypad, "4021") == []
    assert keypad.deadline == pytest.approx(0.6 + PAUSE_S)
    assert keypad.timeout(keypad.deadline - 0.01) == []
    assert keypad.timeout(keypad.deadline) == [Typed("4021")]
    assert keypad.deadline == inf


def test_the_hash_key_ends_an_entry_at_once_and_is_no_part_of_it() -> None:
    assert typed(Keypad(STAFF), "42#7#") == [Typed("42"), Typed("7")]


def test_a_hash_key_alone_is_an_entry() -> None:
    assert typed(Keypad(STAFF), "#") == [Typed("#")]
    assert typed(Keypad(KeyPolicy(actions={"#": "end"})), "#") == [KeyAction("end")]


@pytest.mark.parametrize(("key", "action"), [("0", "staff"), ("*", "repeat")])
def test_a_single_key_with_an_action_is_the_action(key: str, action: str) -> None:
    keypad = Keypad(STAFF)
    assert keypad.pressed(key, 5.0) == []
    assert keypad.timeout(keypad.deadline) == [KeyAction(action)]


def test_a_number_may_have_a_key_in_it_that_has_an_action() -> None:
    assert typed(Keypad(STAFF), "02134#") == [Typed("02134")]


def test_keys_far_apart_are_two_entries_even_if_the_session_is_late() -> None:
    keypad = Keypad(STAFF)
    assert keypad.pressed("0", 5.0) == []
    assert keypad.pressed("7", 5.0 + PAUSE_S) == [KeyAction("staff")]
    assert keypad.timeout(inf) == [Typed("7")]


def test_without_a_policy_all_keys_are_for_the_model() -> None:
    assert typed(Keypad(KeyPolicy()), "0#") == [Typed("0")]


@pytest.mark.parametrize("key", ["", "w", "10", "٣", " "])
def test_what_is_no_key_is_passed_over(key: str) -> None:
    keypad = Keypad(STAFF)
    assert keypad.pressed(key, 5.0) == []
    assert keypad.deadline == inf


def test_a_key_held_down_for_ever_does_not_fill_the_memory() -> None:
    assert typed(Keypad(STAFF), "9" * (MAX_DIGITS + 1)) == [Typed("9" * MAX_DIGITS)]


@pytest.mark.parametrize("actions", [{"10": "staff"}, {"": "staff"}, {"x": "staff"}, {"0": ""}])
def test_a_policy_that_cannot_be_followed_is_refused(actions: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="keys"):
        KeyPolicy(actions=actions)


@settings(max_examples=100, deadline=None)
@given(presses=st.lists(st.tuples(st.sampled_from("0123456789*#"), st.sampled_from([0.0, 0.3, 1.49, 1.5, 4.0]))))
def test_no_key_is_lost_or_invented(presses: list[tuple[str, float]]) -> None:
    keypad, now, entries = Keypad(KeyPolicy()), 0.0, []
    for key, pause_s in presses:
        now += pause_s
        entries += keypad.pressed(key, now)
    entries += keypad.timeout(inf)
    digits = [entry.digits for entry in entries if isinstance(entry, Typed)]
    assert all(1 <= len(entry) <= MAX_DIGITS for entry in digits)
    assert "".join(digits).replace("#", "") == "".join(key for key, _ in presses).replace("#", "")
    assert all("#" not in entry or entry == "#" for entry in digits)

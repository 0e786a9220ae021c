"""Whatever goes wrong with OpenAI, and whenever: the caller is answered soon or told so, and nothing stays behind."""

import pytest

from benchmarks.scenarios.troubles import TROUBLES, Phase, Trouble
from tests.scenarios.fault_matrix import PHASES, impossible, measure
from tests.scenarios.make_faults_page import PAGE, page

# Nobody can help the caller before an operator has acted.
REFUSES_US = ("http_401", "http_403", "settings_refused", "close_3000", "close_4000", "no_quota", "response_no_quota")
TAKES_TOO_LONG = ("http_429_60",)  # we are told to come back when no caller would still be there
IS_NEVER_ANSWERED = ("upgrade_hangs", "no_created", "no_updated")
# How much longer than without trouble nobody may be heard, s.
USUAL_S = 1.1
UNANSWERED_S = 6.0  # a session has 5 s for each of its first steps
STALLED_S = 10.0  # a model may think so long
UNHEARD_S = 24.0  # a session that dies unheard is found when the agent is to ask whether the caller is still there
ENDED_WITHIN_S = 4.6  # from the trouble to the end of the apology, which takes 3.8 s
CELLS = [(trouble, phase) for phase in PHASES for trouble in TROUBLES if impossible(trouble, phase) is None]


def named(part: Trouble | str) -> str:
    return part if isinstance(part, str) else part.name


def silence_allowed_s(trouble: Trouble, phase: Phase) -> float:
    usual_s = measure(None, phase).silence_s
    if trouble.name == "stall" and phase not in ("connecting", "listening"):
        return usual_s + (UNHEARD_S if phase == "waiting" else STALLED_S)
    return usual_s + (UNANSWERED_S if trouble.name in (*IS_NEVER_ANSWERED, "stall") else USUAL_S)


def expected_reason(trouble: Trouble, phase: Phase) -> str:
    if phase == "taking_over":
        return "caller_hung_up"  # the session in use goes on, and there is time to try another again
    if trouble.name in REFUSES_US:
        return "openai_refused"
    return "openai_unreachable" if trouble.name in TAKES_TOO_LONG else "caller_hung_up"


@pytest.mark.parametrize(("trouble", "phase"), CELLS, ids=named)
def test_the_caller_is_answered_or_told_that_it_cannot_be(trouble: Trouble, phase: Phase) -> None:
    passage = measure(trouble, phase)
    assert (passage.ends, passage.left) == (1, ())
    assert passage.reason == expected_reason(trouble, phase)
    assert passage.silence_s <= silence_allowed_s(trouble, phase)
    if passage.reason == "caller_hung_up":
        assert passage.goes_on
        assert not passage.apologised
    else:
        assert passage.apologised
        assert passage.ended_s <= ENDED_WITHIN_S


@pytest.mark.parametrize("phase", PHASES)
def test_without_trouble_the_same_call_has_short_pauses_only(phase: Phase) -> None:
    passage = measure(None, phase)
    assert passage.goes_on
    assert not passage.was_cut
    assert passage.silence_s <= (3.2 if phase == "tool_running" else 1.0)  # a tool's 2 s come to that


@pytest.mark.parametrize("trouble", [one for one in TROUBLES if impossible(one, "taking_over") is None], ids=named)
def test_a_session_that_could_not_take_over_is_followed_by_one_that_does(trouble: Trouble) -> None:
    assert measure(trouble, "taking_over").replacements >= 1


def test_the_page_says_what_is_measured() -> None:
    assert PAGE.read_text() == page(), "make it anew: python -m tests.scenarios.make_faults_page"

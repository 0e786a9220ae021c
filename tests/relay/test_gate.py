"""The gate: each token counts once, each call once at a time, and what is remembered is bounded."""

from proto import twilio
from relay.gate import Refused, TokenGate, UsedTokens
from relay.stream_token import CLOCK_SKEW_S, LIVES_S, Claims, issue_stream_token

SECRET = "00112233445566778899aabbccddeeff"


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1_790_000_000.0

    def __call__(self) -> float:
        return self.at


def start(token: str | None, call_sid: str = "CA1") -> twilio.StartBody:
    parameters = {} if token is None else {"token": token}
    return twilio.StartBody(stream_sid="MZ1", call_sid=call_sid, custom_parameters=parameters)


def test_a_token_lets_its_own_call_in_once() -> None:
    wall = Wall()
    gate, token = TokenGate(SECRET, clock=wall), issue_stream_token(SECRET, "CA1", at=wall.at)
    assert isinstance(gate.admit(start(token), is_in_progress=False), Claims)
    assert gate.admit(start(token), is_in_progress=False) == Refused("token_used")
    wall.at += LIVES_S + CLOCK_SKEW_S + 1
    assert gate.admit(start(token), is_in_progress=False) == Refused("token_expired")


def test_what_the_token_says_of_its_call_comes_with_the_admission() -> None:
    wall, version = Wall(), f"{'0123456789abcdef' * 2}:17"
    token = issue_stream_token(SECRET, "CA1", at=wall.at, direction="outbound", persona_version=version)
    claims = TokenGate(SECRET, clock=wall).admit(start(token), is_in_progress=False)
    assert isinstance(claims, Claims)
    assert (claims.direction, claims.persona_version) == ("outbound", version)


def test_a_token_is_not_spent_by_a_stream_that_is_refused() -> None:
    wall = Wall()
    gate, token = TokenGate(SECRET, clock=wall), issue_stream_token(SECRET, "CA1", at=wall.at)
    assert gate.admit(start(token, "CA2"), is_in_progress=False) == Refused("token_of_another_call")
    assert gate.admit(start(token), is_in_progress=True) == Refused("call_in_progress")
    assert isinstance(gate.admit(start(token), is_in_progress=False), Claims)


def test_no_token_and_an_empty_one_are_missing() -> None:
    gate = TokenGate(SECRET)
    assert [gate.admit(start(token), is_in_progress=False) for token in (None, "")] == [Refused("token_missing")] * 2


def test_a_clock_that_is_set_back_reopens_nothing() -> None:
    wall = Wall()
    gate = TokenGate(SECRET, clock=wall)
    token = issue_stream_token(SECRET, "CA1", at=wall.at)
    assert isinstance(gate.admit(start(token), is_in_progress=False), Claims)
    wall.at += LIVES_S + 1
    for number in range(3):  # each of these would forget what is over
        other = issue_stream_token(SECRET, f"CA{number}", at=wall.at)
        assert isinstance(gate.admit(start(other, f"CA{number}"), is_in_progress=False), Claims)
    wall.at -= 10
    assert gate.admit(start(token), is_in_progress=False) == Refused("token_used")


def test_a_token_that_was_spent_at_another_process_is_used() -> None:
    wall, spent = Wall(), set[str]()

    def spend(nonce: str) -> bool:
        is_first = nonce not in spent
        spent.add(nonce)
        return is_first

    here, there = (TokenGate(SECRET, clock=wall, spend=spend) for _ in range(2))
    token = issue_stream_token(SECRET, "CA1", at=wall.at)
    assert here.admit(start(token), is_in_progress=True) == Refused("call_in_progress")
    assert isinstance(there.admit(start(token), is_in_progress=False), Claims)
    assert here.admit(start(token), is_in_progress=False) == Refused("token_used")


def test_used_tokens_are_forgotten_when_they_are_over_in_whatever_order_they_came() -> None:
    used = UsedTokens(most=3)
    assert [used.add("late", 500, 0), used.add("early", 100, 0), used.add("middle", 200, 0)] == [True] * 3
    assert used.add("more", 600, 100 + CLOCK_SKEW_S)
    assert ("early" in used, "middle" in used, "late" in used, len(used)) == (False, True, True, 3)


def test_a_full_memory_lets_nobody_else_in_rather_than_somebody_twice() -> None:
    used = UsedTokens(most=2)
    assert [used.add(nonce, 100, 0) for nonce in ("a", "b", "c")] == [True, True, False]
    assert ("a" in used, "c" in used) == (True, False)
    assert used.add("c", 300, 100 + CLOCK_SKEW_S)

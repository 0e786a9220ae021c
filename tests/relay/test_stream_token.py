"""The stream's token: what it says is what was said, and nothing that was changed, is old or is another's counts."""

import re
import string

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.stream_token import (
    CLOCK_SKEW_S,
    LIVES_S,
    MAX_CHARACTERS,
    TOKEN_PARAMETER,
    Claims,
    StreamTokenError,
    TokenProblem,
    issue_stream_token,
    mint,
    verify,
)

SECRET = "00112233445566778899aabbccddeeff"
CALL = "CA0123456789abcdef0123456789abcdef"
AT = 1_790_000_000.0
CLAIMS = Claims(
    call_sid=CALL,
    direction="inbound",
    persona_version="7",
    nonce="nonce",
    issued_at=int(AT),
    expires_at=int(AT) + LIVES_S,
)
TOKEN = mint(SECRET, CLAIMS)


def problem(text: str, *, secret: str = SECRET, at: float = AT) -> TokenProblem:
    with pytest.raises(StreamTokenError) as raised:
        verify(secret, text, at)
    return raised.value.problem


@given(
    st.builds(
        Claims,
        call_sid=st.text(min_size=1, max_size=34),
        direction=st.sampled_from(["inbound", "outbound"]),
        persona_version=st.text(max_size=10),
        nonce=st.text(string.ascii_letters, min_size=1, max_size=22),
        issued_at=st.integers(0, int(AT)),
        expires_at=st.integers(int(AT) + 1, int(AT) + 10_000),
    )
)
@settings(deadline=None)
def test_what_was_claimed_is_read_back(claims: Claims) -> None:
    assert verify(SECRET, mint(SECRET, claims), AT) == claims


def test_a_new_token_names_its_call_and_lives_a_minute() -> None:
    claims = verify(SECRET, issue_stream_token(SECRET, CALL, at=AT, direction="outbound", persona_version="3"), AT)
    assert (claims.call_sid, claims.direction, claims.persona_version) == (CALL, "outbound", "3")
    assert claims.expires_at - claims.issued_at == 60


def test_two_tokens_of_one_call_and_one_moment_are_two() -> None:
    assert issue_stream_token(SECRET, CALL, at=AT) != issue_stream_token(SECRET, CALL, at=AT)


def test_a_token_fits_into_a_parameter_and_needs_no_escaping() -> None:
    token = issue_stream_token(SECRET, CALL, at=AT, persona_version=f"{'0123456789abcdef' * 2}:1234567890")
    assert re.fullmatch(r"t1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}", token)
    assert len(TOKEN_PARAMETER) + len(token) < 300


def test_every_byte_counts() -> None:
    for place, byte in enumerate(TOKEN):
        for other in {"A", "B", "t", "2", ".", "-", "\x00", "é"} - {byte}:
            changed = TOKEN[:place] + other + TOKEN[place + 1 :]
            assert problem(changed) in ("forged", "malformed"), place


def test_the_last_character_may_not_say_the_same_in_another_way() -> None:
    # 43 characters of base64 hold two bits more than 32 bytes: four last characters decode to the same signature.
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    assert {problem(TOKEN[:-1] + other) for other in alphabet if other != TOKEN[-1]} == {"forged"}


@given(st.text(max_size=500))
@settings(deadline=None)
def test_no_text_of_a_strangers_is_a_token(text: str) -> None:
    assert problem(text) in ("malformed", "forged")
    assert problem(f"t1.{text}") in ("malformed", "forged")


@pytest.mark.parametrize(
    "text", ["", "t1", "t1..", "t2" + TOKEN[2:], TOKEN + ".", TOKEN + "=", TOKEN * 10, " " + TOKEN]
)
def test_what_is_almost_a_token_is_none(text: str) -> None:
    assert problem(text) in ("malformed", "forged")


def test_another_secret_s_token_is_forged() -> None:
    assert problem(mint("ffeeddccbbaa99887766554433221100", CLAIMS)) == "forged"
    assert problem(TOKEN, secret="ffeeddccbbaa99887766554433221100") == "forged"


def test_a_token_counts_until_its_minute_is_over() -> None:
    assert verify(SECRET, TOKEN, AT + LIVES_S - 0.001) == CLAIMS
    assert problem(TOKEN, at=AT + LIVES_S) == "expired"


def test_the_clock_of_another_machine_may_be_a_little_ahead_and_no_more() -> None:
    assert verify(SECRET, TOKEN, AT - CLOCK_SKEW_S) == CLAIMS
    assert problem(TOKEN, at=AT - CLOCK_SKEW_S - 1) == "not_yet_valid"


@pytest.mark.parametrize("changed", [{"call_sid": ""}, {"persona_version": "7" * MAX_CHARACTERS}])
def test_what_makes_no_token_is_said_where_it_is_made(changed: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="token"):
        mint(SECRET, msgspec.structs.replace(CLAIMS, **changed))


def test_the_error_says_why_and_shows_no_token() -> None:
    with pytest.raises(StreamTokenError, match="expired") as raised:
        verify(SECRET, TOKEN, AT + 3600)
    assert TOKEN not in repr(raised.value)

"""When OpenAI is tried again, and when it is not: the table with literals, and the laws for any row of failures."""

import ssl
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.errors import HandshakeError
from relay.retry import (
    CALL_BUDGET_S,
    SETTLED_AFTER_S,
    TERMINAL_CODES,
    Chance,
    Failure,
    GiveUp,
    Retry,
    RetryIn,
    Terminal,
    failure_of,
    failure_of_close,
    failure_of_code,
)


class NoChance(Random):
    """A random that takes nothing off."""

    def random(self) -> float:
        return 0.0


class AllChance(Random):
    """A random that takes off as much as there is."""

    def random(self) -> float:
        return 1.0


UNREACHABLE = Failure(kind="unreachable")


def first_verdict(failure: Failure) -> RetryIn | Terminal | GiveUp:
    return Retry(NoChance()).failed(failure, now=100.0)


@pytest.mark.parametrize(
    "failure",
    [
        Failure(kind="refused", status=401),
        Failure(kind="refused", status=403),
        Failure(kind="refused", status=404),
        Failure(kind="refused", status=302),
        Failure(kind="untrusted"),
        failure_of_close(3000, "invalid_request_error.invalid_api_key"),
        failure_of_close(3000),
        failure_of_close(4000, "invalid_request_error.beta_api_shape_disabled"),
        failure_of_close(1008),
        failure_of_close(1011, "insufficient_quota_error.insufficient_quota"),
        *(failure_of_code(code) for code in sorted(TERMINAL_CODES)),
    ],
)
def test_what_an_operator_has_to_mend_is_not_tried_again(failure: Failure) -> None:
    assert first_verdict(failure) == Terminal(failure)


@pytest.mark.parametrize(
    "failure",
    [
        failure_of_close(1000),
        failure_of_close(1001, "Your session hit the maximum duration of 60 minutes."),
        failure_of_code("session_expired"),
        Failure(kind="lost", close_code=4000, error_code="session_expired"),
    ],
)
def test_a_session_that_is_dropped_is_replaced_at_once(failure: Failure) -> None:
    assert first_verdict(failure) == RetryIn(0.0)


@pytest.mark.parametrize(
    "failure",
    [
        UNREACHABLE,
        Failure(kind="silent"),
        *(Failure(kind="refused", status=status) for status in (408, 425, 429, 500, 502, 503, 504, 529)),
        *(failure_of_close(code) for code in (1005, 1006, 1009, 1011, 1012, 1013, 1015)),
        failure_of_code("rate_limit_exceeded"),
        failure_of_code(None),
    ],
)
def test_what_may_pass_is_tried_again_after_half_a_second_one_and_two(failure: Failure) -> None:
    retry = Retry(NoChance())
    assert [retry.failed(failure, now) for now in (100.0, 100.5, 101.5)] == [RetryIn(0.5), RetryIn(1.0), RetryIn(2.0)]


def test_chance_takes_off_a_quarter_at_most() -> None:
    retry = Retry(AllChance())
    assert [retry.failed(UNREACHABLE, 100.0) for _ in range(3)] == [RetryIn(0.375), RetryIn(0.75), RetryIn(1.5)]


def test_after_the_budget_the_call_is_given_up() -> None:
    retry, now, delays_s = Retry(NoChance()), 100.0, []
    while isinstance(verdict := retry.failed(UNREACHABLE, now), RetryIn):
        delays_s.append(verdict.delay_s)
        now += verdict.delay_s
    assert verdict == GiveUp(UNREACHABLE)
    assert (delays_s, now) == ([0.5, 1.0, 2.0, 4.0], 107.5)


def test_the_budget_says_how_long_the_next_attempt_may_take() -> None:
    retry = Retry(NoChance(), budget_s=5.0)
    assert retry.left_s(100.0) == 5.0
    retry.failed(UNREACHABLE, 100.0)
    assert (retry.left_s(102.0), retry.left_s(200.0)) == (3.0, 0.0)


@pytest.mark.parametrize(
    ("retry_after_s", "verdict"),
    [
        (0.0, RetryIn(0.375)),
        (0.5, RetryIn(0.625)),
        (7.0, RetryIn(7.125)),
        (7.9, GiveUp(Failure(kind="refused", status=429, retry_after_s=7.9))),
        (3600.0, GiveUp(Failure(kind="refused", status=429, retry_after_s=3600.0))),
    ],
)
def test_retry_after_is_waited_for_or_given_up_at_once(retry_after_s: float, verdict: RetryIn | GiveUp) -> None:
    failure = Failure(kind="refused", status=429, retry_after_s=retry_after_s)
    assert Retry(AllChance()).failed(failure, now=100.0) == verdict


def test_a_service_that_drops_every_new_session_is_not_hammered() -> None:
    retry = Retry(NoChance())
    verdicts = []
    for now in (100.0, 100.2, 100.9, 102.1):
        retry.succeeded(now)
        verdicts.append(retry.failed(failure_of_close(1001), now + 0.1))
    assert verdicts == [RetryIn(0.0), RetryIn(0.5), RetryIn(1.0), RetryIn(2.0)]


def test_a_connection_that_held_has_ended_the_trouble() -> None:
    retry = Retry(NoChance())
    assert retry.failed(UNREACHABLE, 100.0) == RetryIn(0.5)
    retry.succeeded(100.6)
    assert retry.failed(failure_of_close(1006), 100.6 + SETTLED_AFTER_S) == RetryIn(0.5)
    assert retry.failures == 1


def test_an_error_says_what_kind_of_failure_it_was() -> None:
    refused = HandshakeError("the peer refused the WebSocket", status=429, retry_after_s=7.0)
    assert failure_of(refused) == Failure(kind="refused", status=429, retry_after_s=7.0)
    assert failure_of(HandshakeError("OpenAI did not answer within 10 s")) == UNREACHABLE
    assert failure_of(ConnectionRefusedError()) == UNREACHABLE
    assert failure_of(ssl.SSLEOFError()) == UNREACHABLE
    assert failure_of(ssl.SSLCertVerificationError()) == Failure(kind="untrusted")


def test_what_a_peer_writes_into_a_reason_does_not_grow() -> None:
    assert len(failure_of_close(4000, f"a.{'x' * 1000}").error_code or "") == 64
    assert len(failure_of_code("x" * 1000).error_code or "") == 64


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (UNREACHABLE, "unreachable"),
        (Failure(kind="refused", status=401), "refused, HTTP 401"),
        (failure_of_close(3000, "invalid_request_error.invalid_api_key"), "lost, close 3000, code invalid_api_key"),
    ],
)
def test_a_failure_reads_as_a_line_of_a_log(failure: Failure, words: str) -> None:
    assert str(failure) == words


codes = st.one_of(st.none(), st.integers(1000, 4999))
failures = st.builds(
    Failure,
    kind=st.sampled_from(["unreachable", "untrusted", "refused", "silent", "mute", "lost"]),
    status=st.one_of(st.none(), st.integers(300, 599)),
    close_code=codes,
    error_code=st.one_of(st.none(), st.sampled_from(["session_expired", "server_error", *sorted(TERMINAL_CODES)])),
    retry_after_s=st.one_of(st.none(), st.floats(0, 20)),
)
Story = list[tuple[Failure, float, bool]]  # what failed, after how long, and whether it had been open meanwhile
stories: st.SearchStrategy[Story] = st.lists(st.tuples(failures, st.floats(0, 10), st.booleans()), max_size=20)


@given(story=stories, seed=st.integers(0, 1000), budget_s=st.floats(0, 60))
@settings(deadline=None)
def test_no_retry_is_beyond_the_budget_or_before_its_time(story: Story, seed: int, budget_s: float) -> None:
    retry, now = Retry(Random(seed), budget_s=budget_s), 1000.0
    for failure, passed_s, was_open in story:
        if was_open:
            retry.succeeded(now)
        now += passed_s
        verdict = retry.failed(failure, now)
        if isinstance(verdict, RetryIn):
            assert 0 <= verdict.delay_s <= retry.left_s(now) + 1e-9
            is_drop = failure.error_code == "session_expired" or failure.close_code in (1000, 1001)
            assert is_drop or verdict.delay_s >= max(failure.retry_after_s or 0.0, 0.375)


MUTE = Failure(kind="mute")


def test_a_session_that_opens_again_and_again_but_never_answers_is_given_up() -> None:
    retry = Retry(NoChance(), budget_s=8.0)
    assert isinstance(retry.failed(MUTE, 100.0), RetryIn)
    retry.succeeded(100.6)
    assert retry.failed(MUTE, 100.6 + SETTLED_AFTER_S + 3.0) == GiveUp(MUTE)


def test_once_a_session_has_answered_its_trouble_is_over() -> None:
    retry = Retry(NoChance(), budget_s=8.0)
    retry.failed(MUTE, 100.0)
    retry.succeeded(100.6)
    retry.answered()
    assert isinstance(retry.failed(MUTE, 100.6 + SETTLED_AFTER_S + 3.0), RetryIn)


@given(story=stories, seed=st.integers(0, 1000))
@settings(deadline=None)
def test_attempts_that_fail_at_once_end_within_the_budget(story: Story, seed: int) -> None:
    retry, now, attempts = Retry(Random(seed)), 1000.0, 0
    for failure, _, _ in story * 10:
        attempts += 1
        verdict = retry.failed(failure, now)
        if not isinstance(verdict, RetryIn):
            break
        now += verdict.delay_s
    assert now <= 1000.0 + CALL_BUDGET_S
    assert attempts <= 7  # one at once, and 0.375 + 0.75 + 1.5 + 3 s at the very least before the last


def test_a_recorded_call_finds_the_same_delays_again() -> None:
    first, again, other = (Retry(Chance(seed)) for seed in ("MZ1", "MZ1", "MZ2"))
    delays = [retry.failed(Failure(kind="unreachable"), now=100.0) for retry in (first, again, other)]
    assert delays[0] == delays[1] != delays[2]

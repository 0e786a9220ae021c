"""Whether and when to try OpenAI again: after it could not be reached, refused us, or was lost.

Plain decisions beside the frames' way: no socket, no clock, no log; the time and the random numbers are handed in. What
a connection's failure means, the first line that fits:

    what is known of it                                        verdict
    error code session_expired                                 a drop: at once
    an error code of TERMINAL_CODES, in an event or a reason   Terminal
    a certificate that is not trusted                          Terminal
    HTTP 408, 425, 429, 5xx                                    back off, not before Retry-After
    any other HTTP status (401, 403, 404, redirects ...)       Terminal
    close 1008, 3000 and above                                 Terminal
    close 1000, 1001 that nobody asked for                     a drop: at once
    any other close, a cut line, silence, no TCP, TLS, DNS     back off

Backing off is 0.5, 1, 2 ... s, each less up to a quarter by chance, so that many calls do not come back as one. "At
once" holds for the first failure of a trouble: a service that drops every new session is backed off from, too. What
does not fit into the budget any more is a GiveUp, at once: nobody waits for an attempt that will not be made.
"""

import re
import ssl
from math import inf
from random import Random
from typing import Literal

import msgspec

from proto.errors import HandshakeError

CALL_BUDGET_S = 8.0  # how long a caller is kept waiting; then the call falls back to what its persona says
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 8.0
JITTER = 0.25  # of a delay, taken off it
SETTLED_AFTER_S = 5.0  # a connection that has held so long has ended the trouble before it

# Somebody has to change a key, an account, a bill or a setting first.
TERMINAL_CODES = frozenset(
    {
        "invalid_api_key",
        "missing_api_key",
        "account_deactivated",
        "insufficient_quota",
        "billing_hard_limit_reached",
        "beta_api_shape_disabled",
        "missing_model",
        "invalid_model",
        "model_not_found",
    }
)

_PASSING_STATUSES = frozenset({408, 425, 429})
_MAX_CODE_CHARACTERS = 64
_DOUBLINGS = 16  # more would not fit between any first and longest delay
_REASON = re.compile(r"[a-z_]+\.([a-z0-9_]+)")  # of a close frame, as "invalid_request_error.invalid_api_key"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one failure.

    kind: unreachable, no TCP, TLS or answer; untrusted, a certificate; refused, an HTTP status; silent, connected but
    no session or no sign of life in time; mute, a session that makes no responses; lost, an open session ended. The
    rest is None where it was not said.
    """

    kind: Literal["unreachable", "untrusted", "refused", "silent", "mute", "lost"]
    status: int | None = None
    close_code: int | None = None
    error_code: str | None = None
    retry_after_s: float | None = None

    def __str__(self) -> str:
        facts = (("HTTP", self.status), ("close", self.close_code), ("code", self.error_code))
        return ", ".join((self.kind, *(f"{name} {fact}" for name, fact in facts if fact is not None)))


class RetryIn(msgspec.Struct, frozen=True):
    """Try again after this many seconds; 0 is at once."""

    delay_s: float


class Terminal(msgspec.Struct, frozen=True):
    """Do not try again: an operator has to act, and should be told."""

    failure: Failure


class GiveUp(msgspec.Struct, frozen=True):
    """Do not try again for this call; the next one may well succeed."""

    failure: Failure


Verdict = RetryIn | Terminal | GiveUp


def failure_of(error: HandshakeError | OSError) -> Failure:
    """Why a connection could not be opened."""
    if isinstance(error, HandshakeError):
        kind: Literal["refused", "unreachable"] = "unreachable" if error.status is None else "refused"
        return Failure(kind=kind, status=error.status, retry_after_s=error.retry_after_s)
    return Failure(kind="untrusted" if isinstance(error, ssl.SSLCertVerificationError) else "unreachable")


def failure_of_close(code: int, reason: str = "") -> Failure:
    """Why an open session ended, from its close frame; 1006 when it ended without one."""
    named = _REASON.fullmatch(reason)
    return Failure(kind="lost", close_code=code, error_code=named[1][:_MAX_CODE_CHARACTERS] if named else None)


def failure_of_code(error_code: str | None) -> Failure:
    """Why an open session is of no use any more, from its `error` event."""
    return Failure(kind="lost", error_code=error_code[:_MAX_CODE_CHARACTERS] if error_code else None)


class Chance:
    """Random numbers, the same ones again for the same seed, of which most calls never need one.

    The generator weighs 2.5 KB, so it is made when the first is asked for. Attributes: seed, to be set before that.
    """

    def __init__(self, seed: str = "") -> None:
        self.seed = seed
        self._random: Random | None = None

    def random(self) -> float:
        """The next one, from 0 to 1."""
        if self._random is None:
            self._random = Random(self.seed)  # noqa: S311 - for delays
        return self._random.random()


class Retry:
    """The failures of one connection that somebody wants to have, and what to do about each.

    A *trouble* begins with a failure and is over once a connection has held for SETTLED_AFTER_S: one that opens and
    drops at once does not start afresh. If a session in it was mute, holding is not enough: one must answer.

    Args: random, for the jitter; budget_s, from a trouble's beginning to its last attempt; longest_s, of one delay.
    """

    def __init__(
        self, random: Random | Chance, *, budget_s: float = CALL_BUDGET_S, longest_s: float = LONGEST_DELAY_S
    ) -> None:
        self._random, self._budget_s, self._longest_s = random, budget_s, longest_s
        self._began_at: float | None = None  # the trouble
        self._up_since = inf
        self._owes_answer = False  # a session of this trouble was mute, and none has answered since
        self._delays = 0  # backed off so often
        self.failures = 0  # of this trouble

    def failed(self, failure: Failure, now: float) -> Verdict:
        """What to do about it. now: monotonic s."""
        if self._began_at is None or self._has_settled(now):
            self._began_at, self._delays, self.failures = now, 0, 0
        self._up_since = inf
        self._owes_answer |= failure.kind == "mute"
        self.failures += 1
        if _is_terminal(failure):
            return Terminal(failure)
        delay_s = self._delay_s(failure)
        return RetryIn(delay_s) if now + delay_s <= self._began_at + self._budget_s else GiveUp(failure)

    def succeeded(self, now: float) -> None:
        """The connection is open and configured."""
        self._up_since = now

    def answered(self) -> None:
        """The session does what it is there for."""
        self._owes_answer = False

    def left_s(self, now: float) -> float:
        """How long the next attempt may take, for whoever has to bound it."""
        return self._budget_s if self._began_at is None else max(0.0, self._began_at + self._budget_s - now)

    def _has_settled(self, now: float) -> bool:
        return not self._owes_answer and now - self._up_since >= SETTLED_AFTER_S

    def _delay_s(self, failure: Failure) -> float:
        if self.failures == 1 and _is_drop(failure):
            return 0.0
        backoff_s = min(FIRST_DELAY_S * 2.0 ** min(self._delays, _DOUBLINGS), self._longest_s)
        self._delays += 1
        jittered_s = _jittered(backoff_s, self._random)
        if failure.retry_after_s is None:
            return jittered_s
        # The same number was told to everybody, so chance may only add to it.
        return max(jittered_s, failure.retry_after_s + backoff_s - jittered_s)


def _is_terminal(failure: Failure) -> bool:
    if failure.error_code == "session_expired":
        return False  # whatever the close code beside it
    if failure.error_code in TERMINAL_CODES or failure.kind == "untrusted":
        return True
    if failure.status is not None:
        return failure.status < 500 and failure.status not in _PASSING_STATUSES
    return failure.close_code is not None and (failure.close_code == 1008 or failure.close_code >= 3000)


def _is_drop(failure: Failure) -> bool:
    return failure.error_code == "session_expired" or (failure.kind == "lost" and failure.close_code in (1000, 1001))


def _jittered(delay_s: float, random: Random | Chance) -> float:
    return delay_s * (1 - JITTER * random.random())

"""What the OpenAI account still has to give, and whether that is enough for one more call.

Shared by all calls of a process, asked when a call wants in; beside the frames' way, pure: no clock, no log, no socket.
The service's own word counts most: `rate_limits.updated`, sent with a response. It may tell tokens, requests, both, or
never come (Azure has none): what is not told is not limited here. Between two of them the allowance refills by the
second, as a limit per minute does, and what responses report as used is taken off.

A call needs nothing as it is let in, and much soon after. So each one admitted holds back what its first minute should
need, ever less of it as the minute passes and its real use shows: else a hundred calls at once would all find room.
"""

from collections import deque
from math import inf

import msgspec

from proto import realtime

FIRST_MINUTE_S = 60.0
RESPONSES_IN_FIRST_MINUTE = 6  # a turn in ten seconds; the whole conversation is input to each
FIRST_GUESS_TOKENS = 800  # of one response: instructions and a few turns in, some seconds of speech out
LEARNING = 1 / 16  # how much one response moves the mean: some sixteen of them replace the guess
TELLING_RESET_S = 1.0  # the service rounds to ms: from a shorter time to reset no rate can be read


class Allowance(msgspec.Struct, frozen=True):
    """One limit at one moment: `left` of `limit` at `at` (monotonic s), refilled at so much per second."""

    limit: float
    left: float
    at: float
    per_s: float

    def left_at(self, now: float) -> float:
        """What is left, refilled since."""
        return min(self.limit, self.left + max(0.0, now - self.at) * self.per_s)

    def spent(self, amount: float, now: float) -> "Allowance":
        """After using so much of it."""
        return Allowance(self.limit, max(0.0, self.left_at(now) - amount), now, self.per_s)


class TokenBudget:
    """The account's tokens and requests, as far as they are known, less what admitted calls will need."""

    def __init__(self) -> None:
        self._tokens: Allowance | None = None  # None: the service has not said
        self._requests: Allowance | None = None
        self._response_tokens = float(FIRST_GUESS_TOKENS)  # the mean of one response
        self._admitted_at: deque[float] = deque()  # the calls of the last minute

    @property
    def needed_tokens(self) -> float:
        """What the first minute of a call should need, by what responses have needed of late."""
        return RESPONSES_IN_FIRST_MINUTE * self._response_tokens

    def limits_updated(self, updated: realtime.RateLimitsUpdated, now: float) -> None:
        """The service says what is left; that replaces whatever was reckoned."""
        for told in updated.rate_limits:
            if told.limit <= 0:
                continue  # no limit was told
            if told.name == "tokens":
                self._tokens = _allowance(told, self._tokens, now)
            elif told.name == "requests":
                self._requests = _allowance(told, self._requests, now)

    def response_done(self, usage: realtime.Usage | None, now: float) -> None:
        """A response is over, however it ended. usage: what it reports, if it does."""
        if self._requests is not None:
            self._requests = self._requests.spent(1, now)
        used = (usage.total_tokens or 0) if usage is not None else 0
        if used <= 0:
            return
        self._response_tokens += LEARNING * (used - self._response_tokens)
        if self._tokens is not None:
            self._tokens = self._tokens.spent(used, now)

    def call_admitted(self, now: float) -> None:
        """A call was let in: it will need what the next one must not count on."""
        while self._admitted_at and now - self._admitted_at[0] >= FIRST_MINUTE_S:
            self._admitted_at.popleft()
        self._admitted_at.append(now)

    def available_tokens(self, now: float) -> float:
        """What a new call may count on; infinity while no limit is known, never below 0."""
        return _available(self._tokens, self._held_calls(now) * self.needed_tokens, now)

    def has_room(self, now: float) -> bool:
        """Whether one more call should find the tokens and the requests of its first minute.

        An account whose whole allowance is smaller than that carries a call when all of it is there.
        """
        calls = self._held_calls(now)
        return all(
            allowance is None or _available(allowance, calls * needed, now) >= min(needed, allowance.limit)
            for allowance, needed in (
                (self._tokens, self.needed_tokens),
                (self._requests, RESPONSES_IN_FIRST_MINUTE),
            )
        )

    def _held_calls(self, now: float) -> float:
        """For how many calls' first minutes something is held back; one admitted half a minute ago counts half."""
        left_s = (FIRST_MINUTE_S - (now - at) for at in self._admitted_at)
        return sum(max(0.0, each_s) for each_s in left_s) / FIRST_MINUTE_S


def _allowance(told: realtime.RateLimit, before: Allowance | None, now: float) -> Allowance:
    missing = max(0, told.limit - told.remaining)
    if missing and told.reset_seconds >= TELLING_RESET_S:
        per_s = missing / told.reset_seconds
    else:  # nearly full: as it refilled before, or else the whole limit in a minute
        per_s = before.per_s if before else told.limit / 60
    return Allowance(told.limit, min(told.limit, max(0, told.remaining)), now, per_s)


def _available(allowance: Allowance | None, held: float, now: float) -> float:
    return inf if allowance is None else max(0.0, allowance.left_at(now) - held)

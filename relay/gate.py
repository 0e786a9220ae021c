"""The gate: decides whether a stream's `start` may begin a call. Each token counts once, each call once at a time.

Stands between Twilio's `start` and the call's own decisions, which know of no secret and can therefore be replayed.
What it remembers is this process's alone, unless it is told how to spend a token among several; how far that reaches,
docs/security.md says.
"""

import heapq
import time
from collections.abc import Callable

import msgspec

from proto import twilio
from relay.stream_token import CLOCK_SKEW_S, TOKEN_PARAMETER, Claims, StreamTokenError, verify

Spend = Callable[[str], bool]  # of a nonce: whether this is the first time, among all who share it. Must not wait.

MAX_USED_TOKENS = 20_000  # two hundred calls a second for as long as a token is remembered; some 4 MB


class Refused(msgspec.Struct, frozen=True):
    """A stream that may not begin its call. reason: why not, in a word for logs and metrics."""

    reason: str


class TokenGate:
    """Checks tokens made with one secret, and remembers those that were used.

    Args: secret, the Twilio auth token; clock, wall seconds; spend, asked last about a token that is unused here:
    another process may have let it in.
    """

    def __init__(
        self, secret: str, *, clock: Callable[[], float] = time.time, spend: Spend = lambda _nonce: True
    ) -> None:
        self._secret, self._clock, self._spend = secret, clock, spend
        self._used = UsedTokens()

    def admit(self, start: twilio.StartBody, *, is_in_progress: bool) -> Claims | Refused:
        """What the token says, if the stream may begin its call, which uses the token up; else why it may not.

        Args: is_in_progress, another stream carries this call now.
        """
        token = start.custom_parameters.get(TOKEN_PARAMETER)
        if not token:
            return Refused("token_missing")
        at = self._clock()
        try:
            claims = verify(self._secret, token, at)
        except StreamTokenError as error:
            return Refused(f"token_{error.problem}")
        if claims.call_sid != start.call_sid:
            return Refused("token_of_another_call")
        if claims.nonce in self._used:
            return Refused("token_used")
        if is_in_progress:  # the token stays good: Twilio may have asked twice, and the other stream may end first
            return Refused("call_in_progress")
        if not self._used.add(claims.nonce, claims.expires_at, at):
            return Refused("too_many_tokens")
        return claims if self._spend(claims.nonce) else Refused("token_used")


class UsedTokens:
    """The nonces of used tokens, each until its token has expired and nobody's clock could think otherwise.

    Never forgets one earlier: when `most` are remembered no other can be added. Only tokens that we signed come here,
    so a stranger cannot fill it.
    """

    def __init__(self, most: int = MAX_USED_TOKENS) -> None:
        self._most = most
        self._nonces: set[str] = set()
        self._by_age: list[tuple[float, str]] = []  # a heap: when to forget which

    def __contains__(self, nonce: str) -> bool:
        return nonce in self._nonces

    def __len__(self) -> int:
        return len(self._nonces)

    def add(self, nonce: str, expires_at: float, at: float) -> bool:
        """Remember one more; False when there is no room for it. Both times are wall seconds."""
        while self._by_age and self._by_age[0][0] <= at:
            self._nonces.discard(heapq.heappop(self._by_age)[1])
        if len(self._nonces) >= self._most:
            return False
        self._nonces.add(nonce)
        heapq.heappush(self._by_age, (expires_at + CLOCK_SKEW_S, nonce))  # a clock that is set back reopens nothing
        return True

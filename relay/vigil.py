"""Whether a session still listens: while the caller speaks OpenAI says nothing, and a dead session says nothing either.

Pure. A long turn of the caller's must not be taken for a stall, so the session is asked something that changes nothing
and must be answered. Early enough that all of an ordinary turn is still there for the session that takes over.
"""

from math import inf
from typing import Literal

QUIET_FOR_S = 5.0  # while the caller speaks, until the session is asked
ANSWERED_WITHIN_S = 2.0  # 0.1 s is usual


class Vigil:
    """Of one session after the other. `now` in monotonic seconds."""

    def __init__(self) -> None:
        self._quiet_since = inf  # inf unless the caller speaks
        self._asked_at = inf

    @property
    def deadline(self) -> float:
        """When `timeout` is due."""
        return min(self._quiet_since + QUIET_FOR_S, self._asked_at + ANSWERED_WITHIN_S)

    def caller_started(self, now: float) -> None:
        """OpenAI hears the caller speak."""
        self._quiet_since, self._asked_at = now, inf

    def caller_stopped(self) -> None:
        """OpenAI heard the caller's turn end, or the session is gone."""
        self._quiet_since = self._asked_at = inf

    def seen(self, now: float) -> None:
        """OpenAI said something."""
        if self._quiet_since < inf or self._asked_at < inf:
            self._quiet_since, self._asked_at = now, inf

    def timeout(self, now: float) -> Literal["nothing", "ask", "lost"]:
        """`deadline` may have passed: ask the session for a sign of life, or take it for lost."""
        if now >= self._asked_at + ANSWERED_WITHIN_S:
            self.caller_stopped()
            return "lost"
        if now >= self._quiet_since + QUIET_FOR_S:
            self._quiet_since, self._asked_at = inf, now
            return "ask"
        return "nothing"

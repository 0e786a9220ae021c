"""Whether the session in use still lives: a session that waits says nothing, and a dead one says nothing either.

Pure. After a few seconds without a word from OpenAI, whoever speaks meanwhile, the session is asked something that
changes nothing and must be refused. Early enough that all the caller said since its last sign of life is still there
for the session that takes over. On a line on which nothing moves it is not asked: nothing would be lost with it.

A service that has never refused the question may not know it: its sessions are asked on, and not taken for lost. So
that this is known early, the first session is asked as soon as it is open.
"""

from math import inf
from typing import Literal

QUIET_FOR_S = 3.0  # without an event, until the session is asked
ANSWERED_WITHIN_S = 2.0  # 0.1 s is usual

Verdict = Literal["nothing", "ask", "lost"]


class Vigil:
    """Of one session after the other. `now` in monotonic seconds.

    Attributes: deadline, when `timeout` is due.
    """

    def __init__(self) -> None:
        self.deadline = inf  # while no session is watched
        self._is_asked = False
        self._is_understood = False  # the question was answered before, in this session or an earlier one

    def opened(self, now: float) -> Verdict:
        """A session is configured: watch it."""
        if self._is_understood:
            return self._wait(now)
        return self._ask(now)

    def lost(self) -> None:
        """The session is gone."""
        self.deadline = inf

    def seen(self, now: float) -> None:
        """OpenAI said something."""
        if self.deadline < inf:
            self._wait(now)

    def answered(self) -> None:
        """What it said was the answer to our question."""
        self._is_understood = True

    def timeout(self, now: float, *, is_at_stake: bool) -> Verdict:
        """`deadline` may have passed: ask the session for a sign of life, or take it for lost.

        Args: is_at_stake, something would be lost with it: the caller's voice, or what the agent is to say.
        """
        if now < self.deadline:
            return "nothing"
        if not self._is_asked:
            return self._ask(now) if is_at_stake else self._wait(now)
        if not self._is_understood:
            return self._wait(now)
        self.lost()
        return "lost"

    def _ask(self, now: float) -> Verdict:
        self.deadline, self._is_asked = now + ANSWERED_WITHIN_S, True
        return "ask"

    def _wait(self, now: float) -> Verdict:
        self.deadline, self._is_asked = now + QUIET_FOR_S, False
        return "nothing"

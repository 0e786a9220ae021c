"""The render queue: which phrase is to be rendered next, and when. Pure: the time is handed in.

One phrase is tried after the other. One that failed backs off for itself, so that a voice which does not exist keeps
nobody else waiting; and while the service fails whoever comes, all of them rest between two attempts. Nothing is given
up for what the service may get over. A phrase is, when the service speaks, but says something else: that costs money,
and is as likely the next time.
"""

from collections.abc import Iterable
from math import inf
from random import Random

import msgspec

from relay.retry import Failure, Retry, RetryIn, failure_of_code
from tautline.phrases import Phrase

LONGEST_PAUSE_S = 600.0  # of one phrase; also after a refusal that only somebody's doing can change
LONGEST_REST_S = 30.0  # of all of them
MAX_MISSPOKEN = 3  # each attempt costs as much as a short answer

_DOUBLINGS = 10  # more would not fit into any rest


class Setback(msgspec.Struct, frozen=True, kw_only=True):
    """What a failed attempt comes to. is_first: of this phrase; again_in_s: inf when it is given up."""

    is_first: bool
    again_in_s: float


class RenderQueue:
    """Args: random, for the jitter."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._waiting: dict[Phrase, _Waiting] = {}
        self._failures = 0  # of the service, one after the other
        self._rests_until = -inf

    def __contains__(self, phrase: Phrase) -> bool:
        return phrase in self._waiting

    @property
    def missing(self) -> list[Phrase]:
        """All that wait, also those that are given up."""
        return list(self._waiting)

    def want(self, missing: Iterable[Phrase]) -> None:
        """These are wanted, and no others. One that waits already keeps what is known of it."""
        self._waiting = {phrase: self._waiting.get(phrase) or _Waiting(self._random) for phrase in missing}

    def next(self) -> tuple[Phrase | None, float]:
        """What to try next, and from when on, in monotonic seconds; inf when there is nothing to try."""
        phrase = min(self._waiting, key=lambda each: self._waiting[each].due_at, default=None)
        if phrase is None:
            return None, inf
        return phrase, max(self._waiting[phrase].due_at, self._rests_until)

    def fulfilled(self, phrase: Phrase) -> None:
        """It is there, wherever it came from."""
        self._waiting.pop(phrase, None)

    def rendered(self, phrase: Phrase) -> None:
        """It is there, and the service made it."""
        self.fulfilled(phrase)
        self._failures, self._rests_until = 0, -inf

    def failed(self, phrase: Phrase, failure: Failure | None, now: float) -> Setback:
        """An attempt came to nothing. failure: of the service or the way to it, None when it spoke something else."""
        if failure is not None:
            self._failures = min(self._failures + 1, _DOUBLINGS)
            self._rests_until = now + min(2.0**self._failures / 4, LONGEST_REST_S)
        waiting = self._waiting.get(phrase)
        if waiting is None:  # nobody wants it any more
            return Setback(is_first=False, again_in_s=inf)
        return waiting.failed(failure, now)


class _Waiting:
    """A phrase that is not there yet. Attributes: due_at, when it is to be tried; inf when it is given up."""

    def __init__(self, random: Random) -> None:
        self.due_at = -inf
        self._retry = Retry(random, budget_s=inf, longest_s=LONGEST_PAUSE_S)
        self._attempts = self._misspoken = 0

    def failed(self, failure: Failure | None, now: float) -> Setback:
        self._attempts += 1
        self._misspoken += failure is None
        verdict = self._retry.failed(failure or failure_of_code(None), now)
        again_in_s = verdict.delay_s if isinstance(verdict, RetryIn) else LONGEST_PAUSE_S
        if self._misspoken == MAX_MISSPOKEN:
            again_in_s = inf
        self.due_at = now + again_in_s
        return Setback(is_first=self._attempts == 1, again_in_s=again_in_s)

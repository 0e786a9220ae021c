"""A caller who goes by what they have heard and never by the clock: a slow machine makes no other call of it."""

from collections.abc import Sequence

from benchmarks.simulators.twilio import Recording
from benchmarks.speech import Clip


class PatientCaller:
    """Says each thing when the agent has said its part, however long that takes, and hangs up after the last one.

    Args: agent, what the agent will say; asks, what the caller says between two of these.
    """

    def __init__(self, agent: Sequence[Clip], asks: Sequence[Clip] = ()) -> None:
        self._due_ms = [sum(each.duration_ms for each in agent[: number + 1]) for number in range(len(agent))]
        self._asks = list(asks)
        self._voice = Recording(b"")
        self.keys, self.hung_up = "", False

    def frame(self, now_ms: int, *, hearing: bool, heard_ms: int) -> bytes:
        """See Caller."""
        if self._due_ms and heard_ms >= self._due_ms[0]:
            self._due_ms.pop(0)
            if self._asks:
                self._voice = Recording(self._asks.pop(0).mulaw)
            self.hung_up = not self._due_ms
        return self._voice.frame(now_ms, hearing=hearing, heard_ms=heard_ms)

    @property
    def done(self) -> bool:
        """See Caller."""
        return not self._asks and self._voice.done

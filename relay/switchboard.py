"""The calls in progress: carries each accepted line, knows all of them, can end them."""

from collections.abc import Callable

import trio

from relay.log import CallLog
from relay.persona import Persona
from relay.recorder import Capture
from relay.session import CallSession, Connect
from relay.sockets import Line
from relay.totals import Totals


class Switchboard:
    """Opens a session for each accepted media line.

    Args: persona, who answers; connect, opens a line to OpenAI; call_log, where records go; totals, shared counters;
    open_capture, gives what records a call, None for nothing.
    """

    def __init__(
        self,
        persona: Persona,
        *,
        connect: Connect,
        call_log: CallLog,
        totals: Totals,
        open_capture: Callable[[], Capture | None] = lambda: None,
    ) -> None:
        self._persona, self._connect, self._call_log, self._totals = persona, connect, call_log, totals
        self._open_capture = open_capture
        self._sessions: set[CallSession] = set()
        self._changed = trio.Event()

    @property
    def active_calls(self) -> int:
        """How many calls are in progress."""
        return len(self._sessions)

    async def carry(self, line: Line) -> None:
        """Carry one call from its accepted socket to its end."""
        session = CallSession(
            self._persona,
            connect=self._connect,
            call_log=self._call_log,
            totals=self._totals,
            capture=self._open_capture(),
        )
        self._sessions.add(session)
        try:
            await session.run(line)
        finally:
            self._sessions.discard(session)
            self._changed.set()

    async def drain(self) -> None:
        """Wait until the last call in progress has ended by itself."""
        while self._sessions:
            self._changed = trio.Event()
            await self._changed.wait()

    def end_all(self) -> None:
        """Hang up all calls in progress, each in an orderly way."""
        for session in list(self._sessions):
            session.end()

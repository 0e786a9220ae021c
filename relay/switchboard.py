"""The calls in progress: carries each accepted line, knows all of them, can end them."""

from collections.abc import Callable

import msgspec
import trio

from proto import twilio
from relay.budget import TokenBudget
from relay.gate import Refused, TokenGate
from relay.log import CallLog
from relay.model_sockets import Connect
from relay.opening import Admitted, Arrival
from relay.persona import Persona
from relay.recorder import Capture
from relay.session import CallSession
from relay.sockets import Line
from relay.stream_token import TOKEN_PARAMETER
from relay.tools import ToolBox
from relay.totals import Totals


class Switchboard:
    """Opens a session for each accepted media line.

    Args: persona, asked at each call's `start` who answers it, must not wait; connect, opens a line to OpenAI, given
    the model, "" for the usual one; call_log, where records go; totals, shared counters; open_capture, gives what
    records a call, None for nothing; gate, asked about each stream's `start`, None to let every stream begin a call,
    which is for development; toolbox, what the model may do; budget, of the OpenAI account.
    """

    def __init__(
        self,
        persona: Callable[[Arrival], Persona],
        *,
        connect: Connect,
        call_log: CallLog,
        totals: Totals,
        open_capture: Callable[[], Capture | None] = lambda: None,
        gate: TokenGate | None = None,
        toolbox: ToolBox | None = None,
        budget: TokenBudget | None = None,
    ) -> None:
        self._persona, self._connect, self._call_log, self._totals = persona, connect, call_log, totals
        self._open_capture, self._gate, self._toolbox = open_capture, gate, toolbox
        self._budget = budget or TokenBudget()
        self._sessions: set[CallSession] = set()
        self._begun: dict[CallSession, str] = {}  # those past their `start`, and the call it named
        self._changed = trio.Event()

    @property
    def active_calls(self) -> int:
        """How many calls are in progress."""
        return len(self._sessions)

    @property
    def begun_calls(self) -> int:
        """How many of them are past their `start`."""
        return len(self._begun)

    async def carry(self, line: Line) -> None:
        """Carry one call from its accepted socket to its end."""

        def admit(start: twilio.Start) -> Admitted | Refused:
            return self._admit(session, start.start)

        session = CallSession(
            admit,
            connect=self._connect,
            call_log=self._call_log,
            totals=self._totals,
            capture=self._open_capture(),
            toolbox=self._toolbox,
            budget=self._budget,
        )
        self._sessions.add(session)
        try:
            await session.run(line)
        finally:
            self._sessions.discard(session)
            self._begun.pop(session, None)
            self._changed.set()

    def _admit(self, session: CallSession, start: twilio.StartBody) -> Admitted | Refused:
        arrival = Arrival(call_sid=start.call_sid, parameters=_without_token(start))
        if self._gate is not None:
            # A call that says goodbye is no longer in progress: Twilio may have brought its next stream already.
            is_in_progress = any(sid == start.call_sid and not other.is_over for other, sid in self._begun.items())
            claims = self._gate.admit(start, is_in_progress=is_in_progress)
            if isinstance(claims, Refused):
                return claims
            arrival = msgspec.structs.replace(
                arrival, direction=claims.direction, persona_version=claims.persona_version
            )
        self._begun[session] = start.call_sid
        return Admitted(
            persona=self._persona(arrival), direction=arrival.direction, persona_version=arrival.persona_version
        )

    async def drain(self) -> None:
        """Wait until the last call in progress has ended by itself."""
        while self._sessions:
            self._changed = trio.Event()
            await self._changed.wait()

    def end_all(self) -> None:
        """Hang up all calls in progress, each in an orderly way."""
        for session in list(self._sessions):
            session.end()


def _without_token(start: twilio.StartBody) -> dict[str, str]:
    return {name: value for name, value in start.custom_parameters.items() if name != TOKEN_PARAMETER}

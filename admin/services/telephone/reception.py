"""What Twilio's webhooks are handed: what answers a number, and where what they learn goes.

Nothing that a caller waits for waits here. A callback is answered when what it tells is safe, since Twilio sends it
once: one that is answered with an error is lost, unless no connection came about at all.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
import trio

from admin.services.calls.call_record import Rung
from admin.services.calls.call_report import CallReport, direction_of
from admin.services.calls.call_status import StatusReport
from admin.services.telephone.directory import Route
from relay import Direction

SAYS_IN_PROGRESS = "in-progress"
SAFE_WITHIN_S: Final = 10.0  # Twilio itself gives up after 15 s

Read = Callable[[Mapping[str, str], datetime], CallReport | None]  # what fields mean that came at this moment

_logger = structlog.stdlib.get_logger("tautline.callbacks")


def _wall_time() -> datetime:
    return datetime.now(UTC)


async def _at_once() -> None:
    """Nobody keeps anything, so there is nothing to wait for."""


class Reception(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls arrive.

    find: what becomes of a call to a number; book: writes down a call that came in or was placed; report: takes what is
    told of one; until_safe: waits until all that was taken outlives this process; now: wall time.
    """

    find: Callable[[str], Route] = lambda _: Route()
    book: Callable[[Rung], None] = lambda _: None
    report: Callable[[CallReport], None] = lambda _: None
    until_safe: Callable[[], Awaitable[None]] = _at_once
    now: Callable[[], datetime] = _wall_time

    def route(self, fields: Mapping[str, str]) -> Route:
        """What becomes of the number of ours that this call is about."""
        return self.find(fields.get("From" if direction_of(fields) == "outbound" else "To", ""))

    def is_open(self, route: Route, fields: Mapping[str, str]) -> bool:
        """Whether the persona answers. Who has been talking to it is not shown the door as it closes."""
        return route.is_open(self.now()) or fields.get("CallStatus") == SAYS_IN_PROGRESS

    def rung(self, route: Route, fields: Mapping[str, str], *, is_answered: bool) -> None:
        """Write down that a call came in. is_answered: by the persona."""
        persona = route.persona if is_answered else None
        self._book(
            fields,
            direction_of(fields),
            account_id=route.account_id,
            persona_id=None if persona is None else persona.id,
            persona_version=None if persona is None else persona.number,
        )

    def answered(self, fields: Mapping[str, str], *, account_id: UUID | None, persona_id: UUID | None) -> None:
        """Write down that a call which we placed was answered.

        Args: account_id, who had it placed, None if nobody can say now. Whose number it was placed from says nothing:
        several accounts may place calls from one.
        """
        self._book(fields, "outbound", account_id=account_id, persona_id=persona_id)

    async def called_back(self, fields: Mapping[str, str], read: Read) -> CallReport | None:
        """Take what a callback tells, and return it when it is safe; None for nothing that could be used."""
        report = self.told(fields, read)
        if report is None:
            return None
        with trio.move_on_after(SAFE_WITHIN_S) as patience:
            await self.until_safe()
        if patience.cancelled_caught:  # a disk that stands still
            _logger.error("callback.not_safe", call_sid=report.call_sid, consequence="It waits in memory.")
        return report

    def told(
        self, fields: Mapping[str, str], read: Read, *, outcome: str = "", is_over: bool = False
    ) -> CallReport | None:
        """Pass on what a request tells of its call; returns it, None for nothing that could be used.

        Args: read, what the fields mean; outcome, what became of the caller; is_over, this was the call's end, whatever
        its status says so far.
        """
        now = self.now()
        report = read(fields, now)
        if report is None:
            return None
        if is_over:
            report = msgspec.structs.replace(report, status=StatusReport(at=now, status="completed"))
        account_id = self.route(fields).account_id if fields.get("To") else None
        report = msgspec.structs.replace(report, account_id=account_id, outcome=outcome)
        self.report(report)
        return report

    def _book(self, fields: Mapping[str, str], direction: Direction, **known: Any) -> None:
        call_sid, caller, called = (fields.get(name, "") for name in ("CallSid", "From", "To"))
        if call_sid:
            self.book(Rung(call_sid=call_sid, direction=direction, caller=caller, called=called, **known))

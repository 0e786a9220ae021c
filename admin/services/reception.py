"""What Twilio's webhooks are handed: what answers a number, and where what they learn goes. None of it waits."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from admin.services.call_record import Rung
from admin.services.call_report import CallReport, direction_of
from admin.services.call_status import StatusReport
from admin.services.directory import Route

SAYS_IN_PROGRESS = "in-progress"


def _wall_time() -> datetime:
    return datetime.now(UTC)


class Reception(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls arrive.

    find: what becomes of a call to a number; book: writes down a call that came in; report: takes what is told of one;
    now: wall time.
    """

    find: Callable[[str], Route] = lambda _: Route()
    book: Callable[[Rung], None] = lambda _: None
    report: Callable[[CallReport], None] = lambda _: None
    now: Callable[[], datetime] = _wall_time

    def route(self, fields: Mapping[str, str]) -> Route:
        """What becomes of the number of ours that this call is about."""
        return self.find(fields.get("From" if direction_of(fields) == "outbound" else "To", ""))

    def is_open(self, route: Route, fields: Mapping[str, str]) -> bool:
        """Whether the persona answers. Who has been talking to it is not shown the door as it closes."""
        return route.is_open(self.now()) or fields.get("CallStatus") == SAYS_IN_PROGRESS

    def rung(self, route: Route, fields: Mapping[str, str], *, is_answered: bool) -> None:
        """Write down that a call came in. is_answered: by the persona."""
        call_sid = fields.get("CallSid", "")
        if not call_sid:
            return
        persona = route.persona if is_answered else None
        self.book(
            Rung(
                call_sid=call_sid,
                direction=direction_of(fields),
                caller=fields.get("From", ""),
                called=fields.get("To", ""),
                account_id=route.account_id,
                persona_id=None if persona is None else persona.id,
                persona_version=None if persona is None else persona.number,
            )
        )

    def told(
        self,
        fields: Mapping[str, str],
        read: Callable[[Mapping[str, str], datetime], CallReport | None],
        *,
        outcome: str = "",
        is_over: bool = False,
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

"""What the verbs of one call share: its phone, its record, its requests. The verbs' modules take it as an argument."""

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from benchmarks.simulators.twilio.callbacks import Courier
from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.options import CallOptions, Method, Sids
from benchmarks.simulators.twilio.phone import Phone
from benchmarks.simulators.twilio.progress import CallStatus, Progress, WallClock
from benchmarks.simulators.twilio.recordings import Recordings
from benchmarks.simulators.twilio.report import CallRecord, EndedBy
from benchmarks.simulators.twilio.verbs import Ask
from benchmarks.simulators.twilio.webhook import CallIdentity, Webhooks

Outcome = Ask | EndedBy | None  # of a verb: ask for another document, the line is left, or the next verb follows


@dataclass(slots=True, frozen=True)
class Leg:
    """One call under way. nursery: for what may outlast the verb; the call is not over before it."""

    options: CallOptions
    identity: CallIdentity
    sids: Sids
    record: CallRecord
    phone: Phone
    webhooks: Webhooks
    courier: Courier
    progress: Progress
    wall: WallClock
    recordings: Recordings
    nursery: trio.Nursery

    @property
    def now(self) -> float:
        return trio.current_time()

    def warn(self, problem: CallProblemError) -> None:
        """Something failed that does not end the call."""
        self.record.warn(problem.code, problem.detail, trio.current_time())

    async def ask_or_follow(self, action: str | None, method: Method, fields: dict[str, str]) -> Outcome:
        """What follows a verb that is through: its action if it has one, else the next verb.

        If the caller has left, or a REST request has taken the call elsewhere, the action is still told the result,
        but what it answers is not carried out.
        """
        left_by = self.phone.left_by
        if left_by is None:
            return None if action is None else Ask(url=action, method=method, fields=fields)
        if action is not None:
            await self.ask_in_vain(action, method, fields)
        return left_by

    async def ask_in_vain(self, url: str, method: Method, fields: Mapping[str, str]) -> None:
        """Ask for a document that nobody will carry out."""
        status: CallStatus = "completed" if self.phone.left_by != "redirected" else "in-progress"
        try:
            await self.webhooks.ask(url, method, status, fields)
        except CallProblemError as problem:
            self.warn(problem)

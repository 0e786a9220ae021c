"""Any call: whatever is asked for is said or dropped for a stated reason, and nobody asks out of turn.

`TAUTLINE_LONG_CALLS=20000` tries that many calls, and other ones each time.
"""

import os
from typing import get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from proto import realtime
from relay.asks import Purpose
from tests.relay.arbiter_model import CONFLICT, Line

LONG_RUN = int(os.environ.get("TAUTLINE_LONG_CALLS", "0"))

# The model makes the turns that are to be retried itself.
purposes = st.sampled_from([purpose for purpose in get_args(Purpose) if purpose != "retry"])
failures = st.sampled_from(["server_error", "rate_limit_exceeded", "inference_rate_limit_exceeded", "odd", None])
refusals = st.sampled_from(["server_error", "rate_limit_exceeded", "invalid_value", CONFLICT])


class Talk(RuleBasedStateMachine):
    """A caller, a service and a call that wants things said, each when it likes."""

    @initialize(server_answers=st.sampled_from([True, True, True, False]), interrupts=st.booleans())
    def begins(self, server_answers: bool, interrupts: bool) -> None:
        self.line = Line(server_answers=server_answers, interrupts=interrupts)

    @property
    def service_is_up(self) -> bool:
        return hasattr(self, "line") and not self.line.wants_session and not self.line.is_over

    @rule(purpose=purposes)
    def something_is_to_be_said(self, purpose: Purpose) -> None:
        self.line.asks(purpose)

    @precondition(lambda self: self.line.wants_session)
    @rule()
    def a_session_opens(self) -> None:
        self.line.opens()

    @precondition(lambda self: self.service_is_up)
    @rule(count=st.integers(1, 4))
    def the_service_reads(self, count: int) -> None:
        for _ in range(count):
            self.line.service_reads()

    @precondition(lambda self: self.service_is_up)
    @rule(count=st.integers(1, 6))
    def the_arbiter_hears(self, count: int) -> None:
        for _ in range(count):
            self.line.arbiter_hears()

    @precondition(lambda self: self.service_is_up)
    @rule()
    def the_line_is_fast(self) -> None:
        self.line.catches_up()

    @precondition(lambda self: self.service_is_up and not self.line.service.caller_speaks)
    @rule()
    def the_caller_begins(self) -> None:
        self.line.service.caller_starts()

    @precondition(lambda self: self.service_is_up and self.line.service.caller_speaks)
    @rule()
    def the_caller_ends(self) -> None:
        self.line.service.caller_stops()

    @precondition(lambda self: self.service_is_up and self.line.service.is_to_answer)
    @rule()
    def the_service_answers(self) -> None:
        self.line.service.answers()

    @precondition(lambda self: self.service_is_up and self.line.service.can_end)
    @rule(status=st.sampled_from(["completed", "completed", "completed", "incomplete", "failed"]), code=failures)
    def a_response_ends(self, status: str, code: str | None) -> None:
        self.line.service.ends(status, code)

    @precondition(lambda self: self.line.may_dawdle)
    @rule(seconds=st.sampled_from([0.2, 1.0, 5.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.line.passes(seconds)

    # What goes wrong.

    @precondition(lambda self: self.service_is_up)
    @rule(code=refusals)
    def the_next_create_is_refused(self, code: str) -> None:
        self.line.service.refuses_with.append(code)

    @precondition(lambda self: self.service_is_up and not self.line.service.loses)
    @rule(kind=st.sampled_from([realtime.ResponseCreated, realtime.ResponseDone]))
    def an_event_cannot_be_read(self, kind: type[realtime.ServerEvent]) -> None:
        self.line.service.loses.append(kind)

    @precondition(lambda self: self.service_is_up)
    @rule(is_rare=st.sampled_from([True, False, False]))
    def the_service_hangs(self, is_rare: bool) -> None:
        self.line.service.is_deaf |= is_rare

    @precondition(lambda self: self.service_is_up)
    @rule(is_rare=st.sampled_from([True, False, False]))
    def the_session_is_lost(self, is_rare: bool) -> None:
        if is_rare:
            self.line.loses_session()

    def teardown(self) -> None:
        if hasattr(self, "line"):
            self.line.comes_to_rest()


TestTalk = Talk.TestCase
TestTalk.settings = settings(
    max_examples=LONG_RUN or 70,
    stateful_step_count=50,
    derandomize=not LONG_RUN,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)

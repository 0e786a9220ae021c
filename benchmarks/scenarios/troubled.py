"""The pure stage with one trouble in it: a whole call, and what strikes it at a moment that its own course decides.

`play` gives what the caller went through, and what was left when the call was over, which must be nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from unittest.mock import patch

import msgspec

from benchmarks.scenarios import pure
from benchmarks.scenarios.scenario import Outcome, Scenario
from benchmarks.scenarios.troubles import (
    Hangs,
    Mute,
    Phase,
    Refused,
    ResponseFails,
    SettingsIgnored,
    SettingsRefused,
    Struck,
    Trouble,
)
from benchmarks.simulators.openai import Disturbance, Drop, Faults
from proto import realtime
from relay import link
from relay.events import Event, FromOpenAI, UpstreamUnreachable

# So that a session is replaced while the first answer is being spoken, and again soon when that did not work.
REPLACE_AFTER_S = 7.4
REPLACE_AGAIN_AFTER_S = 5.0
REPLACEMENT_CONNECTS_IN_S = 2.5
# From what tells that a phase has begun to the trouble in it.
_AFTER_CUE_S: dict[Phase, float] = {
    "greeting": 1.0, "waiting": 0.4, "listening": 0.8, "speaking": 1.0, "tool_running": 0.5, "rolling_over": 1.5,
}  # fmt: skip


class Aftermath(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call. struck_at: s since it began, None when the trouble never came; left: what outlived it."""

    outcome: Outcome
    struck_at: float | None
    left: tuple[str, ...]


def play(scenario: Scenario, trouble: Trouble | None, phase: Phase) -> Aftermath:
    """Play a scenario to its end, with a trouble in that phase; None for none, to compare with."""
    with _early_replacement() if phase in ("rolling_over", "taking_over") else _nothing_special():
        stage = _TroubledStage(scenario, trouble, phase)
        outcome = stage.play()
    return Aftermath(outcome=outcome, struck_at=stage.struck_at, left=tuple(stage.left()))


@contextmanager
def _early_replacement() -> Iterator[None]:
    """Nobody waits for fifty minutes."""
    with (
        patch.object(link, "REPLACE_AFTER_S", REPLACE_AFTER_S),
        patch.object(link, "REPLACE_AGAIN_AFTER_S", REPLACE_AGAIN_AFTER_S),
    ):
        yield


@contextmanager
def _nothing_special() -> Iterator[None]:
    yield


class _TroubledStage(pure._Stage):
    def __init__(self, scenario: Scenario, trouble: Trouble | None, phase: Phase) -> None:
        super().__init__(scenario, 0.0)
        self._trouble, self._phase = trouble, phase
        self.struck_at: float | None = None
        self._strike_at = inf
        self._is_answer_due = False  # the caller has asked something
        self._meets_trouble = trouble is not None and phase == "connecting"  # the session that is opened next
        self._afflicted: pure._Upstream | None = None
        self._said_after_the_end = 0

    def left(self) -> Iterator[str]:
        """What there is of a call that is over."""
        if self._in_use.due_at < inf or self._beside.due_at < inf:
            yield "a session with the model"
        if self._tools:
            yield "a tool that runs"
        if self._call.deadline < inf:
            yield "a deadline"
        if self._said_after_the_end:
            yield f"{self._said_after_the_end} commands after the end"

    # When it strikes.

    @property
    def _model_at(self) -> float:
        return min(super()._model_at, self._strike_at)  # frame follows frame up to then, and no further

    def _step(self) -> None:
        if self._strike_at <= self._now:
            if self._strike_at < self._now:
                raise AssertionError(f"the trouble came {self._now - self._strike_at} s late")
            self._strike_at = inf
            self._strike()
        super()._step()

    def _tell_call(self, event: Event) -> None:
        was_over = self._call.deadline == inf and self._line.ended_by is not None
        said_before = len(self._log)
        super()._tell_call(event)
        if was_over:
            self._said_after_the_end += len(self._log) - said_before

    def _tell_call_of(self, upstream: pure._Upstream, event: FromOpenAI) -> None:
        if self._trouble is not None and self.struck_at is None and self._strike_at == inf:
            self._mind(self._trouble, event)
        super()._tell_call_of(upstream, event)

    def _mind(self, trouble: Trouble, event: FromOpenAI) -> None:
        """The script has the model fail by itself; anything else waits for its cue."""
        if isinstance(trouble.happening, ResponseFails):
            if isinstance(event, realtime.ResponseDone) and event.response.status == "failed":
                self.struck_at = self._now
        elif self._is_cue(event):
            self._strike_at = self._now + _AFTER_CUE_S[self._phase]

    def _is_cue(self, event: FromOpenAI) -> bool:
        """The phase has begun in which the trouble is to come."""
        if isinstance(event, realtime.SpeechStopped):
            self._is_answer_due = True
        match self._phase, event:
            case ("greeting", realtime.AudioDelta()) | ("listening", realtime.SpeechStarted()):
                return True
            case "waiting", realtime.AudioDone():
                return True
            case "speaking", realtime.AudioDelta():
                return self._is_answer_due
            case "tool_running", realtime.OutputItemDone(item=item):
                return item.type == "function_call"
        return False

    # What it does.

    def _strike(self) -> None:
        """The trouble comes over the session in use, or over the one that is to follow it."""
        self.struck_at = self._now
        if self._trouble is not None and isinstance(self._trouble.happening, Struck):
            self._disturb(self._in_use, *self._trouble.happening.by)
        else:
            self._meets_trouble = True
            self._disturb(self._in_use, Drop())

    def _disturb(self, upstream: pure._Upstream, *disturbances: Disturbance) -> None:
        for disturbance in disturbances:
            if upstream.model is not None:
                upstream.model.catch_up()
                self._from_model(upstream, upstream.model.session.disturb(disturbance, self._now))
                self._mind_closing(upstream)

    def _connect(self, *, beside: bool) -> None:
        super()._connect(beside=beside)
        upstream = self._beside if beside else self._in_use
        is_scripted = self._trouble is None or isinstance(self._trouble.happening, ResponseFails)
        if beside and not is_scripted and self.struck_at is None:
            if self._phase == "rolling_over":
                self._strike_at = min(self._strike_at, self._now + _AFTER_CUE_S["rolling_over"])
            self._meets_trouble = self._phase == "taking_over"
        if self._meets_trouble:
            self._meets_trouble = False
            self.struck_at = self._now if self.struck_at is None else self.struck_at
            self._afflict(upstream)

    def _afflict(self, upstream: pure._Upstream) -> None:
        """This session, which is being opened, is the one that meets the trouble."""
        self._afflicted = upstream
        match self._trouble.happening if self._trouble else None:
            case Refused(failure):
                upstream.connected_at = inf
                told = UpstreamUnreachable(failure, str(failure))
                self._send(partial(self._tell_call_of, upstream), told)
            case Hangs():
                upstream.connected_at = inf

    def _step_model(self, upstream: pure._Upstream) -> None:
        is_new = upstream.connected_at <= self._now
        if not (is_new and upstream is self._afflicted and self._trouble is not None):
            super()._step_model(upstream)
            return
        happening, attempt = self._trouble.happening, upstream.attempt
        if isinstance(happening, Mute) and attempt is not None:
            silent = msgspec.structs.replace(attempt.config, faults=Faults(silent=True))
            upstream.attempt = msgspec.structs.replace(attempt, config=silent)
        super()._step_model(upstream)
        if isinstance(happening, SettingsIgnored) and upstream.model is not None:
            upstream.model.session.faults = Faults(silent=True)
        elif isinstance(happening, SettingsRefused):
            self._disturb(upstream, happening.error)
        elif isinstance(happening, Struck):
            self._disturb(upstream, *happening.by)

"""What happened to a call, on its way to whoever keeps it: counted, measured, redacted, offered.

Never on a frame's way, and never waits.
"""

import msgspec
import trio

from proto import realtime
from relay import log
from relay.budget import TokenBudget
from relay.privacy import Privacy, redacted
from relay.totals import Totals


class Reporter:
    """Hands on one call's records.

    Args: call_log, where they go; totals, the process's counters; budget, of the OpenAI account.
    Attributes: privacy, what may be kept at all; of a stream that has not begun its call there is nothing to hide.
    """

    def __init__(self, call_log: log.CallLog, totals: Totals, budget: TokenBudget) -> None:
        self._call_log, self._totals, self._budget = call_log, totals, budget
        self.privacy = Privacy()

    def record(self, call_sid: str, event: log.LogEvent, began_at: float, *, dropped_audio_frames: int) -> None:
        """Count what happened and hand it on, with what only a real clock or a socket knows.

        Args: began_at, when the event came that it follows from; dropped_audio_frames, in the whole call.
        """
        spent_ms = (trio.current_time() - began_at) * 1000
        match event:
            case log.CallStarted():
                self._totals.calls_started += 1
            case log.StartRefused(reason=reason):
                self._totals.starts_refused[reason] += 1
            case log.BargedIn():
                self._totals.barge_ins += 1
                event = msgspec.structs.replace(event, clear_ms=spent_ms)
            case log.AnswerBegan():
                event = msgspec.structs.replace(event, relay_ms=spent_ms)
            case log.ResponseEnded(total_tokens=total_tokens):
                self._budget.response_done(realtime.Usage(total_tokens=total_tokens), began_at)
            case log.LimitsReported(limits=limits):
                self._budget.limits_updated(realtime.RateLimitsUpdated(limits), began_at)
            case log.CallEnded():
                event = msgspec.structs.replace(event, dropped_audio_frames=dropped_audio_frames)
                self._totals.add_ended(event)
        kept = redacted(event, self.privacy)
        if kept is not None:
            self._call_log.offer(call_sid, kept)

"""What this process has carried so far: plain counters that the relay adds to and the metrics page reads.

Counted once per event or once per ended call, never per frame. Single-threaded by Trio, so without locks.
"""

import operator
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from relay.log import CallEnded


@dataclass(slots=True)
class Totals:
    """Counters since the process started; `active_calls`, `upstream_spares_waiting` and `loop_lag_ms` are gauges."""

    active_calls: int = 0
    calls_started: int = 0
    starts_refused: Counter[str] = field(default_factory=Counter)  # by reason
    calls_ended: Counter[str] = field(default_factory=Counter)  # by reason
    frames_from_caller: int = 0
    audio_ms_to_caller: int = 0
    barge_ins: int = 0
    ignored_messages: Counter[str] = field(default_factory=Counter)  # by "peer.why"
    dropped_audio_frames: int = 0  # towards OpenAI, because it did not read fast enough
    handshakes_refused: int = 0
    streams_over_limit: Counter[str] = field(default_factory=Counter)  # among those, by the limit that was reached
    upstream_spares_used: int = 0  # lines to OpenAI that were open before their call came
    upstream_opened_cold: int = 0  # lines to OpenAI that a call waited for
    upstream_spares_waiting: int = 0
    loop_lag_ms: float = 0.0

    def add_ended(self, ended: CallEnded) -> None:
        """Add the counts of one ended call."""
        self.calls_ended[ended.reason] += 1
        self.frames_from_caller += ended.frames_from_caller
        self.audio_ms_to_caller += ended.audio_ms_to_caller
        self.ignored_messages.update(ended.ignored)
        self.dropped_audio_frames += ended.dropped_audio_frames


def merged(parts: Iterable[Totals]) -> Totals:
    """What several processes have carried together: everything is a sum but the loop's lag, where the worst counts."""
    whole = Totals()
    for part in parts:
        for each in fields(Totals):
            join = _JOINED_OTHERWISE.get(each.name, operator.add)
            setattr(whole, each.name, join(getattr(whole, each.name), getattr(part, each.name)))
    return whole


def counted(totals: Totals) -> Totals:
    """Only the counters: what is left of a process that is over, which holds no calls and no spares any more."""
    return replace(totals, active_calls=0, upstream_spares_waiting=0, loop_lag_ms=0.0)


_JOINED_OTHERWISE: dict[str, Callable[[Any, Any], Any]] = {"loop_lag_ms": max}

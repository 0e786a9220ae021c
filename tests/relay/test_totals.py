"""The counters of several processes, taken together."""

from collections import Counter
from dataclasses import fields

from relay import Totals, counted, merged


def test_together_everything_adds_up_but_of_the_loop_lag_the_worst_counts() -> None:
    busy = Totals(calls_started=3, active_calls=2, loop_lag_ms=4.0, calls_ended=Counter(caller_hung_up=1))
    calm = Totals(calls_started=1, active_calls=1, loop_lag_ms=1.5, calls_ended=Counter(caller_hung_up=2, shutdown=1))
    both = merged([busy, calm])
    assert (both.calls_started, both.active_calls, both.loop_lag_ms) == (4, 3, 4.0)
    assert both.calls_ended == {"caller_hung_up": 3, "shutdown": 1}
    assert busy.calls_ended == {"caller_hung_up": 1}  # it goes on counting


def test_no_counter_is_left_out() -> None:
    full = Totals()
    for each in fields(Totals):
        empty = getattr(full, each.name)
        setattr(full, each.name, Counter(reason=5) if isinstance(empty, Counter) else 5)
    assert merged([full]) == merged([full, Totals()]) == full
    assert merged([]) == Totals()


def test_of_a_process_that_is_over_only_what_it_counted_is_left() -> None:
    over = Totals(calls_started=3, barge_ins=2, active_calls=1, upstream_spares_waiting=1, loop_lag_ms=9.0)
    assert counted(over) == Totals(calls_started=3, barge_ins=2)

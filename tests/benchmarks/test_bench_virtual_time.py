"""The benchmark of whole calls measures the call it names."""

import msgspec

from benchmarks.bench_virtual_time import cost_of
from benchmarks.scenarios import Scenario, ended, nothing_heard
from benchmarks.scenarios.scenario import PERSONA

HANGS_UP = Scenario(
    name="short",
    story="Nobody answers upstream, and nobody waits for it.",
    persona=msgspec.structs.replace(PERSONA, reconnect_within_s=0.0),
    connect_s=(None,),
    expect=(ended("openai_unreachable"),),
)


def test_a_call_within_its_budget_and_one_beyond_it() -> None:
    cost = cost_of(HANGS_UP, 1e6)
    assert (cost.scenario, cost.call_s, cost.within_budget, cost.failures) == ("short", 0.0, True, ())
    assert cost.cpu_s >= 0
    assert not cost_of(HANGS_UP, -1.0).within_budget


def test_a_cheap_call_that_went_wrong_says_so() -> None:
    wrong = Scenario(name="wrong", story="It is not as told.", hangs_up_ms=None, max_s=5.0, expect=(nothing_heard(),))
    assert len(cost_of(wrong, 1e6).failures) == 1

"""Every story, on every stage that a test can afford."""

import pytest
from trio.testing import MockClock

from benchmarks.scenarios import Scenario, failures, memory, pure, sockets
from benchmarks.scenarios.stories import STORIES

QUICK = ("greeting_interrupted", "caller_begins")  # a few seconds of real time each


def named(scenario: Scenario) -> str:
    return scenario.name


@pytest.mark.parametrize("scenario", STORIES, ids=named)
def test_the_story_holds_between_pure_machines(scenario: Scenario) -> None:
    assert failures(scenario, pure.play(scenario)) == []


@pytest.mark.parametrize("scenario", STORIES, ids=named)
def test_the_story_holds_when_every_message_takes_40_ms(scenario: Scenario) -> None:
    assert failures(scenario, pure.play(scenario, one_way_s=0.040)) == []


@pytest.mark.parametrize("scenario", STORIES, ids=named)
async def test_the_story_holds_over_memory_streams(scenario: Scenario, autojump_clock: MockClock) -> None:
    assert failures(scenario, await memory.play(scenario)) == []


@pytest.mark.parametrize("scenario", [story for story in STORIES if story.name in QUICK], ids=named)
async def test_the_story_holds_in_real_time_over_sockets(scenario: Scenario) -> None:
    assert failures(scenario, await sockets.play(scenario)) == []

"""Every story, on every stage that a test can afford."""

from typing import Literal

import msgspec
import pytest
import trio
from trio.testing import MockClock

from benchmarks.scenarios import Outcome, Scenario, failures, memory, pure, sockets
from benchmarks.scenarios.stories import STORIES
from benchmarks.simulators.twilio import Network


def on(stage: Literal["pure", "memory"]) -> pytest.MarkDecorator:
    chosen = [story for story in STORIES if stage in story.stages]
    return pytest.mark.parametrize("scenario", chosen, ids=[story.name for story in chosen])


def fingerprint(outcome: Outcome) -> tuple[object, ...]:
    return outcome.log, outcome.events, outcome.report, outcome.report.heard_track, outcome.report.sent_track


def test_every_story_has_a_name_of_its_own() -> None:
    assert len({story.name for story in STORIES}) == len(STORIES)


@on("pure")
def test_the_story_holds_between_pure_machines(scenario: Scenario) -> None:
    assert failures(scenario, pure.play(scenario)) == []


@pytest.mark.parametrize("name", ["lost_frames", "two_tools_one_slow", "connecting_takes_three_tries"])
def test_the_same_story_twice_is_the_same_call(name: str) -> None:
    scenario = next(story for story in STORIES if story.name == name)
    once, again = pure.play(scenario), pure.play(scenario)
    assert msgspec.structs.astuple(once) == msgspec.structs.astuple(again)
    assert once.report.heard_track == again.report.heard_track


@on("pure")
def test_the_story_holds_when_every_message_takes_40_ms(scenario: Scenario) -> None:
    assert failures(scenario, pure.play(scenario, one_way_s=0.040)) == []


@on("pure")
@pytest.mark.parametrize("network", [Network(), Network(silence_suppression=True)], ids=["perfect", "suppressing"])
def test_short_cuts_through_silence_change_nothing(
    scenario: Scenario, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage without them asks everybody for every frame."""
    scenario = msgspec.structs.replace(scenario, network=network)
    outcome = pure.play(scenario)
    monkeypatch.setattr(pure._Stage, "_run_on", lambda _: None)
    monkeypatch.setattr(pure._Model, "sits_through_silence", lambda _, __: False)
    assert fingerprint(pure.play(scenario)) == fingerprint(outcome)


@on("memory")
async def test_the_story_holds_over_memory_streams(scenario: Scenario, autojump_clock: MockClock) -> None:
    assert failures(scenario, await memory.play(scenario)) == []


async def test_stories_hold_in_real_time_over_sockets() -> None:
    """All at once: each takes as long as its call."""
    found: dict[str, list[str]] = {}

    async def play(scenario: Scenario) -> None:
        found[scenario.name] = failures(scenario, await sockets.play(scenario))

    chosen = [story for story in STORIES if "sockets" in story.stages]
    async with trio.open_nursery() as nursery:
        for scenario in chosen:
            nursery.start_soon(play, scenario)
    assert found == {scenario.name: [] for scenario in chosen}

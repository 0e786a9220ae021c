"""A call that no test could wait for: an hour of conversation."""

from benchmarks.scenarios.expectations import clears, cut, ended
from benchmarks.scenarios.scenario import Scenario, hearing, says, silence
from benchmarks.simulators.openai import Reply, Script
from benchmarks.simulators.twilio import Utterance

TURNS, INTERRUPTIONS = 200, 40
_PAUSE = silence(12_900)  # so that two hundred turns fill the hour, but not the session's sixty minutes


def _question(turn: int) -> Utterance:
    """What the caller asks. After every fifth turn the caller does not wait for the end of the answer."""
    return says("ask_hours", hearing(3000) if _follows_the_menu(turn) else _PAUSE)


def _follows_the_menu(turn: int) -> bool:
    return turn % (TURNS // INTERRUPTIONS) == 1


def _answer(turn: int) -> Reply:
    return Reply("menu" if _follows_the_menu(turn + 1) and turn < TURNS - 1 else "opening_hours")


HOUR = Scenario(
    name="an_hour",
    story="Two hundred questions in an hour; forty times the caller breaks into the long answer.",
    caller=tuple(_question(turn) for turn in range(TURNS)),
    script=Script(steps=tuple(_answer(turn) for turn in range(TURNS))),
    max_s=4000.0,
    expect=(cut(*["menu"] * INTERRUPTIONS), clears(INTERRUPTIONS), ended("caller_hung_up")),
)

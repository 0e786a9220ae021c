"""Scenario: one call told in advance. Outcome: what came of it."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from benchmarks.simulators.openai import Json, Script, SimulatorConfig
from benchmarks.simulators.twilio import (
    Action,
    AfterHearing,
    AfterSilence,
    At,
    Caller,
    CallReport,
    Conversation,
    Utterance,
)
from benchmarks.speech import clip
from relay import LogEvent, Persona

Kind = TypeVar("Kind", bound=LogEvent)

PERSONA = Persona(
    instructions="You answer the telephone of Luna's Pizzeria. Be brief.", greeting=clip("greeting").transcript
)


def _the_day() -> float:
    """When every scenario is played: the same seed must give the same call, `expires_at` included."""
    return 1_800_000_000.0


def silence(ms: int) -> AfterSilence:
    """When the agent has spoken and then been quiet for so long."""
    return AfterSilence(ms)


def hearing(ms: int) -> AfterHearing:
    """When the agent is so far into what it says: an interruption."""
    return AfterHearing(ms)


TURN = silence(600)  # people leave about that much before they answer


def says(name: str, after: AfterSilence | AfterHearing | At = TURN) -> Utterance:
    """The caller says a clip of `benchmarks.speech`, when `after` holds."""
    return Utterance(clip(name).mulaw, after)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at the end.

    Attributes: report, the phone's; log, the relay's records in order; events, what passed between relay and model,
    with who said it ("client" is the relay); tolerance_ms, how far the stage's own delays may move a cut.
    """

    report: CallReport
    log: tuple[LogEvent, ...]
    events: tuple[tuple[str, Json], ...]
    tolerance_ms: int

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The records of one kind."""
        return [event for event in self.log if isinstance(event, kind)]

    def said(self, direction: str, kind: str) -> list[Json]:
        """The events of one type that one side sent."""
        return [event for sender, event in self.events if sender == direction and event["type"] == kind]


class Expectation(msgspec.Struct, frozen=True):
    """says: what must be true, in words; check: None when it is, else what was found instead."""

    says: str
    check: Callable[[Outcome], str | None]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    Attributes: caller, what the caller says, in order; hangs_up_ms, how long the caller waits after the last answer;
    actions, keys and hang-ups by the clock; script, what the model says; model, how it behaves; connect_s, how long
    connecting to it takes, None for not at all; max_s, when the telephone network ends the call; expect, what must be
    true at the end.
    """

    name: str
    story: str
    expect: tuple[Expectation, ...]
    caller: tuple[Utterance, ...] = ()
    hangs_up_ms: int | None = 1000
    actions: tuple[Action, ...] = ()
    persona: Persona = PERSONA
    script: Script = Script()
    model: SimulatorConfig = SimulatorConfig()
    connect_s: float | None = 0.05
    max_s: float = 300.0

    def new_caller(self) -> Caller:
        """The caller, at the beginning of the call."""
        return Conversation(self.caller, hang_up_after_silence_ms=self.hangs_up_ms, actions=self.actions)

    def model_config(self, watched: list[tuple[str, Json]]) -> SimulatorConfig:
        """The model with this scenario's script; every event of either side is added to `watched`."""

        def observe(_at: float, direction: str, event: Json) -> None:
            watched.append((direction, event))

        return msgspec.structs.replace(self.model, script=self.script, observer=observe, wall_clock=_the_day)


def failures(scenario: Scenario, outcome: Outcome) -> list[str]:
    """What is not as the scenario says, one sentence each."""
    found = ((expectation, expectation.check(outcome)) for expectation in scenario.expect)
    return [f"{expectation.says}: {fault}" for expectation, fault in found if fault is not None]

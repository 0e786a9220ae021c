"""Scenario: one call told in advance. Outcome: what came of it."""

from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec
import trio

from benchmarks.simulators.openai import Disturbance, Faults, Json, Script, SimulatorConfig
from benchmarks.simulators.twilio import (
    Action,
    AfterHearing,
    AfterSilence,
    At,
    Caller,
    CallReport,
    Conversation,
    Network,
    Utterance,
)
from benchmarks.speech import clip
from relay import LogEvent, Persona
from relay.tools import OnBargeIn, Then, Tool, ToolBox, ToolContext, ToolReport, ToolResult

Kind = TypeVar("Kind", bound=LogEvent)
Stage = Literal["pure", "memory", "sockets"]

PERSONA = Persona(
    instructions="You answer the telephone of Luna's Pizzeria. Be brief.", greeting=clip("greeting").transcript
)


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
    with who said it ("client" is the relay); sessions, the same, each session's apart, in the order in which they were
    opened; tolerance_ms, how far the stage's own delays may move a cut.
    """

    report: CallReport
    log: tuple[LogEvent, ...]
    events: tuple[tuple[str, Json], ...]
    sessions: tuple[tuple[tuple[str, Json], ...], ...]
    tolerance_ms: int

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The records of one kind."""
        return [event for event in self.log if isinstance(event, kind)]

    def said(self, direction: str, kind: str) -> list[Json]:
        """The events of one type that one side sent."""
        return [event for sender, event in self.events if sender == direction and event["type"] == kind]

    @property
    def refusals(self) -> list[str]:
        """The codes of the errors that the model answered with, but for those that were asked for as a sign of life."""
        errors = [event["error"] for event in self.said("server", "error")]
        return [error["code"] for error in errors if not str(error["event_id"]).startswith("probe-")]


class Expectation(msgspec.Struct, frozen=True):
    """says: what must be true, in words; check: None when it is, else what was found instead."""

    says: str
    check: Callable[[Outcome], str | None]


class NoArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For a tool that needs none."""


class ScriptedTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that takes so long and answers that; the other fields are those of `relay.tools.Tool`."""

    name: str
    takes_s: float
    output: str
    then: Then = "speak"
    on_barge_in: OnBargeIn = "finish"
    filler: str = ""

    @property
    def report(self) -> ToolReport:
        """What comes of a run."""
        return ToolReport("ok", self.output, self.then)

    def as_tool(self) -> Tool[NoArguments]:
        """The same for a toolbox."""

        async def run(_arguments: NoArguments, _context: ToolContext) -> ToolResult:
            await trio.sleep(self.takes_s)
            return ToolResult(self.output, self.then)

        return Tool(
            name=self.name,
            description=f"Gives {self.output!r}.",
            arguments=NoArguments,
            run=run,
            on_barge_in=self.on_barge_in,
            filler=self.filler,
        )


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """Something goes wrong in a session when it is so old. session: the how-manieth that is asked for, from 0."""

    session: int = 0
    after_s: float
    what: Disturbance


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    Attributes: caller, what the caller says, in order; hangs_up_ms, how long the caller waits after the last answer;
    actions, keys and hang-ups by the clock; script, what the model says; model, how it behaves; connect_s, how long
    connecting to it takes, each time (the last holds for all after), None for not at all; faults, of each session that
    is asked for, in order, an HTTP status instead of it included (those after have the model's); breaks, what goes
    wrong by the clock; network, the caller's; tools, what the model may do; max_s, when the telephone network ends the
    call; stages, where our tests play it: "pure" has no transport that could stall or vanish, and "sockets" takes as
    long as the call; expect, what must be true at the end.
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
    connect_s: tuple[float | None, ...] = (0.05,)
    faults: tuple[Faults, ...] = ()
    breaks: tuple[Break, ...] = ()
    network: Network = Network()
    max_s: float = 300.0
    tools: tuple[ScriptedTool, ...] = ()
    stages: tuple[Stage, ...] = ("pure", "memory")

    def toolbox(self) -> ToolBox:
        """What the model may do."""
        return ToolBox(tool.as_tool() for tool in self.tools)

    def new_caller(self) -> Caller:
        """The caller, at the beginning of the call."""
        return Conversation(self.caller, hang_up_after_silence_ms=self.hangs_up_ms, actions=self.actions)


def failures(scenario: Scenario, outcome: Outcome) -> list[str]:
    """What is not as the scenario says, one sentence each."""
    found = ((expectation, expectation.check(outcome)) for expectation in scenario.expect)
    return [f"{expectation.says}: {fault}" for expectation, fault in found if fault is not None]

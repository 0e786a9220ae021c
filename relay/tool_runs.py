"""The tool calls of one telephone call: which are running, and what each end of one means for the conversation.

Pure. The model's calls, its responses, the caller's voice and the tools' reports go in; what to run, to stop, to tell
the model and when to let it speak comes out. The rules:

- A call is run once, from its completed `response.output_item.done`, and gets exactly one output, whatever happens:
  from its report, from the caller's voice (see `Tool.on_barge_in`), or from the backstop if no report ever comes.
- The model is asked to speak once all outputs of a response are given and that response is done, unless all results
  are silent. When it then speaks, and whether it still needs to, is the arbiter's to say.
- A result that ends the call does so at the same moment instead. If the caller barges in first, the end is called off.
- A filler is said at most once for each response, into silence, and no more after the caller has spoken.
- A session that is lost changes nothing: the next one is told of the calls, and their outputs follow.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import assert_never

import msgspec

from proto import realtime
from relay import log
from relay.tools import OnBargeIn, ToolOffer, ToolReport, failure, unknown_tool

MAX_RUNNING = 16  # in the background too
MAX_CALLS_KNOWN = 256  # repeats come close behind; older ids may be forgotten
BACKSTOP_S = 2.0  # after a tool's own deadline, for a runner that does not report
MAX_NAME_CHARS = 64

_CANCELLED = failure("cancelled", "The caller interrupted, so this was stopped. Whether it took effect is not known.")
_DETACHED = ToolReport(
    "detached",
    '{"status":"in_background","message":"The caller interrupted. This goes on, but its result will not be told."}',
)
_TIMEOUT = failure("timeout", "The tool did not answer in time. Whether it took effect is not known.")
_TOO_MANY = failure("too_many", "Too many tools are running already. Try again when one of them has answered.")


class Run(msgspec.Struct, frozen=True):
    """Run this tool in the call's nursery, and report with `finished`. arguments: JSON text, not validated."""

    call_id: str
    name: str
    arguments: str


class Cancel(msgspec.Struct, frozen=True):
    """Cancel this run; no report of it is needed."""

    call_id: str


class Output(msgspec.Struct, frozen=True):
    """Add a call's output to the conversation."""

    call_id: str
    text: str


class Reply(msgspec.Struct, frozen=True):
    """Ask the model for a response to the outputs it was given."""


class Filler(msgspec.Struct, frozen=True):
    """Have the agent say this, so that the caller knows something is being done. It answers nothing."""

    text: str


class EndCall(msgspec.Struct, frozen=True):
    """End the call when all that was sent has sounded, unless the caller barges in first.

    say_goodbye: the agent has said nothing with its call, so ask it for one closing sentence first, without tools.
    """

    say_goodbye: bool


ToolDecision = Run | Cancel | Output | Reply | Filler | EndCall | log.ToolCalled | log.ToolFinished | log.ToolEndedLate


@dataclass(slots=True)
class _Run:
    """A call that is being carried out."""

    name: str
    response_id: str
    called_at: float
    on_barge_in: OnBargeIn = "finish"
    due_at: float = inf  # the backstop
    filler: str = ""
    filler_after_s: float = inf
    filler_at: float = inf  # never, or never again
    is_in_background: bool = False  # its output has been given, or is void


@dataclass(slots=True)
class _Batch:
    """The calls of one response, until their outputs are given and the response is done."""

    waiting: set[str] = field(default_factory=set)  # call ids without output
    is_done: bool = False
    has_spoken: bool = False
    wants_reply: bool = False
    ends_call: bool = False


class ToolRuns:
    """What one call's tools are doing. `now` in monotonic seconds."""

    def __init__(self, offers: Iterable[ToolOffer]) -> None:
        self._offers = {offer.definition.name: offer for offer in offers}
        self._known: OrderedDict[str, None] = OrderedDict()  # call ids that need no second look
        self._runs: dict[str, _Run] = {}  # by call id
        self._batches: dict[str, _Batch] = {}  # by response id

    @property
    def is_running(self) -> bool:
        """The model waits for a tool."""
        return any(not run.is_in_background for run in self._runs.values())

    @property
    def deadline(self) -> float:
        """When `timeout` is due, in monotonic seconds; inf for never."""
        return min((min(run.due_at, run.filler_at) for run in self._runs.values()), default=inf)

    # What the model does.

    def output_item_done(self, event: realtime.OutputItemDone, now: float) -> list[ToolDecision]:
        """An item of a response is complete. Only a whole function call, seen for the first time, means anything."""
        item = event.item
        if item.type != "function_call" or item.status != "completed" or not item.call_id:
            return []
        if item.call_id in self._known or item.call_id in self._runs:
            return []
        self._known[item.call_id] = None
        if len(self._known) > MAX_CALLS_KNOWN:
            self._known.popitem(last=False)
        return self._called(event.response_id, item.call_id, item.name or "", item.arguments or "", now)

    def response_created(self, response_id: str) -> list[ToolDecision]:
        """A response begins. There is one at a time, so every other is over, even if its end is never told."""
        for other_id, batch in self._batches.items():
            batch.is_done |= other_id != response_id
        return self._settle()

    def response_done(self, response_id: str, *, has_spoken: bool) -> list[ToolDecision]:
        """A response was generated to its end, however it ended. has_spoken: it came with audio."""
        batch = self._batches.get(response_id)
        if batch is None:
            return []
        batch.is_done, batch.has_spoken = True, has_spoken
        return self._settle()

    def session_lost(self) -> list[ToolDecision]:
        """No response of it will be done any more."""
        for batch in self._batches.values():
            batch.is_done = True
        return self._settle()

    # What the caller does.

    def speech_started(self) -> None:
        """OpenAI hears the caller, whether that interrupts anything or not: no filler is wanted any more."""
        self._silence_fillers()

    def barged_in(self, now: float) -> list[ToolDecision]:
        """The caller interrupts what is being done, which may as well be silent work as speech."""
        for batch in self._batches.values():
            batch.ends_call = False
        decisions: list[ToolDecision] = []
        for call_id, run in list(self._runs.items()):
            if run.is_in_background or run.on_barge_in == "finish":
                continue
            if run.on_barge_in == "cancel":
                del self._runs[call_id]
                decisions += [Cancel(call_id), *self._output(call_id, run, _CANCELLED, now)]
            else:
                run.is_in_background = True
                decisions += self._output(call_id, run, _DETACHED, now)
        return [*decisions, *self._settle()]

    # What the tools and the clock do.

    def finished(self, call_id: str, report: ToolReport, now: float) -> list[ToolDecision]:
        """A run is over. Of one that was cancelled, or has passed its backstop, nothing is wanted any more."""
        run = self._runs.pop(call_id, None)
        if run is None:
            return []
        if run.is_in_background:
            return [_ended_late(call_id, run, report, now)]
        return [*self._output(call_id, run, report, now), *self._settle()]

    def timeout(self, now: float, *, may_speak: bool) -> list[ToolDecision]:
        """`deadline` may have passed. may_speak: nobody else does, nor is about to."""
        decisions: list[ToolDecision] = []
        for call_id, run in list(self._runs.items()):
            if now >= run.due_at:
                decisions += self._give_up(call_id, run, now)
        return [*decisions, *self._settle(), *self._fillers(now, may_speak=may_speak)]

    # How it is decided.

    def _called(self, response_id: str, call_id: str, name: str, arguments: str, now: float) -> list[ToolDecision]:
        self._batches.setdefault(response_id, _Batch()).waiting.add(call_id)
        called = log.ToolCalled(name=name[:MAX_NAME_CHARS], call_id=call_id, arguments=arguments)
        tool, run = self._offers.get(name), _Run(name[:MAX_NAME_CHARS], response_id, now)
        if tool is None or len(self._runs) >= MAX_RUNNING:
            report = _TOO_MANY if tool is not None else unknown_tool(self._offers, name)
            return [called, *self._output(call_id, run, report, now), *self._settle()]
        run.on_barge_in = tool.on_barge_in
        run.due_at = now + tool.deadline_s + BACKSTOP_S
        if tool.filler:
            run.filler, run.filler_after_s = tool.filler, tool.filler_after_ms / 1000
            run.filler_at = now + run.filler_after_s
        self._runs[call_id] = run
        return [called, Run(call_id, name, arguments)]

    def _output(self, call_id: str, run: _Run, report: ToolReport, now: float) -> list[ToolDecision]:
        """Tell the model what came of a call, and remember what is to follow from it."""
        batch = self._batches[run.response_id]
        batch.waiting.discard(call_id)
        match report.then:
            case "speak":
                batch.wants_reply = True
            case "end_call":
                batch.ends_call = True
            case "silent":
                pass
            case _:
                assert_never(report.then)
        return [Output(call_id, report.output), _finished(call_id, run, report, now)]

    def _settle(self) -> list[ToolDecision]:
        """Let the model speak, or the call end, where all outputs of a response are given and it is done."""
        settled = [response_id for response_id, batch in self._batches.items() if batch.is_done and not batch.waiting]
        decisions: list[ToolDecision] = []
        for batch in [self._batches.pop(response_id) for response_id in settled]:
            if batch.ends_call:
                decisions.append(EndCall(say_goodbye=not batch.has_spoken))
            elif batch.wants_reply:
                decisions.append(Reply())
        return decisions

    def _give_up(self, call_id: str, run: _Run, now: float) -> list[ToolDecision]:
        """No report came, not even of a timeout."""
        del self._runs[call_id]
        if run.is_in_background:
            return [Cancel(call_id), _ended_late(call_id, run, _TIMEOUT, now)]
        return [Cancel(call_id), *self._output(call_id, run, _TIMEOUT, now)]

    def _fillers(self, now: float, *, may_speak: bool) -> list[ToolDecision]:
        """Say the filler that is due, one at a time; while somebody speaks all wait for another round."""
        decisions: list[ToolDecision] = []
        for run in self._runs.values():
            if now < run.filler_at:
                continue
            run.filler_at = now + run.filler_after_s
            if may_speak:
                may_speak = False
                decisions.append(Filler(run.filler))
                self._silence_fillers(run.response_id)
        return decisions

    def _silence_fillers(self, response_id: str | None = None) -> None:
        """No more fillers for the runs of this response, or of all."""
        for run in self._runs.values():
            if response_id in (None, run.response_id):
                run.filler_at = inf


def _finished(call_id: str, run: _Run, report: ToolReport, now: float) -> log.ToolFinished:
    return log.ToolFinished(
        name=run.name,
        call_id=call_id,
        duration_ms=round((now - run.called_at) * 1000),
        outcome=report.outcome,
        output=report.output,
    )


def _ended_late(call_id: str, run: _Run, report: ToolReport, now: float) -> log.ToolEndedLate:
    return log.ToolEndedLate(
        name=run.name,
        call_id=call_id,
        duration_ms=round((now - run.called_at) * 1000),
        outcome=report.outcome,
        output=report.output,
    )

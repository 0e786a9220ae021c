"""Every trouble with OpenAI in every phase of a call: what the caller goes through, measured to the frame.

One call for each cell, in virtual time: the agent greets, the caller asks, is answered, asks again, is answered, says
goodbye. The trouble strikes once. Nothing in here is left to chance, so the figures are the same everywhere.
"""

from functools import cache

import msgspec
import numpy as np

from benchmarks.scenarios.scenario import PERSONA, Scenario, ScriptedTool, says
from benchmarks.scenarios.troubled import REPLACEMENT_CONNECTS_IN_S, Aftermath, play
from benchmarks.scenarios.troubles import Phase, ResponseFails, Trouble
from benchmarks.simulators.openai import Reply, Script, SimulatorConfig, Step, ToolCall
from benchmarks.speech import clip
from proto import mulaw
from relay.log import AgentHeard, CallEnded, UpstreamReplaced

PHASES: dict[Phase, str] = {
    "connecting": "while the call is being connected to the model",
    "greeting": "while the agent greets",
    "waiting": "while nobody speaks",
    "listening": "while the caller speaks",
    "speaking": "while the agent answers",
    "tool_running": "while a tool runs",
    "rolling_over": "while a session is replaced: it strikes the one in use",
    "taking_over": "while a session is replaced: it strikes the one that is to take over",
}
ANSWER = "opening_hours"
LONGEST_CALL_S = 150.0
_SILENT = mulaw.silence(1)[0]


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """What one call came to.

    Attributes: reason, of its end; ends, how many ends it had; goes_on, the caller's last question was answered, whole;
    apologised, the caller was told that it cannot go on; was_cut, the agent's voice broke off; silence_s, the longest
    time in which nobody was heard, after the trouble; ended_s, from the trouble to the end; replacements, how often
    another session took over while one was in use; left, what outlived the call.
    """

    reason: str
    ends: int
    goes_on: bool
    apologised: bool
    was_cut: bool
    silence_s: float
    ended_s: float
    replacements: int
    left: tuple[str, ...]


def impossible(trouble: Trouble, phase: Phase) -> str | None:
    """Why this trouble cannot come in this phase; None if it can."""
    if not isinstance(trouble.happening, ResponseFails):
        return None
    match phase:
        case "connecting":
            return "nothing is asked of a session before it has taken our settings"
        case "waiting" | "listening":
            return "no response is made while the caller thinks or speaks"
        case "taking_over":
            return "nothing is asked of a session before it has taken over"
    return None


@cache
def measure(trouble: Trouble | None, phase: Phase) -> Passage:
    """Let it happen. None: the same call without trouble."""
    aftermath = play(_scenario(trouble, phase), trouble, phase)
    outcome, report = aftermath.outcome, aftermath.outcome.report
    struck_at = 0.0 if aftermath.struck_at is None else aftermath.struck_at
    ends = outcome.of(CallEnded)
    heard = outcome.of(AgentHeard)
    return Passage(
        reason=ends[0].reason,
        ends=len(ends),
        goes_on=_last_question_is_answered(aftermath),
        apologised=clip("sorry").mulaw in report.heard_track,
        was_cut=any(part.was_cut for part in heard),
        silence_s=_longest_silence_s(report.heard_track, report.sent_track, struck_at),
        ended_s=round(report.duration_ms / 1000 - struck_at, 2),
        replacements=len(outcome.of(UpstreamReplaced)),
        left=aftermath.left,
    )


def _scenario(trouble: Trouble | None, phase: Phase) -> Scenario:
    steps: list[Step] = [ToolCall("look_up")] if phase == "tool_running" else []
    greeting: Step = Reply("greeting")
    if trouble is not None and isinstance(trouble.happening, ResponseFails):
        if phase == "greeting":
            greeting = trouble.happening.how
        else:
            steps.append(trouble.happening.how)
    replaces = phase in ("rolling_over", "taking_over")
    return Scenario(
        name=f"{trouble.name if trouble else 'nothing'}_{phase}",
        story=f"{trouble.story if trouble else 'nothing goes wrong'}, {PHASES[phase]}",
        expect=(),
        persona=msgspec.structs.replace(PERSONA, apology_audio=clip("sorry").mulaw),
        caller=(says("ask_hours"), says("ask_hours"), says("thanks_bye")),
        script=Script(steps=tuple(steps), greeting=greeting, rotation=(ANSWER,)),
        model=SimulatorConfig(pace=1.5),  # so that a response is still being made while it sounds
        connect_s=(0.05, REPLACEMENT_CONNECTS_IN_S, 0.05) if replaces else (0.05,),
        tools=(ScriptedTool(name="look_up", takes_s=2.0, output="until eleven"),),
        max_s=LONGEST_CALL_S,
    )


def _last_question_is_answered(aftermath: Aftermath) -> bool:
    """The caller said all they wanted to say, and heard a whole answer after it."""
    report = aftermath.outcome.report
    farewell = clip("thanks_bye").mulaw
    asked_at = report.sent_track.find(farewell)
    return asked_at >= 0 and clip(ANSWER).mulaw in report.heard_track[asked_at + len(farewell) :]


def _longest_silence_s(heard: bytes, sent: bytes, since_s: float) -> float:
    """The longest time in which neither side was heard, of the tracks from then on."""
    size = min(len(heard), len(sent)) // mulaw.FRAME_BYTES * mulaw.FRAME_BYTES
    tracks = (np.frombuffer(track[:size], np.uint8).reshape(-1, mulaw.FRAME_BYTES) for track in (heard, sent))
    sounds = np.logical_or(*((track != _SILENT).any(axis=1) for track in tracks))
    first = round(since_s * 1000) // mulaw.FRAME_MS
    edges = np.flatnonzero(np.concatenate(([True], sounds[first:], [True])))
    return round(float(np.diff(edges).max() - 1) * mulaw.FRAME_MS / 1000, 2)

"""What happens to a call, one typed event each: the log lines, the call log's records, the live display.

Events are plain facts with units; `Call` decides which happened, `CallSession` hands them on. Frames are counted, never
logged one by one. An event that carries somebody's words or keys is `private`: it is offered to the call log, and the
log line shows how much there was, not what.
"""

import logging
from typing import Any, ClassVar, Literal, Protocol

import msgspec
import structlog

from proto import realtime
from relay.stream_token import Direction
from relay.usage import TokenUsage


class LogEvent(msgspec.Struct, tag_field="event", frozen=True, kw_only=True):
    """Something that happened to one call. Tags read `noun.past_verb`."""

    private: ClassVar[tuple[str, ...]] = ()  # fields that a log line must not show


class CallStarted(LogEvent, frozen=True, kw_only=True, tag="call.started"):
    """Twilio's stream has begun.

    parameters: the names of the TwiML's parameters; values may be secrets. direction and persona_version: as the token
    of the stream claims them; "" is the persona of the settings. caller and called: the parameters of these names, ""
    when missing: the record is about them, so it has them whatever may be kept of their words.
    """

    private: ClassVar[tuple[str, ...]] = ("caller", "called")
    stream_sid: str
    parameters: tuple[str, ...] = ()
    direction: Direction = "inbound"
    persona_version: str = ""
    caller: str = ""
    called: str = ""


class StartRefused(LogEvent, frozen=True, kw_only=True, tag="start.refused"):
    """A stream was not let in. reason: why, never the token; claimed_call_sid: not believed, so it names no call."""

    reason: str
    claimed_call_sid: str


class UpstreamReady(LogEvent, frozen=True, kw_only=True, tag="upstream.configured"):
    """OpenAI has put our settings in force. open_ms: start -> session.created; configure_ms: -> session.updated.

    model: as the service names it, "" if it does not.
    """

    session_id: str
    open_ms: float
    configure_ms: float
    held_audio_ms: int  # caller audio that waited for it and is sent now
    lost_audio_ms: int = 0  # caller audio that waited too long, the oldest
    model: str = ""


class UpstreamReplaced(LogEvent, frozen=True, kw_only=True, tag="upstream.replaced"):
    """Another session has taken the place of one whose time was running out, or that was lost."""


class UpstreamFailed(LogEvent, frozen=True, kw_only=True, tag="upstream.failed"):
    """OpenAI cannot be reached, or refused us."""

    detail: str
    status: int | None = None
    code: str | None = None


class CallerSpoke(LogEvent, frozen=True, kw_only=True, tag="turn.caller_began"):
    """OpenAI heard the caller begin."""

    item_id: str


class CallerFellSilent(LogEvent, frozen=True, kw_only=True, tag="turn.caller_ended"):
    """OpenAI heard the caller end; the answer's clock starts."""

    item_id: str


class AnswerBegan(LogEvent, frozen=True, kw_only=True, tag="turn.answer_began"):
    """The first audio of a response has been queued for the caller."""

    response_id: str
    item_id: str
    model_ms: float  # caller_ended (or the request to speak) -> first audio delta
    relay_ms: float = 0.0  # delta read -> queued for Twilio


class AnswerSounded(LogEvent, frozen=True, kw_only=True, tag="turn.answer_sounded"):
    """The first mark of a response came back."""

    response_id: str
    playout_ms: float  # how much later than sent its audio sounded, echo's way back included


class BargedIn(LogEvent, frozen=True, kw_only=True, tag="turn.barged_in"):
    """The caller spoke over the agent, and the agent was stopped."""

    item_id: str
    heard_ms: int  # of this item, when the caller began to speak
    unheard_ms: int  # of all items together, sent but cleared
    truncate_error_bound_ms: int = 0  # how far off heard_ms, of each item that was cut, may be
    clear_ms: float = 0.0  # speech_started decoded -> clear queued for Twilio


class MarkEchoed(LogEvent, frozen=True, kw_only=True, tag="playout.mark_echoed"):
    """A mark of the present generation came back."""

    name: str


class AgentHeard(LogEvent, frozen=True, kw_only=True, tag="turn.agent_heard"):
    """How much of one item the caller heard. words: the whole words of it, None if the model did not say.

    was_cut: more was due than was heard. Where a cut falls in the words is an estimate that rather names too few.
    """

    private: ClassVar[tuple[str, ...]] = ("words",)
    item_id: str
    heard_ms: int
    generated_ms: int
    words: str | None = None
    was_cut: bool = False


class CallerTranscribed(LogEvent, frozen=True, kw_only=True, tag="turn.caller_transcribed"):
    """What the caller said."""

    private: ClassVar[tuple[str, ...]] = ("words",)
    item_id: str
    words: str


class KeyPressed(LogEvent, frozen=True, kw_only=True, tag="dtmf.received"):
    """The caller pressed a key."""

    private: ClassVar[tuple[str, ...]] = ("digit",)
    digit: str


class ErrorReceived(LogEvent, frozen=True, kw_only=True, tag="upstream.error_received"):
    """OpenAI reported an error. benign: a race that changes nothing."""

    code: str | None
    param: str | None
    benign: bool


class ResponseEnded(LogEvent, frozen=True, kw_only=True, tag="response.ended"):
    """A response is over. status: completed, cancelled, incomplete, failed."""

    response_id: str
    status: str
    total_tokens: int
    usage: TokenUsage = TokenUsage()


# "detached": the model was told that it goes on in the background.
ToolOutcome = Literal[
    "ok", "error", "timeout", "cancelled", "detached", "invalid_arguments", "unknown_tool", "too_many",
]  # fmt: skip


class ToolCalled(LogEvent, frozen=True, kw_only=True, tag="tool.called"):
    """The model called a tool. arguments: JSON text as the model wrote it."""

    private: ClassVar[tuple[str, ...]] = ("arguments",)
    name: str
    call_id: str
    arguments: str


class ToolFinished(LogEvent, frozen=True, kw_only=True, tag="tool.finished"):
    """A tool call is over for the model, once for each. output: what it was told, "" if nothing."""

    private: ClassVar[tuple[str, ...]] = ("output",)
    name: str
    call_id: str
    duration_ms: int
    outcome: ToolOutcome
    output: str


class ToolEndedLate(LogEvent, frozen=True, kw_only=True, tag="tool.ended_late"):
    """A run that was detached came to its end. output: what nobody was told."""

    private: ClassVar[tuple[str, ...]] = ("output",)
    name: str
    call_id: str
    duration_ms: int
    outcome: ToolOutcome
    output: str


class AskDropped(LogEvent, frozen=True, kw_only=True, tag="response.not_needed"):
    """Something the model was to say was not said: another response said it, or the caller spoke, or it failed."""

    purpose: str
    why: str


class KeyActed(LogEvent, frozen=True, kw_only=True, tag="dtmf.acted"):
    """The caller pressed a key that the persona has an action for."""

    action: str


class LimitsReported(LogEvent, frozen=True, kw_only=True, tag="upstream.limits_reported"):
    """What the OpenAI account may still use."""

    limits: list[realtime.RateLimit]


class CutReconciled(LogEvent, frozen=True, kw_only=True, tag="turn.cut_reconciled"):
    """The clear's echo has told how exact the last cut was: so much more (or less, below 0) was heard than we said."""

    error_ms: int


class MessageIgnored(LogEvent, frozen=True, kw_only=True, tag="message.ignored"):
    """A message was not understood; said once per kind and call, counted always."""

    peer: str
    why: str


class CallEnded(LogEvent, frozen=True, kw_only=True, tag="call.ended"):
    """The call is over; the counts are of the whole call.

    model: of its last session, as the service names it; transcription_model: that wrote down what the caller said, None
    where none was asked to.
    """

    reason: str
    duration_ms: int
    frames_from_caller: int
    audio_ms_to_caller: int
    barge_ins: int
    total_tokens: int  # of all responses
    usage: TokenUsage = TokenUsage()  # the same, by what is priced apart
    model: str = ""
    transcription_model: str | None = None
    transcription_tokens: int = 0
    transcription_s: float = 0.0  # of audio, where the transcription model is paid by time
    ignored: dict[str, int] = {}
    dropped_audio_frames: int = 0
    outcome: str = ""  # what is to become of the caller, as somebody decided during the call


class CallLog(Protocol):
    """Where a call's records go. `offer` must not wait and must not raise."""

    def offer(self, call_sid: str, event: LogEvent) -> None:
        """Take one record."""


_LEVELS: dict[type[LogEvent], int] = {
    MarkEchoed: logging.DEBUG,
    LimitsReported: logging.DEBUG,
    CutReconciled: logging.DEBUG,
    StartRefused: logging.WARNING,
    UpstreamFailed: logging.WARNING,
}
_logger = structlog.stdlib.get_logger("tautline.call")


def emit(call_sid: str, event: LogEvent) -> None:
    """Write one event as one log line."""
    fields = {name: _readable(value) for name, value in msgspec.structs.asdict(event).items()}
    for name in event.private:
        fields[name] = f"({len(fields[name] or '')} characters)"
    is_benign = isinstance(event, ErrorReceived) and event.benign
    level = logging.DEBUG if is_benign else _LEVELS.get(type(event), logging.INFO)
    _logger.log(level, str(event.__struct_config__.tag), call_sid=call_sid, **fields)


def _readable(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    return round(value, 3) if isinstance(value, float) else value  # nobody reads picoseconds

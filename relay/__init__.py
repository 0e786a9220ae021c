"""The media plane: pure call logic and, apart from it, the sockets that drive it."""

from relay.bargein import BargeInPolicy
from relay.budget import TokenBudget
from relay.client_address import Networks, client_address
from relay.door import MEDIA_PATH, Door, Entry, ReplayedStream
from relay.gate import TokenGate
from relay.keypad import KeyPolicy
from relay.log import (
    AgentHeard,
    AnswerBegan,
    AnswerSounded,
    AskDropped,
    BargedIn,
    CallEnded,
    CallerFellSilent,
    CallerSpoke,
    CallerTranscribed,
    CallLog,
    CallStarted,
    CutReconciled,
    ErrorReceived,
    KeyActed,
    KeyPressed,
    LimitsReported,
    LogEvent,
    MarkEchoed,
    MessageIgnored,
    ResponseEnded,
    StartRefused,
    ToolCalled,
    ToolEndedLate,
    ToolFinished,
    UpstreamFailed,
    UpstreamReady,
    UpstreamReplaced,
    emit,
)
from relay.opening import Arrival
from relay.patience import Limits as CallLimits
from relay.patience import SilencePolicy
from relay.persona import Persona, SemanticVad, ServerVad, takes_reasoning
from relay.privacy import Privacy
from relay.pump import Pump
from relay.recorder import Capture
from relay.rendering import MAX_TEXT_CHARACTERS as MAX_RENDERED_CHARACTERS
from relay.rendering import VERSION as RENDERING_VERSION
from relay.rendering import Connect as ConnectLine
from relay.rendering import RenderingError, render_speech
from relay.seats import Limits, Seats
from relay.spares import SpareConnections
from relay.standard_tools import end_call, get_time
from relay.stream_token import TOKEN_PARAMETER, Direction, issue_stream_token
from relay.switchboard import Switchboard
from relay.tools import Tool, ToolBox, ToolContext, ToolResult
from relay.totals import Totals, counted, merged
from relay.upstream import Upstream, connect_upstream, open_stream_line, open_upstream
from relay.usage import TokenUsage

__all__ = [
    "MAX_RENDERED_CHARACTERS",
    "MEDIA_PATH",
    "RENDERING_VERSION",
    "TOKEN_PARAMETER",
    "AgentHeard",
    "AnswerBegan",
    "AnswerSounded",
    "Arrival",
    "AskDropped",
    "BargeInPolicy",
    "BargedIn",
    "CallEnded",
    "CallLimits",
    "CallLog",
    "CallStarted",
    "CallerFellSilent",
    "CallerSpoke",
    "CallerTranscribed",
    "Capture",
    "ConnectLine",
    "CutReconciled",
    "Direction",
    "Door",
    "Entry",
    "ErrorReceived",
    "KeyActed",
    "KeyPolicy",
    "KeyPressed",
    "Limits",
    "LimitsReported",
    "LogEvent",
    "MarkEchoed",
    "MessageIgnored",
    "Networks",
    "Persona",
    "Privacy",
    "Pump",
    "RenderingError",
    "ReplayedStream",
    "ResponseEnded",
    "Seats",
    "SemanticVad",
    "ServerVad",
    "SilencePolicy",
    "SpareConnections",
    "StartRefused",
    "Switchboard",
    "TokenBudget",
    "TokenGate",
    "TokenUsage",
    "Tool",
    "ToolBox",
    "ToolCalled",
    "ToolContext",
    "ToolEndedLate",
    "ToolFinished",
    "ToolResult",
    "Totals",
    "Upstream",
    "UpstreamFailed",
    "UpstreamReady",
    "UpstreamReplaced",
    "client_address",
    "connect_upstream",
    "counted",
    "emit",
    "end_call",
    "get_time",
    "issue_stream_token",
    "merged",
    "open_stream_line",
    "open_upstream",
    "render_speech",
    "takes_reasoning",
]

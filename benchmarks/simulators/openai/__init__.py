"""A stand-in for the OpenAI Realtime API: its WebSocket protocol, spoken by a scripted model.

It shares no WebSocket and no message parser with the relay, on purpose: what proves that the relay speaks the protocol
must have learnt it elsewhere. From the outside in:

    server, handshake, control, capture    the port: who comes in, what is asked and told beside the sessions
    connection                             one socket and its session; all I/O is up to here
    session, turns, responding, mcp        one realtime session: client events and the time in, messages out
    stage                                  what these share: the timeline, and the way out, where faults are
    responses, outputs, usage              one response, its output items, what they cost
    conversation, items, input_audio, vad  what is remembered, and how the caller is heard
    session_config, session_fields, client_events, checks, ids, audio, events
    config, script                         what is set before: knobs, faults, and what the model does

docs/simulator-openai.md says what it can do, and which behaviour is recorded, documented or guessed.

    port = await nursery.start(serve, SimulatorConfig(script=Script(steps=(Reply("menu"),))))
"""

from benchmarks.simulators.openai.config import (
    Faults,
    Knobs,
    Observer,
    SimulatorConfig,
    changed,
    changes_from_pairs,
    configured,
    knobs_from_json,
)
from benchmarks.simulators.openai.control import Desk, Order
from benchmarks.simulators.openai.events import (
    Close,
    Direction,
    Disturbance,
    Drop,
    Incident,
    Json,
    SendError,
    SendEvent,
    SendOversized,
    SendText,
    Stall,
)
from benchmarks.simulators.openai.script import (
    Bill,
    Fail,
    FailedTranscription,
    Incomplete,
    McpApproval,
    McpCall,
    McpServer,
    McpTool,
    Reply,
    Script,
    Several,
    Silence,
    Step,
    ToolCall,
)
from benchmarks.simulators.openai.server import Simulator, serve, serve_stream
from benchmarks.simulators.openai.session import Session
from benchmarks.simulators.openai.stage import Message, frame

__all__ = [
    "Bill",
    "Close",
    "Desk",
    "Direction",
    "Disturbance",
    "Drop",
    "Fail",
    "FailedTranscription",
    "Faults",
    "Incident",
    "Incomplete",
    "Json",
    "Knobs",
    "McpApproval",
    "McpCall",
    "McpServer",
    "McpTool",
    "Message",
    "Observer",
    "Order",
    "Reply",
    "Script",
    "SendError",
    "SendEvent",
    "SendOversized",
    "SendText",
    "Session",
    "Several",
    "Silence",
    "Simulator",
    "SimulatorConfig",
    "Stall",
    "Step",
    "ToolCall",
    "changed",
    "changes_from_pairs",
    "configured",
    "frame",
    "knobs_from_json",
    "serve",
    "serve_stream",
]

"""A stand-in for the OpenAI Realtime API: its WebSocket protocol, spoken by a scripted model.

It shares no parser with the relay, on purpose: what proves that the relay speaks the protocol must have learnt it
elsewhere. A connection (`server`, `handshake`, `connection`) drives a session that knows neither socket nor clock
(`session`, with `conversation`, `input_audio`, `vad`, `responses`, `outputs`, `timeline`); what the model does is a
`script`.

    port = await nursery.start(serve, SimulatorConfig(script=Script(steps=(Reply("menu"),))))
"""

from benchmarks.simulators.openai.config import Observer, SimulatorConfig
from benchmarks.simulators.openai.events import Direction, Json
from benchmarks.simulators.openai.script import Fail, Incomplete, Reply, Script, Several, Silence, Step, ToolCall
from benchmarks.simulators.openai.server import serve, serve_stream

__all__ = [
    "Direction",
    "Fail",
    "Incomplete",
    "Json",
    "Observer",
    "Reply",
    "Script",
    "Several",
    "Silence",
    "SimulatorConfig",
    "Step",
    "ToolCall",
    "serve",
    "serve_stream",
]

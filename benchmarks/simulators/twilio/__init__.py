"""A Twilio that calls any relay: webhook, TwiML, Media Streams, a caller who speaks, and an exact ear.

`place_call` is the whole of it: hand it options and a caller, get a report.
"""

from benchmarks.simulators.twilio.call import place_call, run_stream
from benchmarks.simulators.twilio.caller import (
    Action,
    AfterHearing,
    AfterSilence,
    At,
    Caller,
    Conversation,
    Digits,
    HangUp,
    Recording,
    Utterance,
)
from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.events import (
    AgentHeard,
    CallerSilent,
    CallerSpeaking,
    Cleared,
    Ended,
    Event,
    KeyPressed,
    MarkEchoed,
    MarkReceived,
    Observer,
    StreamStarted,
)
from benchmarks.simulators.twilio.options import CallOptions
from benchmarks.simulators.twilio.playout import Playout
from benchmarks.simulators.twilio.report import CallReport, EndedBy, StreamWarning

__all__ = [
    "Action",
    "AfterHearing",
    "AfterSilence",
    "AgentHeard",
    "At",
    "CallOptions",
    "CallProblemError",
    "CallReport",
    "Caller",
    "CallerSilent",
    "CallerSpeaking",
    "Cleared",
    "Conversation",
    "Digits",
    "Ended",
    "EndedBy",
    "Event",
    "HangUp",
    "KeyPressed",
    "MarkEchoed",
    "MarkReceived",
    "Observer",
    "Playout",
    "Recording",
    "StreamStarted",
    "StreamWarning",
    "Utterance",
    "place_call",
    "run_stream",
]

"""A Twilio that calls any relay: webhook, TwiML, Media Streams, a caller who speaks, and an exact ear.

`place_call` is most of it: hand it options and a caller, get a report.
"""

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
from benchmarks.simulators.twilio.network import Network, Span
from benchmarks.simulators.twilio.options import (
    CallOptions,
    Delivery,
    MachineDetection,
    RecordingSettings,
    StatusEvent,
)
from benchmarks.simulators.twilio.people import AnsweredBy, Callee, PhoneBook, Queue, QueueResult
from benchmarks.simulators.twilio.place import place_call, run_stream
from benchmarks.simulators.twilio.playout import Playout
from benchmarks.simulators.twilio.recordings import Recordings, StoredRecording
from benchmarks.simulators.twilio.report import CallReport, DialReport, EndedBy, RecordingReport, StreamWarning
from benchmarks.simulators.twilio.rest import Account, Faults
from benchmarks.simulators.twilio.simulator import TwilioSimulator, open_twilio

__all__ = [
    "Account",
    "Action",
    "AfterHearing",
    "AfterSilence",
    "AgentHeard",
    "AnsweredBy",
    "At",
    "CallOptions",
    "CallProblemError",
    "CallReport",
    "Callee",
    "Caller",
    "CallerSilent",
    "CallerSpeaking",
    "Cleared",
    "Conversation",
    "Delivery",
    "DialReport",
    "Digits",
    "Ended",
    "EndedBy",
    "Event",
    "Faults",
    "HangUp",
    "KeyPressed",
    "MachineDetection",
    "MarkEchoed",
    "MarkReceived",
    "Network",
    "Observer",
    "PhoneBook",
    "Playout",
    "Queue",
    "QueueResult",
    "Recording",
    "RecordingReport",
    "RecordingSettings",
    "Recordings",
    "Span",
    "StatusEvent",
    "StoredRecording",
    "StreamStarted",
    "StreamWarning",
    "TwilioSimulator",
    "Utterance",
    "open_twilio",
    "place_call",
    "run_stream",
]

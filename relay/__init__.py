"""The media plane: pure call logic and, apart from it, the sockets that drive it."""

from relay.door import MEDIA_PATH, Door, Entry, ReplayedStream
from relay.log import CallLog, LogEvent, emit
from relay.persona import Persona, ServerVad
from relay.pump import Pump
from relay.recorder import Capture
from relay.switchboard import Switchboard
from relay.totals import Totals
from relay.upstream import Upstream, open_stream_line, open_upstream

__all__ = [
    "MEDIA_PATH",
    "CallLog",
    "Capture",
    "Door",
    "Entry",
    "LogEvent",
    "Persona",
    "Pump",
    "ReplayedStream",
    "ServerVad",
    "Switchboard",
    "Totals",
    "Upstream",
    "emit",
    "open_stream_line",
    "open_upstream",
]

"""Both conformance lists as a black-box test: what any server must show on its wire, asked of it over a real socket.

`check` is the shape of one check and runs a list of them; `wire` is a raw WebSocket end. On top of these stand two
lists that know nothing of each other: `openai_checks`, a strict client of a Realtime server, and `relay_checks`, which
holds both outer ends of a relay. Nothing here reads a message with the relay's own parsers: what judges must have
learnt the protocol elsewhere.
"""

from benchmarks.conformance.check import Result
from benchmarks.conformance.openai_checks import check_openai
from benchmarks.conformance.relay_call import Upstream
from benchmarks.conformance.relay_checks import check_relay
from benchmarks.conformance.report import Report, as_json, as_table, exit_code
from benchmarks.conformance.wire import UnreachableError

__all__ = [
    "Report",
    "Result",
    "UnreachableError",
    "Upstream",
    "as_json",
    "as_table",
    "check_openai",
    "check_relay",
    "exit_code",
]

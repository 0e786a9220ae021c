"""How an outbound call begins: it waits its turn, rings, is answered or not, and may be listened to for a machine."""

from collections.abc import Callable

import trio

from benchmarks.simulators.twilio import machines
from benchmarks.simulators.twilio.dialling import ring_out
from benchmarks.simulators.twilio.leg import Leg
from benchmarks.simulators.twilio.people import AnsweredBy, Callee
from benchmarks.simulators.twilio.progress import CallStatus

Found = Callable[[AnsweredBy], None]


async def ring(leg: Leg, callee: Callee, *, queue_s: float, given_up: trio.Event) -> CallStatus | None:
    """Let it ring: None once somebody picks up, else how the call ends.

    Args: queue_s, how long it waits before; given_up, set when a REST request ends it before the answer.
    """
    if await _is_set_within(queue_s, given_up):
        return "canceled"
    leg.progress.move("initiated", "initiated", trio.current_time())
    leg.progress.move("ringing", "ringing", trio.current_time())
    ringing = ring_out([callee], leg.options.ring_timeout_s)
    if await _is_set_within(ringing.ends_after_s, given_up):
        return "canceled"
    return None if ringing.winner is not None else ringing.status


async def detect_machine(leg: Leg, callee: Callee, found: Found) -> dict[str, str]:
    """Find out who answered: what the first request says about it, nothing if it is found out beside the call."""
    detection = leg.options.machine_detection
    if detection is None:
        return {}
    finding = machines.find(callee, detection)
    if detection.is_async:
        leg.nursery.start_soon(_detect_beside, leg, finding, found)
        return {}
    with leg.phone.in_use():
        await leg.phone.wait(finding.after_s)
    found(finding.answered_by)
    return {"AnsweredBy": finding.answered_by}


async def _detect_beside(leg: Leg, finding: machines.Finding, found: Found) -> None:
    """Also if the call is over by then."""
    await trio.sleep(finding.after_s)
    found(finding.answered_by)
    callback = machines.callback(leg.options.machine_detection, finding, leg.identity)
    if callback is not None:
        leg.courier.fire(callback)


async def _is_set_within(seconds: float, event: trio.Event) -> bool:
    with trio.move_on_after(seconds):
        await event.wait()
    return event.is_set()

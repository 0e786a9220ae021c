"""`<Enqueue>`: wait in a queue until somebody takes the call, the caller gives up, or the queue ends it."""

from typing import Final

from benchmarks.simulators.twilio import twiml
from benchmarks.simulators.twilio.dialling import bridge
from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.leg import Leg, Outcome
from benchmarks.simulators.twilio.people import Queue, QueueResult
from benchmarks.simulators.twilio.report import EndedBy
from benchmarks.simulators.twilio.verbs import Enqueue, Say

FOREVER_S: Final = 86_400.0  # the longest that a call can last


async def enqueue(leg: Leg, verb: Enqueue) -> Outcome:
    """Wait, talk to the agent if one comes, and tell the action what became of it."""
    queue = leg.options.queues.get(verb.name, Queue())
    sid = leg.sids.next("QU")
    if verb.wait_url is not None:
        await _ask_wait_url(leg, verb, sid)
    waits_s = 0.0 if queue.result == "queue-full" else FOREVER_S if queue.wait_s is None else queue.wait_s
    began_ms = leg.record.at_ms(leg.now)
    with leg.phone.in_use():
        await leg.phone.wait(waits_s)
        waited_ms = leg.record.at_ms(leg.now) - began_ms
        result = _result(queue, leg.phone.left_by, is_talking=False)
        if result == "bridged":
            await bridge(leg, queue.agent(), time_limit_s=FOREVER_S)
            result = _result(queue, leg.phone.left_by, is_talking=True)
    leg.record.queued.append(f"{verb.name}: {result}")
    fields = {"QueueResult": result, "QueueSid": sid, "QueueTime": str(round(waited_ms / 1000))}
    return await leg.ask_or_follow(verb.action, verb.method, fields)


def _result(queue: Queue, left_by: EndedBy | None, *, is_talking: bool) -> QueueResult:
    """A caller who leaves while talking to the agent was bridged all the same; one who is taken away was not only."""
    match left_by:
        case None:
            return queue.result
        case "redirected":
            return "redirected-from-bridged" if is_talking else "redirected"
        case _:
            return "bridged" if is_talking else "hangup"


async def _ask_wait_url(leg: Leg, verb: Enqueue, sid: str) -> None:
    """Ask what to play meanwhile. Its texts are put on record, not played in time."""
    fields = {"QueueSid": sid, "QueuePosition": "1", "QueueTime": "0", "AvgQueueTime": "0", "CurrentQueueSize": "1"}
    try:
        document = await leg.webhooks.ask(verb.wait_url or "", verb.wait_method, "in-progress", fields)
        verbs = twiml.parse(document, verb.wait_url or "")
    except CallProblemError as problem:
        leg.warn(problem)
        return
    leg.record.said += [each.text for each in verbs if isinstance(each, Say)]

"""`<Dial>`: ring staff, connect whoever answers first, tell what came of it. And `bridge`, two people on one line.

Who answers and when is decided at the first ring, by `ring_out`, pure.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import trio

from benchmarks.simulators.twilio.caller import Caller
from benchmarks.simulators.twilio.leg import Leg, Outcome
from benchmarks.simulators.twilio.level import is_speech
from benchmarks.simulators.twilio.people import Callee, look_up
from benchmarks.simulators.twilio.phone import SILENT_FRAME, frames_in
from benchmarks.simulators.twilio.progress import CallStatus, Progress, Subscription
from benchmarks.simulators.twilio.report import DialReport
from benchmarks.simulators.twilio.verbs import Dial, Target
from proto import mulaw

Unreached = Literal["busy", "no-answer", "failed"]


class Ringing(msgspec.Struct, frozen=True):
    """What ringing comes to: after so long, this target answers, or none does and the status says why."""

    ends_after_s: float
    winner: int | None
    status: Unreached = "no-answer"


def ring_out(callees: Sequence[Callee], timeout_s: float) -> Ringing:
    """Ring them all at once. The first to answer wins; a time-out ends it, and so does the last refusal."""
    answers = [(callee.after_s, n) for n, callee in enumerate(callees) if callee.does == "answers"]
    if answers and min(answers)[0] <= timeout_s:
        return Ringing(*min(answers))
    refusals: list[tuple[float, Unreached]] = [
        (callee.after_s, callee.does) for callee in callees if callee.does == "busy" or callee.does == "failed"
    ]
    if len(refusals) == len(callees) and max(refusals)[0] <= timeout_s:
        return Ringing(max(refusals)[0], None, max(refusals)[1])
    return Ringing(timeout_s, None)


class Conversing:
    """Two people on one line. Attributes: heard, what the second one heard; their_heard_ms and our_heard_ms, of
    speech, by the second one and by the caller."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.their_heard_ms = 0
        self.our_heard_ms = 0

    @property
    def duration_ms(self) -> int:
        return mulaw.duration_ms(len(self.heard))


async def bridge(leg: Leg, person: Caller, *, time_limit_s: float, hangup_on_star: bool = False) -> Conversing:
    """Let the caller and somebody else talk until one of them, or time, ends it. Inside `phone.in_use`."""
    talk = Conversing()
    theirs = SILENT_FRAME
    for n in range(frames_in(time_limit_s)):
        ours = await leg.phone.tick(theirs)
        talk.our_heard_ms += mulaw.FRAME_MS * is_speech(theirs)
        talk.their_heard_ms += mulaw.FRAME_MS * is_speech(ours)
        talk.heard += ours
        heard_ms = talk.duration_ms
        theirs = person.frame(n * mulaw.FRAME_MS, hearing=is_speech(ours), heard_ms=heard_ms) or SILENT_FRAME
        starred = hangup_on_star and "*" in leg.phone.take_keys()
        if leg.phone.left_by is not None or person.hung_up or starred:
            break
    return talk


async def dial(leg: Leg, verb: Dial, answer: Callable[[], None]) -> Outcome:
    """Dial and, if somebody answers, connect. answer: called when the caller is connected at the latest."""
    if not verb.answer_on_bridge:
        answer()
    legs = [_ChildLeg(leg, verb, target) for target in verb.targets]
    ringing = ring_out([child.callee for child in legs], verb.timeout_s)
    with leg.phone.in_use():
        await leg.phone.wait(ringing.ends_after_s)
    if leg.phone.left_by is not None or ringing.winner is None:
        status: CallStatus = "canceled" if leg.phone.left_by is not None else ringing.status
        for child in legs:
            child.end(child.status_unreached(status), Conversing())
        return await _go_on(leg, verb, status, legs[0], Conversing())
    answer()
    return await _talk(leg, verb, legs, legs[ringing.winner])


async def _talk(leg: Leg, verb: Dial, legs: Sequence["_ChildLeg"], winner: "_ChildLeg") -> Outcome:
    for child in legs:
        if child is not winner:
            child.end("canceled", Conversing())
    winner.progress.move("answered", "in-progress", trio.current_time())
    with leg.phone.in_use():
        talk = await bridge(
            leg, winner.callee.person(), time_limit_s=verb.time_limit_s, hangup_on_star=verb.hangup_on_star
        )
    winner.end("completed", talk)
    return await _go_on(leg, verb, "completed", winner, talk)


async def _go_on(leg: Leg, verb: Dial, status: CallStatus, child: "_ChildLeg", talk: Conversing) -> Outcome:
    fields = {"DialCallStatus": status, "DialCallSid": child.sid, "DialBridged": str(bool(talk.heard)).lower()}
    if talk.heard:
        fields["DialCallDuration"] = str(round(talk.duration_ms / 1000))
    return await leg.ask_or_follow(verb.action, verb.method, fields)


class _ChildLeg:
    """One number that rings."""

    def __init__(self, leg: Leg, verb: Dial, target: Target) -> None:
        self.sid = leg.sids.next("CA")
        self.callee = look_up(leg.options.phone_book, target.number)
        self._leg, self._target = leg, target
        self._caller_id = verb.caller_id or leg.options.from_number
        wanted = target.status_callback
        subscription = wanted and Subscription(wanted, target.status_callback_method, target.status_callback_events)
        self.progress = Progress("initiated", subscription or None, leg.courier, leg.wall, self._fields)
        now = trio.current_time()
        self.progress.move("initiated", "initiated", now)
        self.progress.move("ringing", "ringing", now)

    def status_unreached(self, status: CallStatus) -> CallStatus:
        """What became of this one, when nobody was reached."""
        does = self.callee.does
        return does if status != "canceled" and does in ("busy", "failed") else status

    def end(self, status: CallStatus, talk: Conversing) -> None:
        """This leg is over: tell it and put it on the record."""
        self.progress.end(status, talk.duration_ms / 1000, trio.current_time())
        report = DialReport(
            number=self._target.number,
            call_sid=self.sid,
            status=status,
            duration_ms=talk.duration_ms,
            staff_heard_ms=talk.their_heard_ms,
            caller_heard_ms=talk.our_heard_ms,
        )
        report.__dict__["heard_track_"] = bytes(talk.heard)
        self._leg.record.dials.append(report)

    def _fields(self, status: CallStatus) -> dict[str, str]:
        number = self._target.number
        return self._leg.webhooks.fields(status) | {
            "CallSid": self.sid,
            "ParentCallSid": self._leg.identity.call_sid,
            "From": self._caller_id,
            "Caller": self._caller_id,
            "To": number,
            "Called": number,
            "Direction": "outbound-dial",
        }

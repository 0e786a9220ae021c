"""Answering machine detection: what it finds, when, and the callback of its asynchronous kind. Pure."""

import msgspec

from benchmarks.simulators.twilio.callbacks import Callback
from benchmarks.simulators.twilio.options import MachineDetection
from benchmarks.simulators.twilio.people import AnsweredBy, Callee
from benchmarks.simulators.twilio.webhook import CallIdentity


class Finding(msgspec.Struct, frozen=True):
    """Who answered, and how long it took to find out."""

    answered_by: AnsweredBy
    after_s: float


def find(callee: Callee, detection: MachineDetection) -> Finding:
    """What this detection makes of this callee. Only one that waits for the message's end tells how it ended."""
    if callee.detected_after_s > detection.timeout_s:
        return Finding("unknown", detection.timeout_s)
    answered_by = callee.answered_by
    if answered_by.startswith("machine_end") and detection.mode == "Enable":
        answered_by = "machine_start"
    elif answered_by == "machine_start" and detection.mode == "DetectMessageEnd":
        answered_by = "machine_end_beep"
    return Finding(answered_by, callee.detected_after_s)


def callback(detection: MachineDetection | None, finding: Finding, identity: CallIdentity) -> Callback | None:
    """The one callback of the asynchronous kind, if anybody wants it."""
    if detection is None or detection.callback_url is None:
        return None
    fields = {
        "CallSid": identity.call_sid,
        "AccountSid": identity.account_sid,
        "AnsweredBy": finding.answered_by,
        "MachineDetectionDuration": str(round(finding.after_s * 1000)),
    }
    return Callback("machine", detection.callback_url, detection.callback_method, fields)

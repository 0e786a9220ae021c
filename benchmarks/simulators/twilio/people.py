"""Who can be called: staff behind `<Dial>`, agents behind `<Enqueue>`, and whoever an outbound call rings."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from benchmarks.simulators.twilio.caller import Caller, Recording

AnsweredBy = Literal[
    "human", "fax", "unknown", "machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other"
]
QueueResult = Literal[
    "bridged",
    "bridging-in-process",
    "error",
    "hangup",
    "leave",
    "redirected",
    "redirected-from-bridged",
    "queue-full",
    "system-error",
]


def silent_person() -> Caller:
    """Somebody who picks up, says nothing and stays on the line."""
    return Recording(b"")


class Callee(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody at a number: what happens when it rings."""

    does: Literal["answers", "busy", "no-answer", "failed"] = "answers"
    after_s: float = 2.0  # of ringing until they answer, or until the network says busy or failed
    person: Callable[[], Caller] = silent_person  # who speaks then; a new one for each call
    answered_by: AnsweredBy = "human"  # what machine detection finds
    detected_after_s: float = 3.0  # from the answer


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue that callers are put into with `<Enqueue>`."""

    wait_s: float | None = None  # until the result comes about; None: nobody ever comes
    result: QueueResult = "bridged"
    agent: Callable[[], Caller] = silent_person  # who takes a bridged call


PhoneBook = Mapping[str, Callee]  # by number; "*" is everybody else
UNKNOWN_NUMBER: Final = Callee(does="failed", after_s=0.5)


def look_up(book: PhoneBook, number: str) -> Callee:
    """Who is at this number; a number that nobody has cannot be reached."""
    return book.get(number) or book.get("*", UNKNOWN_NUMBER)

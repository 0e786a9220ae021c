"""A stream before its call: whatever comes instead of a `start`, it ends once, in time, and asks for nothing."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import twilio
from relay.events import Abort, Command, EndReason, Event, HangUp, Malformed, SocketClosed, StartRefused, Timeout
from relay.log import CallEnded, LogEvent
from relay.log import StartRefused as RefusalTold
from relay.opening import START_WITHIN_S, Opening
from relay.unusable import MAX_MALFORMED_IN_A_ROW

NOW = 100.0
FRAME = twilio.Media("MZ1", twilio.MediaBody(b"\xff" * 160))
GARBAGE = Malformed("twilio", "", "not JSON")
NEUTRAL: list[Event] = [
    twilio.Connected(),
    FRAME,
    twilio.Mark("", twilio.MarkBody("g0.1")),
    twilio.Dtmf("MZ1", twilio.DtmfBody("7")),
    twilio.Stop("MZ1"),
    twilio.Unhandled("video"),
    GARBAGE,
    Timeout(),
]
ENDS: list[tuple[Event, EndReason, int]] = [
    (SocketClosed("twilio", 1000), "twilio_closed", 1000),
    (SocketClosed("twilio", 1006), "twilio_closed", 1000),
    (SocketClosed("twilio", 1009), "garbage", 1000),
    (Malformed("twilio", "start", "no streamSid"), "bad_start", 1008),
    (StartRefused("token_used", "CA1"), "not_admitted", 1008),
    (Abort("shutdown"), "shutdown", 1001),
    (Abort("slow_consumer"), "slow_consumer", 1011),
]


def told(opening: Opening, *events: Event, now: float = NOW) -> list[Command]:
    return [command for event in events for command in opening.handle(event, now)]


def ends(commands: list[Command]) -> list[tuple[EndReason, int]]:
    return [(command.reason, command.code) for command in commands if isinstance(command, HangUp)]


@pytest.mark.parametrize(("event", "reason", "code"), ENDS)
def test_what_ends_a_stream_that_has_not_begun(event: Event, reason: EndReason, code: int) -> None:
    commands = told(opening := Opening(NOW), event, now=NOW + 1.5)
    assert ends(commands) == [(reason, code)]
    (ended,) = (command for command in commands if isinstance(command, CallEnded))
    assert (ended.reason, ended.duration_ms, ended.frames_from_caller) == (reason, 1500, 0)
    assert opening.deadline == inf


def test_after_ten_seconds_without_a_start_it_is_over() -> None:
    opening = Opening(NOW)
    assert opening.deadline == NOW + START_WITHIN_S == NOW + 10
    assert told(opening, Timeout(), now=opening.deadline - 0.001) == []
    assert ends(told(opening, Timeout(), now=opening.deadline)) == [("start_timeout", 1008)]


def test_a_refusal_is_told_without_being_believed() -> None:
    refused, *_ = told(Opening(NOW), StartRefused("token_forged", "CA1"))
    assert refused == RefusalTold(reason="token_forged", claimed_call_sid="CA1")


def test_nothing_but_garbage_ends_it_and_something_readable_between_does_not() -> None:
    opening = Opening(NOW)
    row = [GARBAGE] * (MAX_MALFORMED_IN_A_ROW - 1)
    assert ends(told(opening, *row, twilio.Connected(), *row)) == []
    assert ends(told(opening, GARBAGE)) == [("garbage", 1007)]


def test_what_comes_too_early_is_counted_and_told_of_once() -> None:
    opening = Opening(NOW)
    commands = told(opening, FRAME, FRAME, twilio.Unhandled("video"))
    assert opening.ignored == {"twilio.media_before_start": 2, "twilio.unknown_event": 1}
    assert len(commands) == 2
    last = told(opening, SocketClosed("twilio", 1000))[0]
    assert isinstance(last, CallEnded)
    assert last.ignored == dict(opening.ignored)


@given(st.lists(st.sampled_from([*NEUTRAL, *(event for event, _, _ in ENDS)]), max_size=40), st.floats(0, 0.5))
@settings(deadline=None)
def test_whatever_comes_it_ends_at_most_once_and_only_speaks_to_the_log(events: list[Event], step_s: float) -> None:
    opening, commands = Opening(NOW), list[Command]()
    for number, event in enumerate(events):
        commands += told(opening, event, now=NOW + number * step_s)
    assert all(isinstance(command, LogEvent | HangUp) for command in commands)
    assert len(ends(commands)) <= 1
    assert ends(commands) == [] or isinstance(commands[-1], HangUp)
    assert (opening.deadline == inf) == bool(ends(commands))

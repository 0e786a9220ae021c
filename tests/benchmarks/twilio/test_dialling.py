"""Transfers: who answers, what the action is told, and what the two hear of each other; and queues."""

from typing import TYPE_CHECKING

import msgspec
import pytest
from trio.testing import MockClock

from benchmarks.simulators.twilio import (
    AfterSilence,
    At,
    Callee,
    CallOptions,
    CallReport,
    Conversation,
    Digits,
    HangUp,
    Queue,
    QueueResult,
    Recording,
    Utterance,
)
from benchmarks.simulators.twilio.dialling import ring_out
from benchmarks.simulators.twilio.people import look_up
from tests.benchmarks.twilio.application import BASE, OPTIONS, Application, call, speech

if TYPE_CHECKING:  # at run time pytest hands these over
    from tests.benchmarks.twilio.conftest import FakeRelay

STAFF = "+15550002"
DIAL = f'<Dial action="/after" timeout="10">{STAFF}</Dial><Say>Next verb.</Say>'


def talking(ms: int = 1000, *, hang_up_ms: int = 2980) -> Recording:
    return Recording(speech(ms), actions=[HangUp(hang_up_ms)])


def options(**book: Callee) -> CallOptions:
    numbers = {"staff": STAFF, "other": "+15550003"}
    return msgspec.structs.replace(OPTIONS, phone_book={numbers[name]: callee for name, callee in book.items()})


async def transfer(
    relay: "FakeRelay", callee: Callee, *, page: str = DIAL, caller: Recording | Conversation | None = None
) -> tuple[CallReport, Application]:
    application = Application({"/voice": page, "/after": "<Hangup/>", "/leg": 204})
    caller = caller or Recording(b"", actions=[HangUp(15_000)])
    return await call(application, relay, caller=caller, options=options(staff=callee)), application


async def test_staff_answers_and_both_hear_each_other(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    caller = Conversation([Utterance(speech(400), AfterSilence(500))], actions=[HangUp(15_000)])
    report, application = await transfer(relay, Callee(after_s=3, person=talking), caller=caller)
    [told] = application.told("/after")
    [dialled] = report.dials
    assert (
        told.items()
        >= {
            "DialCallStatus": "completed",
            "DialCallDuration": "3",
            "DialCallSid": dialled.call_sid,
            "DialBridged": "true",
            "CallStatus": "in-progress",
        }.items()
    )
    assert dialled.call_sid.startswith("CA")
    assert dialled.call_sid != report.call_sid
    assert (dialled.number, dialled.status, dialled.duration_ms) == (STAFF, "completed", 3000)
    assert (dialled.staff_heard_ms, dialled.caller_heard_ms) == (400, 1000)
    assert speech(400) in dialled.heard_track
    assert speech(1000) in report.heard_track
    assert report.said == ()  # with an action the next verb is not reached


async def test_staff_is_told_who_is_calling(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    page = (
        f'<Dial action="/after"><Number statusCallback="/leg" statusCallbackEvent="initiated ringing answered '
        f'completed">{STAFF}</Number></Dial>'
    )
    report, application = await transfer(relay, Callee(person=talking), page=page)
    told = application.told("/leg")
    assert [(each["SequenceNumber"], each["CallStatus"]) for each in told] == [
        ("0", "initiated"),
        ("1", "ringing"),
        ("2", "in-progress"),
        ("3", "completed"),
    ]
    assert (
        told[0].items()
        >= {
            "CallSid": report.dials[0].call_sid,
            "ParentCallSid": report.call_sid,
            "Direction": "outbound-dial",
            "From": OPTIONS.from_number,
            "To": STAFF,
        }.items()
    )
    assert told[3]["CallDuration"] == "3"


async def test_a_caller_id_of_ones_own_is_shown_instead(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    page = f'<Dial callerId="+15559999"><Number statusCallback="/leg">{STAFF}</Number></Dial>'
    _, application = await transfer(relay, Callee(person=talking), page=page)
    assert application.told("/leg")[0]["From"] == "+15559999"


@pytest.mark.parametrize(
    ("callee", "status", "after_s"),
    [
        (Callee(does="busy", after_s=1), "busy", 1),
        (Callee(does="failed", after_s=2), "failed", 2),
        (Callee(does="no-answer"), "no-answer", 10),
        (Callee(after_s=11), "no-answer", 10),
    ],
)
async def test_staff_that_is_not_reached_is_told_with_the_reason(
    autojump_clock: MockClock, relay: "FakeRelay", callee: Callee, status: str, after_s: float
) -> None:
    report, application = await transfer(relay, callee)
    [told] = application.told("/after")
    assert (told["DialCallStatus"], told["DialBridged"]) == (status, "false")
    assert "DialCallDuration" not in told
    assert application.requests[-1].at_s == pytest.approx(after_s)
    assert [each.status for each in report.dials] == [status]


async def test_an_unknown_number_fails(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    _, application = await transfer(relay, Callee(), page='<Dial action="/after">+15550009</Dial>')
    assert application.told("/after")[0]["DialCallStatus"] == "failed"


async def test_without_an_action_the_next_verb_follows(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    report, application = await transfer(
        relay, Callee(does="busy"), page=f"<Dial>{STAFF}</Dial><Say>Nobody is there.</Say>"
    )
    assert (report.said, application.paths) == (("Nobody is there.",), ["/voice"])


async def test_a_caller_who_hangs_up_while_it_rings_cancels_it(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    caller = Recording(b"", actions=[HangUp(980)])
    report, application = await transfer(relay, Callee(after_s=5), caller=caller)
    assert application.told("/after")[0]["DialCallStatus"] == "canceled"
    assert (report.ended_by, report.dials[0].status) == ("caller", "canceled")


async def test_a_caller_who_hangs_up_on_staff_ends_the_call(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    caller = Recording(b"", actions=[HangUp(3980)])
    report, application = await transfer(relay, Callee(after_s=2), caller=caller)
    told = application.told("/after")[0]
    assert (told["DialCallStatus"], told["DialCallDuration"]) == ("completed", "2")
    assert (report.ended_by, report.dials[0].duration_ms) == ("caller", 2000)


async def test_a_star_hangs_up_on_staff_and_keeps_the_caller(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    caller = Recording(b"", actions=[Digits(2980, "*"), HangUp(15_000)])
    page = DIAL.replace("<Dial", '<Dial hangupOnStar="true"')
    report, application = await transfer(relay, Callee(after_s=2), page=page, caller=caller)
    assert application.told("/after")[0]["DialCallStatus"] == "completed"
    assert (report.ended_by, report.dials[0].duration_ms) == ("hangup_verb", 1000)


async def test_a_dial_has_a_time_limit(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    page = DIAL.replace("<Dial", '<Dial timeLimit="4"')
    report, _ = await transfer(relay, Callee(after_s=1), page=page)
    assert report.dials[0].duration_ms == 4000


async def test_of_several_numbers_the_first_to_answer_gets_the_call(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    page = f"<Dial action='/after'><Number>{STAFF}</Number><Number>+15550003</Number></Dial>"
    application = Application({"/voice": page, "/after": "<Hangup/>"})
    book = options(staff=Callee(after_s=4), other=Callee(after_s=2, person=talking))
    report = await call(application, relay, caller=Recording(b""), options=book)
    assert {each.number: each.status for each in report.dials} == {STAFF: "canceled", "+15550003": "completed"}


async def test_a_call_may_be_answered_only_when_staff_is(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    page = DIAL.replace("<Dial", '<Dial answerOnBridge="true"')
    application = Application({"/voice": page, "/after": "<Hangup/>", "/status": 204})
    asked = msgspec.structs.replace(
        options(staff=Callee(after_s=4, person=talking)),
        status_callback_url=f"{BASE}/status",
        status_callback_events=("answered", "completed"),
    )
    report = await call(application, relay, caller=Recording(b""), options=asked)
    assert next(each.at_s for each in application.requests if each.path == "/status") == pytest.approx(4)
    assert report.duration_ms == 3000


def test_a_star_in_the_phone_book_is_everybody_else() -> None:
    anna, others = Callee(after_s=1), Callee(does="busy")
    assert look_up({STAFF: anna, "*": others}, STAFF) is anna
    assert look_up({STAFF: anna, "*": others}, "+1") is others
    assert look_up({}, "+1").does == "failed"


def test_whoever_answers_within_the_time_wins() -> None:
    late, busy, gone = Callee(after_s=9), Callee(does="busy", after_s=1), Callee(does="failed", after_s=3)
    assert ring_out([busy, late], 10).winner == 1
    assert ring_out([busy, late], 5) == ring_out([late], 5)
    assert (ring_out([busy, gone], 10).ends_after_s, ring_out([busy, gone], 10).status) == (3, "failed")
    assert ring_out([busy], 0.5).status == "no-answer"


QUEUE = '<Enqueue action="/after" waitUrl="/wait">support</Enqueue><Say>Next verb.</Say>'


async def wait_in(
    relay: "FakeRelay", queue: Queue | None, *, hang_up_ms: int = 15_000, page: str = QUEUE
) -> tuple[CallReport, Application]:
    application = Application({"/voice": page, "/after": "<Hangup/>", "/wait": "<Say>You are first.</Say>"})
    caller = Recording(speech(200), actions=[HangUp(hang_up_ms)])
    queues = {} if queue is None else {"support": queue}
    return await call(
        application, relay, caller=caller, options=msgspec.structs.replace(OPTIONS, queues=queues)
    ), application


async def test_an_agent_takes_the_caller_from_the_queue(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    report, application = await wait_in(relay, Queue(wait_s=6, agent=lambda: talking(500)))
    told = application.told("/after")[0]
    assert (told["QueueResult"], told["QueueTime"], told["QueueSid"][:2]) == ("bridged", "6", "QU")
    assert speech(500) in report.heard_track
    assert report.queued == ("support: bridged",)


async def test_a_caller_gives_up_waiting(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    report, application = await wait_in(relay, None, hang_up_ms=3980)
    told = application.told("/after")[0]
    assert (told["QueueResult"], told["QueueTime"], report.ended_by) == ("hangup", "4", "caller")


async def test_the_queue_asks_what_to_play(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    report, application = await wait_in(relay, Queue(wait_s=1, result="leave"))
    assert application.told("/wait")[0].items() >= {"QueuePosition": "1", "CurrentQueueSize": "1"}.items()
    assert report.said == ("You are first.",)


@pytest.mark.parametrize("result", ["queue-full", "error", "system-error", "leave"])
async def test_a_queue_may_end_otherwise(autojump_clock: MockClock, relay: "FakeRelay", result: QueueResult) -> None:
    report, application = await wait_in(relay, Queue(wait_s=2, result=result))
    assert application.told("/after")[0]["QueueResult"] == result
    assert report.duration_ms == (0 if result == "queue-full" else 2000)


async def test_after_a_queue_without_an_action_the_next_verb_follows(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    page = "<Enqueue>support</Enqueue><Say>Next verb.</Say>"
    report, _ = await wait_in(relay, Queue(wait_s=1, result="error"), page=page)
    assert report.said == ("Next verb.",)


async def test_staff_who_waits_before_speaking_is_heard_then(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    staff = Callee(after_s=1, person=lambda: Conversation([Utterance(speech(300), At(2000))], actions=[HangUp(4980)]))
    report, _ = await transfer(relay, staff)
    assert report.heard_track.index(speech(300)) // 8 == pytest.approx(3000, abs=40)

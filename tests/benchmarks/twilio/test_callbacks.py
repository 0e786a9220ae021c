"""Callbacks tell how a call gets on, as Twilio documents them and as badly as it delivers them."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from benchmarks.simulators.twilio import CallOptions, Delivery, HangUp, Network, Recording
from benchmarks.simulators.twilio.callbacks import Callback, arrange
from tests.benchmarks.twilio.application import BASE, OPTIONS, STREAM, Application, call

if TYPE_CHECKING:  # at run time pytest hands these over
    from tests.benchmarks.twilio.conftest import FakeRelay, Peer

TOLD = msgspec.structs.replace(
    OPTIONS,
    status_callback_url=f"{BASE}/status",
    status_callback_events=("initiated", "ringing", "answered", "completed"),
)
TALK = '<Connect><Stream url="wss://relay.example/media" name="talk" statusCallback="/stream"/></Connect>'


def pages(voice: str = f"<Connect>{STREAM}</Connect>") -> Application:
    return Application({"/voice": voice, "/status": 204, "/stream": 204, "/late": 204})


def order(application: Application) -> list[str]:
    return [fields["SequenceNumber"] for fields in application.told("/status")]


async def test_every_event_that_was_asked_for_is_told_in_order(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = pages()
    await call(application, relay, options=TOLD)
    told = application.told("/status")
    assert [(each["SequenceNumber"], each["CallStatus"]) for each in told] == [
        ("0", "ringing"),
        ("1", "ringing"),
        ("2", "in-progress"),
        ("3", "completed"),
    ]
    assert {each["CallbackSource"] for each in told} == {"call-progress-events"}
    assert len({each["CallSid"] for each in told}) == 1
    assert "CallDuration" not in told[2]


async def test_events_that_were_not_asked_for_leave_no_gap_in_the_numbers(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    application = pages()
    options = msgspec.structs.replace(TOLD, status_callback_events=("answered", "completed"))
    await call(application, relay, options=options)
    assert order(application) == ["0", "1"]


async def test_the_end_is_told_in_seconds_and_in_billed_minutes(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = pages('<Pause length="90"/>')
    options = msgspec.structs.replace(TOLD, max_seconds=61.4)
    await call(application, relay, caller=Recording(b""), options=options)
    last = application.told("/status")[-1]
    assert (last["CallDuration"], last["Duration"], last["SipResponseCode"]) == ("61", "2", "200")


async def test_dates_are_rfc_2822_in_utc_and_follow_the_calls_clock(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    application = pages('<Pause length="60"/>')
    options = msgspec.structs.replace(TOLD, max_seconds=30)
    await call(application, relay, caller=Recording(b""), options=options)
    dates = [parsedate_to_datetime(each["Timestamp"]) for each in application.told("/status")]
    assert {date.utcoffset() for date in dates} == {timedelta(0)}
    assert (dates[-1] - dates[-2]).total_seconds() == pytest.approx(30, abs=1)


async def test_a_call_that_is_never_answered_says_how_it_ended(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = pages('<Reject reason="busy"/>')
    report = await call(application, relay, options=TOLD)
    last = application.told("/status")[-1]
    assert (last["CallStatus"], last["CallDuration"], last["SipResponseCode"]) == ("busy", "0", "486")
    assert report.status == "busy"


@pytest.mark.parametrize("url_method", ["GET", "POST"])
async def test_callbacks_are_signed_in_either_method(
    autojump_clock: MockClock, relay: "FakeRelay", url_method: str
) -> None:
    application = pages()  # it checks every signature
    options = msgspec.structs.replace(TOLD, status_callback_method=url_method)
    report = await call(application, relay, options=options)
    assert order(application) == ["0", "1", "2", "3"]
    assert report.warnings == ()


async def test_reversed_callbacks_come_backwards_after_the_end(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = pages()
    options = msgspec.structs.replace(TOLD, delivery=Delivery(order="reversed"))
    await call(application, relay, options=options)
    assert order(application) == ["3", "2", "1", "0"]


async def test_shuffled_callbacks_are_never_in_order_and_the_seed_repeats_them(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    options = msgspec.structs.replace(TOLD, delivery=Delivery(order="shuffled"))
    orders = []
    for _ in range(2):
        application = pages()
        await call(application, relay, options=options)
        orders.append(order(application))
    assert orders[0] == orders[1] != sorted(orders[0])
    assert sorted(orders[0]) == ["0", "1", "2", "3"]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 6), st.integers(0, 1000), st.sampled_from(["fired", "reversed", "shuffled"]))
def test_disorder_loses_and_invents_nothing(count: int, seed: int, how: str) -> None:
    fired = [Callback("status", "https://h/", "POST", {"SequenceNumber": str(n)}) for n in range(count)]
    arranged = arrange(fired, Delivery(order=how), Random(seed))  # type: ignore[arg-type]  # one of three
    assert sorted(each.fields["SequenceNumber"] for each in arranged) == [str(n) for n in range(count)]
    assert (arranged == fired) == (how == "fired" or count < 2)


async def test_doubled_callbacks_come_twice(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = pages()
    options = msgspec.structs.replace(TOLD, delivery=Delivery(is_doubled=True))
    await call(application, relay, options=options)
    assert order(application) == ["0", "0", "1", "1", "2", "2", "3", "3"]


async def test_late_callbacks_come_when_the_call_is_long_over(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = pages()
    options = msgspec.structs.replace(TOLD, delivery=Delivery(late_s=30))
    report = await call(application, relay, options=options)
    came = [asked.at_s for asked in application.requests if asked.path == "/status"]
    assert came == [pytest.approx(30), pytest.approx(30), pytest.approx(30), pytest.approx(31)]
    assert report.duration_ms == 1000


async def test_a_callback_that_hangs_holds_nothing_up(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    class Hanging(Application):
        async def __call__(self, request):  # type: ignore[no-untyped-def]  # as its parent
            if request.url.path == "/status":
                await trio.sleep_forever()
            return await super().__call__(request)

    application = Hanging(pages().pages)
    options = msgspec.structs.replace(TOLD, status_callback_events=("answered",))
    report = await call(application, relay, options=options)
    assert (report.ended_by, report.duration_ms) == ("caller", 1000)
    assert [warning.code for warning in report.warnings] == [11200]


async def test_a_streams_beginning_and_end_are_told(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = pages(TALK)
    report = await call(application, relay)
    started, stopped = application.told("/stream")
    assert set(started) == {"AccountSid", "CallSid", "StreamSid", "StreamName", "StreamEvent", "Timestamp"}
    assert (started["StreamEvent"], stopped["StreamEvent"]) == ("stream-started", "stream-stopped")
    assert (started["StreamSid"], started["StreamName"]) == (report.stream_sid, "talk")
    dates = [datetime.fromisoformat(each["Timestamp"]) for each in (started, stopped)]
    assert (dates[1] - dates[0]).total_seconds() == pytest.approx(1, abs=0.01)
    assert dates[0].utcoffset() == timedelta(0)


async def test_a_stream_without_a_name_is_named_by_its_sid(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = pages(TALK.replace(' name="talk"', ""))
    report = await call(application, relay)
    assert application.told("/stream")[0]["StreamName"] == report.stream_sid


async def test_a_stream_that_does_not_come_about_is_a_stream_error(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    relay.refuse_with = 403
    application = pages(TALK)
    await call(application, relay)
    [error] = application.told("/stream")
    assert error["StreamEvent"] == "stream-error"
    assert "31920" in error["StreamError"]


async def test_a_stream_that_breaks_is_a_stream_error(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def die(peer: "Peer") -> None:
        await peer.until("media")
        await trio.aclose_forcefully(peer.socket._stream)  # only the stream itself can die without a goodbye

    relay.scripts = [die]
    application = pages(TALK)
    await call(application, relay)
    assert [each["StreamEvent"] for each in application.told("/stream")] == ["stream-started", "stream-error"]


async def test_a_call_whose_stream_vanished_is_still_told_to_be_over(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    options = msgspec.structs.replace(TOLD, network=Network(vanishes_at_ms=200), max_seconds=5)
    application = pages()
    report = await call(application, relay, caller=Recording(b"", actions=[HangUp(400)]), options=options)
    assert report.ended_by == "network"
    assert application.told("/status")[-1]["CallStatus"] == "completed"


async def test_the_fallback_is_told_what_failed(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = Application({"/voice": 500, "/fallback": "<Say>Sorry.</Say><Hangup/>"})
    options = msgspec.structs.replace(OPTIONS, fallback_url=f"{BASE}/fallback")
    report = await call(application, relay, options=options)
    assert application.paths == ["/voice", "/fallback"]
    assert application.requests[1].fields.items() >= {"ErrorCode": "11200", "ErrorUrl": f"{BASE}/voice"}.items()
    assert application.requests[1].fields["CallStatus"] == "ringing"
    assert (report.ended_by, report.said, report.error) == ("hangup_verb", ("Sorry.",), None)
    assert [warning.code for warning in report.warnings] == [11200]


async def test_the_fallback_also_follows_twiml_that_cannot_be_carried_out(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    application = Application({"/voice": "<Say>unclosed", "/fallback": "<Hangup/>"})
    options = msgspec.structs.replace(OPTIONS, fallback_url=f"{BASE}/fallback")
    report = await call(application, relay, options=options)
    assert application.told("/fallback")[0]["ErrorCode"] == "12100"
    assert report.ended_by == "hangup_verb"


async def test_a_fallback_that_fails_too_ends_the_call(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = Application({"/voice": 500, "/fallback": 500})
    options = msgspec.structs.replace(OPTIONS, fallback_url=f"{BASE}/fallback")
    report = await call(application, relay, options=options)
    assert application.paths == ["/voice", "/fallback"]
    assert report.ended_by == "error"
    assert "/fallback answered HTTP 500" in (report.error or "")


async def test_inline_twiml_runs_without_a_request(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = Application({})
    options = CallOptions(twiml="<Response><Say>Hello.</Say></Response>", direction="outbound-api", seed=1)
    report = await call(application, relay, options=options)
    assert (report.said, report.ended_by, application.requests) == (("Hello.",), "hangup_verb", [])

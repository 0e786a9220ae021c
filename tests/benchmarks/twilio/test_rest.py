"""The REST API places, tells, redirects and ends calls, and refuses as Twilio does. In memory and in virtual time."""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock

from benchmarks.simulators.twilio import (
    Account,
    Callee,
    CallOptions,
    CallReport,
    HangUp,
    Recording,
    StoredRecording,
    TwilioSimulator,
)
from benchmarks.simulators.twilio.httpd import HttpRequest, HttpResponse
from tests.benchmarks.twilio.application import BASE, OPTIONS, STREAM, TOKEN, Application, speech

if TYPE_CHECKING:  # at run time pytest hands these over
    from tests.benchmarks.twilio.conftest import FakeRelay

ACCOUNT = Account(
    sid="AC" + "5" * 32, auth_token=TOKEN, api_keys={"SK" + "6" * 32: "secret"}, numbers=frozenset({"+15551230002"})
)
CALLEE, MACHINE, NOBODY, BUSY = "+15551230003", "+15551230004", "+15551230005", "+15551230006"
BOOK = {
    CALLEE: Callee(after_s=3, person=lambda: Recording(speech(400), actions=[HangUp(9_980)])),
    MACHINE: Callee(after_s=1, person=lambda: Recording(b"", actions=[HangUp(1_980)]), answered_by="machine_end_beep"),
    NOBODY: Callee(does="no-answer"),
    BUSY: Callee(does="busy", after_s=2),
}
CREATE: dict[str, str | list[str]] = {"To": CALLEE, "From": "+15551230002", "Url": f"{BASE}/voice"}
EVENTS = ["initiated", "ringing", "answered", "completed"]
Json = dict[str, Any]
Fields = Mapping[str, str | list[str]]


def authorization(user: str = ACCOUNT.sid, secret: str = TOKEN) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()}


class Phones:
    """A simulated account beside an application and a relay."""

    def __init__(self, nursery: trio.Nursery, relay: "FakeRelay") -> None:
        self.application = Application(
            {"/voice": f"<Connect>{STREAM}</Connect>", "/status": 204, "/amd": 204, "/stream": 204}
        )
        template = CallOptions(
            webhook_url="https://replaced.invalid/", connect_to=("127.0.0.1", 5050), phone_book=BOOK, seed=3
        )
        self.twilio = TwilioSimulator(
            ACCOUNT,
            nursery,
            template=template,
            dial=relay.dial,
            http_transport=httpx.MockTransport(self.application),
        )

    async def post(
        self, path: str, fields: Fields | None = None, *, headers: dict[str, str] | None = None, **more: str
    ) -> tuple[int, Json]:
        body = urlencode({**(fields or {}), **more}, doseq=True).encode()
        response = await self.send("POST", path, headers, body)
        return response.status, msgspec.json.decode(response.body)

    async def send(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> HttpResponse:
        url = f"/2010-04-01/Accounts/{ACCOUNT.sid}/{path}"
        headers = authorization() if headers is None else headers
        return await self.twilio.rest.handle(HttpRequest(method=method, path=url, headers=headers, body=body))

    async def get(self, sid: str) -> Json:
        fetched: Json = msgspec.json.decode((await self.send("GET", f"Calls/{sid}.json")).body)
        return fetched

    async def create(self, **fields: str | list[str]) -> str:
        status, created = await self.post("Calls.json", CREATE | fields)
        assert status == 201
        sid: str = created["sid"]
        return sid


@pytest.fixture
async def phones(relay: "FakeRelay") -> AsyncIterator[Phones]:
    async with trio.open_nursery() as nursery:
        yield Phones(nursery, relay)
        nursery.cancel_scope.cancel()


async def test_a_call_is_placed_answered_and_over(
    autojump_clock: MockClock, phones: Phones, relay: "FakeRelay"
) -> None:
    status, created = await phones.post(
        "Calls.json", {**CREATE, "StatusCallback": f"{BASE}/status", "StatusCallbackEvent": EVENTS}
    )
    assert (status, created["status"], created["direction"]) == (201, "queued", "outbound-api")
    assert created["uri"] == f"/2010-04-01/Accounts/{ACCOUNT.sid}/Calls/{created['sid']}.json"
    await trio.sleep(1)
    assert (await phones.get(created["sid"]))["status"] == "ringing"
    assert phones.application.told("/voice") == []  # asked only when somebody answers
    await trio.sleep(3)
    assert (await phones.get(created["sid"]))["status"] == "in-progress"
    report = await phones.twilio.report(created["sid"])
    [asked] = phones.application.told("/voice")
    assert asked.items() >= {"CallStatus": "in-progress", "Direction": "outbound-api", "To": CALLEE}.items()
    assert relay.peer.events("start")[0]["start"]["callSid"] == created["sid"]
    assert (report.ended_by, report.duration_ms, report.frames_sent) == ("caller", 10_000, 500)
    told = phones.application.told("/status")
    assert [(each["SequenceNumber"], each["CallStatus"]) for each in told] == [
        ("0", "initiated"),
        ("1", "ringing"),
        ("2", "in-progress"),
        ("3", "completed"),
    ]
    assert (told[-1]["CallDuration"], (await phones.get(created["sid"]))["duration"]) == ("10", "10")


async def test_only_the_end_is_told_unless_more_is_asked_for(autojump_clock: MockClock, phones: Phones) -> None:
    await phones.twilio.report(await phones.create(StatusCallback=f"{BASE}/status"))
    assert [each["CallStatus"] for each in phones.application.told("/status")] == ["completed"]


async def test_events_in_one_string_silence_the_callbacks(autojump_clock: MockClock, phones: Phones) -> None:
    # The attribute of TwiML takes them so; the API takes the request, logs 21626 and never calls back.
    sid = await phones.create(StatusCallback=f"{BASE}/status", StatusCallbackEvent=" ".join(EVENTS))
    await phones.twilio.report(sid)
    assert phones.application.told("/status") == []
    assert phones.twilio.warnings[0].startswith("21626")


async def test_inline_twiml_is_run_without_asking(autojump_clock: MockClock, phones: Phones) -> None:
    sid = await phones.create(Url="", Twiml="<Response><Say>Your table is ready.</Say></Response>")
    report = await phones.twilio.report(sid)
    assert (report.said, report.ended_by) == (("Your table is ready.",), "hangup_verb")
    assert phones.application.requests == []


async def test_a_url_wins_over_inline_twiml(autojump_clock: MockClock, phones: Phones) -> None:
    report = await phones.twilio.report(await phones.create(Twiml="<Response><Say>No.</Say></Response>"))
    assert (report.said, phones.application.paths) == ((), ["/voice"])


@pytest.mark.parametrize(
    ("to", "status", "sip_code", "after_s"),
    [(BUSY, "busy", "486", 2), (NOBODY, "no-answer", "487", 20), ("+15550000000", "failed", "404", 0.5)],
)
async def test_a_call_that_nobody_takes_says_why(
    autojump_clock: MockClock, phones: Phones, to: str, status: str, sip_code: str, after_s: float
) -> None:
    sid = await phones.create(To=to, Timeout="20", StatusCallback=f"{BASE}/status")
    report = await phones.twilio.report(sid)
    [told] = phones.application.told("/status")
    assert (told["CallStatus"], told["SipResponseCode"], told["CallDuration"]) == (status, sip_code, "0")
    assert (report.ended_by, report.status) == ("unanswered", status)
    assert trio.current_time() == pytest.approx(after_s)
    assert phones.application.told("/voice") == []


async def test_a_live_call_is_redirected_and_its_stream_gets_stop(
    autojump_clock: MockClock, phones: Phones, relay: "FakeRelay"
) -> None:
    sid = await phones.create()
    await trio.sleep(5)
    transfer = "<Response><Say>One moment.</Say><Hangup/></Response>"
    status, updated = await phones.post(f"Calls/{sid}.json", Twiml=transfer)
    assert (status, updated["status"]) == (200, "in-progress")
    report = await phones.twilio.report(sid)
    assert relay.peer.received[-1][1]["event"] == "stop"
    assert relay.peer.received[-1][0] == pytest.approx(5.02, abs=0.001)
    assert (report.said, report.ended_by, report.close_code) == (("One moment.",), "hangup_verb", 1000)
    assert report.warnings == ()


async def test_a_redirect_to_a_url_opens_a_new_stream_on_the_same_call(
    autojump_clock: MockClock, phones: Phones, relay: "FakeRelay"
) -> None:
    sid = await phones.create()
    await trio.sleep(5)
    await phones.post(f"Calls/{sid}.json", Url=f"{BASE}/voice?again=1")
    report = await phones.twilio.report(sid)
    first, second = (peer.events("start")[0]["start"] for peer in relay.peers)
    assert first["callSid"] == second["callSid"] == sid
    assert first["streamSid"] != second["streamSid"]
    assert phones.application.told("/voice")[1]["CallStatus"] == "in-progress"
    assert report.ended_by == "caller"


async def test_a_call_that_is_being_transferred_can_be_redirected_again(
    autojump_clock: MockClock, phones: Phones
) -> None:
    # The interrupted <Dial> still asks its action, whose answer is not carried out.
    phones.application.pages |= {"/voice": f'<Dial action="/after">{NOBODY}</Dial>', "/after": "<Say>Not this.</Say>"}
    sid = await phones.create()
    await trio.sleep(6)
    await phones.post(f"Calls/{sid}.json", Twiml="<Response><Say>This.</Say></Response>")
    report = await phones.twilio.report(sid)
    assert report.said == ("This.",)
    assert phones.application.paths == ["/voice", "/after"]
    assert report.dials[0].status == "canceled"


async def test_a_queued_caller_is_taken_out_of_the_queue(autojump_clock: MockClock, phones: Phones) -> None:
    phones.application.pages |= {"/voice": '<Enqueue action="/after">support</Enqueue>', "/after": "<Hangup/>"}
    sid = await phones.create()
    await trio.sleep(6)
    await phones.post(f"Calls/{sid}.json", Twiml="<Response><Hangup/></Response>")
    await phones.twilio.report(sid)
    assert phones.application.told("/after")[0]["QueueResult"] == "redirected"


async def test_a_live_call_is_ended(autojump_clock: MockClock, phones: Phones, relay: "FakeRelay") -> None:
    sid = await phones.create()
    await trio.sleep(5)
    status, updated = await phones.post(f"Calls/{sid}.json", Status="completed")
    assert (status, updated["status"]) == (200, "completed")
    report = await phones.twilio.report(sid)
    assert (report.ended_by, report.status) == ("api", "completed")
    assert report.duration_ms == pytest.approx(2020, abs=20)
    assert relay.peer.received[-1][1]["event"] == "stop"


@pytest.mark.parametrize("status", ["canceled", "completed"])
async def test_a_ringing_call_is_canceled(autojump_clock: MockClock, phones: Phones, status: str) -> None:
    sid = await phones.create(StatusCallback=f"{BASE}/status")
    await trio.sleep(1)
    assert (await phones.post(f"Calls/{sid}.json", Status=status))[1]["status"] == "canceled"
    report = await phones.twilio.report(sid)
    assert (report.ended_by, report.status) == ("api", "canceled")
    assert phones.application.told("/status")[0]["CallStatus"] == "canceled"


async def test_canceling_does_not_touch_an_answered_call(autojump_clock: MockClock, phones: Phones) -> None:
    sid = await phones.create()
    await trio.sleep(5)
    assert (await phones.post(f"Calls/{sid}.json", Status="canceled"))[1]["status"] == "in-progress"
    assert (await phones.twilio.report(sid)).ended_by == "caller"


async def test_an_inbound_call_is_redirected_too(autojump_clock: MockClock, phones: Phones) -> None:
    reports: list[CallReport] = []

    async def hold() -> None:
        caller = Recording(b"", actions=[HangUp(15_000)])
        reports.append(await phones.twilio.place_call(OPTIONS, caller))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await trio.sleep(2)
        [sid] = phones.twilio.calls
        assert (await phones.get(sid))["direction"] == "inbound"
        assert (await phones.post(f"Calls/{sid}.json", Twiml="<Response><Say>Bye.</Say></Response>"))[0] == 200
    assert (reports[0].said, reports[0].ended_by, reports[0].call_sid) == (("Bye.",), "hangup_verb", sid)
    assert phones.application.told("/voice")[0]["AccountSid"] == ACCOUNT.sid


async def test_a_call_that_is_over_can_neither_be_redirected_nor_ended(
    autojump_clock: MockClock, phones: Phones
) -> None:
    sid = await phones.create()
    await phones.twilio.report(sid)
    for fields in ({"Twiml": "<Response/>"}, {"Status": "completed"}):
        status, error = await phones.post(f"Calls/{sid}.json", fields)
        assert (status, error["code"]) == (400, 21220)
    phones.twilio.faults.forgets_ended_calls = True
    assert (await phones.post(f"Calls/{sid}.json", Status="completed"))[1]["code"] == 20404


async def test_a_call_that_rings_cannot_be_redirected(autojump_clock: MockClock, phones: Phones) -> None:
    sid = await phones.create()
    await trio.sleep(1)
    status, error = await phones.post(f"Calls/{sid}.json", Url=f"{BASE}/voice")
    assert (status, error["code"], error["message"]) == (400, 21220, "Call is not in-progress. Cannot redirect.")


async def test_synchronous_detection_delays_the_request_and_names_who_answered(
    autojump_clock: MockClock, phones: Phones
) -> None:
    sid = await phones.create(To=CALLEE, MachineDetection="Enable")
    await phones.twilio.report(sid)
    [asked] = phones.application.requests
    assert asked.fields["AnsweredBy"] == "human"
    assert asked.at_s == pytest.approx(6)
    assert (await phones.get(sid))["answered_by"] == "human"


@pytest.mark.parametrize(
    ("mode", "answered_by"), [("Enable", "machine_start"), ("DetectMessageEnd", "machine_end_beep")]
)
async def test_asynchronous_detection_is_told_even_when_the_call_is_over(
    autojump_clock: MockClock, phones: Phones, mode: str, answered_by: str
) -> None:
    sid = await phones.create(To=MACHINE, MachineDetection=mode, AsyncAmd="true", AsyncAmdStatusCallback=f"{BASE}/amd")
    report = await phones.twilio.report(sid)
    assert [asked.path for asked in phones.application.requests] == ["/voice", "/amd"]
    assert phones.application.told("/voice")[0].get("AnsweredBy") is None
    assert phones.application.told("/amd") == [
        {
            "CallSid": sid,
            "AccountSid": ACCOUNT.sid,
            "AnsweredBy": answered_by,
            "MachineDetectionDuration": "3000",
        }
    ]
    assert report.duration_ms == 2000
    assert phones.application.requests[1].at_s == pytest.approx(4)  # the call was over at 3


async def test_a_detection_that_takes_too_long_knows_nothing(autojump_clock: MockClock, phones: Phones) -> None:
    await phones.twilio.report(await phones.create(MachineDetection="Enable", MachineDetectionTimeout="2"))
    assert phones.application.told("/voice")[0]["AnsweredBy"] == "unknown"


async def test_calls_leave_the_queue_one_a_second(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async with trio.open_nursery() as nursery:
        phones = Phones(nursery, relay)
        phones.twilio = TwilioSimulator(
            ACCOUNT,
            nursery,
            template=phones.twilio.template,
            calls_per_second=1,
            dial=relay.dial,
            http_transport=httpx.MockTransport(phones.application),
        )
        sids = [await phones.create(To=BUSY, StatusCallback=f"{BASE}/status") for _ in range(4)]
        assert [(await phones.get(sid))["queue_time"] for sid in sids] == ["0", "1000", "2000", "3000"]
        await trio.sleep(0.5)
        assert [(await phones.get(sid))["status"] for sid in sids] == ["ringing", "queued", "queued", "queued"]
        await phones.post(f"Calls/{sids[3]}.json", Status="canceled")
        for sid in sids:
            await phones.twilio.report(sid)
    assert len(set(sids)) == 4
    told = [asked for asked in phones.application.requests if asked.path == "/status"]
    assert [asked.at_s for asked in told] == [pytest.approx(2), pytest.approx(3), pytest.approx(4)]
    assert sids[3] not in [asked.fields["CallSid"] for asked in told]  # canceled in the queue: nobody is told


REFUSED: dict[str, tuple[dict[str, str], int]] = {
    "no To": ({"To": ""}, 21201),
    "To in local format": ({"To": "5551230003"}, 21211),
    "To too long": ({"To": "+1555123000312345"}, 21211),
    "To no number": ({"To": "Anna"}, 21217),
    "no From": ({"From": ""}, 21213),
    "From no number": ({"From": "Luna"}, 21212),
    "From not ours": ({"From": "+15559999999"}, 21210),
    "no Url": ({"Url": ""}, 21205),
    "Url no URL": ({"Url": "relay.example/voice"}, 21205),
    "no such application": ({"ApplicationSid": "AP1"}, 21218),
    "Twiml too long": ({"Url": "", "Twiml": "<Response>" + " " * 3980 + "</Response>"}, 20001),
    "Timeout no number": ({"Timeout": "soon"}, 21208),
    "Timeout too long": ({"Timeout": "601"}, 21208),
    "Method": ({"Method": "PUT"}, 21209),
    "StatusCallback no URL": ({"StatusCallback": "/status"}, 21609),
    "StatusCallback with an underscore": ({"StatusCallback": "https://my_relay.example/status"}, 21609),
    "FallbackUrl": ({"FallbackUrl": "nowhere"}, 21205),
    "MachineDetection": ({"MachineDetection": "true"}, 20001),
}


@pytest.mark.parametrize(("fields", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_bad_request_places_no_call(phones: Phones, fields: dict[str, str], code: int) -> None:
    status, error = await phones.post("Calls.json", {**CREATE, **fields})
    assert (status, error["code"]) == (400, code)
    assert error["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
    assert (error["status"], phones.twilio.calls) == (400, {})


async def test_twiml_of_4000_characters_is_just_short_enough(autojump_clock: MockClock, phones: Phones) -> None:
    await phones.create(Url="", Twiml="<Response>" + " " * 3979 + "</Response>")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        authorization(secret="wrong"),
        authorization(user="AC" + "0" * 32),
        authorization(user="SK" + "6" * 32),
        {"authorization": "Bearer " + TOKEN},
        {"authorization": "Basic %%%"},
    ],
)
async def test_nothing_is_told_without_the_right_credentials(phones: Phones, headers: dict[str, str]) -> None:
    for path in ("Calls.json", "Calls/CA1.json", "Recordings/RE1.wav"):
        response = await phones.send("POST", path, headers)
        assert response.status == 401
        assert msgspec.json.decode(response.body)["code"] == 20003
        assert response.headers["WWW-Authenticate"].startswith("Basic ")


async def test_an_api_key_opens_the_api_too(autojump_clock: MockClock, phones: Phones) -> None:
    status, _ = await phones.post("Calls.json", CREATE, headers=authorization("SK" + "6" * 32, "secret"))
    assert status == 201


async def test_what_does_not_exist_is_not_found(phones: Phones) -> None:
    for path in ("Calls/CA" + "0" * 32 + ".json", "Recordings/RE1.json", "Messages.json"):
        status, error = await phones.post(path) if "Recordings" not in path else (404, {"code": 20404})
        assert (status, error["code"]) == (404, 20404)
    assert (await phones.send("GET", "Recordings/RE1.json")).status == 404
    assert (await phones.send("PUT", "Calls.json")).status == 405


async def test_too_many_requests_are_refused_before_anything_happens(autojump_clock: MockClock, phones: Phones) -> None:
    phones.twilio.faults.too_many = 2
    for _ in range(2):
        status, error = await phones.post("Calls.json", CREATE)
        assert (status, error["code"], phones.twilio.calls) == (429, 20429, {})
    await phones.create()


async def test_a_number_may_be_refused_with_any_code(phones: Phones) -> None:
    phones.twilio.faults.refused = {CALLEE: 21215}
    assert (await phones.post("Calls.json", CREATE))[1]["code"] == 21215


async def test_the_api_may_hang(autojump_clock: MockClock, phones: Phones) -> None:
    phones.twilio.faults.hang_s = 30
    await phones.create()
    assert trio.current_time() == 30


async def test_a_recording_is_downloaded_with_credentials_once_it_is_there(
    autojump_clock: MockClock, phones: Phones
) -> None:
    phones.application.pages |= {
        "/voice": '<Record action="/after" playBeep="false" timeout="1" recordingStatusCallback="/recorded"/>',
        "/after": "<Hangup/>",
        "/recorded": 204,
    }
    sid = await phones.create()
    await trio.sleep(4.5)
    [told] = phones.application.told("/after")
    path = told["RecordingUrl"].partition(ACCOUNT.sid + "/")[2]
    assert (await phones.send("GET", path)).status == 404  # told before it is there
    await phones.twilio.report(sid)
    for suffix in ("", ".wav"):
        response = await phones.send("GET", path + suffix)
        assert (response.status, response.content_type) == (200, "audio/x-wav")
        stored = phones.twilio.recordings.get(told["RecordingSid"])
        assert stored is not None
        assert response.body == stored.wav()
        assert stored.audio == speech(400)
    known = msgspec.json.decode((await phones.send("GET", path + ".json")).body)
    assert (known["status"], known["duration"], known["call_sid"]) == ("completed", "1", sid)
    assert (await phones.send("DELETE", path + ".json")).status == 204
    assert (await phones.send("GET", path)).status == 404


async def test_a_failed_recording_has_no_file(phones: Phones) -> None:
    phones.twilio.recordings.put(
        StoredRecording(sid="RE1", call_sid="CA1", account_sid=ACCOUNT.sid, status="failed", audio=speech(100))
    )
    assert (await phones.send("GET", "Recordings/RE1.wav")).status == 404
    assert (await phones.send("GET", "Recordings/RE1.json")).status == 200


async def test_a_redirect_may_bring_its_own_callback_and_fallback(autojump_clock: MockClock, phones: Phones) -> None:
    phones.application.pages |= {"/broken": 500, "/fallback": "<Say>Sorry.</Say>"}
    sid = await phones.create()
    await trio.sleep(5)
    await phones.post(
        f"Calls/{sid}.json",
        Url=f"{BASE}/broken",
        FallbackUrl=f"{BASE}/fallback",
        StatusCallback=f"{BASE}/status",
    )
    report = await phones.twilio.report(sid)
    assert report.said == ("Sorry.",)
    assert phones.application.told("/fallback")[0]["ErrorUrl"] == f"{BASE}/broken"
    assert [each["CallStatus"] for each in phones.application.told("/status")] == ["completed"]


async def test_the_last_of_two_redirects_wins_and_an_end_wins_over_both(
    autojump_clock: MockClock, phones: Phones
) -> None:
    first, second = await phones.create(), await phones.create()
    await trio.sleep(5)
    for sid in (first, second):
        await phones.post(f"Calls/{sid}.json", Twiml="<Response><Say>One.</Say></Response>")
        await phones.post(f"Calls/{sid}.json", Twiml="<Response><Say>Two.</Say></Response>")
    await phones.post(f"Calls/{second}.json", Status="completed")
    assert (await phones.twilio.report(first)).said == ("Two.",)
    ended = await phones.twilio.report(second)
    assert (ended.said, ended.ended_by) == ((), "api")


def test_secrets_stay_out_of_logs() -> None:
    assert TOKEN not in repr(ACCOUNT)
    assert "secret" not in repr(ACCOUNT)

"""Calls that begin with a webhook: the TwiML decides what happens, verb by verb."""

from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket
from twilio.request_validator import RequestValidator

from benchmarks.simulators.twilio import CallOptions, Recording, place_call
from tests.benchmarks.twilio.application import OPTIONS, STREAM, TOKEN, Application, call

if TYPE_CHECKING:  # at run time pytest hands these over
    from tests.benchmarks.twilio.conftest import FakeRelay, Peer


async def close_after_100_ms(peer: "Peer") -> None:
    await peer.until("start")
    await trio.sleep(0.1)
    await peer.socket.aclose()


async def test_the_webhooks_stream_is_dialled_with_its_parameters(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    application = Application({"/voice": f"<Connect>{STREAM}</Connect>"})
    report = await call(application, relay)
    start = relay.peer.events("start")[0]["start"]
    assert start["customParameters"] == {"token": "a&b"}
    [(_, fields)] = application.asked
    assert (start["callSid"], start["accountSid"]) == (fields["CallSid"], fields["AccountSid"])
    assert fields["CallStatus"] == "ringing"
    assert (report.ended_by, report.duration_ms, report.http_statuses) == ("caller", 1000, (200,))
    [(path, headers)] = relay.upgrades
    assert path == "/media"
    assert RequestValidator(TOKEN).validate("wss://relay.example/media", {}, headers["x-twilio-signature"])
    assert relay.dialled == [("127.0.0.1", 5050)]


async def test_after_the_stream_the_action_decides(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    relay.scripts = [close_after_100_ms]
    pages: dict[str, str | int | bytes] = {
        "/voice": f'<Connect action="/after">{STREAM}</Connect><Say>not reached</Say>',
        "/after": "<Say>Goodbye.</Say><Hangup/><Say>not reached</Say>",
    }
    application = Application(pages)
    report = await call(application, relay)
    assert application.paths == ["/voice", "/after"]
    assert application.asked[1][1]["CallStatus"] == "in-progress"
    assert (report.ended_by, report.said, report.http_statuses) == ("hangup_verb", ("Goodbye.",), (200, 200))


async def test_without_an_action_the_next_verb_follows(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    relay.scripts = [close_after_100_ms]
    report = await call(
        Application({"/voice": f'<Connect>{STREAM}</Connect><Pause length="0.5"/><Say>Bye.</Say>'}), relay
    )
    assert (report.said, report.duration_ms, report.ended_by) == (("Bye.",), 900, "relay")  # 300 ms for the word


async def test_a_redirect_after_a_lost_stream_opens_a_new_one(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def stay(peer: "Peer") -> None:
        await peer.play(b"\x80\x00" * 400)

    relay.scripts = [close_after_100_ms, stay]
    application = Application({"/voice": f"<Connect>{STREAM}</Connect><Redirect>/voice</Redirect>"})
    report = await call(application, relay)
    assert application.paths == ["/voice", "/voice"]
    first, second = (peer.events("start")[0]["start"] for peer in relay.peers)
    assert first["callSid"] == second["callSid"] == report.call_sid
    assert first["streamSid"] != second["streamSid"] == report.stream_sid
    assert relay.peer.events("media")[0]["media"]["timestamp"] == "155"
    assert (report.ended_by, report.frames_sent) == ("caller", 50)


async def test_a_refused_stream_falls_through_to_the_next_verb(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    relay.refuse_with = 503
    report = await call(Application({"/voice": f"<Connect>{STREAM}</Connect><Say>Sorry.</Say>"}), relay)
    assert (report.ended_by, report.said) == ("error", ("Sorry.",))
    assert "HTTP 503" in (report.error or "")
    assert [warning.code for warning in report.warnings] == [31920]


async def test_a_silent_line_after_the_stream_lasts_until_the_caller_leaves(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    relay.scripts = [close_after_100_ms]
    report = await call(Application({"/voice": f'<Connect>{STREAM}</Connect><Pause length="40"/>'}), relay)
    assert (report.ended_by, report.duration_ms) == ("caller", 1000)


async def test_the_time_limit_ends_a_pause_too(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    report = await call(Application({"/voice": '<Pause length="40"/>'}), relay, caller=Recording(b""))
    assert (report.ended_by, report.duration_ms) == ("time_limit", 20_000)


@pytest.mark.parametrize(("reason", "status"), [("busy", "busy"), ("rejected", "no-answer")])
async def test_a_rejected_call_is_never_answered(
    autojump_clock: MockClock, relay: "FakeRelay", reason: str, status: str
) -> None:
    application = Application({"/voice": f'<Reject reason="{reason}"/><Say>no</Say>', "/status": ""})
    options = msgspec.structs.replace(OPTIONS, status_callback_url="https://relay.example/status")
    report = await call(application, relay, options=options)
    assert (report.ended_by, report.said) == ("rejected", ())
    assert application.asked[1][1]["CallStatus"] == status


async def test_the_status_callback_comes_last(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = Application({"/voice": f"<Connect>{STREAM}</Connect>", "/status": 204})
    options = msgspec.structs.replace(OPTIONS, status_callback_url="https://relay.example/status")
    report = await call(application, relay, options=options)
    path, fields = application.asked[-1]
    assert (path, fields["CallStatus"], fields["CallDuration"], fields["Duration"]) == (
        "/status",
        "completed",
        "1",
        "1",
    )
    assert report.http_statuses == (200, 204)


async def test_an_unanswered_status_callback_is_a_warning_only(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    options = msgspec.structs.replace(OPTIONS, status_callback_url="https://relay.example/nowhere")
    report = await call(Application({"/voice": "<Hangup/>"}), relay, options=options)
    assert (report.ended_by, report.error) == ("hangup_verb", None)
    assert [warning.code for warning in report.warnings] == [11200]


async def test_verbs_that_are_not_simulated_are_reported(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    report = await call(Application({"/voice": "<Say>Hi.</Say><Sms>Hi.</Sms><Reject/><Start/>"}), relay)
    assert report.unsupported_verbs == ("Sms", "Reject of an answered call", "Start")
    assert report.ended_by == "hangup_verb"


async def test_endless_redirects_are_stopped(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = Application({"/voice": "<Redirect>/voice</Redirect>"})
    report = await call(application, relay)
    assert report.ended_by == "error"
    assert "11215" in (report.error or "")
    assert len(application.asked) == 20


@pytest.mark.parametrize(
    ("page", "said"),
    [(403, "HTTP 403"), ("<Say>unclosed", "not XML"), ('<Connect><Stream url="ws://x/"/></Connect>', "not wss://")],
)
async def test_a_bad_answer_ends_in_a_report_that_says_why(
    autojump_clock: MockClock, relay: "FakeRelay", page: str | int, said: str
) -> None:
    report = await call(Application({"/voice": page}), relay)
    assert report.ended_by == "error"
    assert said in (report.error or "")
    assert relay.dialled == []


async def serve_twiml(listener: trio.SocketListener, document: str, heads: list[str]) -> None:
    """A web server as small as one can be: one answer per connection."""
    body = document.encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            received = b""
            while b"CallSid=" not in received:
                received += await stream.receive_some(65536)
            heads.append(received.decode())
            await stream.send_all(answer + body)

    await trio.serve_listeners(serve, [listener])


async def test_a_call_over_real_sockets(free_tcp_listener: trio.SocketListener) -> None:
    heads: list[str] = []

    async def hang_up_first(request: WebSocketRequest) -> None:
        socket = await request.accept()
        try:
            for _ in range(4):  # connected, start and two frames
                await socket.get_message()
            await socket.aclose()
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, hang_up_first, "127.0.0.1", 0, None)
        document = f'<Response><Connect><Stream url="ws://127.0.0.1:{server.port}/media"/></Connect></Response>'
        nursery.start_soon(serve_twiml, free_tcp_listener, document, heads)
        port = free_tcp_listener.socket.getsockname()[1]
        options = CallOptions(webhook_url=f"http://127.0.0.1:{port}/voice", allow_insecure=True, auth_token=TOKEN)
        report = await place_call(options, Recording(b""))
        nursery.cancel_scope.cancel()
    assert (report.ended_by, report.error, report.close_code) == ("relay", None, 1000)
    assert report.frames_sent >= 2
    assert "x-twilio-signature: " in heads[0].lower()

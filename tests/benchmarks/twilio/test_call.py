"""Whole calls over streams: to a small relay, over memory streams and in virtual time."""

import base64
import json
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
import wsproto
import wsproto.events
from trio.testing import MockClock
from trio_websocket import wrap_server_stream
from twilio.request_validator import RequestValidator

from benchmarks.simulators.twilio import (
    AfterHearing,
    AfterSilence,
    AgentHeard,
    Caller,
    CallerSilent,
    CallerSpeaking,
    CallOptions,
    CallReport,
    Cleared,
    Conversation,
    Digits,
    Ended,
    Event,
    HangUp,
    KeyPressed,
    MarkEchoed,
    MarkReceived,
    Recording,
    StreamStarted,
    Utterance,
    place_call,
    run_stream,
)
from proto import mulaw

if TYPE_CHECKING:  # at run time pytest hands these over
    from tests.benchmarks.twilio.conftest import FakeRelay, Peer

TOKEN = "00112233445566778899aabbccddeeff"
OPTIONS = CallOptions(stream_url="wss://relay.example/media", connect_to=("127.0.0.1", 5050), seed=7, max_seconds=20)


def speech(ms: int) -> bytes:
    """As loud as the line allows."""
    return b"\x80\x00" * (ms * 4)


def silent_caller(hang_up_ms: int = 1000) -> Recording:
    return Recording(b"", actions=[HangUp(hang_up_ms)])


async def call(
    relay: "FakeRelay", caller: Caller | None = None, options: CallOptions = OPTIONS
) -> tuple[CallReport, list[Event]]:
    seen: list[Event] = []
    report = await place_call(options, caller or silent_caller(), seen.append, dial=relay.dial)
    await trio.testing.wait_all_tasks_blocked()
    return report, seen


async def test_a_stream_begins_and_ends_as_documented(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    options = msgspec.structs.replace(OPTIONS, parameters={"token": "t1"})
    report, seen = await call(relay, silent_caller(60), options)
    messages = [message for _, message in relay.peer.received]
    assert [message["event"] for message in messages] == [
        "connected",
        "start",
        "media",
        "media",
        "media",
        "media",
        "stop",
    ]
    assert messages[0] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    account_sid = messages[1]["start"]["accountSid"]
    assert messages[1] == {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": account_sid,
            "streamSid": report.stream_sid,
            "callSid": report.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": "t1"},
        },
        "streamSid": report.stream_sid,
    }
    assert messages[3] == {
        "event": "media",
        "sequenceNumber": "3",
        "media": {
            "track": "inbound",
            "chunk": "2",
            "timestamp": "175",
            "payload": base64.b64encode(mulaw.silence(20)).decode(),
        },
        "streamSid": report.stream_sid,
    }
    assert messages[-1]["sequenceNumber"] == "6"
    assert messages[-1]["stop"] == {"accountSid": account_sid, "callSid": report.call_sid}
    assert (report.ended_by, report.close_code, report.frames_sent, report.error) == ("caller", 1000, 4, None)
    assert isinstance(seen[0], StreamStarted)
    assert seen[-1] == Ended(at_ms=80, ended_by="caller")


async def test_identifiers_have_twilios_shape_and_come_from_the_seed(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    report, _ = await call(relay)
    again, _ = await call(relay)
    other, _ = await call(relay, options=msgspec.structs.replace(OPTIONS, seed=8))
    assert report.call_sid.startswith("CA")
    assert len(report.call_sid) == len(report.stream_sid or "") == 34
    assert report.call_sid == again.call_sid != other.call_sid


async def test_frames_leave_every_20_ms(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    report, _ = await call(relay, Recording(speech(500), actions=[HangUp(1980)]))
    arrived = [at for at, message in relay.peer.received if message["event"] == "media"]
    assert arrived == pytest.approx([0.02 * n for n in range(1, 101)])
    frames = relay.peer.events("media")
    assert [int(frame["media"]["timestamp"]) for frame in frames] == [155 + 20 * n for n in range(100)]
    assert [frame["media"]["chunk"] for frame in frames] == [str(n) for n in range(1, 101)]
    payloads = b"".join(base64.b64decode(frame["media"]["payload"]) for frame in frames)
    assert payloads == speech(500) + mulaw.silence(1500) == report.sent_track
    assert report.duration_ms == 2000


async def test_what_a_busy_machine_missed_is_caught_up(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    # All frames keep their timestamps; the late ones leave at once and the rest on time.
    def stall(event: Event) -> None:
        if isinstance(event, CallerSpeaking):
            clock = trio.lowlevel.current_clock()
            assert isinstance(clock, MockClock)
            clock.jump(0.5)

    await place_call(OPTIONS, Recording(speech(100), actions=[HangUp(980)]), stall, dial=relay.dial)
    await trio.testing.wait_all_tasks_blocked()
    timestamps = [int(frame["media"]["timestamp"]) for frame in relay.peer.events("media")]
    assert timestamps == [155 + 20 * n for n in range(50)]
    assert relay.peer.received[-1][0] == pytest.approx(1.0)


async def test_marks_return_when_their_audio_has_sounded(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.mark("idle")
        await peer.play(speech(130))
        await peer.mark("first")
        await peer.play(speech(200))
        await peer.mark("second")

    relay.scripts = [script]
    report, seen = await call(relay)
    echoes = [
        (round(at, 6), message["mark"]["name"]) for at, message in relay.peer.received if message["event"] == "mark"
    ]
    assert echoes == [(0.0, "idle"), (0.13, "first"), (0.33, "second")]
    assert (report.marks_sent, report.marks_echoed, report.heard_ms) == (3, 3, 330)
    assert [event.name for event in seen if isinstance(event, MarkReceived)] == ["idle", "first", "second"]
    assert [(event.at_ms, event.name) for event in seen if isinstance(event, MarkEchoed)] == [
        (0, "idle"),
        (130, "first"),
        (330, "second"),
    ]


async def test_a_clear_falls_silent_and_returns_every_mark(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(speech(1000))
        await peer.mark("a")
        await peer.play(speech(1000))
        await peer.mark("b")
        await trio.sleep(0.25)
        await peer.clear()
        await peer.mark("barrier")
        await trio.sleep(0.25)
        await peer.play(speech(100))

    relay.scripts = [script]
    report, seen = await call(relay)
    assert [message["mark"]["name"] for message in relay.peer.events("mark")] == ["a", "b", "barrier"]
    assert Cleared(at_ms=250, dropped_ms=1750, heard_ms=250) in seen
    assert (report.clears, report.heard_ms) == (1, 350)
    assert report.heard_track == speech(250) + mulaw.silence(250) + speech(100) + mulaw.silence(420)


async def test_the_first_audible_sample_is_found_to_the_sample(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await trio.sleep(0.3)
        await peer.play(mulaw.silence(10) + b"\xfe\x7e\x7f" + speech(100))

    relay.scripts = [script]
    report, seen = await call(relay)
    assert report.first_audio_ms == 310.375
    assert [event for event in seen if isinstance(event, AgentHeard)] == [
        AgentHeard(at_ms=300, state="started"),
        AgentHeard(at_ms=420, state="stopped"),
    ]


async def test_silence_is_not_an_answer(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(mulaw.silence(500))

    relay.scripts = [script]
    report, _ = await call(relay)
    assert (report.heard_ms, report.first_audio_ms) == (500, None)


async def test_the_caller_interrupts_and_gets_a_second_answer(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(speech(3000))
        while mulaw.is_silence(base64.b64decode((await peer.until("media"))["media"]["payload"])):
            pass
        await peer.clear()
        await trio.sleep(1.0)
        await peer.play(speech(400))

    relay.scripts = [script]
    caller = Conversation([Utterance(speech(300), AfterHearing(1000))], hang_up_after_silence_ms=600)
    report, seen = await call(relay, caller)
    [cleared] = [event for event in seen if isinstance(event, Cleared)]
    [speaking] = [event for event in seen if isinstance(event, CallerSpeaking)]
    assert speaking.at_ms == 1000
    assert cleared == Cleared(at_ms=1020, dropped_ms=1980, heard_ms=1020)
    assert CallerSilent(at_ms=1300) in seen
    assert report.heard_ms == 1420
    assert report.ended_by == "caller"
    assert report.duration_ms == pytest.approx(1020 + 1000 + 400 + 600, abs=40)


async def test_a_conversation_takes_turns(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        for _ in range(3):
            await peer.play(speech(500))
            await trio.sleep(2.5)

    relay.scripts = [script]
    caller = Conversation([Utterance(speech(200), AfterSilence(300)) for _ in range(2)])
    report, seen = await call(relay, caller, msgspec.structs.replace(OPTIONS, max_seconds=9))
    assert [event.at_ms for event in seen if isinstance(event, CallerSpeaking)] == [780, 3280]
    assert caller.done
    assert (report.ended_by, report.duration_ms) == ("time_limit", 9000)
    assert relay.peer.received[-1][1]["event"] == "stop"


async def test_keys_are_sent_as_documented(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    caller = Recording(b"", actions=[Digits(100, "5#"), HangUp(500)])
    report, seen = await call(relay, caller)
    keys = relay.peer.events("dtmf")
    assert [key["dtmf"] for key in keys] == [
        {"track": "inbound_track", "digit": "5"},
        {"track": "inbound_track", "digit": "#"},
    ]
    assert set(keys[0]) == {"event", "streamSid", "sequenceNumber", "dtmf"}
    assert KeyPressed(at_ms=120, digit="5") in seen
    numbers = [int(message["sequenceNumber"]) for _, message in relay.peer.received[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert report.frames_sent == 26


async def test_lost_frames_leave_a_gap_in_the_timestamps(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    class Losing(Recording):
        def frame(self, now_ms: int, *, hearing: bool, heard_ms: int) -> bytes:
            frame = super().frame(now_ms, hearing=hearing, heard_ms=heard_ms)
            return b"" if 20 <= now_ms < 100 else frame

    report, _ = await call(relay, Losing(speech(200), actions=[HangUp(180)]))
    media = [(frame["media"]["timestamp"], frame["media"]["chunk"]) for frame in relay.peer.events("media")]
    assert media == [("155", "1"), ("255", "2"), ("275", "3"), ("295", "4"), ("315", "5"), ("335", "6")]
    assert report.sent_track == speech(20) + mulaw.silence(80) + speech(100)


async def test_a_relay_that_closes_ends_the_call(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(speech(5000))
        await trio.sleep(0.505)
        await peer.socket.aclose(1001, "going away")

    relay.scripts = [script]
    report, seen = await call(relay)
    assert (report.ended_by, report.close_code, report.heard_ms) == ("relay", 1001, 505)
    assert report.warnings == ()
    assert "stop" not in [message["event"] for _, message in relay.peer.received]
    assert seen[-1] == Ended(at_ms=505, ended_by="relay")


async def test_a_relay_that_dies_is_a_warning(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("media")
        await trio.aclose_forcefully(peer.socket._stream)  # only the stream itself can die without a goodbye

    relay.scripts = [script]
    report, _ = await call(relay)
    assert (report.ended_by, report.close_code) == ("relay", 1006)
    assert [warning.code for warning in report.warnings] == [31921]


GOOD_AUDIO = base64.b64encode(speech(20)).decode()
BAD = {
    "binary": b"\x00\x01",
    "not JSON": "{",
    "unknown event": '{"event":"commit","streamSid":"%s"}',
    "extra key": '{"event":"media","streamSid":"%s","media":{"payload":"' + GOOD_AUDIO + '","track":"outbound"}}',
    "missing key": '{"event":"media","streamSid":"%s","media":{}}',
    "wrong stream": '{"event":"media","streamSid":"MZ0","media":{"payload":"' + GOOD_AUDIO + '"}}',
    "no stream": '{"event":"clear","streamSid":null}',
    "bad base64": '{"event":"media","streamSid":"%s","media":{"payload":"' + GOOD_AUDIO[:-1] + '"}}',
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
async def test_a_bad_message_is_a_warning_and_the_call_goes_on(
    autojump_clock: MockClock, relay: "FakeRelay", raw: str | bytes
) -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await trio.sleep(0.04)
        await peer.socket.send_message(raw.replace("%s", peer.stream_sid) if isinstance(raw, str) else raw)
        await peer.play(speech(100))

    relay.scripts = [script]
    report, _ = await call(relay)
    assert [(warning.code, warning.at_ms) for warning in report.warnings] == [(31951, 40)]
    assert GOOD_AUDIO not in report.warnings[0].detail
    assert (report.heard_ms, report.ended_by, report.duration_ms) == (100, "caller", 1020)


async def test_warnings_do_not_pile_up_without_end(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        for _ in range(300):
            await peer.socket.send_message("hello")

    relay.scripts = [script]
    report, _ = await call(relay)
    assert len(report.warnings) == 100


async def test_a_message_without_measure_ends_the_call(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(b"\x00" * (1 << 20))

    relay.scripts = [script]
    report, _ = await call(relay)
    assert (report.ended_by, report.close_code) == ("error", 1009)
    assert "1048576 bytes" in (report.error or "")


async def test_a_relay_that_sends_an_hour_ahead_ends_the_call(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        for _ in range(7):
            await peer.play(speech(90_000))

    relay.scripts = [script]
    report, _ = await call(relay)
    assert report.ended_by == "error"
    assert "600 s" in (report.error or "")


async def test_a_relay_that_does_not_read_ends_the_call(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()

    async def accept_and_sleep(nursery: trio.Nursery) -> None:
        await (await wrap_server_stream(nursery, theirs)).accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept_and_sleep, nursery)
        report = await run_stream(ours, OPTIONS, silent_caller())
        nursery.cancel_scope.cancel()
    assert report.ended_by == "error"
    assert "not read" in (report.error or "")


async def raw_relay(stream: trio.abc.Stream, frames: bytes, *, after: type[wsproto.events.Event]) -> None:
    """Sends these bytes after the first such event; reads on, but never closes."""
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    while received := await stream.receive_some():
        server.receive_data(bytes(received))
        for event in server.events():
            if isinstance(event, wsproto.events.Request):
                await stream.send_all(server.send(wsproto.events.AcceptConnection()))
            if isinstance(event, after):
                await stream.send_all(frames)
                after = wsproto.events.Request  # once is enough


@pytest.mark.parametrize(
    ("frames", "close_code", "what"),
    [
        (b"\x8f\x00", 1002, "WebSocket protocol error"),
        (b"\x81\x02\xc3\x28", 1007, "WebSocket protocol error, text is not UTF-8"),
    ],
)
async def test_a_malformed_frame_is_a_warning(
    autojump_clock: MockClock, frames: bytes, close_code: int, what: str
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(raw_relay, theirs, frames, after=wsproto.events.TextMessage))
        report = await run_stream(ours, OPTIONS, silent_caller())
    assert (report.ended_by, report.close_code) == ("relay", close_code)
    assert [(warning.code, warning.detail) for warning in report.warnings] == [(31924, what)]


async def test_a_ping_that_crosses_the_goodbye_harms_nothing(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(raw_relay, theirs, b"\x89\x00", after=wsproto.events.CloseConnection))
        report = await run_stream(ours, OPTIONS, silent_caller())
    assert (report.ended_by, report.error, report.warnings) == ("caller", None, ())


async def test_a_refused_upgrade_names_its_status_and_twilios_code(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    relay.refuse_with = 403
    report, seen = await call(relay)
    assert report.error == (
        "wss://relay.example/media answered the WebSocket upgrade with HTTP 403, not 101 (Twilio error 31920)"
    )
    assert (report.ended_by, report.stream_sid, report.first_audio_ms, report.frames_sent) == ("error", None, None, 0)
    assert [event for event in seen if isinstance(event, StreamStarted)] == []


async def test_an_upgrade_without_an_answer_is_given_up(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    report = await run_stream(ours, OPTIONS, silent_caller())
    assert "did not answer the WebSocket upgrade within 10 s (Twilio error 31901)" in (report.error or "")
    await theirs.aclose()


async def test_a_closed_door_is_named() -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        raise OSError("connection refused")

    report = await place_call(OPTIONS, silent_caller(), dial=dial)
    assert report.error == (
        "wss://relay.example/media at 127.0.0.1:5050 cannot be reached: connection refused (Twilio error 31902)"
    )


async def test_no_tls_where_tls_is_asked_for_is_named(autojump_clock: MockClock) -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return ours

    options = CallOptions(stream_url="wss://relay.example/media")
    report = await place_call(options, silent_caller(), dial=dial)
    assert report.ended_by == "error"
    assert "does not speak TLS" in (report.error or "")
    assert "31910" in (report.error or "")


async def test_the_upgrade_is_signed_over_the_public_url_and_dialled_elsewhere(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    await call(relay, options=msgspec.structs.replace(OPTIONS, auth_token=TOKEN))
    assert relay.dialled == [("127.0.0.1", 5050)]
    [(path, headers)] = relay.upgrades
    assert (path, headers["host"]) == ("/media", "relay.example")
    validator, signature = RequestValidator(TOKEN), headers["x-twilio-signature"]
    assert validator.validate("wss://relay.example/media", {}, signature)
    assert not validator.validate("wss://relay.example/medib", {}, signature)
    assert not validator.validate("https://relay.example/media", {}, signature)


async def test_without_a_token_the_upgrade_is_not_signed(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    await call(relay)
    assert "x-twilio-signature" not in relay.upgrades[0][1]


async def test_plain_sockets_need_to_be_allowed(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    options = CallOptions(stream_url="ws://127.0.0.1:5050/media")
    report, _ = await call(relay, options=options)
    assert report.error == "the stream URL 'ws://127.0.0.1:5050/media' is not wss:// (Twilio error 31922)"
    report, _ = await call(relay, options=msgspec.structs.replace(options, allow_insecure=True))
    assert (report.ended_by, relay.dialled) == ("caller", [("127.0.0.1", 5050)])


async def test_an_open_transport_is_closed_whatever_happens() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    report = await run_stream(ours, CallOptions(stream_url="wss://relay.example/media?q=1"), silent_caller())
    assert "has a query" in (report.error or "")
    assert await theirs.receive_some() == b""


async def test_the_report_is_json_without_the_sound(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(speech(100))
        await peer.socket.send_message("x")

    relay.scripts = [script]
    report, _ = await call(relay)
    raw = msgspec.json.encode(report)
    assert json.loads(raw)["heard_ms"] == 100
    assert len(raw) < 1500
    assert msgspec.json.decode(raw, type=CallReport) == report
    assert msgspec.json.decode(raw, type=CallReport).heard_track == b""
    assert len(report.heard_track) == report.duration_ms * 8


async def test_fifty_callers_share_one_process(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    async def script(peer: "Peer") -> None:
        await peer.until("start")
        await peer.play(speech(100))
        await peer.mark("m")

    relay.scripts = [script]
    reports: list[CallReport] = []

    async def one(seed: int) -> None:
        options = msgspec.structs.replace(OPTIONS, seed=seed)
        reports.append(await place_call(options, silent_caller(), dial=relay.dial))

    async with trio.open_nursery() as nursery:
        for seed in range(50):
            nursery.start_soon(one, seed)
    assert len({report.call_sid for report in reports}) == 50
    assert {(report.heard_ms, report.marks_echoed, report.frames_sent) for report in reports} == {(100, 1, 51)}


def test_options_name_one_way_to_call() -> None:
    with pytest.raises(ValueError, match="webhook_url or a stream_url"):
        CallOptions()
    with pytest.raises(ValueError, match="cannot last"):
        CallOptions(stream_url="wss://x", max_seconds=0)


def test_options_keep_the_token_to_themselves() -> None:
    assert TOKEN not in repr(CallOptions(stream_url="wss://x", auth_token=TOKEN))

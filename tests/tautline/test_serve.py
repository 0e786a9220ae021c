"""The server as Twilio meets it, on a real port: webhook, token, stream, and what is refused."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.etree.ElementTree import fromstring

import httpx
import msgspec
import pytest
import trio
import trio.testing
from rich.console import Console
from structlog.testing import capture_logs
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection
from twilio.request_validator import RequestValidator

from admin.errors import DrainingError
from admin.store.call_search import Viewer
from admin.store.database import Database
from benchmarks.conformance.wire import dial
from benchmarks.owner import add_owner
from benchmarks.simulators.openai import Faults, Reply, Script, Several, SimulatorConfig, ToolCall
from benchmarks.simulators.openai import serve as serve_openai
from benchmarks.simulators.twilio import (
    Action,
    Callee,
    CallOptions,
    CallReport,
    Digits,
    HangUp,
    Recording,
    place_call,
)
from relay.log import CallEnded, CallStarted, StartRefused
from tautline import phone, phrases, serve
from tautline.serve import LineLog, Server
from tautline.settings import Settings
from tautline.store import wall_time
from tests.admin.services.persona_rows import add_persona
from tests.relay import wire
from tests.relay.calls import Records
from tests.services.databases import Databases

TOKEN = "00112233445566778899aabbccddeeff"
PUBLIC_URL = "https://relay.example.com"
STAFF_NUMBER = "+4930901820"
ABSENT = Callee(does="no-answer")
SETTINGS = Settings(
    host="127.0.0.1",
    port=0,
    public_url=PUBLIC_URL,
    twilio_auth_token=TOKEN,
    openai_api_key="sk-test",
    greeting="Good evening, Luna's Pizzeria.",
    cache_greeting="off",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def texts(folder: Path) -> list[str]:
    return [file.read_text() for file in folder.iterdir()]


def signed(url: str, form: dict[str, str]) -> str:
    return str(RequestValidator(TOKEN).compute_signature(url, form))


class Relay:
    """A served relay: its port, and what its calls left behind."""

    def __init__(self, port: int, records: Records) -> None:
        self.port, self.records = port, records

    async def answer(self, call_sid: str) -> str:
        """The TwiML for a call that comes in."""
        form = {"CallSid": call_sid, "From": "+15551230001", "To": "+15551230002", "Direction": "inbound"}
        headers = {"X-Twilio-Signature": signed(f"{PUBLIC_URL}/incoming-call", form)}
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.post(f"http://127.0.0.1:{self.port}/incoming-call", data=form, headers=headers)
        assert response.status_code == 200
        return response.text

    async def token(self, call_sid: str) -> str:
        parameters = fromstring(await self.answer(call_sid)).iter("Parameter")
        return next(each.attrib["value"] for each in parameters if each.attrib["name"] == "token")

    @asynccontextmanager
    async def stream(self, call_sid: str, token: str) -> AsyncIterator[WebSocketConnection]:
        """A signed media stream that has started with this token."""
        headers = [("x-twilio-signature", signed("wss://relay.example.com/media-stream", {}))]
        url = f"ws://127.0.0.1:{self.port}/media-stream"
        async with dial(url, headers=headers, within_s=5) as (stream, _):
            for message in (wire.connected(), wire.start("MZ1", call_sid, customParameters={"token": token})):
                await stream.send_message(wire.raw(message).decode())
            yield stream

    async def is_carried(self, call_sid: str, token: str) -> bool:
        """Whether the agent is heard on such a stream; else the relay has closed it with 1008."""
        async with self.stream(call_sid, token) as stream:
            with suppress(ConnectionClosed):
                return str(msgspec.json.decode(await stream.get_message())["event"]) == "media"
            assert stream.closed is not None
            assert stream.closed.code == 1008
            return False

    async def call(self, actions: Sequence[Action] = (HangUp(300),), staff: Callee = ABSENT) -> CallReport:
        """A simulated call that comes in, and, unless it does anything else, hangs up soon."""
        options = CallOptions(
            webhook_url=f"{PUBLIC_URL}/incoming-call",
            auth_token=TOKEN,
            connect_to=("127.0.0.1", self.port),
            max_seconds=10,
            phone_book={STAFF_NUMBER: staff},
        )
        return await place_call(options, Recording(b"", actions=actions))


@asynccontextmanager
async def serving(
    settings: Settings = SETTINGS, *, database: Database | None = None, **knobs: Any
) -> AsyncIterator[Relay]:
    """knobs: of the simulator that stands in for OpenAI."""
    records = Records()
    config = SimulatorConfig(first_audio_delay_s=0.0, pace=20.0, **knobs)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve_openai, config))
        url = f"ws://127.0.0.1:{port}/v1/realtime"
        server = Server(msgspec.structs.replace(settings, openai_realtime_url=url), records, database=database)
        yield Relay(await nursery.start(server.run), records)
        await server.drain()
        nursery.cancel_scope.cancel()


async def test_a_token_from_the_webhook_opens_its_call_once() -> None:
    async with serving() as relay:
        token = await relay.token("CA1")
        assert await relay.is_carried("CA1", token)
        assert not await relay.is_carried("CA1", token)
        assert not await relay.is_carried("CA2", await relay.token("CA1"))
        assert not await relay.is_carried("CA1", "")
    assert [event.reason for event in relay.records.of(StartRefused)] == [
        "token_used",
        "token_of_another_call",
        "token_missing",
    ]
    assert len(relay.records.of(CallStarted)) == 1


async def test_twilio_carries_the_token_as_the_webhook_gave_it() -> None:
    async with serving() as relay:
        report = await relay.call()
    assert (report.error, report.ended_by, report.warnings) == (None, "caller", ())
    assert report.marks_sent
    assert [event.reason for event in relay.records.of(CallEnded)] == ["caller_hung_up"]


async def test_a_call_in_progress_is_shown_until_it_ends_and_who_watches_is_let_go_by_a_drain(
    databases: Databases, tmp_path: Path
) -> None:
    viewer, records = Viewer(account_id=uuid4(), sees_unowned=True), Records()
    with databases.open("sqlite") as database:
        settings = msgspec.structs.replace(SETTINGS, data_dir=tmp_path)
        async with trio.open_nursery() as nursery:
            openai = await nursery.start(partial(serve_openai, SimulatorConfig(first_audio_delay_s=0.0, pace=20.0)))
            settings = msgspec.structs.replace(settings, openai_realtime_url=f"ws://127.0.0.1:{openai}/v1/realtime")
            server = Server(settings, records, database=database)
            relay = Relay(await nursery.start(server.run), records)
            assert server.office is not None
            live = server.office.live
            async with relay.stream("CA1", await relay.token("CA1")) as stream:
                await stream.get_message()
                assert [call.call_sid for call in live.calls(viewer)] == ["CA1"]
            while live.calls(viewer):
                await trio.lowlevel.checkpoint()
            await server.drain()
            with pytest.raises(DrainingError):
                live.require_room(uuid4())
            nursery.cancel_scope.cancel()


async def test_a_persona_is_heard_without_a_call(databases: Databases) -> None:
    with databases.open("sqlite") as database:
        secret, account_id = add_owner(database, wall_time())
        path = f"/api/personas/{add_persona(database, account_id)}/preview"
        script = Script(steps=(Reply("greeting"),))
        async with serving(database=database, script=script) as relay, httpx.AsyncClient(trust_env=False) as client:
            headers = {"Authorization": f"Bearer {secret}", "Accept": "audio/wav"}
            response = await client.post(f"http://127.0.0.1:{relay.port}{path}", json={}, headers=headers)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "audio/wav")
    assert response.content.startswith(b"RIFF")


async def test_a_full_house_tells_the_next_caller_so_and_takes_calls_again_when_one_has_ended() -> None:
    async with serving(msgspec.structs.replace(SETTINGS, max_calls=1)) as relay:
        async with relay.stream("CA1", await relay.token("CA1")) as stream:
            await stream.get_message()
            report = await relay.call()
            assert report.said == ("All our lines are busy at the moment. Please call again in a few minutes.",)
            assert (report.stream_sid, report.error) == (None, None)
        while "<Connect" not in await relay.answer("CA3"):
            pass  # the place is free once the goodbye is over
        assert (await relay.call()).said == ()


# What happens after the stream

WITH_STAFF = msgspec.structs.replace(SETTINGS, staff_number=STAFF_NUMBER)
# "#" ends the entry; without it the pause after the key would.
PRESS_ZERO = (Digits(200, "0#"),)


def answers_and_hangs_up() -> Callee:
    return Callee(after_s=0.0, person=lambda: Recording(wire.voice(200), actions=[HangUp(400)]))


async def test_who_presses_zero_is_connected_to_staff() -> None:
    async with serving(WITH_STAFF) as relay:
        report = await relay.call(PRESS_ZERO, answers_and_hangs_up())
    assert [(dialled.number, dialled.status) for dialled in report.dials] == [(STAFF_NUMBER, "completed")]
    assert report.dials[0].caller_heard_ms > 0
    assert (report.error, report.said, report.ended_by) == (None, (), "hangup_verb")
    assert [(event.reason, event.outcome) for event in relay.records.of(CallEnded)] == [("agent_ended", "staff")]


async def test_who_presses_zero_hears_a_sorry_when_staff_is_busy() -> None:
    async with serving(WITH_STAFF) as relay:
        report = await relay.call((*PRESS_ZERO, HangUp(1500)), Callee(does="busy", after_s=0.0))
    assert [dialled.status for dialled in report.dials] == ["busy"]
    assert report.said == ("We are sorry, nobody can take your call at the moment. Please call again later.",)
    assert report.error is None


async def test_without_a_model_the_caller_hears_an_apology_and_then_staff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tmp_path / "apology.ulaw"
    short.write_bytes(wire.voice(500))
    monkeypatch.setattr(phrases, "APOLOGY_CLIP", short)
    async with serving(WITH_STAFF, faults=Faults(http_status=401)) as relay:
        report = await relay.call((), answers_and_hangs_up())
    assert [event.reason for event in relay.records.of(CallEnded)] == ["openai_refused"]
    assert report.heard_ms >= 500
    assert [dialled.status for dialled in report.dials] == ["completed"]


async def test_a_key_means_nothing_without_a_staff_number() -> None:
    async with serving() as relay:
        report = await relay.call((*PRESS_ZERO, HangUp(800)), answers_and_hangs_up())
    assert (report.dials, report.ended_by) == ((), "caller")


async def test_a_call_that_ends_as_it_should_rings_nobody() -> None:
    goodbye = Several((Reply("thanks_bye"), ToolCall("end_call", '{"reason":"done"}')))
    async with serving(WITH_STAFF, script=Script(greeting=goodbye)) as relay:
        report = await relay.call(())
    assert [event.reason for event in relay.records.of(CallEnded)] == ["agent_ended"]
    assert (report.dials, report.said, report.ended_by) == ((), (), "hangup_verb")


async def test_case_74_while_the_server_drains_no_stream_is_let_in_and_the_one_in_progress_goes_on() -> None:
    records = Records()
    async with trio.open_nursery() as nursery:
        openai = await nursery.start(partial(serve_openai, SimulatorConfig(first_audio_delay_s=0.0, pace=20.0)))
        settings = msgspec.structs.replace(SETTINGS, openai_realtime_url=f"ws://127.0.0.1:{openai}/v1/realtime")
        server = Server(settings, records)
        relay = Relay(await nursery.start(server.run), records)
        async with relay.stream("CA1", await relay.token("CA1")) as stream:
            await stream.get_message()  # the agent is heard
            nursery.start_soon(server.drain)
            await trio.testing.wait_all_tasks_blocked(0.01)
            turned_away = pytest.RaisesExc(ConnectionRejected, check=lambda refusal: refusal.status_code == 503)
            with pytest.RaisesGroup(turned_away, flatten_subgroups=True):
                async with relay.stream("CA2", "any"):
                    pass
            assert records.of(CallEnded) == []
            assert msgspec.json.decode(await stream.get_message())["event"] in ("media", "mark")
        nursery.cancel_scope.cancel()


async def test_no_token_is_logged_or_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Records, "offer", lambda _self, call_sid, event: LineLog().offer(call_sid, event))
    with capture_logs() as logs:
        async with serving(msgspec.structs.replace(SETTINGS, capture_dir=tmp_path, capture_audio="on")) as relay:
            token = await relay.token("CA1")
            assert await relay.is_carried("CA1", token)
            assert not await relay.is_carried("CA1", token)
    assert {"call.started", "start.refused"} <= {entry["event"] for entry in logs}
    captured = texts(tmp_path)
    assert len(captured) == 2
    for text in (str(logs), *captured):
        assert token not in text
        assert token.split(".")[1] not in text


@pytest.mark.parametrize("auth_token", [TOKEN, None])
async def test_who_dials_a_stream_without_its_webhook_is_carried_or_told_what_to_do(
    auth_token: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "silence.ulaw"
    recording.write_bytes(wire.voice(20))
    port = free_port()  # signed is the address that is dialled, so it must be known beforehand
    known = {"port": port, "public_url": f"http://127.0.0.1:{port}", "twilio_auth_token": auth_token}
    async with serving(msgspec.structs.replace(SETTINGS, **known)) as relay:
        order = phone.order(None, f"ws://127.0.0.1:{port}/media-stream", recording, auth_token, 0.5)
        assert await phone.call(order, Console(), None, as_json=True) == (1 if auth_token else 0)
    assert len(relay.records.of(CallStarted)) == (0 if auth_token else 1)
    assert ("use --webhook" in capsys.readouterr().err) == (auth_token is not None)


def test_a_server_without_an_auth_token_warns_once_that_bare_streams_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def start_and_stop(settings: Settings, _worker: None) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(Server(settings, Records()).run)
            nursery.cancel_scope.cancel()

    monkeypatch.setattr(serve, "_run_until_signalled", start_and_stop)
    monkeypatch.setattr("sys.setswitchinterval", lambda _: None)
    with capture_logs() as logs:
        serve.run(msgspec.structs.replace(SETTINGS, twilio_auth_token=None, upstream_spares=0))
    warned = [str(entry.get("consequence")) for entry in logs if entry["log_level"] == "warning"]
    assert len(warned) == 1
    assert "bare media streams are accepted" in warned[0]

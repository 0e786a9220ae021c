"""The server's calls in its database: when they are over, when the server ends them, when another has to write them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx
import trio
from sqlalchemy import select

from admin.services.calls.call_record import Rung
from admin.store import calls
from admin.store.database import Database
from admin.store.schema import call_events
from benchmarks.simulators.openai import SimulatorConfig
from benchmarks.simulators.openai import serve as serve_openai
from proto.handshake import ClientHandshake
from proto.websocket import FrameCodec, Role
from tautline.serve import LineLog, Server
from tautline.settings import Settings
from tests.relay import wire


@asynccontextmanager
async def open_server(database: Database, data_dir: Path) -> AsyncIterator[tuple[Server, int]]:
    """A server before a simulated model, and its port. When the context ends it has drained."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            model_port = await nursery.start(partial(serve_openai, SimulatorConfig(first_audio_delay_s=0.0)))
            settings = Settings(
                host="127.0.0.1",
                port=0,
                openai_api_key="sk-test",
                openai_realtime_url=f"ws://127.0.0.1:{model_port}/v1/realtime",
                database_migrate="on",
                cache_greeting="off",
                data_dir=data_dir,
            )
            server = Server(settings, LineLog(), database=database)
            yield server, await nursery.start(server.run)
            await server.drain()
            nursery.cancel_scope.cancel()


Hangs = Literal["up", "on", "off"]


async def call(port: int, call_sid: str, hangs: Hangs = "up") -> None:
    """A call that hears the agent begin, then hangs up, or on until it is ended, or is cut off."""
    codec = FrameCodec(Role.CLIENT, max_message_bytes=1 << 20)
    async with await trio.open_tcp_stream("127.0.0.1", port) as phone:
        await phone.send_all(ClientHandshake("127.0.0.1", "/media-stream", ()).request())
        await phone.send_all(codec.text(wire.raw(wire.connected())) + codec.text(wire.raw(wire.start(call=call_sid))))
        await phone.receive_some()
        if hangs == "up":
            await phone.send_all(codec.text(wire.raw(wire.stop())) + codec.close(1000))
        while hangs != "off" and await phone.receive_some():
            pass


async def row(database: Database, call_sid: str) -> dict[str, Any]:
    found = await database.read(partial(calls.by_sid, call_sid=call_sid))
    return dict(found or {})


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - there is no event to wait for
        await trio.sleep(0.01)


async def test_a_served_call_is_in_the_database(database: Database, tmp_path: Path) -> None:
    async with open_server(database, tmp_path) as (server, port):
        assert server.office is not None
        rung = Rung(call_sid="CA1", direction="inbound", caller="+15551230001", called="+15551230002")
        server.office.records.rung(rung)
        await call(port, "CA1")
        await call(port, "CA2", "off")
    first, second = await row(database, "CA1"), await row(database, "CA2")
    assert (first["status"], first["caller"], first["stream_sid"]) == ("completed", "+15551230001", "MZ1")
    assert (second["status"], second["end_reason"]) == ("completed", "twilio_closed")
    assert first["usage"]["model"] == "gpt-realtime-2.1"
    names = await database.read(
        lambda connection: list(
            connection.execute(
                select(call_events.c.name).where(call_events.c.call_id == first["id"]).order_by(call_events.c.number)
            ).scalars()
        )
    )
    assert (names[0], names[-1]) == ("call.started", "call.ended")
    assert server.office.records.dropped == 0
    assert _files(tmp_path) == []


async def test_a_call_that_is_cut_by_the_servers_end_is_in_the_database(database: Database, tmp_path: Path) -> None:
    async with open_server(database, tmp_path) as (server, port), trio.open_nursery() as nursery:
        nursery.start_soon(call, port, "CA1", "on")
        await until(lambda: server.switchboard.begun_calls == 1)
        server.switchboard.end_all()
    assert (await row(database, "CA1"))["end_reason"] == "shutdown"


async def test_what_a_server_that_died_has_left_is_written_by_the_next(database: Database, tmp_path: Path) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    async with open_server(away, tmp_path) as (_, port), httpx.AsyncClient() as twilio:
        await call(port, "CA1")
        told = {"CallSid": "CA1", "CallStatus": "completed", "AnsweredBy": "human"}
        assert (await twilio.post(f"http://127.0.0.1:{port}/voice/status", data=told)).status_code == 204
    assert _files(tmp_path) != []
    async with open_server(database, tmp_path) as (server, _):
        assert server.office is not None
        records = server.office.records
        await until(lambda: records.written > 0)
    written = await row(database, "CA1")
    assert (written["status"], written["answered_by"]) == ("completed", "human")
    away.close()


def _files(data_dir: Path) -> list[Path]:
    return [each for each in (data_dir / "spool").rglob("*") if each.is_file()]

"""Several workers behind one port, as real processes: they answer for each other, and one that dies is replaced."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio_websocket import ConnectionClosed, WebSocketConnection

from tautline.restarts import MAX_QUICK_DEATHS
from tautline.settings import Settings
from tautline.shared import worker_in
from tautline.workers import Crew, settings_of
from tests.relay import wire
from tests.relay.calls import Records
from tests.tautline.test_serve import PUBLIC_URL, STAFF_NUMBER, TOKEN, Relay, signed

WITHIN_S = 20.0  # for a process to start on a busy machine
MANY = 12  # connections: seldom does the kernel bring all of them to one of two workers
MOST = 100  # of so many it never does
ENVIRONMENT = {
    "HOST": "127.0.0.1",
    "PORT": "0",
    "WORKERS": "2",
    "PUBLIC_URL": PUBLIC_URL,
    "TWILIO_AUTH_TOKEN": TOKEN,
    "OPENAI_REALTIME_URL": "simulator",
    "GREETING": "Good evening, Luna's Pizzeria.",
    "STAFF_NUMBER": STAFF_NUMBER,
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes share a port on Linux only")


class Crewed:
    """`tautline serve` with two workers: the parent's process, its log, and the port."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._log: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            if line.startswith(b"{"):
                self._log.append(msgspec.json.decode(line))

    def lines(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Those of this event and with these fields, so far."""
        wanted = fields | {"event": event}
        return [line for line in self._log[:] if wanted.items() <= line.items()]

    async def line(self, event: str, *, times: int = 1, **fields: object) -> dict[str, Any]:
        """The line that makes it so many of them, now or soon."""
        await until(lambda: len(self.lines(event, **fields)) >= times)
        return self.lines(event, **fields)[times - 1]

    async def ready(self) -> "Crewed":
        for number in (1, 2):
            await self.line("server.started", worker=number)
        return self

    @property
    def port(self) -> int:
        port: int = self.lines("workers.starting")[0]["port"]
        return port

    def pid(self, number: int) -> int:
        pid: int = self.lines("worker.started", worker=number)[-1]["pid"]
        return pid

    def folder(self) -> str:
        """What the workers share."""
        variables = Path(f"/proc/{self.pid(1)}/environ").read_text().split("\0")
        worker = worker_in(dict(each.split("=", 1) for each in variables if each))
        assert worker is not None
        assert Path(worker.folder).is_dir()
        return worker.folder

    @property
    def relay(self) -> Relay:
        return Relay(self.port, Records())

    async def post(self, path: str, form: dict[str, str]) -> str:
        headers = {"X-Twilio-Signature": signed(f"{PUBLIC_URL}{path}", form)}
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.post(f"http://127.0.0.1:{self.port}{path}", data=form, headers=headers)
        return response.text

    async def scrape(self) -> dict[str, float]:
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"http://127.0.0.1:{self.port}/metrics")).text
        found = re.findall(r"^(tautline_\S+) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    async def carrier(self, call_sid: str) -> int:
        """Which worker carries this call."""
        number: int = (await self.line("call.started", call_sid=call_sid))["worker"]
        return number


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does; it tells nobody here when it has."""
    with trio.fail_after(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.01)


@contextmanager
def started(**changed: str) -> Iterator[Crewed]:
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "PYTHONPATH")}
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "tautline", "serve"],
        env=environment | ENVIRONMENT | changed,
        cwd=root,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    with process:
        try:
            yield Crewed(process)
        finally:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)  # another one, so it does not coalesce: do not wait for calls
            try:
                process.wait(WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def shared_crew() -> Iterator[Crewed]:
    """One for all tests that leave it as they found it; to start two interpreters takes seconds."""
    with started() as crew:
        yield crew


@pytest.fixture
async def crew(shared_crew: Crewed) -> Crewed:
    return await shared_crew.ready()


@asynccontextmanager
async def on_the_line(crew: Crewed, call_sid: str) -> AsyncIterator[tuple[WebSocketConnection, int]]:
    """A call whose agent is heard, and which worker carries it."""
    async with crew.relay.stream(call_sid, await crew.relay.token(call_sid)) as stream:
        assert msgspec.json.decode(await stream.get_message())["event"] == "media"
        yield stream, await crew.carrier(call_sid)


async def hung_up(crew: Crewed, call_sid: str) -> int:
    """A whole call; gives the worker that has carried it."""
    async with on_the_line(crew, call_sid) as (stream, number):
        await stream.send_message(wire.raw(wire.stop()).decode())
        await crew.line("call.ended", call_sid=call_sid)
        return number


async def test_a_token_that_was_used_at_one_worker_is_refused_at_the_other(crew: Crewed) -> None:
    token = await crew.relay.token("CAtoken")
    assert await crew.relay.is_carried("CAtoken", token)
    refused_by: set[int] = set()
    for times in range(1, MOST):
        assert not await crew.relay.is_carried("CAtoken", token)
        refused_by.add((await crew.line("start.refused", times=times, reason="token_used"))["worker"])
        if len(refused_by) == 2:
            break
    assert refused_by == {1, 2}


async def test_what_follows_a_call_is_known_whichever_worker_is_asked(crew: Crewed) -> None:
    async with on_the_line(crew, "CAstaff") as (stream, _):
        for key in "0#":
            await stream.send_message(wire.raw(wire.dtmf(key)).decode())
        with trio.fail_after(WITHIN_S):
            try:
                while True:
                    await stream.get_message()
            except ConnectionClosed:
                pass
        answers = [await crew.post("/after-stream", {"CallSid": "CAstaff"}) for _ in range(MANY)]
    assert [STAFF_NUMBER in answer for answer in answers] == [True] * MANY
    assert STAFF_NUMBER not in await crew.post("/after-stream", {"CallSid": "CAunknown"})


async def test_every_scrape_shows_the_calls_of_all_workers_also_of_one_that_was_killed(crew: Crewed) -> None:
    before = await crew.scrape()
    carried: Counter[int] = Counter()
    while len(carried) < 2 and carried.total() < MOST:
        carried[await hung_up(crew, f"CAcounted{carried.total()}")] += 1
    expected = before["tautline_calls_started_total"] + carried.total()
    for _ in range(MANY):
        assert (await crew.scrape())["tautline_calls_started_total"] == expected
    async with on_the_line(crew, "CAsurvivor") as (stream, survivor):
        other = 3 - survivor
        os.kill(crew.pid(other), signal.SIGKILL)
        died = await crew.line("worker.died", worker=other)
        assert "signal 9" in died["how"]
        assert await crew.relay.answer("CAmeanwhile")  # the one that lives answers alone
        await crew.line("server.started", times=2, worker=other)
        for _ in range(MANY):
            scraped = await crew.scrape()
            assert scraped["tautline_calls_started_total"] == expected + 1
            assert scraped['tautline_calls_ended_total{reason="caller_hung_up"}'] >= carried.total()
        await stream.send_message(wire.raw(wire.stop()).decode())
        ended = await crew.line("call.ended", call_sid="CAsurvivor")
    assert (ended["reason"], ended["worker"]) == ("caller_hung_up", survivor)
    again: Counter[int] = Counter()
    while not again[other] and again.total() < MOST:
        again[await hung_up(crew, f"CAagain{again.total()}")] += 1
    assert again[other] == 1


async def test_sigterm_lets_calls_end_at_every_worker_and_then_nothing_is_left() -> None:
    with started() as crew:
        await crew.ready()
        folder = crew.folder()
        async with on_the_line(crew, "CAlast") as (stream, number):
            crew.process.send_signal(signal.SIGTERM)
            for each in (1, 2):
                await crew.line("server.draining", worker=each)
            assert msgspec.json.decode(await stream.get_message())["event"] in ("media", "mark")
            await crew.line("server.stopped", worker=3 - number)
            await stream.send_message(wire.raw(wire.stop()).decode())
            assert (await crew.line("call.ended", call_sid="CAlast"))["reason"] == "caller_hung_up"
        await crew.line("workers.stopped")
        assert crew.process.wait(WITHIN_S) == 0
    assert crew.lines("worker.died") == []
    assert not os.access(folder, os.F_OK)


async def test_workers_whose_parent_was_killed_end_once_their_calls_have() -> None:
    with started() as crew:
        await crew.ready()
        pids = [crew.pid(number) for number in (1, 2)]
        folder = crew.folder()
        crew.process.kill()
        for number in (1, 2):
            await crew.line("worker.orphaned", worker=number)
            await crew.line("server.stopped", worker=number)
        await until(lambda: not any(_lives(pid) for pid in pids))
    shutil.rmtree(folder)  # nobody is left who would


def _lives(pid: int) -> bool:
    try:  # one that nobody waits for any more stays as a zombie
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_port_that_others_listen_on_is_refused_at_once() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), reuse_port=True) as other,
        started(PORT=str(other.getsockname()[1])) as crew,
    ):
        failed = await crew.line("workers.not_started")
        assert crew.process.wait(WITHIN_S) == 1
    assert "in use" in failed["why"]
    assert crew.lines("worker.started") == []


# The crew alone, with processes that do less.


class Lives:
    """Workers that run a line of Python each, and how many were started."""

    def __init__(self, code: str) -> None:
        self._code, self.started = code, Counter[int]()

    async def open(self, number: int) -> trio.Process:
        self.started[number] += 1
        return await trio.lowlevel.open_process([sys.executable, "-S", "-c", self._code, str(number)])


async def test_a_worker_that_fails_at_every_start_ends_the_server_with_a_reason() -> None:
    lives = Lives("import sys, time; sys.exit(3) if sys.argv[1] == '1' else time.sleep(60)")
    with capture_logs() as logs:
        assert not await Crew(lives.open, 2, first_pause_s=0.001).keep()
    assert lives.started == {1: MAX_QUICK_DEATHS, 2: 1}
    [given_up] = [entry for entry in logs if entry["event"] == "workers.given_up"]
    assert "Worker 1 ended" in given_up["why"]
    assert "exit code 3" in given_up["why"]


async def test_a_process_that_cannot_be_had_is_a_quick_death_too() -> None:
    async def open_none(_number: int) -> trio.Process:
        raise OSError(11, "Resource temporarily unavailable")

    with capture_logs() as logs:
        assert not await Crew(open_none, 1, first_pause_s=0.001).keep()
    assert "temporarily unavailable" in str(logs[-1])


async def test_who_hears_nothing_of_a_first_stop_is_ended_by_a_second() -> None:
    # A first stop is SIGTERM, which a service manager may send to each worker, too: twice, it must not force.
    code = (
        "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); "
        "signal.signal(signal.SIGINT, signal.SIG_DFL); "  # a shell hands on to the background that it is ignored
        "print(); time.sleep(60)"
    )
    opened_out, opened = trio.open_memory_channel[trio.Process](1)

    async def open_deaf(_number: int) -> trio.Process:
        process = await trio.lowlevel.open_process([sys.executable, "-S", "-uc", code], stdout=subprocess.PIPE)
        await opened_out.send(process)
        return process

    crew = Crew(open_deaf, 1)
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.keep)
            process = await opened.receive()
            assert process.stdout is not None
            async with process.stdout as output:
                await output.receive_some()  # it is deaf by now
            crew.stop()
            crew.stop()
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize(("calls", "shares"), [(10, [4, 3, 3]), (3, [1, 1, 1]), (5, [2, 2, 1])])
def test_the_places_are_shared_out_and_none_is_lost(calls: int, shares: list[int]) -> None:
    whole = Settings(workers=3, max_calls=calls, max_calls_per_address=calls, port=0)
    each = [settings_of(whole, number, 5050) for number in (1, 2, 3)]
    assert [settings.max_calls for settings in each] == shares
    assert [settings.max_calls_per_address for settings in each] == shares
    assert {(settings.port, settings.workers) for settings in each} == {(5050, 1)}
    unlimited = Settings(workers=3)
    assert [settings_of(unlimited, number, 5050).max_calls_per_address for number in (1, 2, 3)] == [0, 0, 0]

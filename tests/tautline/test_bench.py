"""`tautline bench relay`, as somebody at a shell meets it."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.load import level, open_far_end
from tautline.bench import Order, Result, bench_relay, order
from tautline.cli import app
from tests.benchmarks.load.relays import faulty_relay, our_relay

NOWHERE = "ws://127.0.0.1:1/media-stream"


def wished(url: str = NOWHERE, **changes: Any) -> Order:
    asked: dict[str, Any] = {
        "calls": 2,
        "ramp": False,
        "levels": None,
        "seconds": 0.2,
        "pid": None,
        "profile": "echo",
        "upstream_port": 0,
        "seed": 1,
        "json": False,
        "plot": None,
    }
    return msgspec.structs.replace(order(url, **(asked | changes)), warmup_s=0.1)


async def run(wanted: Order, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The command against our relay, which has to know the upstream's port; its exit code and what it told."""
    told = StringIO()
    async with open_far_end() as reserved:
        port = int(reserved.upstream_url.split(":")[2].split("/")[0])
    monkeypatch.setattr(level, "DIRECT_S", 0.1)
    async with our_relay(f"ws://127.0.0.1:{port}/v1/realtime") as url:
        at_that_port = msgspec.structs.replace(wanted, url=url, upstream_port=port)
        code = await bench_relay(at_that_port, Console(file=told, width=200))
    return code, told.getvalue()


async def test_a_level_is_told_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = await run(wished(json=True), monkeypatch)
    said = capsys.readouterr()
    result = msgspec.json.decode(said.out, type=Result)
    assert code in {0, 1}  # how soon frames come back is the machine's affair
    assert [(each.calls, each.frames.sent, each.frames.lost) for each in result.levels] == [(2, 20, 0)]
    assert result.most_calls is None
    assert "added_p99_ms" not in json.loads(said.out)["levels"][0]  # both parts are there
    assert said.err.count("\n") == 1  # where the upstream listens, and no progress


async def test_a_ramp_is_told_as_a_table_and_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("benchmarks.load.report.MAX_P99_MS", 10_000.0)
    picture = tmp_path / "load.png"
    code, told = await run(wished(calls=None, levels="1,2", plot=picture), monkeypatch)
    assert code == 0
    assert "2 calls hold" in told
    assert "more were not tried" in told
    assert picture.read_bytes()[:4] == b"\x89PNG"


async def test_a_relay_that_does_not_hold_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.load.report.MAX_P99_MS", 0.0)
    code, told = await run(wished(), monkeypatch)
    assert code == 1
    assert "2 calls do not hold: p99" in told


async def test_a_relay_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    unreachable = wished()
    assert await bench_relay(unreachable, Console()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "OPENAI_REALTIME_URL=ws://127.0.0.1:" in said.err
    assert f"cannot be reached at {NOWHERE}" in said.err


async def test_a_relay_that_does_not_come_to_the_upstream_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(level, "WARM_WITHIN_S", 0.2)
    async with faulty_relay(lambda _number, _frame: []) as url:
        assert await bench_relay(wished(url), Console()) == 2
    assert "nothing connected to ws://127.0.0.1:" in capsys.readouterr().err


async def test_a_process_that_is_gone_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert await bench_relay(wished(pid=2**22 + 1), Console()) == 2
    assert f"process {2**22 + 1} is gone" in capsys.readouterr().err


async def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        taken = listener.socket.getsockname()[1]
        assert await bench_relay(wished(upstream_port=taken), Console()) == 2
    assert f"port {taken} cannot be had" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--url", "http://127.0.0.1/"], "--url needs a ws:// or wss:// address"),
        (["--url", NOWHERE, "--calls", "3", "--ramp"], "either --calls or --ramp"),
        (["--url", NOWHERE, "--levels", "1,x"], "--levels needs numbers of calls"),
        (["--url", NOWHERE, "--levels", "5,2"], "--levels must rise"),
        (["--url", NOWHERE, "--profile", "noise"], "--profile is echo or conversation"),
    ],
)
def test_a_command_line_that_cannot_be_is_told(arguments: list[str], why: str) -> None:
    told = CliRunner().invoke(app, ["bench", "relay", *arguments])
    assert told.exit_code == 2
    assert why in told.output


def test_without_a_number_it_is_fifty_calls_and_a_bare_ramp_has_its_own_list() -> None:
    assert wished(calls=None).numbers == (50,)
    assert wished(calls=None, ramp=True).numbers[:4] == (50, 100, 150, 200)
    assert wished(calls=None, levels="7,9").numbers == (7, 9)


async def test_the_verdict_says_when_the_tool_was_the_bottleneck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.load.report.MAX_TOOL_CORE", 0.0)
    _, told = await run(wished(), monkeypatch)
    assert "THE TOOL WAS THE BOTTLENECK" in told

"""`tautline conformance`, as somebody at a shell meets it."""

import json
from functools import partial

import pytest
import trio
from rich.console import Console

from benchmarks.simulators.openai import SimulatorConfig, serve
from tautline.conformance import judge_openai, judge_relay


async def test_a_server_is_judged_in_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve, SimulatorConfig(first_audio_delay_s=0.1, pace=20.0)))
        url = f"ws://127.0.0.1:{port}/v1/realtime"
        assert await judge_openai(url, "sk-test", Console(), patience_s=5, json=True) == 0
        nursery.cancel_scope.cancel()
    told = json.loads(capsys.readouterr().out)
    assert (told["conformance"], told["url"], told["failed"]) == ("openai", url, 0)


async def test_what_cannot_be_reached_is_told_on_the_standard_error_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert await judge_openai("ws://127.0.0.1:1/", "sk-test", Console(), patience_s=1, json=True) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "ws://127.0.0.1:1/ cannot be reached" in said.err


async def test_a_relay_s_tester_is_told_where_the_relay_has_to_connect(capsys: pytest.CaptureFixture[str]) -> None:
    judge = partial(judge_relay, "ws://127.0.0.1:1/media-stream", 0, Console(), auth_token=None, public_url=None)
    assert await judge(patience_s=1, json=False) == 2
    said = capsys.readouterr()
    assert "OPENAI_REALTIME_URL=ws://127.0.0.1:" in said.err
    assert "cannot be reached: is the relay started" in said.err


async def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        taken = listener.socket.getsockname()[1]
        judge = partial(judge_relay, "ws://127.0.0.1:1/media-stream", taken, Console())
        assert await judge(auth_token=None, public_url=None, patience_s=1, json=False) == 2
    assert f"port {taken} cannot be had" in capsys.readouterr().err

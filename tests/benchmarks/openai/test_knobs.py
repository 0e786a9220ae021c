"""Setting a simulator up from a file and from a command line."""

import math
from pathlib import Path

import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from benchmarks.simulators.openai import (
    Drop,
    Faults,
    Knobs,
    Reply,
    changed,
    changes_from_pairs,
    configured,
    knobs_from_json,
)
from tautline.simulate import serve_until_interrupted, simulator_config


def test_faults_and_scripts_can_be_written_down_as_json() -> None:
    raw = b"""{
      "pace": 1, "rate_limits": "absent", "faults": {"http_status": 503, "retry_after_s": 2},
      "script": {"steps": [
        {"type": "Reply", "clip": "greeting"}, {"type": "Drop", "after_audio_ms": 500},
        {"type": "Several", "items": [{"type": "Reply", "clip": "one_moment"}, {"type": "ToolCall", "name": "find"}]}
      ], "input_transcripts": ["Hello.", {"type": "FailedTranscription"}],
      "mcp_servers": [{"label": "shop", "tools": [{"name": "find"}]}]}
    }"""
    knobs = knobs_from_json(raw)
    assert (knobs.pace, knobs.faults) == (1.0, Faults(http_status=503, retry_after_s=2))
    assert knobs.script.steps[:2] == (Reply("greeting"), Drop(after_audio_ms=500))
    assert configured(knobs).script is knobs.script


def test_faults_can_be_named_one_by_one_as_on_a_command_line() -> None:
    pairs = ["http-status=429", "retry_after_s=3", "silent=true", "stall_s=2.5", "close_reason=a=b"]
    faults = changed(Faults(), changes_from_pairs(pairs), strict=False)
    assert faults == Faults(http_status=429, retry_after_s=3, silent=True, stall_s=2.5, close_reason="a=b")
    assert changed(faults, {"http_status": "null"}, strict=False).http_status is None
    knobs = changed(Knobs(faults=faults), {"pace": "inf", "seed": "7"}, strict=False)
    assert (knobs.pace, knobs.seed, knobs.faults) == (math.inf, 7, faults)


@pytest.mark.parametrize(
    "pair", ["http_status", "=3", "http_status=teapot", "http_status=200", "colour=blue", "stall_s=-1"]
)
def test_a_fault_that_cannot_be_is_named(pair: str) -> None:
    with pytest.raises(ValueError, match=r"NAME=VALUE|http_status|colour|stall_s"):
        changed(Faults(), changes_from_pairs([pair]), strict=False)


def test_a_command_line_goes_over_a_file_and_a_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "bad_day.json"
    file.write_text('{"pace": 2, "seed": 3, "faults": {"stray_deltas": 2}, "script": {"steps": [{"type": "Silence"}]}}')
    captures = tmp_path / "captures"
    config = simulator_config(
        file,
        changes=["pace=4", 'bad_keys=["sk-bad"]', "rate-limits=start"],
        faults=["http_status=429"],
        capture=captures,
        capture_audio=True,
    )
    assert (config.pace, config.seed, config.rate_limits) == (4.0, 3, "start")
    assert config.faults == Faults(stray_deltas=2, http_status=429)
    assert (config.capture_dir, config.capture_audio) == (str(captures), True)
    assert config.bad_keys == {"sk-bad"}
    assert len(config.script.steps) == 1
    assert simulator_config() == configured(Knobs())


@pytest.mark.parametrize(
    ("text", "changes", "faults", "named"),
    [
        ("{", (), (), "bad_day.json"),
        ('{"speed": 1}', (), (), "speed"),
        ("{}", ("pace=0",), (), "pace"),
        ("{}", ("delta_ms=[0]",), (), "delta_ms"),
        ("{}", ("bad_keys=[",), (), "bad_keys"),
        ("{}", (), ("pace=1",), "pace"),
    ],
)
def test_what_cannot_be_set_is_named(
    tmp_path: Path, text: str, changes: tuple[str, ...], faults: tuple[str, ...], named: str
) -> None:
    file = tmp_path / "bad_day.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=named):
        simulator_config(file, changes=changes, faults=faults)


async def test_the_command_says_where_it_listens_and_where_it_can_be_controlled(autojump_clock: MockClock) -> None:
    console = Console(width=200)
    with console.capture() as said, trio.move_on_after(1.0):
        await serve_until_interrupted(0, console, simulator_config())
    assert "OPENAI_REALTIME_URL=ws://127.0.0.1:" in said.get()
    assert "/control" in said.get()

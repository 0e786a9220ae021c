"""The capture: a session as a file, which can be shown to anybody."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from trio.testing import MockClock

from benchmarks import speech
from benchmarks.simulators.openai import Faults, Reply, Script, SimulatorConfig
from tests.benchmarks.openai.line import PHONE, Json
from tests.benchmarks.openai.wire import MODEL, OpenLine

KEY = "sk-proj-1234567890"
TOOL = {"type": "mcp", "server_label": "shop", "authorization": "Bearer secret-1", "headers": {"X-Key": "secret-2"}}


async def capture(folder: Path, open_line: OpenLine, **knobs: Any) -> list[Json]:
    """The lines of one short session that handles secrets of every kind."""
    config = SimulatorConfig(script=Script(steps=(Reply("greeting"),)), capture_dir=str(folder), **knobs)
    secret_query = f"{MODEL}&api_key={KEY}"
    headers = ((b"Authorization", f"Bearer {KEY}".encode()), (b"OpenAI-Organization", b"org_1"))
    async with open_line(config, *headers, target=secret_query) as client:
        await client.receive()
        await client.send("session.update", session={**PHONE, "tools": [TOOL], "instructions": f"The key is {KEY}."})
        await client.append(speech.clip("ask_hours").mulaw[:1600])
        await client.socket.send_message(f"no json, but ek_{KEY}")
        await client.send("response.create")
        await client.receive_until("rate_limits.updated")
    return lines_in(folder)


def written_to(folder: Path) -> str:
    """The one capture there is."""
    (path,) = folder.iterdir()
    assert path.name == "session-0000.jsonl"
    return path.read_text("utf-8")


def lines_in(folder: Path) -> list[Json]:
    return [msgspec.json.decode(line) for line in written_to(folder).splitlines()]


async def test_point_62_both_directions_are_written_with_their_times(
    autojump_clock: MockClock, open_line: OpenLine, tmp_path: Path
) -> None:
    lines = await capture(tmp_path, open_line)
    upgrade, *middle, end = lines
    assert upgrade["upgrade"]["headers"]["openai-organization"] == "org_1"
    assert end == {"at_s": end["at_s"], "from": "client", "ended": None}
    kinds = [(line["from"], line["event"].get("type")) for line in middle]
    assert kinds[:3] == [("server", "session.created"), ("client", "session.update"), ("server", "session.updated")]
    assert ("client", "input_audio_buffer.append") in kinds
    times = [line["at_s"] for line in lines]
    assert times[0] == 0.0
    assert times == sorted(times)
    audio_at = next(line["at_s"] for line in middle if line["event"].get("type") == "response.output_audio.delta")
    assert audio_at == pytest.approx(0.35)


async def test_point_62_no_secret_is_ever_written(
    autojump_clock: MockClock, open_line: OpenLine, tmp_path: Path
) -> None:
    await capture(tmp_path, open_line)
    written = written_to(tmp_path)
    assert KEY not in written
    assert "ek_" not in written
    assert "secret" not in written
    assert "authorization" in written.lower()  # that there was one is no secret


@pytest.mark.parametrize("with_audio", [True, False])
async def test_point_62_audio_is_written_only_when_it_is_wanted(
    autojump_clock: MockClock, open_line: OpenLine, tmp_path: Path, with_audio: bool
) -> None:
    lines = await capture(tmp_path, open_line, capture_audio=with_audio)
    events = [line["event"] for line in lines[1:-1]]
    (appended,) = [event["audio"] for event in events if event.get("type") == "input_audio_buffer.append"]
    spoken = [event["delta"] for event in events if event.get("type") == "response.output_audio.delta"]
    words = [event["delta"] for event in events if event.get("type") == "response.output_audio_transcript.delta"]
    assert " ".join("".join(words).split()) == speech.clip("greeting").transcript
    assert (appended == "[2136 characters]") is not with_audio
    assert all(delta.startswith("[") for delta in spoken) is not with_audio


async def test_point_62_how_the_server_ended_it_is_written_too(
    autojump_clock: MockClock, open_line: OpenLine, tmp_path: Path
) -> None:
    config = SimulatorConfig(faults=Faults(close_after_audio_ms=0, close_code=1013), capture_dir=str(tmp_path))
    async with open_line(config) as client:
        await client.send("response.create")
        await client.closed()
    last = lines_in(tmp_path)[-1]
    assert (last["from"], last["ended"]["type"], last["ended"]["code"]) == ("server", "Close", 1013)


async def test_what_was_held_back_is_written_when_it_leaves(
    autojump_clock: MockClock, open_line: OpenLine, tmp_path: Path
) -> None:
    config = SimulatorConfig(
        faults=Faults(stall_after_audio_ms=0, stall_s=10.0),
        script=Script(steps=(Reply("greeting"),)),
        capture_dir=str(tmp_path),
    )
    async with open_line(config) as client:
        await client.send("response.create")
        await client.receive_until("response.done")
    told = {line["event"]["type"]: line["at_s"] for line in lines_in(tmp_path) if "event" in line}
    assert told["response.done"] == pytest.approx(10.0)

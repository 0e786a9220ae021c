"""The folder of captured calls: a file for each call, for its owner's eyes, and no call that suffers from a disk."""

import stat
from io import FileIO
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from proto.handshake import ClientHandshake
from proto.websocket import FrameCodec, Role
from relay import Capture
from relay.events import Command, Event, HangUp, Timeout
from relay.opening import Admitted
from tautline import captures
from tautline.captures import WRITE_EVERY_S, CaptureFolder
from tautline.replay import replay
from tautline.serve import LineLog, Server
from tautline.settings import load_settings
from tests.relay import wire

ANSWERED = Admitted(persona=wire.PERSONA)


def _until_stop(event: Event, now: float) -> list[Command]:
    return [HangUp("caller_hung_up")] if event == wire.read("twilio", wire.stop()) else []


def told(capture: Capture | None, *messages: wire.Message) -> None:
    """A call that hears these and does nothing about them; it ends with Twilio's stop."""
    assert capture is not None
    decide = capture.begin(_until_stop, 0.0)
    for message in messages:
        if message["event"] == "start":
            decide = capture.answered(ANSWERED, _until_stop)
        decide(wire.read("twilio", message), 1.0)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def texts(folder: Path) -> list[str]:
    return [path.read_text() for path in files(folder)]


async def test_each_call_has_its_file_while_it_goes_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "captures"
    folder = CaptureFolder(path, version="1")
    async with folder.writing():
        told(folder.open(), wire.start(call="CA1"), wire.frame())
        told(folder.open(), wire.start(call="CA2"), wire.stop())
        with trio.fail_after(3600):
            while len(texts(path)) < 2 or not all(texts(path)):  # noqa: ASYNC110 - the thread that writes tells nobody
                await trio.sleep(WRITE_EVERY_S)
    [first, second] = files(path)
    assert (first.name[15:], second.name[15:]) == ("-CA1.jsonl", "-CA2.jsonl")
    for file in (first, second):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert '"payload":160' in first.read_text()
    assert second.read_text().endswith('{"type":"hang_up","reason":"caller_hung_up","code":1000}}\n')


async def test_what_was_said_last_is_written_when_the_server_ends(tmp_path: Path) -> None:
    folder = CaptureFolder(tmp_path, version="1", keeps_private=True)
    async with folder.writing():
        told(folder.open(), wire.start(), wire.dtmf("7"), wire.stop())
    [text] = texts(tmp_path)
    assert '"digit":"7"' in text
    assert "hang_up" in text


async def test_two_calls_of_one_name_and_a_call_without_a_name_have_files_of_their_own(tmp_path: Path) -> None:
    folder = CaptureFolder(tmp_path, version="1")
    async with folder.writing():
        told(folder.open(), wire.start(call="../../etc/passwd"), wire.stop())
        told(folder.open(), wire.start(call="../../etc/passwd"), wire.stop())
        told(folder.open(), wire.connected(), wire.stop())
    names = sorted(path.name[16:] for path in files(tmp_path))
    assert names == ["etcpasswd-2.jsonl", "etcpasswd.jsonl", "unknown.jsonl"]


async def test_a_call_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    folder = CaptureFolder(tmp_path, version="1")
    async with folder.writing():
        capture = folder.open()
        assert capture is not None
        capture.close()
    assert texts(tmp_path) == []


async def test_without_a_folder_nothing_is_captured() -> None:
    folder = CaptureFolder(None, version="1")
    async with folder.writing():
        assert folder.open() is None


async def test_a_folder_that_cannot_be_written_is_said_and_counted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = CaptureFolder(tmp_path / "file", version="1")
    with capture_logs() as lines:
        async with folder.writing():
            told(folder.open(), wire.start(), wire.stop())
    assert [(line["event"], line["call_sid"]) for line in lines] == [("capture.failed", "CA1"), ("capture.cut", "CA1")]
    assert folder.cut == 1


async def test_a_full_disk_ends_the_captures_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures._CallFile, "_create", lambda self: FileIO("/dev/full", "wb"))
    folder = CaptureFolder(tmp_path, version="1")
    with capture_logs() as lines:
        async with folder.writing():
            for name in ("CA1", "CA2"):
                told(folder.open(), wire.start(call=name), wire.stop())
    assert [(line["event"], line["call_sid"]) for line in lines] == [
        *(("capture.failed", "CA1"), ("capture.cut", "CA1")),
        *(("capture.failed", "CA2"), ("capture.cut", "CA2")),
    ]
    assert "No space left" in lines[0]["error"]


async def test_a_file_that_would_grow_too_long_is_cut_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captures, "MAX_FILE_BYTES", 1500)
    folder = CaptureFolder(tmp_path, version="1")
    capture = folder.open()
    assert capture is not None
    capture.begin(_until_stop, 0.0)
    decide = capture.answered(ANSWERED, _until_stop)
    with capture_logs() as lines:
        async with folder.writing():
            decide(wire.read("twilio", wire.start()), 0.0)
            folder._write()
            for _ in range(100):
                decide(wire.read("twilio", wire.frame()), 1.0)
            folder._write()
            for _ in range(5):
                decide(Timeout(), 2.0)
            decide(wire.read("twilio", wire.stop()), 3.0)
    [text] = texts(tmp_path)
    assert len(text) < 1700
    assert text.endswith('{"cut":"the file would be longer than 1500 bytes","steps_lost":6}\n')
    assert [line["event"] for line in lines] == ["capture.cut"]


async def test_a_server_with_a_capture_folder_captures_its_calls(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "HOST": "127.0.0.1",
            "PORT": "0",
            "OPENAI_REALTIME_URL": "ws://127.0.0.1:1/",  # nobody is there
            "CAPTURE_DIR": str(tmp_path),
        },
        None,
    )
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(Server(settings, LineLog()).run)
            async with await trio.open_tcp_stream("127.0.0.1", port) as phone:
                await phone.send_all(ClientHandshake("127.0.0.1", "/media-stream", ()).request())
                codec = FrameCodec(Role.CLIENT, max_message_bytes=1 << 20)
                await phone.send_all(codec.text(wire.raw(wire.connected())) + codec.text(wire.raw(wire.start())))
                await phone.send_all(codec.text(wire.raw(wire.stop())))
                while await phone.receive_some():
                    pass
            nursery.cancel_scope.cancel()
    [text] = texts(tmp_path)
    outcome = replay(text.encode().splitlines(keepends=True))
    assert (outcome.steps, outcome.difference, outcome.ended_early) == (3, None, "")
    assert "caller_hung_up" in text

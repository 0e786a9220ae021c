"""Logging: one line per event, the same for us and the libraries, and no secret in any of them."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tautline import logs
from tautline.logs import configure_logging

KEY = "sk-proj-0123456789abcdef"
OURS = "tl_0123456789abcdef"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_event_is_one_json_line_where_a_program_reads() -> None:
    stream = io.StringIO()
    configure_logging("info", None, stream=stream)
    structlog.stdlib.get_logger("tautline.call").info("call.ended", call_sid="CA1", duration_ms=1200, total_tokens=7)
    [line] = lines(stream)
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "call.ended",
        "level": "info",
        "logger": "tautline.call",
        "call_sid": "CA1",
        "duration_ms": 1200,
        "total_tokens": 7,
    }


def test_a_library_s_record_looks_like_ours() -> None:
    stream = io.StringIO()
    configure_logging("info", None, stream=stream)
    logging.getLogger("hypercorn.error").warning("cannot %s", "start")
    [line] = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("cannot start", "hypercorn.error", "warning")


def test_what_is_below_the_level_is_not_written() -> None:
    stream = io.StringIO()
    configure_logging("warning", None, stream=stream)
    structlog.stdlib.get_logger("ours").info("not.wanted")
    logging.getLogger("theirs").info("not wanted")
    assert stream.getvalue() == ""


def test_a_person_at_a_terminal_gets_a_readable_line_with_its_traceback() -> None:
    terminal = Terminal()
    configure_logging("info", None, stream=terminal)
    try:
        raise ValueError("the reason")
    except ValueError:
        structlog.stdlib.get_logger("ours").exception("call.failed", call_sid="CA1")
    assert "call.failed" in terminal.getvalue()
    assert "ValueError: the reason" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_the_log_directory_gets_json_lines_as_well(tmp_path: Path) -> None:
    terminal, log_dir = Terminal(), tmp_path / "new" / "logs"
    configure_logging("info", log_dir, stream=terminal)
    structlog.stdlib.get_logger("ours").info("server.started", port=5050)
    [line] = (log_dir / logs.FILE_NAME).read_text().splitlines()
    assert json.loads(line)["port"] == 5050
    assert "server.started" in terminal.getvalue()


def test_a_process_among_several_has_a_log_file_of_its_own(tmp_path: Path) -> None:
    configure_logging("info", tmp_path, stream=io.StringIO(), file_name="tautline.2.jsonl")
    structlog.stdlib.get_logger("ours").info("server.started")
    assert [file.name for file in tmp_path.iterdir()] == ["tautline.2.jsonl"]


def test_log_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1000)
    monkeypatch.setattr(logs, "FILES_KEPT", 2)
    configure_logging("info", tmp_path, stream=io.StringIO())
    for count in range(100):
        structlog.stdlib.get_logger("ours").info("something.happened", count=count)
    assert len(list(tmp_path.iterdir())) == 3
    assert all(file.stat().st_size <= 1000 for file in tmp_path.iterdir())


def test_configuring_again_replaces_the_first_so_no_line_is_written_twice(tmp_path: Path) -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging("info", tmp_path, stream=first)
    configure_logging("info", None, stream=second)
    structlog.stdlib.get_logger("ours").info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"openai_api_key": "hidden-value"},
        {"Authorization": "Bearer hidden-value"},
        {"auth_token": "hidden-value"},
        {"auth_token": b"hidden-value"},
        {"headers": {"X-Twilio-Signature": "hidden-value"}},
        {"steps": [{"password": "hidden-value"}]},
        {"said": "the header was Authorization: Bearer hidden-value"},
        {"said": f"the key is {KEY}"},
        {"said": [f"nested {KEY}"]},
        {"said": f"sent {OURS}"},
        {"said": ValueError(f"an object that quotes {KEY}")},
    ],
)
def test_nothing_that_looks_like_a_secret_is_written(fields: dict[str, Any]) -> None:
    stream = io.StringIO()
    configure_logging("info", None, stream=stream)
    structlog.stdlib.get_logger("ours").info("event", **fields)
    assert "hidden-value" not in stream.getvalue()
    assert KEY not in stream.getvalue()
    assert OURS not in stream.getvalue()
    assert logs.MASK in stream.getvalue()


def test_a_secret_in_a_library_s_message_or_traceback_is_masked_too() -> None:
    stream, terminal = io.StringIO(), Terminal()
    for target in (stream, terminal):
        configure_logging("info", None, stream=target)
        try:
            raise ValueError(f"refused: {KEY}")
        except ValueError:
            logging.getLogger("theirs").exception("request with %s failed", KEY, extra={"api_key": "hidden-value"})
        assert KEY not in target.getvalue()
        assert "hidden-value" not in target.getvalue()
        assert "ValueError" in target.getvalue()


def test_an_odd_value_is_written_as_text_instead_of_failing() -> None:
    stream = io.StringIO()
    configure_logging("info", None, stream=stream)
    circle: list[Any] = []
    circle.append(circle)
    structlog.stdlib.get_logger("ours").info("event", circle=circle, path=Path("/tmp"), raw=b"\xff", big=10**30)
    [line] = lines(stream)
    assert line["event"] == "event"

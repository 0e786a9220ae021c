"""Logging: every line of this process, ours and the libraries', leaves through here.

One JSON object per line where a program reads, a readable line where a person does; with a directory also JSON lines in
`tautline.jsonl`. structlog's events and the standard library's records take the same last steps, so a secret that a
library logs is masked like one of ours. Writing is synchronous: this is for a line per event, never per frame.
"""

import logging
import re
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

FILE_NAME = "tautline.jsonl"
FILE_BYTES = 10 * 1024 * 1024
FILES_KEPT = 5
MASK = "***"
# Below these levels the libraries speak to their own developers, and at debug they quote headers.
_QUIETER = {
    "alembic": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "hypercorn": logging.INFO,
    "twilio": logging.WARNING,
}

_SECRET_KEY = re.compile(r"token|key|authorization|password|secret|signature", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"\b(?:sk-|tl_)[A-Za-z0-9_-]{6,}|(?<=Bearer )\S+|(?<=Basic )\S+")
_HANDLER = "tautline"
_FIRST = ("at", "level", "event", "call_sid")  # what an eye looks for in a line
_DEPTH = 6  # deeper than any event of ours; what lies below is shown as text


def configure_logging(level: str, log_dir: Path | None, *, stream: TextIO, file_name: str = FILE_NAME) -> None:
    """Send all logging to `stream` and, with a directory, to its log file. May be called again: the last call counts.

    Args: level, "debug" to "error"; log_dir, made if it is missing; stream, usually the standard error output;
    file_name, in that directory, of this process alone: two that write to one file would lose lines as it is renewed.
    Raises: OSError if the log file cannot be opened.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer = _console_renderer() if stream.isatty() else _json_renderer()
    handlers: list[logging.Handler] = [_with(logging.StreamHandler(stream), renderer)]
    if log_dir is not None:
        handlers.append(_with(_open_log_file(log_dir / file_name), _json_renderer()))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)  # nobody else's either: each line leaves once
        if old.name == _HANDLER:
            old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(threshold)
    for name, least in _QUIETER.items():
        logging.getLogger(name).setLevel(max(least, threshold))
    structlog.configure(
        processors=[*_common(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what looks like a secret: strings under telling names, and keys of OpenAI's or ours anywhere.

    Nested values are looked at too. Numbers keep their value under any name: total_tokens is a count.
    """
    return {name: _masked(name, value, depth=0) for name, value in event.items()}


def _masked(name: str, value: object, depth: int) -> object:
    if isinstance(value, str | bytes) and value and _SECRET_KEY.search(name):
        return MASK
    if isinstance(value, str):
        return _SECRET_TEXT.sub(MASK, value)
    if value is None or isinstance(value, bool | int | float) or name.startswith("_"):
        return value  # structlog's own private entries (_record and the like) must stay what they are
    if isinstance(value, Mapping) and depth < _DEPTH:
        return {str(key): _masked(str(key), each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEPTH:
        return [_masked(name, each, depth + 1) for each in value]
    return _SECRET_TEXT.sub(MASK, repr(value))


def _common() -> list[Processor]:
    """What every event gets before it is rendered, wherever it comes from."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]


def _with(handler: logging.Handler, renderer: Processor) -> logging.Handler:
    # Tracebacks become text before the masking: an exception's message may quote a key, too.
    last: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
    ]
    handler.name = _HANDLER
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[*last, mask_secrets, renderer],
            foreign_pre_chain=[*_common(), structlog.stdlib.ExtraAdder()],
        )
    )
    return handler


def _console_renderer() -> Processor:
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def _json_renderer() -> Processor:
    return structlog.processors.JSONRenderer(serializer=_to_json)


def _to_json(event: EventDict, **_: Any) -> str:
    ordered = {name: event[name] for name in _FIRST if name in event} | dict(event)
    return msgspec.json.encode(ordered, enc_hook=repr).decode()


def _open_log_file(path: Path) -> RotatingFileHandler:
    path.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")

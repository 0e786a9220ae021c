"""Capture: a session as a .jsonl file, both directions with their times, fit to become a test's fixture.

What is written, and what any observer sees, has no secrets in it: those that a client hands over inside its events are
taken out by name here, keys never leave the handshake, and as a last net whatever looks like a key is struck from the
line as it is written.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from benchmarks.simulators.openai.events import Direction, Ending, Json

_SECRETS: Final = ("authorization", "headers")
_HOLDERS: Final = ("session", "response")
_LOOKS_LIKE_A_KEY: Final = re.compile(r"\b(?:ek_|sk-)[A-Za-z0-9_-]{3,}")
_REDACTED: Final = "[redacted]"
_AUDIO_KEYS: Final = ("audio", "padding")  # where their value is text


def redacted(event: Json) -> Json:
    """The event without the secrets of tools that run elsewhere; itself, when there are none."""
    for holder in _HOLDERS:
        if holder not in event:
            continue
        inside = event[holder]
        tools = inside.get("tools") if isinstance(inside, dict) else None
        if isinstance(inside, dict) and isinstance(tools, list) and any(map(_has_secret, tools)):
            safe = [_without_secret(tool) if _has_secret(tool) else tool for tool in tools]
            event = {**event, holder: {**inside, "tools": safe}}
    return event


def scrubbed(text: str) -> str:
    """The text without anything that looks like a key."""
    return _LOOKS_LIKE_A_KEY.sub(_REDACTED, text)


class Capture:
    """One session's file, being written; an observer, and told how it began and ended.

    Args: opened_at, monotonic s: times are counted from here.
    """

    def __init__(self, file: TextIO, *, opened_at: float, with_audio: bool) -> None:
        self._file = file
        self._opened_at = opened_at
        self._with_audio = with_audio

    def begin(self, upgrade: Any) -> None:
        """The request that opened the session, already without its key."""
        self._write(self._opened_at, "client", upgrade=upgrade)

    def observe(self, at: float, direction: Direction, event: Json) -> None:
        self._write(at, direction, event=event if self._with_audio else _without_audio(event))

    def end(self, at: float, ending: Ending | None) -> None:
        """How the session ended; None: the client did it."""
        self._write(at, "server" if ending else "client", ended=ending)

    def _write(self, at: float, direction: Direction, **what: Any) -> None:
        line = msgspec.json.encode({"at_s": round(at - self._opened_at, 6), "from": direction, **what})
        self._file.write(scrubbed(line.decode()) + "\n")


@contextmanager
def open_capture(folder: str, number: int, *, opened_at: float, with_audio: bool) -> Iterator[Capture]:
    """The file of this session: `session-0000.jsonl` for the first. An older one of that name is replaced."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with (Path(folder) / f"session-{number:04}.jsonl").open("w", encoding="utf-8") as file:
        yield Capture(file, opened_at=opened_at, with_audio=with_audio)


def _has_secret(tool: object) -> bool:
    return isinstance(tool, dict) and any(key in tool for key in _SECRETS)


def _without_secret(tool: Json) -> Json:
    return {key: _REDACTED if key in _SECRETS else value for key, value in tool.items()}


def _without_audio(event: Json) -> Json:
    """The event with lengths instead of audio."""
    if event.get("type") == "response.output_audio.delta":
        return {**event, "delta": _length_of(event.get("delta"))}
    shortened: Json = _shortened(event)
    return shortened


def _shortened(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: _length_of(one) if key in _AUDIO_KEYS and isinstance(one, str) else _shortened(one)
                for key, one in value.items()
            }
        case list():
            return [_shortened(one) for one in value]
    return value


def _length_of(audio: Any) -> str:
    return f"[{len(str(audio))} characters]"

"""`tautline replay`: runs a captured call through the call machine again, in its own time, and compares.

The machine is `relay.call.Call` itself, and `relay.opening.Opening` before the `start`: each captured event is handed
to it with the time at which it happened, and what it wants done is put beside what it wanted then. Text that was masked
is equal to any text of its length, and what was measured by a real clock was not captured. See docs/replay.md for the
file.
"""

from collections.abc import Iterable, Iterator
from math import isclose, isfinite
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec
from rich.console import Console

from proto import twilio
from relay.call import Call
from relay.events import Command, Event
from relay.opening import Opening
from relay.recorder import FORMAT, MASK, Json, Source, Target, command_line, read_event, read_persona
from relay.stream_token import Direction
from relay.tools import ToolOffer

EXIT_SAME, EXIT_DIFFERENT, EXIT_NO_CAPTURE = 0, 1, 2
MAX_LINE_BYTES = 64 * 1024 * 1024  # a message of 16 MiB with all its commands is shorter
SHOWN_CHARACTERS = 300
TOLERANCE = 1e-6  # of measured durations, in ms: as much as another order of additions may change

T = TypeVar("T")


class CaptureError(Exception):
    """The file is no capture. Attributes: line, its number; problem, what is wrong there."""

    def __init__(self, line: int, problem: str) -> None:
        self.line, self.problem = line, problem
        super().__init__(f"line {line}: {problem}")


class Header(msgspec.Struct, frozen=True):
    """What the first line says. began_at: the clock when the stream was opened, monotonic seconds; persona: None for a
    stream that began no call.
    """

    capture: int
    keeps_private: bool
    began_at: float
    persona: Json | None
    direction: Direction = "inbound"
    persona_version: str = ""
    tautline: str = "unknown"
    tools: list[ToolOffer] = []


class Line(msgspec.Struct, frozen=True):
    """Any other line: an event (at, source, event), a command (target, command), or the end of a cut capture."""

    at: float | None = None
    source: Source | None = msgspec.field(default=None, name="from")
    event: Json | None = None
    target: Target | None = msgspec.field(default=None, name="to")
    command: Json | None = None
    cut: str | None = None
    steps_lost: int = 0


class Step(msgspec.Struct):
    """One event, and the commands it caused. Lines are numbered from 1."""

    line: int
    at: float
    source: Source
    event: Json
    commands: list[Json]
    command_lines: list[int]


class Difference(msgspec.Struct, frozen=True):
    """The first command that is not what it was. expected, got: None for no command. line: where it stands."""

    line: int
    step: Step
    expected: Json | None
    got: Json | None
    where: str  # the path of the first field that differs, and how


class Outcome(msgspec.Struct, frozen=True):
    """What a replay found. ended_early: why the capture is not the whole call, "" when it is."""

    steps: int
    commands: int
    duration_s: float
    difference: Difference | None
    ended_early: str


def run(path: Path, console: Console) -> int:
    """Replay one file and print what came of it; returns the exit code."""
    try:
        with path.open("rb") as file:
            outcome = replay(read_lines(file))
    except OSError as error:
        console.print(f"{path}: cannot be read: {error.strerror}", markup=False, highlight=False)
        return EXIT_NO_CAPTURE
    except CaptureError as error:
        console.print(f"{path}: no capture: {error}", markup=False, highlight=False)
        return EXIT_NO_CAPTURE
    for sentence in describe(outcome):
        console.print(f"{path}: {sentence}", markup=False, highlight=False, soft_wrap=True)
    return EXIT_SAME if outcome.difference is None else EXIT_DIFFERENT


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, each with its newline.

    Raises: CaptureError when one is longer than any line of a capture.
    """
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise CaptureError(number, f"it is longer than {MAX_LINE_BYTES} bytes")
        yield line


def replay(lines: Iterable[bytes]) -> Outcome:
    """Hand each event to a new call and compare what it commands, up to the first difference.

    Args: lines, of one capture, each with its newline but perhaps the last.
    Raises: CaptureError when they are no capture.
    """
    reader = _Reader(iter(lines))
    header = reader.header()
    machine = _Machine(header)
    steps = commands = 0
    at = 0.0
    for step in reader.steps():
        steps, commands, at = steps + 1, commands + len(step.commands), step.at
        difference = _difference(machine, header, step, may_be_short=reader.ended_in_step)
        if difference is not None:
            return Outcome(steps, commands, at, difference, "")
    return Outcome(steps, commands, at, None, reader.ended_early())


def describe(outcome: Outcome) -> list[str]:
    """What a replay found, in sentences; a difference takes several lines."""
    found = f"{outcome.steps} events, {outcome.commands} commands, {outcome.duration_s:.1f} s of a call"
    difference = outcome.difference
    if difference is None:
        early = [f"the capture ends early: {outcome.ended_early}"] if outcome.ended_early else []
        return [f"{found}: all as captured", *early]
    step = difference.step
    return [
        f"line {difference.line}: the call does something else after {found}\n"
        f"  event     line {step.line}, {step.at:.3f} s, from {step.source}: {_short(step.event)}\n"
        f"  expected  {_short(difference.expected)}\n"
        f"  got       {_short(difference.got)}\n"
        f"  differs   {difference.where}"
    ]


class _Machine:
    """The stream, and the call that it becomes with its `start`."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._call: Opening | Call = Opening(header.began_at)

    def handle(self, event: Event, now: float) -> list[Command]:
        """Decide as was decided then."""
        if isinstance(event, twilio.Start) and isinstance(self._call, Opening) and self._header.persona is not None:
            self._call = Call(
                read_persona(self._header.persona),
                now,
                self._header.tools,
                direction=self._header.direction,
                persona_version=self._header.persona_version,
                unusable=self._call.unusable,
            )
        return self._call.handle(event, now)


class _Reader:
    """Takes a capture apart: its header, then step by step."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._number = 0
        self._cut: Line | None = None
        self._is_complete = False  # the call's end was seen
        self.ended_in_step = False  # the last step may lack some of its commands

    def header(self) -> Header:
        """The first line."""
        raw = next(self._lines, b"")
        self._number = 1
        version = _decoded(raw, 1, dict).get("capture") if raw.strip() else None
        if not isinstance(version, int):
            raise CaptureError(1, 'the file does not begin with {"capture": …}')
        if version != FORMAT:
            raise CaptureError(1, f"it is a capture of format {version}, and this tautline reads format {FORMAT}")
        header = _decoded(raw, 1, Header)
        try:
            if header.persona is not None:
                read_persona(header.persona)
        except ValueError as error:
            raise CaptureError(1, str(error)) from None
        return header

    def steps(self) -> Iterator[Step]:
        """Each event with its commands."""
        step: Step | None = None
        for line in self._rest():
            if line.event is not None:
                if step is not None:
                    yield step
                step = self._step(line)
            elif line.command is not None and line.target is not None and step is not None:
                self._is_complete = line.command.get("type") == "hang_up" or self._is_complete
                step.commands.append({"to": line.target, "command": line.command})
                step.command_lines.append(self._number)
            elif line.cut is not None:
                self._cut = line
            else:
                raise CaptureError(self._number, "it is neither an event, nor a command after one, nor the end")
        if step is not None:
            # Steps are written whole, but a crash can end the file between any two bytes.
            self.ended_in_step = not self._is_complete and self._cut is None
            yield step

    def ended_early(self) -> str:
        """Why this is not the whole call."""
        if self._cut is not None:
            return f"{self._cut.cut}; at least {self._cut.steps_lost} events were lost"
        return "" if self._is_complete else f"the file breaks off at line {self._number}, before the call's end"

    def _rest(self) -> Iterator[Line]:
        for raw in self._lines:
            self._number += 1
            if not raw.endswith(b"\n") and not _is_json(raw):
                return  # the writer died in the middle of this line
            yield _decoded(raw, self._number, Line)

    def _step(self, line: Line) -> Step:
        if line.event is None or line.at is None or line.source is None or not isfinite(line.at):
            raise CaptureError(self._number, 'an event needs "at", a finite number, and "from"')
        return Step(self._number, line.at, line.source, line.event, [], [])


def _decoded(raw: bytes, number: int, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CaptureError(number, str(error)) from None


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


# The comparison.


def _difference(machine: _Machine, header: Header, step: Step, *, may_be_short: bool) -> Difference | None:
    try:
        event = read_event(step.source, step.event)
    except ValueError as error:
        raise CaptureError(step.line, str(error)) from None
    try:
        commands = machine.handle(event, header.began_at + step.at)
    except Exception as error:  # the call cannot bear what it was once told: that is the finding
        expected = step.commands[0] if step.commands else None
        return Difference(step.line, step, expected, None, f"the call raised {type(error).__name__}: {error}")
    got = [_as_read(command_line(command, keeps_private=header.keeps_private)) for command in commands]
    for at in range(max(len(step.commands), 0 if may_be_short else len(got))):
        expected = step.commands[at] if at < len(step.commands) else None
        given = got[at] if at < len(got) else None
        where = _where(expected, given)
        if where:
            line = step.command_lines[at] if expected else [step.line, *step.command_lines][-1]
            return Difference(line, step, expected, given, where)
    return None


def _as_read(line: Json) -> Json:
    fields: Json = msgspec.json.decode(msgspec.json.encode(line))
    return fields


def _where(expected: Json | None, got: Json | None) -> str:
    """Where two commands differ first, "" when nowhere."""
    if expected is None:
        return "nothing more was done here"
    return "nothing is done here any more" if got is None else _unlike(expected, got, "")


def _unlike(expected: Any, got: Any, path: str) -> str:
    """The first difference of two trees, "" when there is none."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for name in [*expected, *(name for name in got if name not in expected)]:
            below = f"{path}.{name}".strip(".")
            if name not in got:
                return f"{below} is missing"
            if name not in expected:
                return f"{below} is new: {_short(got[name])}"
            if unlike := _unlike(expected[name], got[name], below):
                return unlike
        return ""
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = enumerate(zip(expected, got, strict=True))
        return next(filter(None, (_unlike(*pair, f"{path}[{at}]") for at, pair in pairs)), "")
    return "" if _is_like(expected, got) else f"{path}: {_short(got)} instead of {_short(expected)}"


def _is_like(expected: Any, got: Any) -> bool:
    """Equal, as far as it is known: masked characters may stand for any, and sums of times for each other."""
    if isinstance(expected, str) and isinstance(got, str):
        is_masked = MASK in expected and len(expected) == len(got)
        return expected == got or (
            is_masked and all(one in (MASK, other) for one, other in zip(expected, got, strict=True))
        )
    if isinstance(expected, float) or isinstance(got, float):
        numbers = isinstance(expected, int | float) and isinstance(got, int | float)
        return numbers and isclose(expected, got, rel_tol=1e-9, abs_tol=TOLERANCE)
    return bool(expected == got)


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}… ({len(text)} characters)"

"""`tautline bench relay`: how many calls a relay carries, what each costs it, and how soon its frames come back.

Any relay that bridges Twilio Media Streams to a configurable OpenAI address can be measured. This command is both of
its far ends; it starts nothing but itself, and says in plain words what is missing.
"""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmarks.load import Climb, FarEnd, Level, LoadError, Profile, Target, climb, measure_level, open_far_end
from benchmarks.load.level import WARMUP_S
from benchmarks.load.ramp import NUMBERS
from benchmarks.machine import described_machine, now
from proto.timing import Percentiles

EXIT_FAILED, EXIT_UNUSABLE = 1, 2
CALLS: Final = 50
HEADINGS: Final = (
    *("calls", "frames", "lost", "altered", "out of\norder"),
    *("p50\nms", "p99\nms", "max\nms", "p50\nadded", "p99\nadded", "jitter\np99 ms"),
    *(
        "user\nµs/frame",
        "system\nµs/frame",
        "core\nper call",
        "KiB\nper call",
        "tool:\ncore",
        "tool:\nlate ms",
        "holds",
    ),
)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. numbers: of calls; of a ramp they rise."""

    url: str
    numbers: tuple[int, ...]
    is_ramp: bool
    seconds: float
    pid: int | None
    profile: Profile
    upstream_port: int
    seed: int
    json: bool
    plot: Path | None
    warmup_s: float = WARMUP_S


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed as JSON. most_calls and limited_by: of a ramp only."""

    name: str
    url: str
    profile: Profile
    seconds: float
    seed: int
    levels: tuple[Level, ...]
    most_calls: int | None
    limited_by: str | None
    at: str
    machine: str


def order(
    url: str,
    *,
    calls: int | None,
    ramp: bool,
    levels: str | None,
    seconds: float,
    pid: int | None,
    profile: str,
    upstream_port: int,
    seed: int,
    json: bool,
    plot: Path | None,
) -> Order:
    """The command line as an order. Raises: ValueError for what cannot be, saying what."""
    if not url.startswith(("ws://", "wss://")):
        raise ValueError(f"--url needs a ws:// or wss:// address, not {url!r}")
    if calls is not None and (ramp or levels):
        raise ValueError("either --calls or --ramp")
    if profile not in ("echo", "conversation"):
        raise ValueError(f"--profile is echo or conversation, not {profile!r}")
    is_ramp = ramp or levels is not None
    return Order(
        url=url,
        numbers=_numbers(levels) if is_ramp else (calls or CALLS,),
        is_ramp=is_ramp,
        seconds=seconds,
        pid=pid,
        profile="echo" if profile == "echo" else "conversation",
        upstream_port=upstream_port,
        seed=seed,
        json=json,
        plot=plot,
    )


async def bench_relay(order: Order, console: Console) -> int:
    """Carry out an order. Returns the exit code: 0, 1 when the relay did not hold, 2 when nothing could be measured."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    result: Result | None = None
    try:
        async with open_far_end(order.profile, port=order.upstream_port, seed=order.seed) as far_end:
            errors.print(f"OpenAI's side listens. The relay must run with: OPENAI_REALTIME_URL={far_end.upstream_url}")
            result = await _measure(order, far_end, errors)
    except* (LoadError, OSError) as group:
        errors.print(_explained(group, order), style="bold red", markup=False)
    if result is None:
        return EXIT_UNUSABLE
    _tell(result, console, json=order.json)
    if order.plot:
        from benchmarks.plots import draw_loads  # only who asks for a picture loads matplotlib

        draw_loads([(result.name, result.levels)], order.plot)
    holds = result.most_calls > 0 if result.most_calls is not None else all(level.holds for level in result.levels)
    return 0 if holds else EXIT_FAILED


async def _measure(order: Order, far_end: FarEnd, errors: Console) -> Result:
    target = Target(name="relay", url=order.url, pid=order.pid)
    with _Progress(errors, is_silent=order.json) as progress:
        if order.is_ramp:
            found = await climb(
                far_end,
                target,
                seconds=order.seconds,
                numbers=order.numbers,
                warmup_s=order.warmup_s,
                on_step=progress.show_step,
                on_level=progress.add_level,
            )
            return _result(order, found.levels, found)
        levels = [
            await measure_level(
                far_end,
                target,
                calls=calls,
                seconds=order.seconds,
                warmup_s=order.warmup_s,
                on_step=progress.show_step,
            )
            for calls in order.numbers
        ]
        return _result(order, levels, None)


def _result(order: Order, levels: Sequence[Level], found: Climb | None) -> Result:
    return Result(
        name="relay",
        url=order.url,
        profile=order.profile,
        seconds=order.seconds,
        seed=order.seed,
        levels=tuple(levels),
        most_calls=found.most_calls if found else None,
        limited_by=found.limited_by if found else None,
        at=now(),
        machine=described_machine(),
    )


class _Progress:
    """What happens now, below the levels measured so far; drawn between windows only, or frames would be late."""

    def __init__(self, console: Console, *, is_silent: bool) -> None:
        self._levels: list[Level] = []
        self._live = None if is_silent else Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "_Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show_step(self, step: str) -> None:
        if self._live:
            grid = Table.grid()
            if self._levels:
                grid.add_row(as_table(self._levels))
            grid.add_row(Text(f"… {step}"))
            self._live.update(grid, refresh=True)

    def add_level(self, level: Level) -> None:
        self._levels.append(level)


def _tell(result: Result, console: Console, *, json: bool) -> None:
    if json:
        print(msgspec.json.encode(result).decode())  # noqa: T201 - the one line that was asked for
        return
    console.print(as_table(result.levels))
    for line in verdicts(result):
        console.print(Text(line))


def as_table(levels: Sequence[Level]) -> Table:
    """One row for each level."""
    table = Table(box=SIMPLE, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for level in levels:
        table.add_row(*_cells(level))
    return table


def verdicts(result: Result) -> list[str]:
    """What the figures mean, in sentences."""
    lines: list[str] = []
    for level in result.levels:
        lines += [f"{level.calls} calls do not hold: {why}" for why in level.failed_because]
        if level.tool_limits:
            lines.append(
                f"{level.calls} calls: THE TOOL WAS THE BOTTLENECK, this says little: {'; '.join(level.tool_limits)}"
            )
        lines += _talk_lines(level)
    if result.most_calls is not None:
        more = {"relay": "", "tool": "; the tool failed above that, not the relay", "list": "; more were not tried"}
        lines.append(f"{result.most_calls} calls hold (p99 <= 20 ms, no loss){more[result.limited_by or 'list']}")
    return [*lines, f"{result.machine}, {result.at}"]


def _cells(level: Level) -> list[str]:
    frames, relay, tool, latency = level.frames, level.relay, level.tool, level.latency_ms
    return [
        str(level.calls),
        str(frames.sent),
        str(frames.lost),
        str(frames.duplicated + frames.altered),
        str(frames.reordered),
        *(_number(each) for each in ((latency.p50, latency.p99, latency.max) if latency else (None, None, None))),
        _number(level.added_p50_ms),
        _number(level.added_p99_ms),
        _number(level.jitter_ms.p99 if level.jitter_ms else None),
        *(_number(each) for each in ((relay.user_us, relay.system_us) if relay else (None, None))),
        f"{relay.core_share_per_call:.2%}" if relay else "-",
        f"{relay.rss_per_call_kib:.0f}" if relay else "-",
        f"{tool.core_share:.0%}",
        _number(tool.late_ms.p99),
        "yes" if level.holds else "no",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _talk_lines(level: Level) -> list[str]:
    talk = level.talk
    if talk is None:
        return []
    voice = talk.voice
    return [
        f"{level.calls} calls, speech_started -> clear: p50, p99, max {_ms(talk.clear_ms)} ms, "
        f"{talk.clears} clears for {talk.barge_ins} barge-ins",
        f"{level.calls} calls, first audio of a response passed: p50, p99, max {_ms(talk.first_audio_ms)} ms",
        f"{level.calls} calls, agent's voice in KiB: {voice.sent >> 10} sent, {voice.heard >> 10} heard, "
        f"{voice.cleared >> 10} cleared, {voice.lost >> 10} lost, {voice.extra >> 10} extra",
    ]


def _ms(spread: Percentiles | None) -> str:
    return f"{spread.p50:.1f}, {spread.p99:.1f}, {spread.max:.1f}" if spread else "-"


def _numbers(text: str | None) -> tuple[int, ...]:
    if text is None:
        return NUMBERS
    try:
        numbers = tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"--levels needs numbers of calls, such as 50,100,200; not {text!r}") from None
    if sorted(set(numbers)) != list(numbers) or numbers[0] < 1:
        raise ValueError("--levels must rise, from 1 or more")
    return numbers


def _explained(group: BaseExceptionGroup[LoadError | OSError], order: Order) -> str:
    """The first error in a group of groups: each nursery on the way has added one."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
        return f"port {order.upstream_port} cannot be had for OpenAI's side ({error}): choose another --upstream-port"
    return str(error)

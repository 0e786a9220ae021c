"""One level of a load, from dialling to hanging up: first without the relay, then with it.

The order matters. The relay's memory is read before its first call; the direct run says what the machine and the tool
cost by themselves; the window opens only when every call carries audio; its CPU is read at its two ends; then the last
frames may come home before the callers hang up.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Final

import msgspec
import trio

from benchmarks.load import report
from benchmarks.load.callers import Caller
from benchmarks.load.far_end import FarEnd
from benchmarks.load.ledger import FRAME_S
from benchmarks.load.pacer import Pacer
from benchmarks.load.report import Level, TalkFigures
from benchmarks.load.talk import total
from benchmarks.process_cpu import CpuTime, cpu_of_family, family_of, own_cpu, rss_of_family
from proto.timing import Percentiles

WARMUP_S: Final = 1.0  # connections, caches and the interpreter's specialisation settle
WARM_WITHIN_S = 10.0  # for every call to carry audio
DIRECT_S: Final = 2.0  # the longest direct run: it needs no CPU reading, so it can be short
SETTLE_WITHIN_S = 2.0  # for the last frames to arrive
GOODBYE_WITHIN_S = 2.0  # for the relay to close after `stop`

OnStep = Callable[[str], None]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A relay under load. url: of its media stream; pid: of its process, None when its cost is not to be read."""

    name: str
    url: str
    pid: int | None = None


class LoadError(Exception):
    """A load cannot be made, or says nothing. The message tells what is wrong and what to do."""


class RelayUnreachableError(LoadError):
    """No call could be opened. Attributes: url; detail."""

    def __init__(self, url: str, detail: str) -> None:
        self.url, self.detail = url, detail
        super().__init__(f"the relay cannot be reached at {url}: {detail}")


class NothingConnectedError(LoadError):
    """The relay takes calls but never came to our upstream. Attributes: upstream_url; detail."""

    def __init__(self, upstream_url: str, detail: str) -> None:
        self.upstream_url, self.detail = upstream_url, detail
        super().__init__(
            f"the relay took the calls, but nothing connected to {upstream_url} within {WARM_WITHIN_S:g} s: point its "
            f"address of the OpenAI Realtime API there{detail}"
        )


class NoAudioError(LoadError):
    """The relay has connected both ends and no frame arrived. Attributes: detail."""

    def __init__(self, sessions: int, detail: str) -> None:
        self.detail = detail
        super().__init__(
            f"the relay opened {sessions} realtime sessions, but no frame of a caller passed through it unaltered "
            f"within {WARM_WITHIN_S:g} s{detail}"
        )


class RelayGoneError(LoadError):
    """The process whose cost was to be read does not exist. Attributes: pid."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        super().__init__(f"process {pid} is gone: the relay has ended, or this never was its pid")


async def measure_level(
    far_end: FarEnd,
    target: Target,
    *,
    calls: int,
    seconds: float,
    warmup_s: float = WARMUP_S,
    with_direct: bool = True,
    on_step: OnStep = lambda _: None,
) -> Level:
    """Make so many calls at once to a relay, and report.

    Args: seconds, how long it is measured after the warm-up; with_direct, measure the same callers without a relay
    first; on_step, told what happens now.
    Raises: LoadError when there is nothing to report. A single call that fails is a line in the level's `errors`.
    """
    if target.pid is not None and target.pid not in far_end.rss_before_bytes:
        far_end.rss_before_bytes[target.pid] = _rss(family_of(target.pid))
    direct_ms = None
    if with_direct:
        on_step(f"{calls} calls, directly")
        direct_ms = await _measure_directly(far_end, calls, min(seconds, DIRECT_S), min(warmup_s, 0.5))
    on_step(f"{calls} calls, dialling")
    run = Run(far_end, target, calls)
    try:
        await run.dial()
        on_step(f"{calls} calls, measuring for {seconds:g} s")
        await run.carry(warmup_s, seconds)
        return report.judged(run.level(direct_ms))
    finally:
        await run.hang_up()


async def _measure_directly(far_end: FarEnd, calls: int, seconds: float, warmup_s: float) -> Percentiles | None:
    run = Run(far_end, Target(name="direct", url=far_end.direct_url), calls)
    try:
        await run.dial()
        await run.carry(warmup_s, seconds)
    finally:
        await run.hang_up()
    return report.latency_of(run.ledgers)


class Reading(msgspec.Struct, frozen=True):
    """Clocks and counters at one end of the window."""

    now: float
    carried: int  # by all calls, since the beginning
    own: CpuTime
    relay: CpuTime | None  # None when its pid is not known, as the next
    rss_bytes: int | None


class Run:
    """The calls of one level to one address. readings: from the window's beginning on, one after each `send`."""

    def __init__(self, far_end: FarEnd, target: Target, calls: int) -> None:
        self._far_end, self._target = far_end, target
        self._callers: Sequence[Caller] = far_end.new_callers(calls)
        self.ledgers = [caller.ledger for caller in self._callers]
        self._errors_before = len(far_end.errors)
        self._sessions_before = far_end.sessions
        self._pacer: Pacer | None = None
        self.readings: list[Reading] = []
        self._family: tuple[int, ...] = ()  # the relay's processes

    async def dial(self) -> None:
        """Begin all calls. Raises: RelayUnreachableError when not one could begin."""
        await self._far_end.dial(self._callers, self._target.url)
        if not any(caller.is_on for caller in self._callers):
            raise RelayUnreachableError(self._target.url, self._first_error())

    async def carry(self, warmup_s: float, seconds: float) -> None:
        """Warm up, measure, and let the last frames arrive. Raises: LoadError when no frame arrives."""
        with without_garbage_collection():
            await self.begin(warmup_s)
            await self.send(seconds)
        await self.settle()

    async def begin(self, warmup_s: float) -> None:
        """Warm up, and open the window. Raises: LoadError when no frame arrives."""
        if self._target.pid is not None:
            self._family = family_of(self._target.pid)  # now: between two frames there is no time for it
        self._pacer = Pacer(self._far_end.loop, self._callers)
        self._pacer.begin()
        await self._warm_up(self._pacer, warmup_s)
        for ledger in self.ledgers:
            ledger.begin_window()
        self.readings.append(self._read())

    async def send(self, seconds: float) -> None:
        """Keep the timetable for so long. `begin` has been called."""
        if self._pacer:
            await self._pacer.run(max(1, round(seconds / FRAME_S)))
            self.readings.append(self._read())

    def let_speak(self, calls: int) -> None:
        """From now on only the first so many callers send; the others stay on the line in silence."""
        self._pacer = Pacer(self._far_end.loop, self._callers[:calls])
        self._pacer.begin()

    async def settle(self) -> None:
        """Let the last frames arrive."""
        self._far_end.may_speak = False
        await _until(lambda: not any(each.is_on and each.ledger.is_waiting for each in self._callers), SETTLE_WITHIN_S)

    async def _warm_up(self, pacer: Pacer, warmup_s: float) -> None:
        """Send until all calls carry audio, but not for ever."""
        least, most = (round(seconds / FRAME_S) for seconds in (warmup_s, max(warmup_s, WARM_WITHIN_S)))
        await pacer.run(least)
        for _ in range(least, most):
            if all(caller.ledger.arrived for caller in self._callers if caller.is_on):
                break
            await pacer.run(1)
        if not any(ledger.arrived for ledger in self.ledgers):
            self._explain_silence()

    async def hang_up(self) -> None:
        """End all calls, kindly at first."""
        self._far_end.may_speak = False
        for caller in self._callers:
            caller.hang_up()
        await _until(lambda: not any(caller.is_on for caller in self._callers), GOODBYE_WITHIN_S)
        for caller in self._callers:
            caller.let_go()

    def level(self, direct_ms: Percentiles | None) -> Level:
        """What was measured."""
        before, after = self.readings
        window_s, carried, calls = after.now - before.now, after.carried - before.carried, len(self._callers)
        relay = None
        if self._target.pid is not None and before.relay and after.relay and after.rss_bytes is not None:
            rss = (self._far_end.rss_before_bytes[self._target.pid], after.rss_bytes)
            relay = report.relay_cost(after.relay.since(before.relay), window_s, calls, carried, rss)
        late_ms = self._pacer.late_ms if self._pacer else ()
        return Level(
            profile=self._far_end.profile,
            calls=calls,
            window_s=window_s,
            frames=report.frames_of(self.ledgers, carried),
            latency_ms=report.latency_of(self.ledgers),
            direct_ms=direct_ms,
            jitter_ms=report.jitter_of(self.ledgers),
            marks_echoed=sum(caller.marks_echoed for caller in self._callers),
            relay=relay,
            tool=report.tool_cost(after.own.since(before.own), window_s, carried, late_ms),
            talk=self._talk_figures() if self._far_end.profile == "conversation" else None,
            errors=self.errors(),
        )

    def _talk_figures(self) -> TalkFigures:
        now, talks = perf_counter(), list(self._far_end.talks.values())
        return TalkFigures(
            voice=total(talk.voice(now) for talk in talks),
            first_audio_ms=report.spread_of([talk.first_audio_ms for talk in talks]),
            barge_ins=sum(talk.barge_ins for talk in talks),
            clears=sum(len(talk.clear_ms) for talk in talks),
            clear_ms=report.spread_of([talk.clear_ms for talk in talks]),
        )

    def errors(self) -> tuple[str, ...]:
        """What went wrong, a line each: the tool itself, the calls, the upstream."""
        own = ["the tool fell behind its timetable and gave up"] if self._pacer and self._pacer.gave_up else []
        failed = [caller.error for caller in self._callers if caller.error]
        return (*own, *failed, *self._far_end.errors[self._errors_before :])

    def _first_error(self) -> str:
        return next(iter(self.errors()), "")

    def _explain_silence(self) -> None:
        first = self._first_error()
        detail = f" ({first})" if first else ""
        if self._family:
            _cpu(self._family)  # a relay that has died is the better explanation
        if self._far_end.sessions == 0 and self._target.url != self._far_end.direct_url:
            raise NothingConnectedError(self._far_end.upstream_url, detail)
        raise NoAudioError(self._far_end.sessions - self._sessions_before, detail)

    def _read(self) -> Reading:
        relay, rss_bytes = (_cpu(self._family), _rss(self._family)) if self._family else (None, None)
        return Reading(perf_counter(), sum(ledger.arrived for ledger in self.ledgers), own_cpu(), relay, rss_bytes)


async def _until(is_true: Callable[[], bool], seconds: float) -> None:
    """Wait for it, but not longer than so. Looking every 20 ms is cheaper than an event set by each frame."""
    for _ in range(round(seconds / FRAME_S)):
        if is_true():
            return
        await trio.sleep(FRAME_S)


def _cpu(family: Sequence[int]) -> CpuTime:
    try:
        return cpu_of_family(family)
    except ProcessLookupError:
        raise RelayGoneError(family[0]) from None


def _rss(family: Sequence[int]) -> int:
    try:
        return rss_of_family(family)
    except ProcessLookupError:
        raise RelayGoneError(family[0]) from None


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """The tool makes no cycles per frame; a collection would only make it late."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

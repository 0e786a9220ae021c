"""What a load tells: the figures of one level, whether the relay held it, and whether the tool itself was the limit.

Pure: made from what the ledgers noted and the readings of clocks and counters at the window's ends.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from benchmarks.load.far_end import Profile
from benchmarks.load.ledger import FRAME_S, Floats, FrameLedger
from benchmarks.load.talk import Voice
from benchmarks.process_cpu import CpuTime
from proto import mulaw, timing
from proto.timing import Percentiles

MAX_P99_MS: Final = 20.0  # one frame: who needs longer is a frame behind
MAX_TOOL_CORE: Final = 0.85
MAX_LATE_P99_MS: Final = 5.0
BIN_S: Final = 0.1  # in which a recovery is looked at
_US: Final = 1e6
_NEVER_MS: Final = 1e9


class Frames(msgspec.Struct, frozen=True, kw_only=True):
    """The callers' frames, sent in the window unless it says otherwise.

    arrived: however late; lost: never; duplicated, reordered (after a later one) and altered (other bytes, or another
    call's): at any time; carried: arrived while the window was open, whenever sent, so these are what its CPU paid for.
    """

    sent: int
    arrived: int
    lost: int
    duplicated: int
    reordered: int
    altered: int
    carried: int


class RelayCost(msgspec.Struct, frozen=True, kw_only=True):
    """What the relay's process, with its children, took. user_us, system_us: CPU for each frame carried.

    core_share: of one core, in all; core_share_per_call: the same by the calls; rss_mib: resident memory at the
    window's end; rss_per_call_kib: what it has grown since before the first call, by the calls.
    """

    user_us: float
    system_us: float
    core_share: float
    core_share_per_call: float
    rss_mib: float
    rss_per_call_kib: float

    @property
    def us(self) -> float:
        """User and system together."""
        return self.user_us + self.system_us


class ToolCost(msgspec.Struct, frozen=True, kw_only=True):
    """What this tool took, both its ends together, and how late it sent its frames."""

    user_us: float
    system_us: float
    core_share: float
    late_ms: Percentiles


class TalkFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Only of the conversation profile. barge_ins: in the whole load; of these `clears` were answered with a clear.

    first_audio_ms: of each response, first delta sent -> first media message read; clear_ms: `speech_started` sent ->
    `clear` read.
    """

    voice: Voice
    first_audio_ms: Percentiles | None
    barge_ins: int
    clears: int
    clear_ms: Percentiles | None


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One number of calls.

    latency_ms: in echo the round trip of a frame, caller to upstream and back; in conversation its one way, caller to
    upstream. direct_ms: the same without a relay, before; None when that was not asked for. jitter_ms: how far the
    time between two neighbouring frames' arrivals is from 20 ms.
    """

    profile: Profile
    calls: int
    window_s: float
    frames: Frames
    latency_ms: Percentiles | None
    direct_ms: Percentiles | None
    jitter_ms: Percentiles | None
    marks_echoed: int
    relay: RelayCost | None
    tool: ToolCost
    talk: TalkFigures | None
    errors: tuple[str, ...]
    failed_because: tuple[str, ...] = ()
    tool_limits: tuple[str, ...] = ()

    @property
    def added_p50_ms(self) -> float | None:
        """What the relay adds to a direct run, at the median."""
        return self.latency_ms.p50 - self.direct_ms.p50 if self.latency_ms and self.direct_ms else None

    @property
    def added_p99_ms(self) -> float | None:
        """The same of the worst hundredth."""
        return self.latency_ms.p99 - self.direct_ms.p99 if self.latency_ms and self.direct_ms else None

    @property
    def holds(self) -> bool:
        """Whether the relay carries so many calls."""
        return not self.failed_because


def judged(level: Level) -> Level:
    """The same with its verdicts."""
    return msgspec.structs.replace(level, failed_because=why_not_held(level), tool_limits=why_tool_limits(level))


def why_not_held(level: Level) -> tuple[str, ...]:
    """What speaks against the relay carrying so many calls; nothing when it does."""
    why: list[str] = []
    frames = level.frames
    if level.latency_ms is None:
        why.append("no frame arrived")
    elif level.latency_ms.p99 > MAX_P99_MS:
        why.append(f"p99 {level.latency_ms.p99:.1f} ms")
    if frames.lost:
        why.append(f"{frames.lost} of {frames.sent} frames lost")
    if frames.duplicated or frames.altered:
        why.append(f"{frames.duplicated} frames duplicated, {frames.altered} altered")
    if level.errors:
        why.append(f"{len(level.errors)} errors, the first: {level.errors[0]}")
    if level.talk and level.talk.voice.lost:
        why.append(f"{level.talk.voice.lost} bytes of the agent's voice lost")
    if level.talk and level.talk.clear_ms and level.talk.clear_ms.p99 > MAX_P99_MS:
        why.append(f"clear p99 {level.talk.clear_ms.p99:.1f} ms")
    return tuple(why)


def why_tool_limits(level: Level) -> tuple[str, ...]:
    """Whether the tool, and not the relay, was the bottleneck: then the level says nothing against the relay."""
    why: list[str] = []
    if level.tool.core_share > MAX_TOOL_CORE:
        why.append(f"the tool took {level.tool.core_share:.0%} of a core")
    if level.tool.late_ms.p99 > MAX_LATE_P99_MS:
        why.append(f"the tool was late: p99 {level.tool.late_ms.p99:.1f} ms")
    return tuple(why)


def frames_of(ledgers: Sequence[FrameLedger], carried: int) -> Frames:
    """Count what became of all frames."""
    times = [ledger.sent_and_arrived() for ledger in ledgers]
    sent = sum(len(sent_at) for sent_at, _ in times)
    arrived = sum(int(np.count_nonzero(arrived_at)) for _, arrived_at in times)
    return Frames(
        sent=sent,
        arrived=arrived,
        lost=sent - arrived,
        duplicated=sum(ledger.duplicated for ledger in ledgers),
        reordered=sum(ledger.reordered for ledger in ledgers),
        altered=sum(ledger.altered for ledger in ledgers),
        carried=carried,
    )


def latency_of(ledgers: Sequence[FrameLedger]) -> Percentiles | None:
    """From sending to arrival, ms, over all frames of all calls; None when none arrived."""
    return spread_of([latencies_ms(*ledger.sent_and_arrived()) for ledger in ledgers])


def jitter_of(ledgers: Sequence[FrameLedger]) -> Percentiles | None:
    """|interval - 20 ms| over all neighbouring frames that both arrived; None when there are none."""
    return spread_of([_jitter_ms(ledger.sent_and_arrived()[1]) for ledger in ledgers])


def spread_of(parts: Sequence[Sequence[float] | Floats]) -> Percentiles | None:
    """The percentiles of all parts together; None when they are all empty."""
    values = np.concatenate([np.asarray(part, np.float64) for part in parts]) if parts else np.empty(0)
    return timing.percentiles(values) if values.size else None


def recovered_after_s(sent_at: Floats, arrived_at: Floats, since: float) -> float | None:
    """When the load fell at `since`, how long it took until frames were in time again: a backlog delays them all.

    Args: sent_at and arrived_at, (n,) s on one clock, of frames sent from then on; 0 for what never arrived.
    Returns: s, the end of the last BIN_S whose frames took more than 20 ms in the median; None when that is the last
    one, or when there are no frames.
    """
    if not sent_at.size:
        return None
    latency_ms = np.where(arrived_at > 0, (arrived_at - sent_at) * 1000, _NEVER_MS)
    bins = ((sent_at - since) / BIN_S).astype(int)
    late = [at for at in np.unique(bins) if np.median(latency_ms[bins == at]) > mulaw.FRAME_MS]
    if not late:
        return 0.0
    return None if late[-1] == bins.max() else float((late[-1] + 1) * BIN_S)


def relay_cost(cpu: CpuTime, window_s: float, calls: int, carried: int, rss: tuple[int, int]) -> RelayCost:
    """Args: rss, resident bytes before the first call and at the window's end."""
    share = cpu.total_s / window_s
    return RelayCost(
        user_us=_per_frame_us(cpu.user_s, carried),
        system_us=_per_frame_us(cpu.system_s, carried),
        core_share=share,
        core_share_per_call=share / calls,
        rss_mib=rss[1] / 1024**2,
        rss_per_call_kib=(rss[1] - rss[0]) / 1024 / calls,
    )


def tool_cost(cpu: CpuTime, window_s: float, carried: int, late_ms: Sequence[float]) -> ToolCost:
    """Args: cpu, of this process in the window; late_ms, of each frame sent in it."""
    return ToolCost(
        user_us=_per_frame_us(cpu.user_s, carried),
        system_us=_per_frame_us(cpu.system_s, carried),
        core_share=cpu.total_s / window_s,
        late_ms=spread_of([late_ms]) or Percentiles(0.0, 0.0, 0.0, 0.0),
    )


def _per_frame_us(seconds: float, carried: int) -> float:
    return seconds * _US / carried if carried else 0.0


def latencies_ms(sent_at: Floats, arrived_at: Floats) -> Floats:
    """Of the frames that arrived, (n,) s each, 0 for never: from sending to arrival."""
    has_arrived = arrived_at > 0
    return np.asarray((arrived_at - sent_at)[has_arrived] * 1000, np.float64)


def _jitter_ms(arrived_at: Floats) -> Floats:
    have_arrived = arrived_at > 0
    neighbours = have_arrived[1:] & have_arrived[:-1]
    return np.asarray(np.abs(np.diff(arrived_at)[neighbours] - FRAME_S) * 1000, np.float64)

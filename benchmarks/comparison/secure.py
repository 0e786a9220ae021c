"""TLS towards the upstream beside our own plain figure, and what a further call takes of memory, with TLS and without.

In a round both take turns, each in one process that carries two numbers of calls, one after the other. Memory per call
is the growth between those two by the calls that came in between: what the first calls bring once, modules, caches and
buffers that all share, is in the lower number already. Counted from an idle process it would be charged to the calls,
and the fewer they are, the more.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Final

import msgspec

from benchmarks.comparison.goals import Goal, Judged, judge
from benchmarks.comparison.samples import BEHIND_MS
from benchmarks.comparison.stage import Stage
from benchmarks.load import Level, measure_level, open_far_end
from benchmarks.load.certificate import Authority, open_authority, why_absent
from benchmarks.load.level import WARMUP_S
from benchmarks.process_cpu import Relay
from benchmarks.relays import OURS

CALLS: Final = (100, 300)
SECONDS: Final = 3.0
EXPECTED_S: Final = 2 * (len(CALLS) * (SECONDS + WARMUP_S + 0.8) + 2.5)  # of a round
MOST_CPU: Final = 1.35
MOST_PLAIN_KIB: Final = 40.0
MOST_TLS_KIB: Final = 140.0


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """Our relay with or without TLS in one round: at each number of calls its CPU per frame, round trip and memory.

    kept_up: whether it lost nothing and was not a frame behind in the median.
    """

    is_tls: bool
    round: int
    calls: tuple[int, ...]
    us: tuple[float, ...]
    p99_ms: tuple[float, ...]
    rss_mib: tuple[float, ...]
    kept_up: tuple[bool, ...]
    others: float

    @property
    def additional_call_kib(self) -> float:
        """What each call above the first number has taken."""
        return (self.rss_mib[-1] - self.rss_mib[0]) * 1024 / (self.calls[-1] - self.calls[0])


async def take_legs(
    stage: Stage,
    rounds: int,
    *,
    calls: Sequence[int] = CALLS,
    seconds: float = SECONDS,
    warmup_s: float = WARMUP_S,
    relay: Relay = OURS,
) -> list[Leg]:
    """Both, in turns; without an authority only the plain one."""
    reason = why_absent()
    if reason:
        stage.problems.append(f"TLS is left out: {reason}")
    found: list[Leg] = []
    with nullcontext() if reason else open_authority() as authority:
        kinds = (None, authority) if authority else (None,)
        for number in range(1, rounds + 1):
            for each in kinds if number % 2 else reversed(kinds):
                measure = partial(_measure, stage, relay, each, number, tuple(calls), seconds, warmup_s)
                leg = await stage.attempt(f"round {number}, {_name(each)} upstream", measure)
                if leg is not None:
                    found.append(leg)
                    stage.tell(f"round {number}, {_name(each)} upstream: {_line(leg)}")
    return found


async def _measure(
    stage: Stage,
    relay: Relay,
    authority: Authority | None,
    number: int,
    calls: tuple[int, ...],
    seconds: float,
    warmup_s: float,
) -> Leg:
    relay = trusting(relay, authority) if authority else relay
    tls = authority.server if authority else None
    async with open_far_end(tls=tls) as far_end, stage.open_target(relay, far_end) as (target, others):
        levels = [
            await measure_level(
                far_end, target, calls=each, seconds=seconds, warmup_s=warmup_s, with_direct=False
            )
            for each in calls
        ]  # fmt: skip
        return Leg(
            is_tls=authority is not None,
            round=number,
            calls=calls,
            us=tuple(level.relay.us if level.relay else 0.0 for level in levels),
            p99_ms=tuple(level.latency_ms.p99 if level.latency_ms else 0.0 for level in levels),
            kept_up=tuple(_kept_up(level) for level in levels),
            rss_mib=tuple(level.relay.rss_mib if level.relay else 0.0 for level in levels),
            others=others.share(),
        )


def _kept_up(level: Level) -> bool:
    in_time = level.latency_ms is not None and level.latency_ms.p50 <= BEHIND_MS
    return in_time and not (level.frames.lost or level.errors)


def trusting(relay: Relay, authority: Authority) -> Relay:
    """The same relay, told to trust this authority alone."""

    def environment(port: int, upstream: str) -> dict[str, str]:
        return relay.environment(port, upstream) | {"SSL_CERT_FILE": str(authority.ca_file)}

    return msgspec.structs.replace(relay, environment=environment)


def judged_legs(legs: Sequence[Leg]) -> list[Judged]:
    """CPU with TLS by the plain one of the same round, if neither fell behind, and memory of both."""
    plain = {leg.round: leg for leg in legs if not leg.is_tls}
    pairs = [(leg, plain[leg.round]) for leg in legs if leg.is_tls and leg.round in plain]
    judged = []
    for place, calls in enumerate(legs[0].calls if legs else ()):
        sound = [(secure, other) for secure, other in pairs if secure.kept_up[place] and other.kept_up[place]]
        ratios = [secure.us[place] / other.us[place] for secure, other in sound if other.us[place]]
        judged.append(judge(Goal(what=f"CPU per frame with TLS, {calls} calls, by our own", bound=MOST_CPU), ratios))
    for is_tls, kind, most_kib in ((False, "plain", MOST_PLAIN_KIB), (True, "with TLS", MOST_TLS_KIB)):
        goal = Goal(what=f"memory of an additional call, {kind}", bound=most_kib, unit="KiB")
        judged.append(judge(goal, [leg.additional_call_kib for leg in legs if leg.is_tls is is_tls]))
    return judged


def _name(authority: Authority | None) -> str:
    return "TLS" if authority else "plain"


def _line(leg: Leg) -> str:
    levels = zip(leg.calls, leg.us, leg.p99_ms, leg.rss_mib, leg.kept_up, strict=True)
    told = "; ".join(
        f"{calls} calls {us:.1f} µs/frame, p99 {p99_ms:.1f} ms, {mib:.1f} MiB{'' if kept_up else ', behind'}"
        for calls, us, p99_ms, mib, kept_up in levels
    )
    return f"{told}; {leg.additional_call_kib:.1f} KiB for an additional call; others {leg.others:.0%}"

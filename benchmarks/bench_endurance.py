"""Thousands of short calls with random trouble: each ends once, and nothing of any stays.

Budget: one end for each call, none of them an error of ours; no task, session or ledger left; less than half a block of
memory more per call in Python's hands, and not 20 MB more in the process's.
Run: python -m benchmarks.bench_endurance [--calls 10000 --seed 1]

Each call is the whole stack over memory streams in virtual time: door, session, sockets, and both services simulated.
What goes wrong is drawn from the seed: connections that are refused, never answered or mute; lines that are cut, closed
or stalled; nonsense, and far too much of it; responses that fail; callers who hang up at any moment, politely or not.
Prints one JSON line. Memory is counted once after a tenth of the calls, when all caches are full, and once after all.
Exit code 1: the budget was not kept.
"""

import argparse
import gc
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import trio
from trio.testing import MockClock, memory_stream_pair

from benchmarks.scenarios.memory import UPSTREAM, no_web_app
from benchmarks.scenarios.scenario import PERSONA, ScriptedTool, says
from benchmarks.scenarios.troubles import TROUBLES, ResponseFails, Struck
from benchmarks.simulators.openai import (
    Disturbance,
    Faults,
    Order,
    Reply,
    Script,
    SendOversized,
    Simulator,
    SimulatorConfig,
    Step,
    ToolCall,
)
from benchmarks.simulators.twilio import At, CallOptions, Conversation, HangUp, run_stream
from benchmarks.speech import clip
from relay import Arrival, Door, Entry, LogEvent, Persona, Pump, Switchboard, Totals, open_stream_line
from relay.call import Call
from relay.log import CallEnded
from relay.playout import Playout
from relay.session import CallSession
from relay.sockets import Line, MediaSocket
from relay.tools import ToolBox

AT_ONCE: Final = 25
SHORTEST_CALL_S, LONGEST_CALL_S = 0.2, 7.0
BLOCKS_PER_CALL: Final = 0.5  # whatever a call leaves behind is a block at least
GROWTH_BUDGET_MB: Final = 20.0  # the C library may keep what one oversized message took
WARM_UP_SHARE: Final = 0.1
OVERSIZED_SHARE: Final = 0.02  # of what strikes a session; often enough for the warm-up to know what memory it takes
COUNTED: Final = (Call, CallSession, MediaSocket, Playout, Simulator)

_STRIKES: Final = tuple(one.happening.by for one in TROUBLES if isinstance(one.happening, Struck))
_FAILURES: Final = tuple(one.happening.how for one in TROUBLES if isinstance(one.happening, ResponseFails))
_OPENINGS: Final = (
    Faults(http_status=401),
    Faults(http_status=429, retry_after_s=1),
    Faults(http_status=429, retry_after_s=60),
    Faults(http_status=503),
    Faults(upgrade_delay_s=60.0),
    Faults(silent=True),
)
_ANSWERS: Final = (Reply("one_moment"), Reply("opening_hours"), ToolCall("look_up"))


class Endured(msgspec.Struct, frozen=True, kw_only=True):
    """What came of them. left: what there is more of than before, by kind; reasons: of the calls' ends.

    blocks: of memory that Python holds; rss_mb: what the process holds. Both after the warm-up and at the end.
    """

    calls: int
    ended_once: int
    reasons: dict[str, int]
    troubles: int
    left: dict[str, int]
    blocks: tuple[int, int]
    rss_mb: tuple[float, float]

    @property
    def is_within_budget(self) -> bool:
        """The claim holds."""
        grown_mb = self.rss_mb[1] - self.rss_mb[0]
        is_sound = self.ended_once == self.calls and "internal_error" not in self.reasons
        is_flat = self.blocks[1] - self.blocks[0] < BLOCKS_PER_CALL * self.calls and grown_mb < GROWTH_BUDGET_MB
        return is_sound and not self.left and is_flat


class _OneCall:
    """One call: what is drawn for it, and both ends of it."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.ends: list[str] = []
        self.troubles = 0
        steps = [self._drawn_step() for _ in range(4)]
        self._lasts_s = random.uniform(SHORTEST_CALL_S, LONGEST_CALL_S)
        self._persona = msgspec.structs.replace(
            PERSONA,
            greeting=random.choice(("", PERSONA.greeting)),
            apology_audio=random.choice((b"", clip("one_moment").mulaw)),
            reconnect_within_s=random.choice((0.0, 1.0, 8.0)),
        )
        script = Script(steps=tuple(steps), rotation=("one_moment",))
        self._simulator = Simulator(SimulatorConfig(script=script, pace=random.choice((1.5, 10.0))))

    async def run(self) -> None:
        """From the upgrade to the last task's end."""
        async with trio.open_nursery() as nursery:
            switchboard = Switchboard(
                self._who_answers,
                connect=partial(self._connect, nursery),
                call_log=self,
                totals=Totals(),
                toolbox=_toolbox(),
            )
            door = Door(Entry(carry=switchboard.carry, serve_web=no_web_app, admit=lambda _: None), Pump(), Totals())
            ours, theirs = memory_stream_pair()
            nursery.start_soon(door.handle, ours)
            async with trio.open_nursery() as troubled:
                troubled.start_soon(self._strike)
                await self._hold_the_phone(theirs)
                await switchboard.drain()
                troubled.cancel_scope.cancel()

    def offer(self, _call_sid: str, event: LogEvent) -> None:
        """See relay.CallLog."""
        if isinstance(event, CallEnded):
            self.ends.append(event.reason)

    def _who_answers(self, _arrival: Arrival) -> Persona:
        return self._persona

    async def _hold_the_phone(self, stream: trio.abc.Stream) -> None:
        """Somebody who asks twice, and hangs up when it is drawn that they do, or whose line dies then."""
        dies = self._random.random() < 0.3
        ends_ms = round(self._lasts_s * 1000)
        caller = Conversation(
            (says("ask_hours", At(self._random.randrange(3000))), says("thanks_bye")),
            actions=() if dies else (HangUp(ends_ms),),
        )
        options = CallOptions(stream_url="ws://relay.test/media-stream", allow_insecure=True, seed=1, max_seconds=60.0)
        with trio.move_on_after(self._lasts_s if dies else inf):
            await run_stream(stream, options, caller)

    @asynccontextmanager
    async def _connect(self, nursery: trio.Nursery, _model: str) -> AsyncIterator[Line]:
        await trio.sleep(self._random.choice((0.0, 0.05, 0.5)))
        is_bad = self._random.random() < 0.25
        self.troubles += is_bad
        if is_bad and self._random.random() < 0.2:
            raise ConnectionRefusedError("connection refused")
        self._simulator.desk.faults = self._random.choice(_OPENINGS) if is_bad else Faults()
        ours, theirs = memory_stream_pair()
        nursery.start_soon(self._simulator.serve_stream, theirs)
        async with ours:
            yield await open_stream_line(UPSTREAM, ours)

    async def _strike(self) -> None:
        """Trouble comes over whatever sessions there are, now and then."""
        while True:
            await trio.sleep(self._random.uniform(0.0, LONGEST_CALL_S))
            if self._simulator.desk.live:
                self.troubles += 1
                self._simulator.desk.carry_out(Order(sessions="running", now=self._drawn_strike()))

    def _drawn_strike(self) -> tuple[Disturbance, ...]:
        if self._random.random() < OVERSIZED_SHARE:
            return (SendOversized(),)  # in earnest: 20 MiB
        return self._random.choice(_STRIKES)

    def _drawn_step(self) -> Step:
        if self._random.random() < 0.15:
            self.troubles += 1
            return self._random.choice(_FAILURES)
        return self._random.choice(_ANSWERS)


def _toolbox() -> ToolBox:
    return ToolBox([ScriptedTool(name="look_up", takes_s=1.0, output="until eleven", on_barge_in="cancel").as_tool()])


def endure(calls: int, seed: int) -> Endured:
    """Let so many calls happen. The same seed draws the same troubles."""
    return trio.run(_endure, calls, seed, clock=MockClock(autojump_threshold=0.0))


async def _endure(calls: int, seed: int) -> Endured:
    reasons: Counter[str] = Counter()
    ended_once = troubles = 0
    before, warm = _living(), _memory()
    for first in range(0, calls, AT_ONCE):
        batch = [_OneCall(Random(f"{seed}/{number}")) for number in range(first, min(first + AT_ONCE, calls))]
        async with trio.open_nursery() as nursery:
            for call in batch:
                nursery.start_soon(call.run)
        for call in batch:
            ended_once += len(call.ends) == 1
            troubles += call.troubles
            reasons.update(call.ends)
        if first <= calls * WARM_UP_SHARE:
            warm = _memory()
    del batch, call
    left = {kind: count - before[kind] for kind, count in _living().items() if count != before[kind]}
    end = _memory()
    return Endured(
        calls=calls,
        ended_once=ended_once,
        reasons=dict(reasons.most_common()),
        troubles=troubles,
        left=left,
        blocks=(warm[0], end[0]),
        rss_mb=(warm[1], end[1]),
    )


def _living() -> dict[str, int]:
    """Tasks, descriptors, and what a call is made of, as far as they exist now."""
    gc.collect()
    objects = Counter(type(each) for each in gc.get_objects())
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - Path.iterdir would open one itself
        **{kind.__name__: objects[kind] for kind in COUNTED},
    }


def _memory() -> tuple[int, float]:
    """Blocks that Python holds, and MB that the process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return sys.getallocatedblocks(), round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    endured = endure(options.calls, options.seed)
    print(msgspec.json.encode(endured).decode())
    sys.exit(0 if endured.is_within_budget else 1)


if __name__ == "__main__":
    main()

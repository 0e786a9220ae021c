"""From bytes on a socket to the handler's reply on it: the pump beside a Trio task that reads and writes each stream.

Budget, ratios of the medians in turns: on a single socket, where the pump has nothing to gather, the round trip and the
CPU per message at most 1.25; CPU at most 0.6 when twenty are ready at once.
Run: python -m benchmarks.bench_pump. Prints one JSON line.

Messages are caller's frames through the same codec and the same outbox; the handler sends each back as it came. The far
end is a process of its own (benchmarks/pump_far_end.py), so the round trip holds two wake-ups by the kernel; CPU is of
this side alone, one value per block of exchanges.
"""

import json
import socket
import sys
from contextlib import AsyncExitStack
from itertools import chain
from pathlib import Path
from time import process_time_ns
from typing import Final, Protocol

import numpy as np
import trio

from benchmarks import samples
from benchmarks.measuring import Benchmark, Figures, beside, report
from benchmarks.pump import open_pump
from proto.websocket import FrameCodec, Received, Role
from relay.sockets import READ_BYTES, MediaSocket

CLAIM: Final = (
    "over the pump a message among twenty takes 0.6 of the CPU it takes over a Trio task, one alone 1.25 at most"
)
BUDGET: Final = 1.25
MANY_BUDGET: Final = 0.6
COUNT: Final = 40  # blocks
EXCHANGES: Final = 50  # in a block
SOCKETS: Final = 20  # ready at once
PEER: Final = "a Trio task"
_FAR_END: Final = Path(__file__).with_name("pump_far_end.py")


class _Echo:
    """The handler of a group of sockets, and what CPU this process spent on each block. sockets: how many."""

    def __init__(self, sockets: int) -> None:
        self.sockets = sockets
        self.cpu_ns: list[float] = []  # per message, by block
        self._seen = 0
        self._began_ns = 0

    def media(self) -> MediaSocket:
        """One socket's; all messages go back as they came."""
        media = MediaSocket("twilio", lambda received: self._reply(media, received))
        return media

    def _reply(self, media: MediaSocket, received: list[Received]) -> None:
        for message in received:
            if isinstance(message, bytes):
                media.send(message)
                self._count()

    def _count(self) -> None:
        of_block = EXCHANGES * self.sockets
        number, self._seen = self._seen % of_block, self._seen + 1
        if number == 0:
            self._began_ns = process_time_ns()
        elif number == of_block - 1:
            self.cpu_ns.append((process_time_ns() - self._began_ns) / number)


class _Serve(Protocol):
    """Carries a socket's bytes for its handler from now on."""

    async def __call__(self, near: socket.socket, media: MediaSocket) -> None: ...


def measure(count: int) -> Figures:
    """`count` blocks of exchanges: on one socket and on many, over the pump and over tasks."""
    echoes = [_Echo(1), _Echo(1), _Echo(SOCKETS), _Echo(SOCKETS)]
    trips_ns = [np.array(trips, np.int64) for trips in trio.run(_exchange, echoes, count)]
    cpu_ns = [np.array(echo.cpu_ns, np.int64) for echo in echoes]
    return (
        beside("pump: round trip", trips_ns[0], PEER, trips_ns[1], budget=BUDGET),
        beside("pump: CPU per message", cpu_ns[0], PEER, cpu_ns[1], budget=BUDGET),
        beside(f"pump: CPU, {SOCKETS} at once", cpu_ns[2], PEER, cpu_ns[3], budget=MANY_BUDGET),
    )


async def _exchange(echoes: list[_Echo], blocks: int) -> list[list[int]]:
    """Let the far end talk to all of them, the pump's and the tasks' in turns. Returns its times, by group."""
    async with open_pump() as pump, trio.open_nursery() as nursery, AsyncExitStack() as attached:

        async def over_pump(near: socket.socket, media: MediaSocket) -> None:
            await attached.enter_async_context(pump.attach(near, media, _fail))

        async def over_task(near: socket.socket, media: MediaSocket) -> None:
            nursery.start_soon(_carry, trio.SocketStream(trio.socket.from_stdlib_socket(near)), media)

        groups = []
        for echo, serve in zip(echoes, (over_pump, over_task, over_pump, over_task), strict=True):
            groups.append([await _connect(echo, serve) for _ in range(echo.sockets)])
        trips_ns = await _run_far_end(groups, blocks)
        nursery.cancel_scope.cancel()
    return trips_ns


async def _connect(echo: _Echo, serve: _Serve) -> socket.socket:
    """Returns the far end of a new socket."""
    near, far = socket.socketpair()
    near.setblocking(False)
    await serve(near, echo.media())
    return far


async def _carry(stream: trio.SocketStream, media: MediaSocket) -> None:
    """What one would write for each socket without the pump."""
    async with stream:
        while data := await stream.receive_some(READ_BYTES):
            media.receive(data)
            while frames := media.outbox.next_write():
                await stream.send_all(frames)
                media.outbox.written(len(frames))


async def _run_far_end(groups: list[list[socket.socket]], blocks: int) -> list[list[int]]:
    message = samples.media()
    codec = FrameCodec(Role.CLIENT, max_message_bytes=len(message))
    reply = FrameCodec(Role.SERVER, max_message_bytes=len(message)).text(message)
    numbers = [",".join(str(far.fileno()) for far in group) for group in groups]
    arguments = [codec.text(message).hex(), str(len(reply)), str(blocks), str(EXCHANGES), *numbers]
    far_ends = list(chain.from_iterable(groups))
    done = await trio.run_process(
        [sys.executable, str(_FAR_END), *arguments],
        pass_fds=[far.fileno() for far in far_ends],
        capture_stdout=True,
    )
    for far in far_ends:
        far.close()
    trips_ns: list[list[int]] = json.loads(done.stdout)
    return trips_ns


def _fail(error: Exception) -> None:
    raise error


BENCHMARK: Final = Benchmark(name="pump", claim=CLAIM, measure=measure, count=COUNT)

if __name__ == "__main__":
    report(BENCHMARK)

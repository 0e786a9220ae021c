"""A relay as a process of its own, to be measured from outside: started, kept on one core, its CPU read, ended.

CPU and memory are read from Linux's /proc. Elsewhere there is an error instead of a number of another kind.
"""

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import msgspec
import trio

READY_WITHIN_S: Final = 20.0
ASK_EVERY_S: Final = 0.1
SAID_CHARACTERS: Final = 2000  # the end of what a relay said, shown when it failed
# proc_pid_stat(5): utime and stime are fields 14 and 15; field 3 is the first after the name's last parenthesis.
_PPID, _UTIME, _STIME = 4 - 3, 14 - 3, 15 - 3
_RESIDENT: Final = 1  # proc_pid_statm(5), in pages
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# proc_stat(5), a core's line: user, nice, system, steal. Interrupts stay out: the relay's own traffic is in them.
_BUSY: Final = (0, 1, 2, 7)
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_CHECKOUT: Final = Path(__file__).resolve().parent.parent
# All that a relay inherits: the shell's keys and settings must not change what is measured.
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class CpuTime(msgspec.Struct, frozen=True):
    """CPU seconds of all threads of one process since it began, or between two readings."""

    user_s: float
    system_s: float

    @property
    def total_s(self) -> float:
        """Both together."""
        return self.user_s + self.system_s

    def since(self, earlier: "CpuTime") -> "CpuTime":
        """What was spent between an earlier reading and this one."""
        return CpuTime(self.user_s - earlier.user_s, self.system_s - earlier.system_s)


def cpu_of(pid: int) -> CpuTime:
    """What another process has spent so far. The kernel counts in ticks of 10 ms: read it seconds apart.

    Raises: ProcessLookupError when it is gone; OSError where there is no /proc.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if sys.platform != "linux":
            raise OSError("the CPU of another process is read from /proc: run this on Linux") from None
        raise ProcessLookupError(f"process {pid} is gone") from None
    fields = stat.rpartition(")")[2].split()
    return CpuTime(int(fields[_UTIME]) / _TICKS_PER_S, int(fields[_STIME]) / _TICKS_PER_S)


def cpu_of_family(pids: Sequence[int]) -> CpuTime:
    """What a process, the first, and its descendants have spent so far. Raises: as `cpu_of`, for the first."""
    spent = [cpu_of(pids[0])]
    for child in pids[1:]:
        with suppress(ProcessLookupError):  # it has ended since
            spent.append(cpu_of(child))
    return CpuTime(sum(each.user_s for each in spent), sum(each.system_s for each in spent))


def rss_of_family(pids: Sequence[int]) -> int:
    """Their resident memory, in bytes; what they share counts for each. Raises: as `cpu_of`, for the first."""
    cpu_of(pids[0])  # says why it cannot be read
    return sum(_rss_bytes(each) for each in pids)


def family_of(pid: int) -> tuple[int, ...]:
    """A process and its living descendants. Looks at every process of the machine: that takes its milliseconds."""
    return (pid, *descendants(pid))


def descendants(pid: int) -> list[int]:
    """The living children of a process, theirs, and so on. Empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[_PPID]), []).append(
                int(stat.parent.name)
            )
    found: list[int] = []
    waiting = [pid]
    while waiting:
        born = children.get(waiting.pop(), [])
        found += born
        waiting += born
    return found


def _rss_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[_RESIDENT]) * _PAGE_BYTES
    except OSError:
        return 0  # it has ended since


def own_cpu() -> CpuTime:
    """What this process has spent so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return CpuTime(usage.ru_utime, usage.ru_stime)


def core_busy_s(core: int) -> float:
    """How long a core has worked so far, for whichever process or, as steal, for another virtual machine."""
    lines = Path("/proc/stat").read_text().splitlines()
    ticks = next(line.split()[1:] for line in lines if line.startswith(f"cpu{core} "))
    return sum(int(ticks[field]) for field in _BUSY) / _TICKS_PER_S


class OtherWork:
    """How much of a relay's core other work takes, from now on. core: None when the relay has none of its own."""

    def __init__(self, core: int | None, relay_pid: int) -> None:
        self._core, self._pid = core, relay_pid
        self._since, self._before_s = time.monotonic(), self._spent_s()

    def share(self) -> float:
        """So far; 0 without a core that could be watched. Raises: as `cpu_of`."""
        return max(0.0, self._spent_s() - self._before_s) / (time.monotonic() - self._since)

    def _spent_s(self) -> float:
        return 0.0 if self._core is None else core_busy_s(self._core) - cpu_of(self._pid).total_s


def two_cores() -> tuple[int, int] | None:
    """A core for the relay and one for the load; None when there are not two, or the system does not let us choose."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else None


def pin(pid: int, core: int) -> None:
    """Keep a process (0: this one) on one core, with the threads it has and those it starts from now on."""
    for thread in Path(f"/proc/{pid or 'self'}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), {core})


class RelayFailedError(Exception):
    """A relay did not start, died, or carried nothing. Attributes: name; detail; said, the end of its output."""

    def __init__(self, name: str, detail: str, said: str) -> None:
        self.name, self.detail, self.said = name, detail, said
        super().__init__(f"{name}: {detail}" + (f"\nIt said:\n{said}" if said else ""))


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a relay. command and environment take the port to listen on and the upstream's ws:// address.

    ready_path: answers 200 once it takes calls; None when it does so as soon as it listens.
    """

    name: str
    command: Callable[[int, str], list[str]]
    environment: Callable[[int, str], dict[str, str]]
    ready_path: str | None


class Running(msgspec.Struct, frozen=True):
    """A relay that takes calls. url: its media stream; said: gives the end of its output."""

    pid: int
    url: str
    said: Callable[[], str]


@asynccontextmanager
async def open_relay(relay: Relay, upstream_url: str, *, core: int | None = None) -> AsyncIterator[Running]:
    """Run a relay while the context lasts, in an empty directory, with nothing of our environment.

    Raises: RelayFailedError, in a group, when it does not take calls in time.
    """
    port = _free_port()
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {"PYTHONPATH": str(_CHECKOUT), **relay.environment(port, upstream_url)}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:

        def said() -> str:
            output.seek(0)
            return output.read().decode(errors="replace")[-SAID_CHARACTERS:].strip()

        run = partial(
            trio.run_process,
            relay.command(port, upstream_url),
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(run)
            if core is not None:
                pin(process.pid, core)
            if not await _takes_calls(process, port, relay.ready_path):
                raise RelayFailedError(relay.name, "it did not start", said())
            yield Running(process.pid, f"ws://127.0.0.1:{port}/media-stream", said)
            nursery.cancel_scope.cancel()  # ends the process, kindly at first


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def _takes_calls(process: trio.Process, port: int, ready_path: str | None) -> bool:
    with trio.move_on_after(READY_WITHIN_S):
        while process.poll() is None:
            if await (_listens(port) if ready_path is None else _is_ready(port, ready_path)):
                return True
            await trio.sleep(ASK_EVERY_S)
    return False


async def _listens(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


async def _is_ready(port: int, path: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.get(f"http://127.0.0.1:{port}{path}")
    except httpx.TransportError:
        return False
    return response.status_code == httpx.codes.OK

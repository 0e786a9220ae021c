"""The parent of `tautline serve --workers N`: starts N processes that share the port, and keeps them.

It carries no call and listens nowhere. Each worker is the same command, told by a variable of its environment who it is
(tautline.shared), with the parent's settings: a worker that is started again after hours serves as the others do.
They share the port by SO_REUSEPORT (tautline.ports). When the parent is gone, however that came, they drain and end.
"""

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import structlog
import trio

from tautline.ports import reserved_port
from tautline.restarts import FIRST_PAUSE_S, MAX_QUICK_DEATHS, Restarts
from tautline.settings import Settings, SettingsError
from tautline.shared import Worker, private_folder, settle, sweep
from tautline.tunnel import open_tunnel

END_WITHIN_S: Final = 35.0  # a worker gives its calls 25 s; one that takes longer hangs
FORCED_WITHIN_S: Final = 5.0  # an end without waiting for calls still says goodbye to them
SWEEP_EVERY_S: Final = 60.0

OpenWorker = Callable[[int], Awaitable[trio.Process]]
_logger = structlog.stdlib.get_logger("tautline.workers")


def run(settings: Settings, command: Sequence[str]) -> int:
    """Serve with several processes until a signal ends it. Returns the exit code.

    Args: command, which serves alone, or as a worker when its environment says so.
    Raises: SettingsError where processes cannot share a port.
    """
    if sys.platform != "linux":
        raise SettingsError(("WORKERS needs Linux, which spreads connections over processes; use WORKERS=1 here",))
    for warning in settings.warnings():
        _logger.warning("settings.incomplete", consequence=warning)
    try:
        return trio.run(_run, settings, command)
    except OSError as error:  # before any worker was started
        _logger.error("workers.not_started", why=str(error), host=settings.host, port=settings.port)
        return 1


def settings_of(settings: Settings, number: int, port: int) -> Settings:
    """One worker's settings: the port that all share, and its part of the places. number: from 1.

    A place that cannot be shared out evenly goes to the first ones.
    """
    return msgspec.structs.replace(
        settings,
        port=port,
        workers=1,
        max_calls=_share(settings.max_calls, number, settings.workers),
        max_calls_per_address=_share(settings.max_calls_per_address, number, settings.workers),
    )


class Crew:
    """The workers and their lives.

    Args: open_worker, starts the process of this number (raises OSError); size, how many; on_end, told the number of
    each that has ended; first_pause_s, see Restarts.
    """

    def __init__(
        self,
        open_worker: OpenWorker,
        size: int,
        *,
        on_end: Callable[[int], None] = lambda _number: None,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._open_worker, self._size, self._on_end = open_worker, size, on_end
        self._first_pause_s = first_pause_s
        self._running: dict[int, trio.Process] = {}
        self._stopping, self._forced = trio.Event(), trio.Event()
        self._has_given_up = False

    async def keep(self) -> bool:
        """Run the workers until all have ended after `stop`. False when one of them could not be kept alive."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._kill_stragglers)
            async with trio.open_nursery() as workers:
                for number in range(1, self._size + 1):
                    workers.start_soon(self._keep_one, number)
            nursery.cancel_scope.cancel()
        return not self._has_given_up

    def stop(self) -> None:
        """Let every worker drain; the second time, end at once."""
        if self._stopping.is_set():
            self._forced.set()
        self._stopping.set()
        for process in self._running.values():
            self._tell(process)

    async def _keep_one(self, number: int) -> None:
        restarts = Restarts(self._first_pause_s)
        while not self._stopping.is_set():
            began_at = trio.current_time()
            how = await self._live(number)
            if self._stopping.is_set():
                return
            lived_s = trio.current_time() - began_at
            pause_s = restarts.died(lived_s)
            if pause_s is None:
                self._give_up(number, how)
                return
            _logger.error("worker.died", worker=number, how=how, lived_s=round(lived_s, 1), again_in_s=pause_s)
            with trio.move_on_after(pause_s):
                await self._stopping.wait()

    async def _live(self, number: int) -> str:
        """One life of a worker. Returns how it ended."""
        try:
            process = self._running[number] = await self._open_worker(number)
        except OSError as error:
            return f"no process: {error.strerror}"
        _logger.info("worker.started", worker=number, pid=process.pid)
        try:
            if self._stopping.is_set():  # said while it was being started
                self._tell(process)
            return _how(await process.wait())
        finally:
            del self._running[number]
            if process.poll() is None:
                process.kill()
            self._on_end(number)

    def _give_up(self, number: int, how: str) -> None:
        _logger.error(
            "workers.given_up",
            why=f"Worker {number} ended {MAX_QUICK_DEATHS} times soon after its start, at last by {how}.",
            help="What it logged before says why.",
        )
        self._has_given_up = True
        if not self._stopping.is_set():
            self.stop()

    async def _kill_stragglers(self) -> None:
        await self._stopping.wait()
        with trio.move_on_after(END_WITHIN_S):
            await self._forced.wait()
            await trio.sleep(FORCED_WITHIN_S)
        for number, process in self._running.items():
            _logger.error("worker.killed", worker=number, why="It did not end in time.")
            process.kill()

    def _tell(self, process: trio.Process) -> None:
        # Two signals for two meanings: a service manager that ends a whole group sends SIGTERM to the workers, too.
        process.send_signal(signal.SIGINT if self._forced.is_set() else signal.SIGTERM)


async def _run(settings: Settings, command: Sequence[str]) -> int:
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        reserved_port(settings.host, settings.port) as port,
        private_folder() as folder,
        _lifeline() as stdin,
    ):
        async with open_tunnel(settings, port) as served:
            is_well = await _keep_crew(served, command, signals, port=port, folder=folder, stdin=stdin)
    _logger.info("workers.stopped")
    return 0 if is_well else 1


async def _keep_crew(
    settings: Settings, command: Sequence[str], signals: AsyncIterator[int], *, port: int, folder: Path, stdin: int
) -> bool:
    async def open_worker(number: int) -> trio.Process:
        worker = Worker(number=number, folder=str(folder))
        variables = settings_of(settings, number, port).variables() | worker.variable()
        # A session of its own: Ctrl-C at the terminal is the parent's to pass on.
        return await trio.lowlevel.open_process(
            list(command), env={**os.environ, **variables}, stdin=stdin, start_new_session=True
        )

    crew = Crew(open_worker, settings.workers, on_end=partial(settle, folder))
    _logger.info("workers.starting", workers=settings.workers, host=settings.host, port=port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_when_told, crew, signals)
        nursery.start_soon(_sweep_now_and_then, folder)
        is_well = await crew.keep()
        nursery.cancel_scope.cancel()
    return is_well


async def _stop_when_told(crew: Crew, signals: AsyncIterator[int]) -> None:
    async for _ in signals:
        crew.stop()


async def _sweep_now_and_then(folder: Path) -> None:
    while True:
        await trio.sleep(SWEEP_EVERY_S)
        try:
            await trio.to_thread.run_sync(sweep, folder, time.time())
        except OSError as error:
            _logger.warning("workers.not_swept", why=str(error))


@contextmanager
def _lifeline() -> Iterator[int]:
    """The standard input of every worker: a pipe on which nothing is ever said, and which ends with this process."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def _share(places: int, number: int, workers: int) -> int:
    return places // workers + (number <= places % workers)


def _how(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code >= 0 else f"signal {-exit_code}, {signal.strsignal(-exit_code)}"

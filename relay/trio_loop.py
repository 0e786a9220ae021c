"""Waiting in Trio's place: what the pump does instead of being a task that Trio wakes.

A task that waits for readiness pays Trio a turn of its loop for each: two system calls and a good part of what a frame
of audio costs altogether. So when Trio is about to wait, which it tells its instruments, the pump waits first: for its
own sockets and, through the descriptor on which Trio itself would wait, for Trio's. It gives way as soon as Trio has
anything to do. A frame then costs one wait, and no turn. And a turn may be long, when many tasks are ready to run: so
the pump also looks at its sockets between two of them, if it has not for a while.

For that three things must be known that Trio tells nobody: that descriptor, whether a task became ready to run, and
whether a deadline moved nearer. They are read here and nowhere else; a contract test holds them against the Trio that
is installed, and where they are not as expected the pump waits like any other task.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final

import trio

# Handle what is ready within so many seconds; whether something of Trio's was. See TrioLoop.
Carry = Callable[[float], bool]

MAX_AWAY_S: Final = 0.001  # while tasks run one after the other

_is_taken: Final = trio.lowlevel.RunVar("tautline.trio_loop", default=False)


class TrioLoop(trio.abc.Instrument):
    """The loop of the present run. Attributes: fd, readable when I/O of Trio's is ready."""

    def __init__(self, runner: Any) -> None:
        self._runq, self._deadlines, self._io = runner.runq, runner.deadlines, runner.io_manager
        self._waiting_for_idle = runner.waiting_for_idle  # tests that want every task to wait
        self.fd: int = runner.io_manager._epoll.fileno()
        self._carry: Carry | None = None
        self._error: BaseException | None = None
        self._carried_at = 0.0
        self._has_failed = trio.Event()

    async def wait_with(self, carry: Carry) -> None:
        """Have it called whenever Trio would wait, until cancelled. It runs in no task. Raises what it raises."""
        self._carry = carry
        trio.lowlevel.add_instrument(self)
        try:
            await self._has_failed.wait()
            assert self._error is not None  # noqa: S101 - for the type checker
            raise self._error
        finally:
            self._carry = None
            trio.lowlevel.remove_instrument(self)

    def before_io_wait(self, timeout: float) -> None:
        """Trio is about to wait so many seconds at most."""
        self._do(self._wait, timeout)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - Trio's words
        """A task gives way, perhaps to another one."""
        if perf_counter() - self._carried_at >= MAX_AWAY_S:
            self._do(_look, 0)

    def _do(self, step: Callable[[Carry, float], object], timeout: float) -> None:
        if self._carry is None:
            return
        try:
            step(self._carry, timeout)
        except BaseException as error:  # Trio would only log it, and go on without us
            self._carry, self._error = None, error
            self._has_failed.set()
            self._io.force_wakeup()
        self._carried_at = perf_counter()

    def _wait(self, carry: Carry, timeout: float) -> None:
        if timeout <= 0 or self._waiting_for_idle:  # who is woken was not idle, and such a test would never end
            carry(0)
            return
        ends_at, wakes_at = perf_counter() + timeout, self._deadlines.next_deadline()
        while timeout > 0:
            if carry(timeout):
                return  # Trio will not wait: its I/O is ready
            if self._runq or self._deadlines.next_deadline() < wakes_at:
                break
            timeout = ends_at - perf_counter()
        self._io.force_wakeup()  # Trio would wait as long as it was going to


def _look(carry: Carry, _timeout: float) -> None:
    carry(0)


@contextmanager
def only_trio_loop() -> Iterator[TrioLoop | None]:
    """The loop, for one pump of this run: two would not wait for each other. None for others, and where Trio is not as
    expected: on another system, or as a guest in another loop.
    """
    loop = None if _is_taken.get() else _find()
    if loop is None:
        yield None
        return
    _is_taken.set(True)
    try:
        yield loop
    finally:
        _is_taken.set(False)


def _find() -> TrioLoop | None:
    try:
        runner = _runner()
        return None if runner.is_guest else TrioLoop(runner)
    except (ImportError, AttributeError):
        return None


def _runner() -> Any:
    from trio._core._run import GLOBAL_RUN_CONTEXT

    return GLOBAL_RUN_CONTEXT.runner

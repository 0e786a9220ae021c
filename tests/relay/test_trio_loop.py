"""Waiting in Trio's place: nobody sleeps for longer, or is woken later, than if Trio had waited itself."""

import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay import trio_loop
from relay.readiness import READ, open_readiness
from relay.trio_loop import MAX_AWAY_S, TrioLoop, only_trio_loop

WITHIN_S = 5.0  # what would hang, fails


class Waiter:
    """Waits for Trio's descriptor and for a pipe of its own; what is written into that is done in the wait."""

    def __init__(self, loop: TrioLoop) -> None:
        self._readiness = open_readiness()
        self._readiness.register(loop.fd, READ)
        self._read_fd, self._write_fd = os.pipe()
        self._readiness.register(self._read_fd, READ)
        self.longest_s = 0.0  # that it was asked to wait
        self.does: Callable[[], None] = lambda: None

    def carry(self, timeout_s: float) -> bool:
        self.longest_s = max(self.longest_s, timeout_s)
        ready = [fd for fd, _ in self._readiness.poll(timeout_s, 8)]
        if self._read_fd in ready:
            os.read(self._read_fd, 1)
            self.does()
        return any(fd != self._read_fd for fd in ready)

    def poke(self) -> None:
        os.write(self._write_fd, b"!")

    def close(self) -> None:
        self._readiness.close()
        os.close(self._read_fd)
        os.close(self._write_fd)


@asynccontextmanager
async def waiting() -> AsyncIterator[Waiter]:
    with trio.fail_after(WITHIN_S), only_trio_loop() as loop:
        assert loop is not None
        waiter = Waiter(loop)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(loop.wait_with, waiter.carry)
                await trio.lowlevel.checkpoint()
                yield waiter
                nursery.cancel_scope.cancel()
        finally:
            waiter.close()


async def test_this_trio_is_as_we_know_it() -> None:
    """The contract: without it relays cost more, and nothing else would tell."""
    with only_trio_loop() as loop:
        assert loop is not None


async def test_of_two_in_one_run_only_the_first_may_wait() -> None:
    with only_trio_loop() as first, only_trio_loop() as second:
        assert first is not None
        assert second is None
    with only_trio_loop() as third:
        assert third is not None


async def test_where_trio_has_changed_one_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio_loop, "_runner", object)
    with only_trio_loop() as loop:
        assert loop is None


async def test_a_task_sleeps_as_long_as_it_wants() -> None:
    async with waiting() as waiter:
        began_at = trio.current_time()
        await trio.sleep(0.01)
        assert trio.current_time() - began_at >= 0.01
        assert 0 < waiter.longest_s <= WITHIN_S


async def test_a_task_is_woken_by_its_own_socket() -> None:
    ours, theirs = trio.socket.socketpair()
    with ours, theirs:
        async with waiting(), trio.open_nursery() as nursery:

            async def answer() -> None:
                await ours.send(await ours.recv(10))

            nursery.start_soon(answer)
            await theirs.send(b"hello")
            assert await theirs.recv(10) == b"hello"


async def test_a_task_is_woken_by_what_happens_in_the_wait() -> None:
    happened = trio.Event()
    async with waiting() as waiter:
        waiter.does = happened.set
        waiter.poke()
        await happened.wait()


async def test_what_is_ready_does_not_wait_for_all_tasks_that_want_to_run() -> None:
    ran_before: list[int] = []
    async with waiting() as waiter:
        waiter.does = lambda: ran_before.append(len(ran))
        ran: list[int] = []

        async def work(number: int) -> None:
            ends_at = time.perf_counter() + 2 * MAX_AWAY_S
            while time.perf_counter() < ends_at:  # as a request does that is decoded and answered
                pass
            ran.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(work, number)
            waiter.poke()
    assert len(ran) == 10
    assert ran_before[0] <= 2


async def test_a_task_that_is_started_in_the_wait_runs() -> None:
    has_run = trio.Event()

    async def run() -> None:
        has_run.set()

    async with waiting() as waiter, trio.open_nursery() as nursery:
        waiter.does = lambda: nursery.start_soon(run)
        waiter.poke()
        await has_run.wait()


async def test_a_deadline_that_moves_nearer_in_the_wait_is_kept() -> None:
    async with waiting() as waiter:
        with trio.CancelScope() as scope:

            def hurry() -> None:
                scope.deadline = trio.current_time() + 0.01

            waiter.does = hurry
            waiter.poke()
            await trio.sleep(inf)
        assert scope.cancelled_caught


async def test_a_thread_wakes_a_task() -> None:
    token, called = trio.lowlevel.current_trio_token(), trio.Event()
    async with waiting():
        thread = threading.Thread(target=token.run_sync_soon, args=(called.set,))
        thread.start()
        await called.wait()
        thread.join()


async def test_an_error_in_the_wait_ends_the_task_that_asked_for_it() -> None:
    def fail() -> None:
        raise ValueError("a fault of the pump's own")

    with pytest.RaisesGroup(ValueError):
        async with waiting() as waiter:
            waiter.does = fail
            waiter.poke()
            await trio.sleep(inf)


async def test_a_test_that_waits_until_every_task_does_is_not_kept_waiting() -> None:
    async with waiting():
        await wait_all_tasks_blocked()
        await wait_all_tasks_blocked(0.01)


async def test_virtual_time_passes(autojump_clock: MockClock) -> None:
    async with waiting():
        with trio.CancelScope(deadline=trio.current_time() + WITHIN_S / 2) as scope:
            await trio.sleep(inf)
        assert scope.cancelled_caught

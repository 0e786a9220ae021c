"""Spare connections to OpenAI: opened ahead, so that a call that starts waits for no DNS, no TLS and no handshake.

The pool stands beside the calls and owns none of them: whoever takes a spare (relay.spare) owns and closes it, and
without one a call opens a connection of its own, as if there were no pool. Whatever goes wrong here, calls go on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from math import inf
from random import Random, SystemRandom
from typing import TypeVar

import structlog
import trio

from proto.errors import HandshakeError
from relay.retry import SETTLED_AFTER_S, Failure, Retry, RetryIn, Terminal, Verdict, failure_of
from relay.sockets import Line
from relay.spare import Spare
from relay.totals import Totals
from relay.upstream import Connection

# A session lasts 60 minutes from its handshake, and a call on a spare gets what is left of them. Five minutes leave it
# 55, which few calls need, for one handshake in five minutes; they also bound how long an old address stays in use.
REFRESH_AFTER_S = 300.0
DISCARD_AFTER_S = 600.0  # when no fresher one can be had; until then an old spare is better than none
LONGEST_PAUSE_S = 60.0  # between attempts while OpenAI is in trouble; calls open their own meanwhile
REFUSED_PAUSE_S = 300.0  # between attempts while only an operator can help: a bill may be paid without a restart

T = TypeVar("T")
Connect = Callable[[str], Awaitable[Connection]]  # given the model, "" for the service's own

_logger = structlog.stdlib.get_logger("tautline.spares")


class SpareConnections:
    """Opens lines to OpenAI, from a spare when there is one.

    Args: connect, opens a connection (raises HandshakeError or OSError); size, how many spares wait, 0 for none;
    totals, where they are counted; model, the service's own, with which the spares are opened; random, for the jitter
    between attempts.
    """

    def __init__(
        self, connect: Connect, *, size: int, totals: Totals, model: str = "", random: Random | None = None
    ) -> None:
        self._connect, self._size, self._totals, self._model = connect, size, totals, model
        self._retry = Retry(random or SystemRandom(), budget_s=inf, longest_s=LONGEST_PAUSE_S)
        self._not_before = -inf  # the next attempt
        self._told: set[type[Verdict]] = set()  # what was logged of the present trouble
        self._waiting: list[Spare] = []  # the oldest first
        self._changed = trio.Event()

    @asynccontextmanager
    async def filling(self) -> AsyncIterator[None]:
        """Keep spares waiting inside this context; those left at its end are closed."""
        if not self._size:
            yield
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._unless_broken, self._fill, nursery)
            yield
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def open_line(self, model: str = "") -> AsyncIterator[Line]:
        """A line for a call, from the oldest spare that is fit; it is closed when the context ends.

        Args: model, "" for the service's own; with another no spare is of use.
        Raises: what `connect` raises, if there is no spare.
        """
        is_usual = model in ("", self._model)
        while is_usual and (spare := self._take()) is not None:
            async with aclosing(spare.connection) as connection:
                await spare.released.wait()  # one turn of the loop: nobody else reads it from here on
                if spare.is_fit:
                    self._totals.upstream_spares_used += 1
                    line = connection.line(spare.kept)
                    del spare  # some KB that are of no use any more, and a call may last an hour
                    yield line
                    return
        async with aclosing(await self._connect("" if is_usual else model)) as connection:
            self._totals.upstream_opened_cold += 1
            yield connection.line(connection.received)

    def _take(self) -> Spare | None:
        if not self._waiting:
            return None
        spare = self._waiting.pop(0)
        spare.take()
        self._note_change()
        return spare

    # Filling up.

    async def _unless_broken(self, work: Callable[[T], Awaitable[None]], argument: T) -> None:
        """A fault of ours in here costs the spares, not the calls."""
        try:
            await work(argument)
        except Exception:
            _logger.exception("upstream.spares_broken")

    async def _fill(self, nursery: trio.Nursery) -> None:
        """One attempt at a time: a service in trouble is not helped by several."""
        while True:
            await self._until_wanted()
            spare = await self._open()
            if spare is not None:
                self._waiting.append(spare)
                nursery.start_soon(self._unless_broken, self._hold, spare)
                if len(self._waiting) > self._size:
                    self._waiting.pop(0).watching.cancel()  # the fresh one stands in for it
                self._note_change()

    async def _until_wanted(self) -> None:
        """Wait until a spare is missing or getting old, and an attempt may be made."""
        while trio.current_time() < (due_at := self._due_at()):
            self._changed = trio.Event()
            with trio.move_on_at(due_at):
                await self._changed.wait()
        await trio.lowlevel.checkpoint()

    def _due_at(self) -> float:
        if len(self._waiting) < self._size:
            return self._not_before
        return max(self._not_before, self._waiting[0].opened_at + REFRESH_AFTER_S)

    async def _open(self) -> Spare | None:
        """A spare that has its session; None, and the next attempt put off, when that did not work."""
        async with AsyncExitStack() as unless_good:
            try:
                spare = Spare(await self._connect(""), trio.current_time())
            except (HandshakeError, OSError) as error:
                self._failed(failure_of(error))
                return None
            unless_good.push_async_callback(spare.say_goodbye)
            await spare.become_ready()
            if spare.failure is None:
                self._retry.succeeded(trio.current_time())
                unless_good.pop_all()
                return spare
            self._failed(spare.failure)
        return None

    async def _hold(self, spare: Spare) -> None:
        """Watch a spare until it is taken, replaced, dead or too old; close it unless a call has it."""
        try:
            with spare.watching:
                with trio.move_on_after(SETTLED_AFTER_S):
                    await spare.listen()
                if spare.failure is None:
                    self._recovered()
                with trio.move_on_at(spare.opened_at + DISCARD_AFTER_S):
                    await spare.listen()
        finally:
            spare.released.set()
            if spare.is_taken:
                if spare.is_fit:
                    self._recovered()
            else:
                self._drop(spare)
                await spare.say_goodbye()

    def _drop(self, spare: Spare) -> None:
        if spare.failure is not None:
            self._failed(spare.failure)
        if spare in self._waiting:  # and not replaced
            self._waiting.remove(spare)
        self._note_change()

    def _note_change(self) -> None:
        self._totals.upstream_spares_waiting = len(self._waiting)
        self._changed.set()

    # Trouble.

    def _failed(self, failure: Failure) -> None:
        """Put the next attempt off, and say so once per trouble; one spare lost is none, services close what idles."""
        now = trio.current_time()
        verdict = self._retry.failed(failure, now)
        pause_s = verdict.delay_s if isinstance(verdict, RetryIn) else REFUSED_PAUSE_S
        self._not_before = now + pause_s
        is_first_loss = failure.kind == "lost" and self._retry.failures == 1 and isinstance(verdict, RetryIn)
        if is_first_loss or type(verdict) in self._told:
            _logger.debug("upstream.spare_failed", why=str(failure), next_attempt_s=round(pause_s, 1))
            return
        self._told.add(type(verdict))
        if isinstance(verdict, Terminal):
            _logger.error("upstream.spares_refused", why=str(failure), help="Check the key, its account and the URL.")
        else:
            _logger.warning("upstream.spares_failing", why=str(failure))

    def _recovered(self) -> None:
        if self._told:
            _logger.info("upstream.spares_recovered")
            self._told.clear()

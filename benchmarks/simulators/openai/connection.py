"""Connection: one WebSocket and the session behind it, driven by four small tasks in one nursery.

The reader hands messages to the session, the alarm wakes it when something is due, orders from outside change its
faults, the writer sends what it says. All decisions are the session's; when `run` returns, nothing of it is left.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, assert_never

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from benchmarks.simulators.openai.config import Faults
from benchmarks.simulators.openai.events import Close, Disturbance, Drop, Ending
from benchmarks.simulators.openai.handshake import Upgrade
from benchmarks.simulators.openai.session import Session
from benchmarks.simulators.openai.stage import Message, frame

# A client that stops reading is cut off with this much unsent (a long spoken reply in pcm is 1 MiB of events), or when
# one event does not leave for this long.
OUTBOX_BYTES: Final = 16 * 2**20
SEND_S: Final = 30.0
GOODBYE_S: Final = 2.0  # for the client to answer a close frame
_MOST_ORDERS: Final = 1000

logger = logging.getLogger(__name__)


class Connection:
    """One client's connection, already upgraded.

    Args: stream, what the socket talks through: it is closed under it when the connection is to be dropped.
    """

    def __init__(
        self, socket: WebSocketConnection, stream: trio.abc.AsyncResource, session: Session, upgrade: Upgrade
    ) -> None:
        self.session = session
        self.upgrade = upgrade
        self.opened_at = trio.current_time()
        self._socket = socket
        self._stream = stream
        self._alarm = trio.CancelScope()
        self._queued_bytes = 0
        # The bytes are what is bounded: messages differ in size by a factor of a hundred thousand.
        self._outbox, self._to_send = trio.open_memory_channel[bytes](float("inf"))
        self._to_order, self._orders = trio.open_memory_channel[Callable[[float], list[Message]]](_MOST_ORDERS)

    async def run(self) -> None:
        """Serves the session until either side closes it, or it fails, which ends this session alone."""
        try:
            async with trio.open_nursery() as nursery:
                self._deliver(self.session.open())
                nursery.start_soon(self._read)
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._obey)
                await self._write()
                nursery.cancel_scope.cancel()
        except* ConnectionClosed:
            pass  # the client went; there is nobody left to tell
        except* _SlowClientError as slow:
            logger.warning("closed a session whose client does not read: %s", slow.exceptions[0])
            await close(self._socket, Close(1008, "client reads too slowly"))
        except* Exception:
            logger.exception("a simulated session failed")
            await close(self._socket, Close(1011, "internal error"))

    def disturb(self, disturbances: tuple[Disturbance, ...]) -> None:
        """Something goes wrong now. Raises: ValueError if too much is waiting to go wrong already."""
        for disturbance in disturbances:
            self._order(partial(self.session.disturb, disturbance))

    def set_faults(self, faults: Faults) -> None:
        """These go wrong from now on. Raises: ValueError if too much is waiting to go wrong already."""
        self.session.faults = faults
        self._order(self.session.advance)

    def _order(self, order: Callable[[float], list[Message]]) -> None:
        """Left to a task of this connection, which alone pays for what comes of it."""
        try:
            self._to_order.send_nowait(order)
        except trio.WouldBlock:
            raise ValueError("too many orders wait for this session") from None

    async def _obey(self) -> None:
        async for order in self._orders:
            if self.session.closing is None:
                self._deliver(order(trio.current_time()))

    async def _read(self) -> None:
        while True:
            raw = await self._socket.get_message()
            if self.session.closing is not None:
                return  # too late: what it said last is already on its way
            self._deliver(self.session.receive(raw, trio.current_time()))

    async def _keep_time(self) -> None:
        while self.session.closing is None:
            with trio.CancelScope(deadline=self.session.deadline) as self._alarm:
                await trio.sleep_forever()
            if self.session.closing is None:
                self._deliver(self.session.advance(trio.current_time()))

    async def _write(self) -> None:
        """Returns when the session has ended and all of it was sent."""
        async for message in self._to_send:
            with trio.move_on_after(SEND_S) as patience:
                await self._socket.send_message(message.decode())
            if patience.cancelled_caught:
                raise _SlowClientError(f"nothing was taken for {SEND_S:g} s")
            self._queued_bytes -= len(message)
        if self.session.closing is not None:
            await self._end(self.session.closing)

    async def _end(self, ending: Ending) -> None:
        match ending:
            case Close():
                await close(self._socket, ending)
            case Drop():
                await trio.aclose_forcefully(self._stream)
            case _:
                assert_never(ending)

    def _deliver(self, messages: list[Message]) -> None:
        for message in messages:
            raw = frame(message)
            if self._queued_bytes > OUTBOX_BYTES:
                raise _SlowClientError(f"{self._queued_bytes} bytes wait for it")
            self._queued_bytes += len(raw)
            self._outbox.send_nowait(raw)
        self._alarm.deadline = self.session.deadline
        if self.session.closing is not None:
            self._outbox.close()


class _SlowClientError(Exception):
    """The client does not read, and enough is waiting for it."""


async def close(socket: WebSocketConnection, reason: Close) -> None:
    """Says goodbye, for a bounded time, and drops the connection if the client does not answer."""
    with trio.move_on_after(GOODBYE_S, shield=True):
        await socket.aclose(reason.code, reason.reason)

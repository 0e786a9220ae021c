"""Connection: one WebSocket and the session behind it, driven by three small tasks in one nursery.

The reader hands messages to the session, the alarm wakes it when something is due, the writer sends what it says. All
decisions are the session's; when `run` returns, nothing of it is left.
"""

import logging
from typing import Final

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from benchmarks.simulators.openai.events import Close, Json
from benchmarks.simulators.openai.session import Session

# A client that stops reading is cut off with this much unsent (a long spoken reply in pcm is 1 MiB of events), or when
# one event does not leave for this long.
OUTBOX_BYTES: Final = 16 * 2**20
SEND_S: Final = 30.0
GOODBYE_S: Final = 2.0  # for the client to answer a close frame

logger = logging.getLogger(__name__)


class Connection:
    """One client's connection, already upgraded."""

    def __init__(self, socket: WebSocketConnection, session: Session) -> None:
        self._socket = socket
        self._session = session
        self._alarm = trio.CancelScope()
        self._queued_bytes = 0
        # The bytes are what is bounded: messages differ in size by a factor of a hundred thousand.
        self._outbox, self._to_send = trio.open_memory_channel[bytes](float("inf"))

    async def run(self) -> None:
        """Serves the session until either side closes it, or it fails, which ends this session alone."""
        try:
            async with trio.open_nursery() as nursery:
                self._deliver(self._session.open())
                nursery.start_soon(self._read)
                nursery.start_soon(self._keep_time)
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

    async def _read(self) -> None:
        while True:
            raw = await self._socket.get_message()
            if self._session.closing is not None:
                return  # too late: what it said last is already on its way
            self._deliver(self._session.receive(raw, trio.current_time()))
            self._alarm.deadline = self._session.deadline

    async def _keep_time(self) -> None:
        while self._session.closing is None:
            with trio.CancelScope(deadline=self._session.deadline) as self._alarm:
                await trio.sleep_forever()
            self._deliver(self._session.advance(trio.current_time()))

    async def _write(self) -> None:
        """Returns when the session has ended and all of it was sent."""
        async for message in self._to_send:
            with trio.move_on_after(SEND_S) as patience:
                await self._socket.send_message(message.decode())
            if patience.cancelled_caught:
                raise _SlowClientError(f"nothing was taken for {SEND_S:g} s")
            self._queued_bytes -= len(message)
        if self._session.closing is not None:
            await close(self._socket, self._session.closing)

    def _deliver(self, events: list[Json]) -> None:
        for event in events:
            message = msgspec.json.encode(event)
            if self._queued_bytes > OUTBOX_BYTES:
                raise _SlowClientError(f"{self._queued_bytes} bytes wait for it")
            self._queued_bytes += len(message)
            self._outbox.send_nowait(message)
        if self._session.closing is not None:
            self._outbox.close()


class _SlowClientError(Exception):
    """The client does not read, and enough is waiting for it."""


async def close(socket: WebSocketConnection, reason: Close) -> None:
    """Says goodbye, for a bounded time, and drops the connection if the client does not answer."""
    with trio.move_on_after(GOODBYE_S, shield=True):
        await socket.aclose(reason.code, reason.reason)

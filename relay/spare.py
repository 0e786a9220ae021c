"""One spare: an open connection to OpenAI that waits for its call, and what it has said so far.

It is a running realtime session on default settings that nobody talks to; that costs no tokens. It is ready once its
`session.created` has come: a wrong key can also be refused after a perfectly good upgrade. While it waits it is read,
so that a close is seen when it happens; pings are answered, and it sends its own: a line that some box on the way has
forgotten looks alive until somebody writes, and silent lines are what such boxes forget.

What was read is kept, and the call reads it again from the stream's first byte. A ping among it is answered twice then,
which the protocol allows (RFC 6455, 5.5.3).
"""

from contextlib import suppress
from typing import assert_never

import trio

from proto import realtime
from proto.errors import RemoteProtocolError
from proto.websocket import Binary, Closed, FrameCodec, Pong, Received, Role
from relay.retry import Failure, failure_of_close, failure_of_code
from relay.upstream import Connection

FIRST_EVENT_WITHIN_S = 5.0  # session.created comes at once
PING_EVERY_S = 20.0  # without a word; what OpenAI's own clients do
GOODBYE_WITHIN_S = 0.5
MAX_KEPT_BYTES = 64 * 1024  # session.created has some 3 KiB, pongs have a few bytes, and there is nothing else to say

_BROKEN = failure_of_close(1006)


class Spare:
    """Reads a connection until a call takes it; `say_goodbye` is for those that no call takes.

    Args: opened_at, monotonic s.
    Attributes: kept, all bytes read; failure, why it is of no use, None while it is of use; is_taken, a call owns it;
    watching, the scope that its reader works in; released, set once that reader has stopped.
    """

    def __init__(self, connection: Connection, opened_at: float) -> None:
        self.connection, self.opened_at = connection, opened_at
        self.kept = b""
        self.failure: Failure | None = None
        self.is_taken = False
        self.watching = trio.CancelScope()
        self.released = trio.Event()
        self._codec = FrameCodec(Role.CLIENT, max_message_bytes=MAX_KEPT_BYTES)
        self._is_ready = False
        self._is_pinged = False  # and nothing has come since
        self._keep(connection.received)

    @property
    def is_fit(self) -> bool:
        """Whether a call can have it."""
        return self._is_ready and self.failure is None

    def take(self) -> None:
        """From now on the call owns it; it may use it once `released` is set."""
        self.is_taken = True
        self.watching.cancel()

    async def become_ready(self) -> None:
        """Read until the session is there, or there is a `failure`."""
        with trio.move_on_after(FIRST_EVENT_WITHIN_S):
            while self.failure is None and not self._is_ready:
                await self._read()
        if self.failure is None and not self._is_ready:
            self.failure = Failure(kind="silent")

    async def listen(self) -> None:
        """Read, answer pings, ask for signs of life, until there is a `failure`; may be cancelled and called again."""
        while self.failure is None:
            with trio.move_on_after(PING_EVERY_S) as patience:
                await self._read()
            if patience.cancelled_caught and self.failure is None:
                await self._ask()

    async def say_goodbye(self) -> None:
        """Close, with a close frame if it can be written soon."""
        with trio.move_on_after(GOODBYE_WITHIN_S, shield=True):
            if self.failure != _BROKEN:
                await self._write(self._codec.close(1000))
        with trio.CancelScope(shield=True):  # takes no time
            await self.connection.aclose()

    async def _read(self) -> None:
        data = await self.connection.read()
        if data:
            self._keep(data)
            await self._write(self._codec.take_replies())
        else:
            self._fail(_BROKEN)

    async def _ask(self) -> None:
        if self._is_pinged:
            self._fail(Failure(kind="silent"))
        else:
            self._is_pinged = True
            await self._write(self._codec.ping())

    async def _write(self, frame: bytes) -> None:
        """Write a frame whole, or fail: one that was cut off by a cancellation lets nothing follow it."""
        if not frame:
            return
        before = self.failure
        self._fail(_BROKEN)
        with suppress(OSError):
            await self.connection.write(frame)
            self.failure = before

    def _keep(self, data: bytes) -> None:
        self.kept += data
        self._is_pinged = False
        for message in self._codec.receive(data):
            self._understand(message)
        if len(self.kept) > MAX_KEPT_BYTES:
            self._fail(failure_of_close(1009))

    def _understand(self, message: Received) -> None:
        match message:
            case bytes():
                self._read_event(message)
            case Closed(code=code, reason=reason):
                self._fail(failure_of_close(code, reason))
            case Binary():
                self._fail(failure_of_close(1003))  # the service speaks JSON
            case Pong():
                pass
            case _:
                assert_never(message)

    def _read_event(self, raw: bytes) -> None:
        try:
            event = realtime.decode(raw)
        except RemoteProtocolError:
            self._fail(failure_of_close(1007))
            return
        if isinstance(event, realtime.ErrorReported):
            self._fail(failure_of_code(event.error.code))
        elif isinstance(event, realtime.SessionCreated):
            self._is_ready = True

    def _fail(self, failure: Failure) -> None:
        """The first failure is why; what follows comes of it."""
        self.failure = self.failure or failure

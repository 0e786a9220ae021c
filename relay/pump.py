"""The one task that reads and flushes every media socket of this process.

It sleeps until any socket is ready, handles every ready one synchronously, then writes what each has to say with one
`send`. There is no `await` between the first byte read and the last byte written, no task switch and no `epoll_ctl` per
frame; that is where the speed comes from. A handler that raises fails its own call: the pump and all others go on.
"""

import selectors
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from relay.sockets import READ_BYTES, MediaSocket, OnFailure

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Pump:
    """Owns the selector. Sockets are attached for exactly as long as their call's scope lasts."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()  # epoll or kqueue: its own descriptor can be waited for
        self._dirty: list[_Link] = []  # have something to write once this batch is handled
        self._in_batch = False

    @property
    def attached(self) -> int:
        """How many sockets are attached."""
        return len(self._selector.get_map())

    async def run(self) -> None:
        """Carry bytes until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._selector)
                self._handle_ready()
        finally:
            self._selector.close()

    @asynccontextmanager
    async def attach(
        self, sock: socket.socket, media: MediaSocket, on_failure: OnFailure, received: bytes = b""
    ) -> AsyncIterator[None]:
        """Carry the bytes of a non-blocking socket for `media` inside this context; close it at its end.

        Args: received, bytes that were read already.
        """
        link = _Link(self, sock, media, on_failure)
        self._selector.register(sock, selectors.EVENT_READ, link)
        media.wake = link.wake
        try:
            link.begin(received)
            yield
        finally:
            media.wake = lambda: None
            link.detach()
            sock.close()

    def _handle_ready(self) -> None:
        self._in_batch = True
        for key, ready in self._selector.select(0):
            link: _Link = key.data
            try:
                if ready & selectors.EVENT_READ:
                    link.read()
                if ready & selectors.EVENT_WRITE:
                    link.flush()
            except Exception as error:  # of one call; it must not reach the pump
                link.fail(error)
        dirty, self._dirty = self._dirty, []
        for link in dirty:
            try:
                link.flush()
            except Exception as error:
                link.fail(error)
        self._in_batch = False


class _Link:
    """One attached socket."""

    def __init__(self, pump: Pump, sock: socket.socket, media: MediaSocket, on_failure: OnFailure) -> None:
        self._pump, self._sock, self._media, self._on_failure = pump, sock, media, on_failure
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._is_dirty = False
        self._is_attached = True
        self._wants_write = False

    def wake(self) -> None:
        """There is something to write: at the end of the batch, or now if there is none."""
        if self._is_dirty:
            return
        self._is_dirty = True
        if self._pump._in_batch:
            self._pump._dirty.append(self)
        else:
            try:
                self.flush()
            except Exception as error:
                self.fail(error)

    def fail(self, error: Exception) -> None:
        """An error of this call: take the socket out, and let the call know."""
        self.detach()
        self._on_failure(error)

    def begin(self, received: bytes) -> None:
        """Take what arrived before we were attached: with the handshake, or inside the TLS layer."""
        try:
            if received:
                self._media.receive(received)
            if self._is_tls:
                self.read()
            self.flush()
        except Exception as error:
            self.fail(error)

    def read(self) -> None:
        """Hand on what the kernel has. TLS hides what it has decrypted from the selector, so it is read to its end."""
        while self._is_attached:
            try:
                data = self._sock.recv(READ_BYTES)
            except _WOULD_BLOCK:
                return
            except OSError:
                data = b""
            if not data:
                self.detach()
                self._media.lost()
                return
            self._media.receive(data)
            if not self._is_tls:
                return

    def flush(self) -> None:
        """Write what the kernel takes now; ask to be called again for the rest."""
        self._is_dirty = False
        outbox = self._media.outbox
        try:
            while outbox.size_bytes and self._is_attached:
                outbox.written(self._sock.send(outbox.next_write()))
        except _WOULD_BLOCK:
            self._want_write(True)
            return
        except OSError:
            self.detach()
            self._media.lost()
            return
        if self._wants_write:
            self._want_write(False)

    def detach(self) -> None:
        """Leave the selector; a closed or broken socket would be ready for ever."""
        if self._is_attached:
            self._is_attached = False
            with suppress(KeyError):  # the pump may end before its last call, and forgets everybody then
                self._pump._selector.unregister(self._sock)

    def _want_write(self, wants_write: bool) -> None:
        if self._is_attached and wants_write != self._wants_write:
            self._wants_write = wants_write
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wants_write else 0)
            self._pump._selector.modify(self._sock, events, self)


class PumpLine:
    """A line over the pump. received: bytes that followed the handshake."""

    def __init__(self, pump: Pump, sock: socket.socket, received: bytes = b"") -> None:
        self._pump, self._sock, self._received = pump, sock, received

    @asynccontextmanager
    async def attach(self, media: MediaSocket, on_failure: OnFailure) -> AsyncIterator[None]:
        """See relay.sockets.Line.attach."""
        async with self._pump.attach(self._sock, media, on_failure, self._received):
            yield

"""The one task that reads and flushes every media socket of this process.

It sleeps until any socket is ready, handles every ready one synchronously, then writes what each has to say with one
`send`. There is no `await` between the first byte read and the last byte written, no task switch and no `epoll_ctl` per
frame; that is where the speed comes from. Where it can it does the sleeping itself, in Trio's place (relay.trio_loop),
because a turn of Trio's loop costs as much as a frame. A handler that raises fails its own call: the pump and all
others go on.
"""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from relay.readiness import MAX_READY, READ, WRITE, open_readiness
from relay.sockets import READ_BYTES, MediaSocket, OnFailure
from relay.trio_loop import only_trio_loop

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Pump:
    """Knows which sockets are ready. They are attached for exactly as long as their call's scope lasts."""

    def __init__(self) -> None:
        self._readiness = open_readiness()
        self._links: dict[int, _Link] = {}  # by descriptor
        self._dirty: list[_Link] = []  # have something to write once this batch is handled
        self._in_batch = False

    @property
    def attached(self) -> int:
        """How many sockets are attached."""
        return len(self._links)

    async def run(self) -> None:
        """Carry bytes until cancelled."""
        try:
            with only_trio_loop() as loop:
                if loop is not None:
                    self._readiness.register(loop.fd, READ)
                    await loop.wait_with(self._carry)
                while True:
                    await trio.lowlevel.wait_readable(self._readiness)
                    self._carry(0)
        finally:
            self._links.clear()
            self._readiness.close()

    @asynccontextmanager
    async def attach(
        self, sock: socket.socket, media: MediaSocket, on_failure: OnFailure, received: bytes = b""
    ) -> AsyncIterator[None]:
        """Carry the bytes of a non-blocking socket for `media` inside this context; close it at its end.

        Args: received, bytes that were read already.
        """
        link = _Link(self, sock, media, on_failure)
        self._links[sock.fileno()] = link
        self._readiness.register(sock.fileno(), READ)
        media.wake = link.wake
        try:
            link.begin(received)
            del received  # some KB with a real service's first event, and a call may last an hour
            yield
        finally:
            media.wake = lambda: None
            link.detach()
            sock.close()

    def _carry(self, timeout_s: float) -> bool:
        """Wait for one batch, and handle it. True when it was not for our sockets alone."""
        ready = self._readiness.poll(timeout_s, MAX_READY)
        self._in_batch, has_others = True, False
        for fd, events in ready:
            link = self._links.get(fd)
            if link is None:  # Trio's, or one that was detached by what came before it
                has_others = True
                continue
            try:
                if events != WRITE:
                    link.read()
                if events & WRITE:
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
        return has_others


class _Link:
    """One attached socket."""

    def __init__(self, pump: Pump, sock: socket.socket, media: MediaSocket, on_failure: OnFailure) -> None:
        self._pump, self._sock, self._media, self._on_failure = pump, sock, media, on_failure
        self._fd = sock.fileno()
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
            if self._pump._links.pop(self._fd, None):  # the pump may end before its last call, and forgets all then
                self._pump._readiness.unregister(self._fd)

    def _want_write(self, wants_write: bool) -> None:
        if self._is_attached and wants_write != self._wants_write:
            self._wants_write = wants_write
            self._pump._readiness.modify(self._fd, READ | WRITE if wants_write else READ)


class PumpLine:
    """A line over the pump. received: bytes that followed the handshake."""

    def __init__(self, pump: Pump, sock: socket.socket, received: bytes = b"") -> None:
        self._pump, self._sock, self._received = pump, sock, received

    def attach(self, media: MediaSocket, on_failure: OnFailure) -> AbstractAsyncContextManager[None]:
        """See relay.sockets.Line.attach."""
        received, self._received = self._received, b""
        return self._pump.attach(self._sock, media, on_failure, received)

"""One WebSocket of a call: bytes in, messages out, and a bounded outbox. Does no I/O itself.

A *line* is an open WebSocket that moves the bytes: over the pump (relay.pump) for real sockets, over two tasks here for
any Trio stream. Tests use the second with memory streams and virtual time; it also serves where there is no file
descriptor to select on.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from proto.errors import Peer, SlowConsumerError
from proto.websocket import Closed, FrameCodec, Received, Role
from relay.outbox import Outbox, OutboxFull

FLUSH_WITHIN_S = 0.1  # for the last frames of a call whose session is over
READ_BYTES = 64 * 1024
MAX_TWILIO_MESSAGE_BYTES = 64 * 1024  # a frame of audio is well under 1 KiB
MAX_OPENAI_MESSAGE_BYTES = 16 * 1024 * 1024
TWILIO_OUTBOX_BYTES = 2 * 1024 * 1024  # three minutes of speech that Twilio has not read: it never will
OPENAI_OUTBOX_BYTES = 256 * 1024  # some 15 s of caller audio; older speech is worth less than newer

OnBatch = Callable[[list[Received]], None]
OnFailure = Callable[[Exception], None]


class MediaSocket:
    """The messages of one open WebSocket. A line feeds it and empties it; a session listens and sends."""

    def __init__(self, peer: Peer, on_batch: OnBatch) -> None:
        self.peer = peer
        self._on_batch = on_batch  # all messages of one read at once
        self._codec, self.outbox = _for_twilio() if peer == "twilio" else _for_openai()
        self.wake: Callable[[], None] = _nothing  # set by the line: there is something to write
        self.is_closed = False  # nothing more will be received
        self.bytes_received = 0

    def receive(self, data: bytes) -> None:
        """Take bytes from the line, hand on the messages in them, owe pongs and close frames."""
        self.bytes_received += len(data)
        received = self._codec.receive(data)
        if self._codec.owes_reply:
            self._put(self._codec.take_replies())
        if received:
            self.is_closed = type(received[-1]) is Closed
            self._on_batch(received)

    def lost(self, reason: str = "connection lost") -> None:
        """The line broke, ended without a close frame, or shows no sign of life."""
        if not self.is_closed:
            self.is_closed = True
            self._on_batch([Closed(1006, reason, by_peer=False)])

    def send(self, raw: bytes, *, is_audio: bool = False) -> None:
        """Queue one text message.

        Raises: SlowConsumerError when the peer does not read and nothing may be dropped.
        """
        self._put(self._codec.text(raw), is_audio)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._put(self._codec.ping())

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye; audio still queued is dropped, it would only delay that."""
        self.outbox.discard_audio()
        if not self.is_closed:
            self._put(self._codec.close(code, reason))

    def _put(self, frame: bytes, is_audio: bool = False) -> None:
        if not frame:
            return  # the codec has said its goodbye: nothing may follow
        try:
            self.outbox.put(frame, is_audio=is_audio)
        except OutboxFull:
            raise SlowConsumerError(self.peer, self.outbox.size_bytes) from None
        self.wake()


class Line(Protocol):
    """An open WebSocket whose bytes nobody reads yet."""

    def attach(self, media: MediaSocket, on_failure: OnFailure) -> AbstractAsyncContextManager[None]:
        """Carry bytes for `media` inside this context; close the transport at its end.

        What `media` raises goes to `on_failure`, and to nobody else.
        """
        ...


class StreamLine:
    """A line over any Trio stream: a reader and a writer task. received: bytes that followed the handshake."""

    def __init__(self, stream: trio.abc.Stream, received: bytes = b"") -> None:
        self._stream, self._received = stream, received

    @asynccontextmanager
    async def attach(self, media: MediaSocket, on_failure: OnFailure) -> AsyncIterator[None]:
        """See Line.attach."""
        work, waiting = trio.open_memory_channel[None](1)

        def wake() -> None:
            if not work.statistics().current_buffer_used:
                work.send_nowait(None)

        media.wake = wake
        written = trio.Event()
        writing = trio.CancelScope(shield=True)  # whoever is cancelled while saying goodbye has said it
        async with self._stream, trio.open_nursery() as nursery:
            nursery.start_soon(self._read, media, on_failure)
            nursery.start_soon(self._write, media, waiting, written, writing)
            try:
                yield
            finally:
                media.wake = _nothing
                work.close()  # the writer ends once it has written what it was woken for: our goodbye
                with trio.move_on_after(FLUSH_WITHIN_S, shield=True):
                    await written.wait()
                writing.cancel()
                nursery.cancel_scope.cancel()

    async def _read(self, media: MediaSocket, on_failure: OnFailure) -> None:
        try:
            if self._received:
                media.receive(self._received)
            while data := await _receive_some(self._stream):
                media.receive(data)
            media.lost()
        except Exception as error:  # whatever a handler raises ends its own call
            on_failure(error)

    async def _write(
        self,
        media: MediaSocket,
        waiting: trio.MemoryReceiveChannel[None],
        written: trio.Event,
        writing: trio.CancelScope,
    ) -> None:
        try:
            with writing:
                async for _ in waiting:
                    while data := media.outbox.next_write():
                        await self._stream.send_all(data)
                        media.outbox.written(len(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the reader notices, too
        finally:
            written.set()


async def _receive_some(stream: trio.abc.Stream) -> bytes:
    try:
        return bytes(await stream.receive_some(READ_BYTES))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""


def _for_twilio() -> tuple[FrameCodec, Outbox]:
    codec = FrameCodec(Role.SERVER, max_message_bytes=MAX_TWILIO_MESSAGE_BYTES)
    return codec, Outbox(TWILIO_OUTBOX_BYTES, sheds_audio=False)


def _for_openai() -> tuple[FrameCodec, Outbox]:
    codec = FrameCodec(Role.CLIENT, max_message_bytes=MAX_OPENAI_MESSAGE_BYTES)
    return codec, Outbox(OPENAI_OUTBOX_BYTES, sheds_audio=True)


def _nothing() -> None:
    pass

"""The pump over real sockets: bytes reach their call, errors stay with it, nothing stays behind."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trustme

from benchmarks.pump import open_pump
from proto.websocket import Closed, FrameCodec, Received, Role
from relay.sockets import MediaSocket

BIG = b"x" * 60_000  # more than one of these does not fit into a socket's buffer


@contextmanager
def socket_pair() -> Iterator[tuple[socket.socket, trio.SocketStream]]:
    """Our plain non-blocking end, and the peer's end as a Trio stream."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, trio.SocketStream(trio.socket.from_stdlib_socket(theirs))


class Inbox:
    """What a media socket handed on, and a way to wait for it."""

    def __init__(self) -> None:
        self.send, self.receive = trio.open_memory_channel[Received](1000)

    def on_batch(self, received: list[Received]) -> None:
        for message in received:
            self.send.send_nowait(message)


def no_failure(error: Exception) -> None:
    raise AssertionError(f"unexpected failure: {error!r}")


async def read_messages(peer: trio.abc.Stream, codec: FrameCodec, count: int) -> list[Received]:
    received: list[Received] = []
    while len(received) < count:
        received += codec.receive(bytes(await peer.receive_some()))
    return received


async def test_messages_pass_both_ways() -> None:
    inbox, codec = Inbox(), FrameCodec(Role.CLIENT, max_message_bytes=1000)
    media = MediaSocket("twilio", inbox.on_batch)
    with socket_pair() as (ours, peer):
        async with open_pump() as pump, pump.attach(ours, media, no_failure), peer:
            await peer.send_all(codec.text(b"hello") + codec.text(b"again"))
            assert [await inbox.receive.receive(), await inbox.receive.receive()] == [b"hello", b"again"]
            media.send(b"well")
            media.send(b"met")
            assert await read_messages(peer, codec, 2) == [b"well", b"met"]


async def test_bytes_read_with_the_handshake_are_not_lost() -> None:
    inbox, codec = Inbox(), FrameCodec(Role.CLIENT, max_message_bytes=1000)
    media = MediaSocket("twilio", inbox.on_batch)
    with socket_pair() as (ours, peer):
        async with open_pump() as pump, pump.attach(ours, media, no_failure, codec.text(b"early")), peer:
            assert await inbox.receive.receive() == b"early"


async def test_a_slow_reader_gets_everything_in_order_once_it_reads() -> None:
    inbox, codec = Inbox(), FrameCodec(Role.CLIENT, max_message_bytes=100_000)
    media = MediaSocket("twilio", inbox.on_batch)
    sent = [b"%d" % number + BIG for number in range(20)]
    with socket_pair() as (ours, peer):
        async with open_pump() as pump, pump.attach(ours, media, no_failure), peer:
            for raw in sent:
                media.send(raw)
            assert media.outbox.size_bytes > 0  # the kernel did not take it all
            assert await read_messages(peer, codec, len(sent)) == sent
            assert media.outbox.size_bytes == 0


async def test_a_connection_that_breaks_is_a_1006() -> None:
    inbox = Inbox()
    media = MediaSocket("twilio", inbox.on_batch)
    with socket_pair() as (ours, peer):
        async with open_pump() as pump, pump.attach(ours, media, no_failure):
            await peer.aclose()
            assert await inbox.receive.receive() == Closed(1006, "connection lost", by_peer=False)
            media.send(b"to nobody")  # goes nowhere, and hurts nobody
            assert pump.attached == 0


async def test_an_error_in_one_call_does_not_reach_another() -> None:
    failures: list[Exception] = []

    def explode(received: list[Received]) -> None:
        raise ValueError("a fault of this call")

    inbox, codec = Inbox(), FrameCodec(Role.CLIENT, max_message_bytes=1000)
    bad, good = MediaSocket("twilio", explode), MediaSocket("twilio", inbox.on_batch)
    with socket_pair() as (bad_sock, bad_peer), socket_pair() as (good_sock, good_peer):
        async with (
            open_pump() as pump,
            pump.attach(bad_sock, bad, failures.append),
            pump.attach(good_sock, good, no_failure),
            bad_peer,
            good_peer,
        ):
            await bad_peer.send_all(codec.text(b"boom"))
            await good_peer.send_all(codec.text(b"fine"))
            assert await inbox.receive.receive() == b"fine"
            assert [str(error) for error in failures] == ["a fault of this call"]
            assert pump.attached == 1  # the failed one is out, so that it cannot fail again


async def test_nothing_stays_registered() -> None:
    media = MediaSocket("twilio", Inbox().on_batch)
    with socket_pair() as (ours, peer):
        async with open_pump() as pump, peer:
            async with pump.attach(ours, media, no_failure):
                assert pump.attached == 1
            assert pump.attached == 0
            assert ours.fileno() == -1


async def test_tls_carries_large_messages_both_ways() -> None:
    """A TLS record hides several messages from the selector; none may be left lying in it."""
    authority = trustme.CA()
    server_side, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server_side)
    authority.configure_trust(client_side)
    inbox, codec = Inbox(), FrameCodec(Role.SERVER, max_message_bytes=100_000)
    media = MediaSocket("openai", inbox.on_batch)
    with socket_pair() as (ours, peer):
        tls_peer = trio.SSLStream(peer, server_side, server_side=True)
        ours = client_side.wrap_socket(ours, server_hostname="localhost", do_handshake_on_connect=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tls_peer.do_handshake)
            await handshake(ours)
        async with open_pump() as pump, pump.attach(ours, media, no_failure):
            await tls_peer.send_all(b"".join(codec.text(b"%d" % number + BIG) for number in range(10)))
            for number in range(10):
                assert await inbox.receive.receive() == b"%d" % number + BIG
            for _ in range(3):
                media.send(BIG)
            assert await read_messages(tls_peer, codec, 3) == [BIG] * 3


async def handshake(sock: ssl.SSLSocket) -> None:
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        else:
            return


async def test_a_goodbye_overtakes_queued_audio() -> None:
    codec = FrameCodec(Role.CLIENT, max_message_bytes=100_000)
    media = MediaSocket("twilio", Inbox().on_batch)
    with socket_pair() as (ours, peer):
        async with open_pump() as pump, pump.attach(ours, media, no_failure), peer:
            for _ in range(20):
                media.send(BIG, is_audio=True)
            media.close(1000)
            received: list[Received] = []
            while not any(isinstance(message, Closed) for message in received):
                received += codec.receive(bytes(await peer.receive_some()))
            assert received[-1] == Closed(1000, "", by_peer=True)
            assert len(received) < 20


@pytest.mark.parametrize("frames", [b"\xff\xff\xff", b"\x81\x02hi"])
async def test_a_peer_that_breaks_the_protocol_is_told_1002(frames: bytes) -> None:
    inbox, codec = Inbox(), FrameCodec(Role.CLIENT, max_message_bytes=1000)
    media = MediaSocket("twilio", inbox.on_batch)
    with socket_pair() as (ours, peer):
        async with open_pump() as pump, pump.attach(ours, media, no_failure), peer:
            await peer.send_all(frames)
            closed = await inbox.receive.receive()
            assert isinstance(closed, Closed)
            assert (closed.code, closed.by_peer) == (1002, False)
            [goodbye] = await read_messages(peer, codec, 1)
            assert isinstance(goodbye, Closed)
            assert goodbye.code == 1002

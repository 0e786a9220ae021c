"""The lean WebSocket of the far end: whatever way the bytes come, the messages are the same."""

import socket
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load.loop import Loop
from benchmarks.load.wire import MAX_BACKLOG_BYTES, Wire
from proto.websocket import Closed, FrameCodec, Role
from relay.sockets import MAX_OPENAI_MESSAGE_BYTES

MESSAGES = [b'{"a":1}', b"x" * 300, "ü".encode() * 40_000, b"", b"y" * 125, b"z" * 126]


class End:
    """What a wire has told."""

    def __init__(self, answer: Callable[[bytes], None] = lambda _: None) -> None:
        self.heard: list[bytes] = []
        self.ended: list[str] = []
        self.answer = answer

    def on_text(self, raw: bytes) -> None:
        self.heard.append(raw)
        self.answer(raw)


def wired(role: Role) -> tuple[Wire, socket.socket, End, Loop]:
    """A wire, the peer's socket, what it hears."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    end, loop = End(), Loop()
    wire = Wire(loop, ours, role, on_text=end.on_text, on_end=end.ended.append)
    wire.begin()
    return wire, peer, end, loop


def peer_of(role: Role) -> FrameCodec:
    return FrameCodec(Role.SERVER if role is Role.CLIENT else Role.CLIENT, max_message_bytes=MAX_OPENAI_MESSAGE_BYTES)


@pytest.mark.parametrize("role", list(Role))
@settings(deadline=None, max_examples=60)
@given(cuts=st.lists(st.integers(1, 2000), max_size=20))
def test_messages_arrive_whole_however_tcp_cuts_them(role: Role, cuts: list[int]) -> None:
    wire, peer, end, loop = wired(role)
    codec = peer_of(role)
    raw = b"".join(codec.text(message) for message in MESSAGES) + codec.ping(b"?") + codec.text(b"last")
    while raw:
        piece = cuts.pop() if cuts else len(raw)
        peer.send(raw[:piece])
        raw = raw[piece:]
        loop.turn(0)
    while end.heard[-1:] != [b"last"]:
        loop.turn(0)
    assert end.heard == [*MESSAGES, b"last"]
    assert end.ended == []
    wire.end("")
    peer.close()


@pytest.mark.parametrize("role", list(Role))
def test_what_it_writes_an_independent_codec_reads(role: Role) -> None:
    wire, peer, _, _ = wired(role)
    codec = peer_of(role)
    for message in MESSAGES:
        wire.send_text(message)
    wire.close()
    received = codec.receive(peer.recv(1 << 20))
    assert received[:-1] == MESSAGES
    assert isinstance(received[-1], Closed)
    assert received[-1].code == 1000
    wire.end("")
    peer.close()


def test_a_fragmented_message_and_what_stands_between_its_parts() -> None:
    wire, peer, end, loop = wired(Role.CLIENT)
    peer.send(b"\x01\x03abc" + b"\x89\x00" + b"\x80\x03def" + b"\x81\x01g")
    loop.turn(0)
    assert end.heard == [b"abcdef", b"g"]
    assert peer.recv(100)[:1] == b"\x8a"  # the pong
    wire.end("")
    peer.close()


def test_answers_to_one_read_are_written_together() -> None:
    wire, peer, end, loop = wired(Role.SERVER)
    end.answer = wire.send_text
    codec = peer_of(Role.SERVER)
    peer.send(codec.text(b"one") + codec.text(b"two"))
    loop.turn(0)
    assert peer.recv(100) == b"\x81\x03one\x81\x03two"
    wire.end("")
    peer.close()


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"\x88\x02\x03\xe8", ""),
        (b"\x88\x02\x03\xf3", "closed with 1011"),
        (b"\x81\x81abcd!", "closed with 1002 client received unexpected masked frame"),
        (b"\x81\x7f\x00\x00\x00\x00\x7f\x00\x00\x00", "closed with 1009 a message may have 1048576 bytes"),
    ],
)
def test_how_a_peer_ended_it_is_told_once(sent: bytes, why: str) -> None:
    wire, peer, end, loop = wired(Role.CLIENT)
    peer.send(sent + b"\x81\x01x")
    loop.turn(0)
    assert end.ended == [why]
    assert end.heard == []
    assert not wire.is_open
    peer.close()


def test_a_connection_that_just_ends_is_told() -> None:
    _, peer, end, loop = wired(Role.CLIENT)
    peer.close()
    loop.turn(0)
    assert end.ended == ["connection lost"]


def test_an_error_in_a_handler_ends_its_own_wire_only() -> None:
    _, peer, end, loop = wired(Role.CLIENT)

    def refuse(_raw: bytes) -> None:
        raise ValueError("not for me")

    end.answer = refuse
    peer.send(b"\x81\x01x")
    loop.turn(0)
    assert end.ended == ["ValueError: not for me"]
    peer.close()


def test_a_peer_that_does_not_read_gets_the_rest_later_and_then_is_given_up() -> None:
    wire, peer, end, loop = wired(Role.SERVER)
    message = b"m" * 60_000
    for _ in range(20):
        wire.send_text(message)
    codec, received = peer_of(Role.SERVER), 0
    while received < 20:
        received += len(codec.receive(peer.recv(1 << 20)))
        loop.turn(0)
    assert end.ended == []
    for _ in range(MAX_BACKLOG_BYTES // len(message) + 20):
        wire.send_text(message)
    assert end.ended == ["it does not read what it is sent"]
    peer.close()

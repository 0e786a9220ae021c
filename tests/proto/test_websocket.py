"""What a peer on a WebSocket can count on: messages whole and in order, limits, pings, and how it all ends."""

import random
from typing import Any

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.events import Pong as PongEvent

from proto.websocket import Binary, Closed, FrameCodec, Pong, Received, Role

KIB = 1024
LIMIT_BYTES = 64 * KIB
ROLES = [Role.CLIENT, Role.SERVER]
# Each length that is encoded or masked in another way than the one before it.
LENGTHS = [0, 1, 2, 3, 4, 5, 125, 126, 127, 250, 4_001, 65_535, 65_536, 70_003]


def codec(role: Role, max_message_bytes: int = 1 << 20) -> FrameCodec:
    return FrameCodec(role, max_message_bytes=max_message_bytes)


def other(role: Role) -> Role:
    return Role.SERVER if role is Role.CLIENT else Role.CLIENT


class Peer:
    """The far side, on wsproto: makes any frame and reads what we owe it."""

    def __init__(self, of: Role) -> None:
        self._wsproto = Connection(ConnectionType.SERVER if of is Role.CLIENT else ConnectionType.CLIENT)

    def text(self, text: str, *, is_last: bool = True) -> bytes:
        return self._wsproto.send(TextMessage(text, message_finished=is_last))

    def binary(self, data: bytes, *, is_last: bool = True) -> bytes:
        return self._wsproto.send(BytesMessage(data, message_finished=is_last))

    def send(self, event: Event) -> bytes:
        return self._wsproto.send(event)

    def read(self, data: bytes) -> list[Event]:
        self._wsproto.receive_data(data)
        return list(self._wsproto.events())


def header_only(role: Role, first_byte: int, payload_bytes: int) -> bytes:
    """A frame's beginning towards `role`: the header with an 8-byte length (zero mask), and no payload."""
    mask_bit, key = (0x80, bytes(4)) if role is Role.SERVER else (0, b"")
    return bytes([first_byte, mask_bit | 127]) + payload_bytes.to_bytes(8) + key


def in_single_bytes(codec: FrameCodec, data: bytes) -> list[Received]:
    return [message for at in range(len(data)) for message in codec.receive(data[at : at + 1])]


# Text


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("length", LENGTHS)
def test_text_of_any_length_arrives_as_it_was_sent(role: Role, length: int) -> None:
    raw = random.Random(length).randbytes(length).hex()[:length].encode()
    assert codec(other(role)).receive(codec(role).text(raw)) == [raw]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("length", LENGTHS)
def test_wsproto_reads_our_text_and_we_read_its(role: Role, length: int) -> None:
    peer, ours, text = Peer(role), codec(role), "z" * length
    received = peer.read(ours.text(text.encode()))
    assert "".join(event.data for event in received if isinstance(event, TextMessage)) == text
    assert ours.receive(peer.text(text)) == [text.encode()]


@pytest.mark.parametrize("role", ROLES)
def test_many_messages_in_one_read_come_out_in_order(role: Role) -> None:
    sender = codec(other(role))
    texts = [f'{{"sequenceNumber":"{n}"}}'.encode() for n in range(50)]
    assert codec(role).receive(b"".join(sender.text(raw) for raw in texts)) == texts


@pytest.mark.parametrize("role", ROLES)
def test_messages_survive_the_network_cutting_them_at_every_byte(role: Role) -> None:
    sender = codec(other(role))
    texts = [b"", "Grüezi 👋".encode(), b"a" * 300]
    assert in_single_bytes(codec(role), b"".join(sender.text(raw) for raw in texts)) == texts


@pytest.mark.parametrize("role", ROLES)
def test_a_message_cut_in_two_does_not_hold_up_those_after_it(role: Role) -> None:
    sender, receiver = codec(other(role)), codec(role)
    stream = sender.text(b"first" * 60) + sender.text(b"second") + sender.text(b"third")
    assert receiver.receive(stream[:100]) == []
    assert receiver.receive(stream[100:]) == [b"first" * 60, b"second", b"third"]


def test_a_client_masks_each_frame_with_another_key_and_a_server_none() -> None:
    client, raw = codec(Role.CLIENT), b"same words"
    assert len({client.text(raw) for _ in range(600)}) == 600
    assert raw in codec(Role.SERVER).text(raw)


@pytest.mark.parametrize("role", ROLES)
def test_whole_text_frames_take_the_fast_lane_also_after_others_did_not(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, ours = Peer(role), codec(role)
    texts = [b"a" * length for length in LENGTHS]
    frames = b"".join(codec(other(role)).text(raw) for raw in texts)
    ours.receive(peer.text("in ", is_last=False) + peer.send(Ping()) + peer.text("parts") + peer.binary(b"\x00"))
    in_single_bytes(ours, peer.text("byte by byte"))
    monkeypatch.setattr(Connection, "receive_data", lambda *_: pytest.fail("went through wsproto"))
    assert ours.receive(frames) == texts


@pytest.mark.parametrize("role", ROLES)
def test_fragments_become_one_message_with_a_ping_answered_in_between(role: Role) -> None:
    peer, ours = Peer(role), codec(role)
    wave = "👋".encode()
    assert ours.receive(peer.text("Hello, ", is_last=False)) == []
    assert ours.receive(peer.send(Ping(b"alive?"))) == []
    assert peer.read(ours.take_replies()) == [PongEvent(b"alive?")]
    assert ours.receive(peer.text("", is_last=False)) == []
    assert ours.receive(peer.text("world 👋")) == [b"Hello, world " + wave]
    assert ours.receive(peer.text("next")) == [b"next"]


@pytest.mark.parametrize("role", ROLES)
def test_a_character_may_be_split_between_two_fragments(role: Role) -> None:
    mask_bit, key = (0x80, bytes(4)) if role is Role.SERVER else (0, b"")
    wave = "👋".encode()
    first = bytes([0x01, mask_bit | 2]) + key + wave[:2]
    last = bytes([0x80, mask_bit | 2]) + key + wave[2:]
    assert codec(role).receive(first + last) == [wave]


@pytest.mark.parametrize("role", ROLES)
def test_binary_messages_are_told_from_text(role: Role) -> None:
    peer = Peer(role)
    frames = peer.binary(b"\xff\x00", is_last=False) + peer.binary(b"\x01") + peer.text("t") + peer.binary(b"")
    assert codec(role).receive(frames) == [Binary(b"\xff\x00\x01"), b"t", Binary(b"")]


# Limits


@pytest.mark.parametrize("role", ROLES)
def test_a_message_of_exactly_the_limit_is_accepted(role: Role) -> None:
    raw = b"x" * LIMIT_BYTES
    assert codec(role, LIMIT_BYTES).receive(codec(other(role)).text(raw)) == [raw]


@pytest.mark.parametrize("role", ROLES)
def test_fragments_that_sum_to_exactly_the_limit_are_accepted_again_and_again(role: Role) -> None:
    peer, ours, half = Peer(role), codec(role, LIMIT_BYTES), "x" * (LIMIT_BYTES // 2)
    for _ in range(3):
        assert ours.receive(peer.text(half, is_last=False) + peer.text(half)) == [b"x" * LIMIT_BYTES]


@pytest.mark.parametrize("role", ROLES)
def test_one_byte_more_than_the_limit_ends_the_connection_with_1009(role: Role) -> None:
    peer, ours = Peer(role), codec(role, LIMIT_BYTES)
    [closed] = ours.receive(peer.text("x" * (LIMIT_BYTES + 1)))
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by_peer) == (1009, False)
    [told] = peer.read(ours.take_replies())
    assert isinstance(told, CloseConnection)
    assert told.code == 1009


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("first_byte", [0x81, 0x82, 0x01])
def test_a_frame_that_only_announces_too_much_is_refused_before_it_arrives(role: Role, first_byte: int) -> None:
    ours = codec(role, LIMIT_BYTES)
    [closed] = in_single_bytes(ours, header_only(role, first_byte, 1 << 40))
    assert isinstance(closed, Closed)
    assert closed.code == 1009


@pytest.mark.parametrize("role", ROLES)
def test_fragments_that_sum_to_more_than_the_limit_end_the_connection_with_1009(role: Role) -> None:
    peer, ours, part = Peer(role), codec(role, LIMIT_BYTES), "x" * (LIMIT_BYTES // 2)
    assert ours.receive(peer.text(part, is_last=False) + peer.text(part, is_last=False)) == []
    [closed] = ours.receive(peer.text("x"))
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by_peer) == (1009, False)


@pytest.mark.parametrize("role", ROLES)
def test_pings_between_fragments_do_not_lift_the_limit(role: Role) -> None:
    peer, ours, received = Peer(role), codec(role, LIMIT_BYTES), list[Received]()
    for _ in range(5):
        received += ours.receive(peer.text("x" * (LIMIT_BYTES // 4), is_last=False) + peer.send(Ping()))
    assert [event.code for event in received if isinstance(event, Closed)] == [1009]


@pytest.mark.parametrize("role", ROLES)
def test_messages_before_a_too_big_one_are_still_delivered(role: Role) -> None:
    peer = Peer(role)
    first, closed = codec(role, LIMIT_BYTES).receive(peer.text("before") + peer.text("x" * (LIMIT_BYTES + 1)))
    assert first == b"before"
    assert isinstance(closed, Closed)


@pytest.mark.parametrize("role", ROLES)
def test_a_flood_of_pings_earns_one_pong(role: Role) -> None:
    peer, ours = Peer(role), codec(role)
    ours.receive(b"".join(peer.send(Ping(str(n).encode())) for n in range(1_000)))
    assert peer.read(ours.take_replies()) == [PongEvent(b"999")]
    assert ours.take_replies() == b""


# Ping and pong


@pytest.mark.parametrize("role", ROLES)
def test_our_ping_comes_back_as_a_pong(role: Role) -> None:
    ours, theirs = codec(role), codec(other(role))
    assert theirs.receive(ours.ping(b"t1")) == []
    assert ours.receive(theirs.take_replies()) == [Pong(b"t1")]


def test_a_ping_has_room_for_125_bytes() -> None:
    codec(Role.CLIENT).ping(bytes(125))
    with pytest.raises(ValueError, match="control frame"):
        codec(Role.CLIENT).ping(bytes(126))


# How it ends


@pytest.mark.parametrize("role", ROLES)
def test_the_closing_handshake_tells_both_sides_the_same_code(role: Role) -> None:
    ours, theirs = codec(role), codec(other(role))
    assert theirs.receive(ours.close(1001, "shutting down")) == [Closed(1001, "shutting down", by_peer=True)]
    [closed] = ours.receive(theirs.take_replies())
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by_peer) == (1001, True)
    assert ours.take_replies() == b""


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("code", [1000, 1011, 3000, 4999])
def test_the_peers_close_code_is_echoed(role: Role, code: int) -> None:
    peer, ours = Peer(role), codec(role)
    assert ours.receive(peer.send(CloseConnection(code, "bye"))) == [Closed(code, "bye", by_peer=True)]
    [echo] = peer.read(ours.take_replies())
    assert isinstance(echo, CloseConnection)
    assert echo.code == code


@pytest.mark.parametrize("role", ROLES)
def test_a_close_without_a_code_is_reported_as_1005_and_answered_without_one(role: Role) -> None:
    ours, theirs = codec(role), codec(other(role))
    empty_close = bytes([0x88, 0x80, 1, 2, 3, 4]) if role is Role.SERVER else bytes([0x88, 0])
    assert ours.receive(empty_close) == [Closed(1005, "", by_peer=True)]
    assert theirs.receive(ours.take_replies()) == [Closed(1005, "", by_peer=True)]


@pytest.mark.parametrize("role", ROLES)
def test_what_the_peer_sent_before_its_close_is_still_read_after_ours(role: Role) -> None:
    peer, ours = Peer(role), codec(role)
    ours.close(1000)
    late = peer.text("last words") + peer.text("in two ", is_last=False) + peer.text("parts") + peer.send(Ping(b"?"))
    assert ours.receive(late) == [b"last words", b"in two parts"]
    assert ours.take_replies() == b""
    assert ours.receive(peer.send(CloseConnection(1000))) == [Closed(1000, "", by_peer=True)]
    assert ours.take_replies() == b""


@pytest.mark.parametrize("role", ROLES)
def test_nothing_follows_our_close_frame(role: Role) -> None:
    peer, ours = Peer(role), codec(role)
    ours.receive(peer.send(Ping(b"owed a pong")))
    assert ours.close(1000)
    assert (ours.text(b"x"), ours.ping(), ours.close(1001), ours.take_replies()) == (b"", b"", b"", b"")


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_read_after_the_end(role: Role) -> None:
    peer, ours = Peer(role), codec(role)
    text = peer.text("too late")
    assert len(ours.receive(peer.send(CloseConnection(1000)) + text)) == 1
    assert ours.receive(text) == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("was_closing", [False, True])
def test_text_that_is_not_utf8_ends_the_connection_with_1007(role: Role, was_closing: bool) -> None:
    ours, theirs = codec(role), codec(other(role))
    if was_closing:
        ours.close(1000)
    good, closed = ours.receive(theirs.text(b"good") + theirs.text(b"caf\xe9"))
    assert good == b"good"
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by_peer) == (1007, False)
    told = theirs.receive(ours.take_replies())
    assert [event.code for event in told if isinstance(event, Closed)] == ([] if was_closing else [1007])


@pytest.mark.parametrize("role", ROLES)
def test_a_peer_that_masks_wrongly_is_told_1002(role: Role) -> None:
    ours = codec(role)
    [closed] = ours.receive(codec(role).text(b"from someone in our own part"))
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by_peer) == (1002, False)
    [told] = codec(other(role)).receive(ours.take_replies())
    assert isinstance(told, Closed)
    assert (told.code, told.by_peer) == (1002, True)


BROKEN = {
    "new text inside an open message": "0101 61 8101 62",
    "a continuation of nothing": "8001 61",
    "one byte of length told in two": "817e 0001 61",
    "two bytes of length told in eight": "817f 0000000000000001 61",
    "a length beyond 63 bits": "817f 8000000000000000",
    "a reserved bit": "c101 61",
    "a reserved opcode": "8301 61",
    "a ping in fragments": "0901 61",
    "a ping of 126 bytes": "897e 007e",
    "a close with half a code": "8801 03",
    "a close with a code for local use": "8802 03ed",
}


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("is_cut", [False, True])
def test_a_server_that_breaks_the_protocol_is_told_1002(frames: str, is_cut: bool) -> None:
    ours, raw = codec(Role.CLIENT), bytes.fromhex(frames)
    [closed] = in_single_bytes(ours, raw) if is_cut else ours.receive(raw)
    assert isinstance(closed, Closed)
    assert (closed.code, closed.by_peer) == (1002, False)
    [told] = codec(Role.SERVER).receive(ours.take_replies())
    assert isinstance(told, Closed)
    assert told.code == 1002


def test_a_long_reason_is_cut_between_two_characters() -> None:
    [closed] = codec(Role.SERVER).receive(codec(Role.CLIENT).close(1011, "é" * 100))
    assert closed == Closed(1011, "é" * 61, by_peer=True)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70_000])
def test_a_code_that_no_peer_may_send_is_our_own_mistake(code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        codec(Role.CLIENT).close(code)


# Garbage


def garbage(rng: random.Random) -> bytes:
    """Noise, or noise that begins like a frame and so gets further."""
    noise = rng.randbytes(rng.randrange(200))
    if rng.random() < 0.3:
        return noise
    first_byte = rng.choice([0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A, 0xC1])
    second_byte = rng.choice([0, 0x80]) | rng.choice([0, 1, 5, 30, 125, 126, 127])
    return bytes([first_byte, second_byte]) + noise


def test_no_garbage_makes_a_codec_raise_or_speak_after_the_end() -> None:
    rng = random.Random(6455)
    for _ in range(2_000):
        ours = codec(rng.choice(ROLES), max_message_bytes=rng.choice([0, 50, LIMIT_BYTES]))
        received: list[Any] = []
        for _ in range(rng.randrange(1, 6)):
            received += ours.receive(garbage(rng))
            ours.take_replies()
        assert [isinstance(event, Closed) for event in received[:-1]] == [False] * len(received[:-1])

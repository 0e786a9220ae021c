"""The codec against wsproto alone: whatever a peer sends, and wherever the network cuts it, both must say the same.

They are compared after every single read, so the fast lane may neither lose nor delay anything.
"""

import struct
from itertools import cycle, pairwise
from operator import xor

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsproto import events
from wsproto.connection import Connection, ConnectionState, ConnectionType

from proto.websocket import Binary, Closed, FrameCodec, Pong, Received, Role

NO_LIMIT = 1 << 63
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
LENGTH_FORMATS = {1: "", 2: "!H", 8: "!Q"}


class WsprotoAlone:
    """The reference: wsproto's events, fragments joined, and nothing of ours."""

    def __init__(self, role: Role) -> None:
        self._connection = Connection(ConnectionType.CLIENT if role is Role.CLIENT else ConnectionType.SERVER)
        self._text, self._bytes = "", b""
        self._is_closed = False

    def receive(self, data: bytes) -> list[Received]:
        if self._is_closed:
            return []
        self._connection.receive_data(data)
        return [message for event in self._connection.events() for message in self._read(event)]

    def _read(self, event: events.Event) -> list[Received]:
        match event:
            case events.TextMessage():
                self._text += event.data
                if event.message_finished:
                    whole, self._text = self._text, ""
                    return [whole.encode()]
            case events.BytesMessage():
                self._bytes += event.data
                if event.message_finished:
                    data, self._bytes = self._bytes, b""
                    return [Binary(data)]
            case events.Pong():
                return [Pong(event.payload)]
            case events.CloseConnection():
                self._is_closed = True
                by_peer = self._connection.state is ConnectionState.REMOTE_CLOSING
                return [Closed(event.code, event.reason or "", by_peer)]
        return []


def frame(
    first_byte: int,
    payload: bytes,
    *,
    key: bytes | None,
    length_bytes: int | None = None,
    declared_bytes: int | None = None,
) -> bytes:
    """One frame. Unless told otherwise it declares its true length in the shortest form."""
    declared = len(payload) if declared_bytes is None else declared_bytes
    size = length_bytes or (1 if declared < 126 else 2 if declared < 1 << 16 else 8)
    seventh_bits = {1: declared & 0x7F, 2: 126, 8: 127}[size]
    header = bytes([first_byte, seventh_bits | (0 if key is None else 0x80)])
    if size > 1:
        header += struct.pack(LENGTH_FORMATS[size], declared & ((1 << 8 * size) - 1))
    if key is None:
        return header + payload
    return header + key + bytes(map(xor, payload, cycle(key)))


# Some keys look like the beginning of a text frame, if a cut makes them the first bytes of a read, or like text.
KEYS = st.one_of(st.binary(min_size=4, max_size=4), st.sampled_from([b"\x81\x81\x81\x81", b"asci"]))
TEXTS = st.one_of(
    st.text(max_size=12).map(str.encode),
    st.sampled_from([0, 125, 126, 129, 249, 751, 0x8181]).map(lambda length: b"a" * length),
    st.text("aé漢👋", min_size=30, max_size=80).map(str.encode),
)
NOT_UTF8 = st.sampled_from([b"\xff", b"caf\xe9", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ok \xc3", b"\xc0\xaf" * 80])
PAYLOADS = st.one_of(TEXTS, NOT_UTF8, st.binary(max_size=300))
CODES = st.sampled_from([0, 999, 1000, 1004, 1005, 1006, 1011, 1015, 2999, 3000, 4999, 5000, 65_535])
CLOSE_PAYLOADS = st.one_of(
    st.just(b""),
    st.binary(max_size=4),
    st.builds(lambda code, reason: struct.pack("!H", code) + reason, CODES, st.one_of(TEXTS, NOT_UTF8)),
)


def cut(whole: bytes, at: list[int]) -> list[bytes]:
    """The pieces of `whole` between these places; a place beyond the end, or met twice, makes an empty piece."""
    places = [0, *sorted(at), len(whole)]
    return [whole[start:stop] for start, stop in pairwise(places)]


@st.composite
def control_frames(draw: st.DrawFn, key: st.SearchStrategy[bytes | None]) -> bytes:
    opcode = draw(st.sampled_from([PING, PONG]))
    return frame(0x80 | opcode, draw(st.binary(max_size=125)), key=draw(key))


@st.composite
def messages(draw: st.DrawFn, key: st.SearchStrategy[bytes | None]) -> list[bytes]:
    """The frames of one message that a peer may send: whole, or in fragments with control frames in between."""
    opcode = draw(st.sampled_from([TEXT, TEXT, TEXT, BINARY]))
    payload = draw(TEXTS)
    pieces = cut(payload, draw(st.lists(st.integers(0, max(len(payload), 1)), max_size=3)))
    frames = []
    for n, piece in enumerate(pieces):
        final = 0x80 if n == len(pieces) - 1 else 0
        frames.append(frame(final | (opcode if n == 0 else CONTINUATION), piece, key=draw(key)))
        frames += draw(st.lists(control_frames(key), max_size=1))
    return frames


@st.composite
def flawed_texts(draw: st.DrawFn, key: st.SearchStrategy[bytes | None]) -> bytes:
    """A whole text frame with one thing about it not as in a good one: what a fast lane might overlook."""
    payload, right_key = draw(TEXTS), draw(key)
    wrong_key = None if right_key else draw(KEYS)
    shift = draw(st.integers(-3, 3))
    flaws = [
        frame(0x81, payload, key=right_key, length_bytes=2),
        frame(0x81, payload, key=right_key, length_bytes=8),
        frame(0x81, payload, key=right_key, declared_bytes=max(0, len(payload) + shift)),
        frame(0x81, payload, key=wrong_key),
        frame(0x81, draw(NOT_UTF8), key=right_key),
        frame(0x01, payload, key=right_key),  # a message opens, and perhaps nothing continues it
        frame(0x80, payload, key=right_key),
        frame(0x81 | draw(st.sampled_from([0x40, 0x20, 0x10])), payload, key=right_key),
        frame(0x80 | draw(st.integers(0, 15)), payload, key=right_key),
    ]
    return draw(st.sampled_from(flaws))


@st.composite
def any_frames(draw: st.DrawFn) -> bytes:
    """Any frame at all: each field may be wrong."""
    return frame(
        draw(st.integers(0, 255)),
        draw(PAYLOADS),
        key=draw(st.one_of(st.none(), KEYS)),
        length_bytes=draw(st.sampled_from([None, 1, 2, 8])),
        declared_bytes=draw(st.one_of(st.none(), st.integers(0, 400), st.integers(0, (1 << 64) - 1))),
    )


@st.composite
def streams(draw: st.DrawFn, role: Role) -> bytes:
    """What a peer of `role` sends: good messages, sooner or later perhaps something else, and then more."""
    key: st.SearchStrategy[bytes | None] = KEYS if role is Role.SERVER else st.none()
    good = messages(key).map(b"".join)
    close = st.builds(lambda payload, key: frame(0x80 | CLOSE, payload, key=key), CLOSE_PAYLOADS, key)
    flawed = flawed_texts(key)
    other = st.one_of(flawed, flawed, flawed, flawed, close, any_frames(), st.binary(max_size=40))
    parts = st.tuples(st.lists(good, max_size=3), st.lists(other, max_size=2), st.lists(good, max_size=2))
    return b"".join(part for some in draw(parts) for part in some)


def assert_same(role: Role, stream: bytes, places: list[int]) -> None:
    ours, reference = FrameCodec(role, max_message_bytes=NO_LIMIT), WsprotoAlone(role)
    for piece in cut(stream, [place % (len(stream) + 1) for place in places]):
        assert ours.receive(piece) == reference.receive(piece)


PLACES = st.lists(st.integers(0, 1 << 16), max_size=8)
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


@settings(UNHURRIED, max_examples=150)
@given(streams(Role.SERVER), PLACES)
def test_a_server_hears_what_wsproto_hears(stream: bytes, places: list[int]) -> None:
    assert_same(Role.SERVER, stream, places)


@settings(UNHURRIED, max_examples=150)
@given(streams(Role.CLIENT), PLACES)
def test_a_client_hears_what_wsproto_hears(stream: bytes, places: list[int]) -> None:
    assert_same(Role.CLIENT, stream, places)


@settings(UNHURRIED, max_examples=40)
@given(st.sampled_from(Role).flatmap(lambda role: st.tuples(st.just(role), streams(role))))
def test_wherever_the_network_cuts_once(case: tuple[Role, bytes]) -> None:
    role, stream = case
    for place in range(min(len(stream), 120)):
        assert_same(role, stream[:1_500], [place])


@settings(UNHURRIED, max_examples=60)
@given(st.sampled_from(Role).flatmap(lambda role: st.tuples(st.just(role), streams(role))))
def test_even_when_every_byte_arrives_alone(case: tuple[Role, bytes]) -> None:
    role, stream = case
    assert_same(role, stream[:1_500], list(range(min(len(stream), 1_500))))

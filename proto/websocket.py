"""WebSocket frames, sans-IO: bytes from a socket in, messages out, and back (RFC 6455).

Knows nothing of sockets, tasks or clocks. It stands between the bytes of a socket and the JSON decoders of this
package, on either side of the relay. wsproto is the authority on the protocol, and costs 10 to 20 µs a message. So the
one shape that nearly all traffic has, a final text frame that lies complete in the bytes just read, is taken by a fast
lane here. Every other frame, every frame of a fragmented message and every error goes to wsproto, byte by byte as it
arrives; this module only keeps count of where that frame ends, so that the fast lane can resume at the next one.

The handshake comes before and is another module's: proto.handshake.
"""

import os
from collections.abc import Iterator
from enum import Enum
from struct import Struct

import msgspec
from websockets.frames import apply_mask  # type: ignore[attr-defined]  # its C mask, or its own in Python where C lacks
from wsproto import events
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.frame_protocol import LOCAL_ONLY_CLOSE_REASONS, CloseReason

# RFC 6455, section 5.2: the base framing
_FINAL = 0x80
_CONTROL = 0x08
_OPCODE = 0x0F
_FINAL_TEXT = 0x81
_MASKED = 0x80
_LENGTH = 0x7F
_LENGTH_IN_2_BYTES = 126
_LENGTH_IN_8_BYTES = 127
_KEY_BYTES = 4
_MAX_HEADER_BYTES = 2 + 8 + _KEY_BYTES

_pack_short_header = Struct("!BB").pack
_pack_2_byte_header = Struct("!BBH").pack
_pack_8_byte_header = Struct("!BBQ").pack

_KEYS_PER_DRAW = 64  # one system call for a second of speech; each socket holds a draw


class Role(Enum):
    """Our part on a socket. Who opened it masks what it sends and expects no mask; who accepted it, the reverse."""

    CLIENT = "client"
    SERVER = "server"


class Binary(msgspec.Struct, frozen=True):
    """A complete binary message."""

    data: bytes


class Pong(msgspec.Struct, frozen=True):
    """The peer's echo of a ping. A peer may also send one unasked (RFC 6455, 5.5.3)."""

    payload: bytes


class Closed(msgspec.Struct, frozen=True):
    """The last event of a socket: nothing that arrives after it counts.

    `by_peer` is True when the peer's close frame said so (1005: it gave no code), False when we failed the connection
    for what it sent: 1002 broken protocol, 1007 text that is not UTF-8, 1009 a message too big.
    """

    code: int
    reason: str
    by_peer: bool


Received = bytes | Binary | Pong | Closed  # bytes: one complete text message, raw and valid UTF-8


class FrameCodec:
    """Both directions of one open WebSocket.

    Args: role, ours; max_message_bytes, the payload we accept in one message, be it one frame or many.
    What it holds is bounded: the message that is arriving, at most max_message_bytes, and the newest pong and one
    close frame towards the peer. Attributes: owes_reply, whether `take_replies` has anything to give.
    """

    def __init__(self, role: Role, *, max_message_bytes: int) -> None:
        is_client = role is Role.CLIENT
        self._max_message_bytes = max_message_bytes
        self._mask_out = _MASKED if is_client else 0
        self._mask_in = 0 if is_client else _MASKED
        self._keys = _mask_keys()
        self._type = ConnectionType.CLIENT if is_client else ConnectionType.SERVER
        self._made: Connection | None = None  # what wsproto knows of this socket, while that is anything
        self._is_midway = False  # inside a frame or a fragmented message: wsproto holds the other part
        self._header = b""  # of a frame whose header has not arrived in full
        self._payload_left_bytes = 0  # of the frame that wsproto is reading
        self._is_fragment_open = False  # the last data frame was not final
        self._message_bytes = 0  # what the frames of the current message declared so far
        self._message = bytearray()  # what wsproto decoded of it
        self._pong_owed = b""
        self._close_owed = b""
        self.owes_reply = False
        self._is_closing = False  # our close frame is made: after it we send nothing (5.5.1)
        self._is_closed = False

    def receive(self, data: bytes) -> list[Received]:
        """The messages that `data` completes, in order. Never raises; after `Closed` always []."""
        received: list[Received] = []
        at, end = 0, len(data)
        while at < end and not self._is_closed:
            if not self._is_midway:
                at = self._take_whole_texts(data, at, received)
                if at == end:
                    break
            at = self._pass_to_wsproto(data, at, received)
        return received

    def take_replies(self) -> bytes:
        """The pong and the close frame that we owe the peer, to be written now; b"" when there is none.

        Of several pings only the newest is answered, as 5.5.3 allows: a flood of pings earns no flood of pongs.
        """
        replies = self._pong_owed + self._close_owed
        self._pong_owed = self._close_owed = b""
        self.owes_reply = False
        return replies

    def text(self, raw: bytes) -> bytes:
        """One final text frame around `raw`, which must be UTF-8; b"" once our close frame is made."""
        if self._is_closing:
            return b""
        length = len(raw)
        if length < _LENGTH_IN_2_BYTES:
            header = _pack_short_header(_FINAL_TEXT, self._mask_out | length)
        elif length < 1 << 16:
            header = _pack_2_byte_header(_FINAL_TEXT, self._mask_out | _LENGTH_IN_2_BYTES, length)
        else:
            header = _pack_8_byte_header(_FINAL_TEXT, self._mask_out | _LENGTH_IN_8_BYTES, length)
        if not self._mask_out:
            return header + raw
        key = next(self._keys)
        return b"".join((header, key, apply_mask(raw, key)))

    def ping(self, payload: bytes = b"") -> bytes:
        """A ping frame; b"" once our close frame is made. ValueError for more than 125 bytes."""
        if self._is_closing:
            return b""
        frame = self._wsproto.send(events.Ping(payload))
        self._let_wsproto_go()
        return frame

    def close(self, code: int, reason: str = "") -> bytes:
        """Our close frame; b"" when it is made already, here or as a reply. `reason` is cut to 123 bytes of UTF-8.

        Incoming messages are still read until the peer's close frame; pings are no longer answered.
        Raises: ValueError for a code that may not be sent (7.4: 1005, 1006, 1015 and what nobody defined).
        """
        if not _may_be_sent(code):
            raise ValueError(f"{code} is not a code for a close frame")
        if self._is_closing:
            return b""
        self._is_closing = True
        self._pong_owed = b""  # it would be written after the close frame
        self.owes_reply = False
        return self._wsproto.send(events.CloseConnection(code, reason))

    def _take_whole_texts(self, data: bytes, at: int, received: list[Received]) -> int:
        """The fast lane, from a frame's first byte. Returns where it met a frame that is not its own, or the end.

        Whatever is odd about a frame, it only stops: wsproto reads that frame and finds the words for what is wrong.
        """
        end, mask_in = len(data), self._mask_in
        while at + 2 <= end and data[at] == _FINAL_TEXT:
            length = data[at + 1] ^ mask_in  # 128 or more when the mask is there and should not, or the reverse
            start, shortest = at + 2, 0
            if length == _LENGTH_IN_2_BYTES and at + 4 <= end:
                start, length, shortest = at + 4, data[at + 2] << 8 | data[at + 3], _LENGTH_IN_2_BYTES
            elif length == _LENGTH_IN_8_BYTES and at + 10 <= end:
                start, length, shortest = at + 10, int.from_bytes(data[at + 2 : at + 10]), 1 << 16
            elif length >= _LENGTH_IN_2_BYTES:
                break
            if mask_in:
                start += _KEY_BYTES
            stop = start + length
            if stop > end or not shortest <= length <= self._max_message_bytes:
                break
            payload = data[start:stop]
            if mask_in:
                payload = apply_mask(payload, data[start - _KEY_BYTES : start])
            if not (payload.isascii() or _is_utf8(payload)):
                break
            received.append(payload)
            at = stop
        return at

    def _pass_to_wsproto(self, data: bytes, at: int, received: list[Received]) -> int:
        """The slow lane: to the end of the frame at hand or of `data`, whichever comes first. Returns where that is."""
        payload_at = at if self._payload_left_bytes else self._read_header(data, at)
        if self._message_bytes > self._max_message_bytes:
            self._refuse_big_message(data[at:payload_at], received)
            return payload_at
        stop = min(len(data), payload_at + self._payload_left_bytes)
        self._payload_left_bytes -= stop - payload_at
        self._is_midway = bool(self._header or self._payload_left_bytes or self._is_fragment_open)
        self._ask_wsproto(data[at:stop], received)
        return stop

    def _read_header(self, data: bytes, at: int) -> int:
        """Note what a frame's header declares, or what has arrived of the header. Returns where it ends in `data`."""
        held_bytes = len(self._header)
        header = self._header + data[at : at + _MAX_HEADER_BYTES - held_bytes]
        header_bytes, payload_bytes = _read_lengths(header)
        if len(header) < header_bytes:
            self._header = header
            return len(data)
        self._header = b""
        self._payload_left_bytes = payload_bytes
        if not header[0] & _CONTROL:
            self._is_fragment_open = not header[0] & _FINAL
            is_continuation = not header[0] & _OPCODE
            self._message_bytes = payload_bytes + (self._message_bytes if is_continuation else 0)
        return at + header_bytes - held_bytes

    def _refuse_big_message(self, header: bytes, received: list[Received]) -> None:
        self._ask_wsproto(header, received)  # a header that breaks the protocol is a 1002, whatever length it claims
        if not self._is_closed:
            reason = f"a message may have {self._max_message_bytes} bytes"
            self._end(events.CloseConnection(CloseReason.MESSAGE_TOO_BIG, reason), received)

    @property
    def _wsproto(self) -> Connection:
        """The authority, made when a frame first needs it: most sockets see none but whole texts, pings and pongs."""
        if self._made is None:
            self._made = Connection(self._type)
        return self._made

    def _let_wsproto_go(self) -> None:
        """Between two frames of an open socket a new one (3 µs) knows as much, and 2 KB are saved until then.

        Not after each text that came in pieces: where one did, many will.
        """
        if not (self._is_midway or self._is_closing):
            self._made = None

    def _ask_wsproto(self, data: bytes, received: list[Received]) -> None:
        self._wsproto.receive_data(data)
        for event in self._wsproto.events():
            match event:
                case events.TextMessage(data=text, message_finished=is_last):
                    self._message += text.encode()
                    if is_last:
                        received.append(self._take_message())
                case events.BytesMessage(data=part, message_finished=is_last):
                    self._message += part
                    if is_last:
                        received.append(Binary(self._take_message()))
                case events.Ping():
                    if not self._is_closing:
                        self._pong_owed = self._wsproto.send(event.response())
                        self.owes_reply = True
                    self._let_wsproto_go()
                case events.Pong(payload=payload):
                    received.append(Pong(payload))
                    self._let_wsproto_go()
                case events.CloseConnection():
                    self._end(event, received)

    def _take_message(self) -> bytes:
        message = bytes(self._message)
        self._message.clear()
        return message

    def _end(self, event: events.CloseConnection, received: list[Received]) -> None:
        """The peer closed, or broke what it may send; either way it gets this code back, unless ours was first."""
        by_peer = self._wsproto.state in {ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED}
        if not self._is_closing:
            self._close_owed = self._wsproto.send(event)
            self.owes_reply = True
        self._is_closing = self._is_closed = True
        self._message.clear()
        received.append(Closed(int(event.code), event.reason or "", by_peer))


def _mask_keys() -> Iterator[bytes]:
    """Unpredictable keys, one for each frame (5.3)."""
    while True:
        drawn = os.urandom(_KEY_BYTES * _KEYS_PER_DRAW)
        for at in range(0, len(drawn), _KEY_BYTES):
            yield drawn[at : at + _KEY_BYTES]


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_lengths(start: bytes) -> tuple[int, int]:
    """What a frame that begins like this says of itself: bytes of header, bytes of payload.

    If `start` is shorter than the first number, more of the header is needed and the second means nothing yet.
    """
    if len(start) < 2:
        return 2, 0
    payload_bytes = start[1] & _LENGTH
    extended_bytes = {_LENGTH_IN_2_BYTES: 2, _LENGTH_IN_8_BYTES: 8}.get(payload_bytes, 0)
    if extended_bytes:
        payload_bytes = int.from_bytes(start[2 : 2 + extended_bytes])
    return 2 + extended_bytes + (_KEY_BYTES if start[1] & _MASKED else 0), payload_bytes


def _may_be_sent(code: int) -> bool:
    """Whether a peer may accept this code in a close frame (7.4.1, 7.4.2)."""
    is_defined = code in CloseReason.__members__.values() and code not in LOCAL_ONLY_CLOSE_REASONS
    return is_defined or 3000 <= code <= 4999

"""One open WebSocket of the far end: bytes to whole text messages, and frames out, at as little cost as Python allows.

A header says where its frame ends. A final text frame that is complete is cut out here; every other frame (control,
fragments, broken ones) goes whole to the relay's own codec, which knows the protocol. The JSON is read by msgspec with
structs of two or three fields: 0.2 µs, as cheap as searching for the strings in it, and right for any key order and
any white space.

What a client sends must be masked. The key here is the same for all frames, and its four bytes are equal: so parts of
a frame can be masked once and joined, wherever they come to stand. A key of zero would be cheaper still, but servers
skip the unmasking then (Node's `ws` does), and the relay would be measured at less than its work. A key is to be
unpredictable (RFC 6455, 5.3) to protect proxies from hostile scripts; here are neither.
"""

import socket
import ssl
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE
from struct import Struct
from typing import Final

from benchmarks.load.loop import Loop
from proto.websocket import Binary, Closed, FrameCodec, Pong, Role

READ_BYTES: Final = 64 * 1024
MAX_MESSAGE_BYTES: Final = 1024 * 1024
MAX_BACKLOG_BYTES: Final = 4 * 1024 * 1024
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

# RFC 6455, section 5.2: the base framing
_FINAL: Final = 0x80
_FIRST_CONTROL_OPCODE: Final = 0x08
_OPCODE: Final = 0x0F
_FINAL_TEXT: Final = 0x81
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_LENGTH_IN_2_BYTES: Final = 126
_LENGTH_IN_8_BYTES: Final = 127
_KEY_BYTES: Final = 4
_MAX_HEADER_BYTES: Final = 2 + 8 + _KEY_BYTES
_MASK: Final = 0x5A
_KEY: Final = bytes([_MASK]) * _KEY_BYTES
_MASKING: Final = bytes(byte ^ _MASK for byte in range(256))

_pack_short = Struct("!BB").pack
_pack_2_bytes = Struct("!BBH").pack
_pack_8_bytes = Struct("!BBQ").pack

OnText = Callable[[bytes], None]
OnEnd = Callable[[str], None]  # why; "" when the peer said goodbye as it should


def masked(raw: bytes) -> bytes:
    """The bytes as a client's frame carries them, wherever they stand in it."""
    return raw.translate(_MASKING)


def header(length: int, role: Role) -> bytes:
    """What goes before a text message of so many bytes, the masking key included."""
    mask, key = (_MASKED, _KEY) if role is Role.CLIENT else (0, b"")
    if length < _LENGTH_IN_2_BYTES:
        return _pack_short(_FINAL_TEXT, mask | length) + key
    if length < 1 << 16:
        return _pack_2_bytes(_FINAL_TEXT, mask | _LENGTH_IN_2_BYTES, length) + key
    return _pack_8_bytes(_FINAL_TEXT, mask | _LENGTH_IN_8_BYTES, length) + key


class Wire:
    """An open WebSocket on a non-blocking socket, carried by a loop until it ends.

    Args: role, our part; on_text, gets each text message; on_end, called once, when the peer has gone or broke the
    protocol, or when `on_text` raised.
    """

    def __init__(self, loop: Loop, sock: socket.socket, role: Role, *, on_text: OnText, on_end: OnEnd) -> None:
        self._loop, self._sock, self._role = loop, sock, role
        self._on_text, self._on_end = on_text, on_end
        self._codec = FrameCodec(role, max_message_bytes=MAX_MESSAGE_BYTES)
        self._mask_in = 0 if role is Role.CLIENT else _MASKED
        # Of the one shape nearly all messages have: 126 bytes to 64 KiB.
        self._usual_second_byte = self._mask_in | _LENGTH_IN_2_BYTES
        self._usual_header_bytes = 4 + (_KEY_BYTES if self._mask_in else 0)
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._held = b""  # the beginning of a frame; at most MAX_MESSAGE_BYTES and a header
        self._is_fragment_open = False
        self._corked: list[bytes] | None = None  # while messages are handled: written together after the last
        self._backlog = bytearray()  # what the kernel did not take
        self.is_open = True

    def begin(self, received: bytes = b"") -> None:
        """Be carried from now on. received: bytes that followed the handshake."""
        self._loop.add(self._sock, self._on_ready)
        self._guarded(received)
        if self._is_tls:
            self._on_ready(EVENT_READ)  # what TLS has decrypted already, no selector tells

    def send_text(self, raw: bytes) -> None:
        """Write one message."""
        body = masked(raw) if self._role is Role.CLIENT else raw
        self.write(header(len(raw), self._role) + body)

    def write(self, frames: bytes) -> None:
        """Write whole frames; what the kernel does not take now follows later."""
        if self._corked is not None:
            self._corked.append(frames)
            return
        if not self.is_open:
            return
        sent = 0
        if not self._backlog:
            try:
                sent = self._sock.send(frames)
            except _WOULD_BLOCK:
                pass
            except OSError as error:
                self.end(f"connection lost: {error}")
                return
        if sent < len(frames):
            self._keep(frames[sent:])

    def close(self) -> None:
        """Say goodbye; `on_end` follows once the peer has answered."""
        if self.is_open and (goodbye := self._codec.close(1000)):
            self.write(goodbye)

    def end(self, why: str) -> None:
        """Let go of the socket, and say so once."""
        if self.is_open:
            self.is_open = False
            self._loop.remove(self._sock)
            self._sock.close()
            self._on_end(why)

    def _on_ready(self, ready: int) -> None:
        if ready & EVENT_READ:
            self._read()
        if ready & EVENT_WRITE and self.is_open:
            self._flush()

    def _read(self) -> None:
        while self.is_open:
            try:
                data = self._sock.recv(READ_BYTES)
            except _WOULD_BLOCK:
                return
            except OSError:
                data = b""
            if not data:
                self.end("connection lost")
                return
            if self._is_one_usual_message(data):
                self._hand_on(data)
            else:
                self._guarded(data)
            if not self._is_tls:  # TLS hides what it has decrypted, so it is read to its end
                return

    def _is_one_usual_message(self, data: bytes) -> bool:
        """Whether this is one message of the usual shape, whole and with nothing behind it."""
        return (
            data[0] == _FINAL_TEXT
            and len(data) > _MAX_HEADER_BYTES
            and data[1] == self._usual_second_byte
            and (data[2] << 8 | data[3]) == len(data) - self._usual_header_bytes
            and not self._held
            and not self._is_fragment_open
        )

    def _hand_on(self, data: bytes) -> None:
        """The same as `_guarded`, for one usual message."""
        start = self._usual_header_bytes
        try:
            self._on_text(_unmasked(data, start, len(data)) if self._mask_in else data[start:])
        except Exception as error:
            self.end(f"{type(error).__name__}: {error}")

    def _guarded(self, data: bytes) -> None:
        """Handle what arrived, then write all answers together; an error ends this socket and no other."""
        self._corked = []
        why = None
        try:
            self._take(data)
        except Exception as error:  # from a handler: whatever a relay sent that cannot be read
            why = f"{type(error).__name__}: {error}"
        answers, self._corked = self._corked, None
        if answers:
            self.write(answers[0] if len(answers) == 1 else b"".join(answers))
        if why is not None:
            self.end(why)

    def _take(self, data: bytes) -> None:
        """Cut bytes into frames; keep the beginning of the last one if it is not complete."""
        if self._held:
            data, self._held = self._held + data, b""
        at, available, mask_in = 0, len(data), self._mask_in
        while at + 2 <= available and self.is_open:
            length, start = data[at + 1] & _LENGTH, at + 2
            if length == _LENGTH_IN_2_BYTES:
                length, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif length == _LENGTH_IN_8_BYTES:
                length, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            if data[at + 1] & _MASKED:
                start += _KEY_BYTES
            if start > available:
                break
            if length > MAX_MESSAGE_BYTES:
                self._ask_codec(data[at:])  # it says what is wrong, and how to close
                return
            stop = start + length
            if stop > available:
                break
            if data[at] == _FINAL_TEXT and data[at + 1] & _MASKED == mask_in and not self._is_fragment_open:
                self._on_text(_unmasked(data, start, stop) if mask_in else data[start:stop])
            else:
                self._ask_codec(data[at:stop])
            at = stop
        self._held = data[at:]

    def _ask_codec(self, frame: bytes) -> None:
        if frame[0] & _OPCODE < _FIRST_CONTROL_OPCODE:
            self._is_fragment_open = not frame[0] & _FINAL
        received = self._codec.receive(frame)
        if self._codec.owes_reply:
            self.write(self._codec.take_replies())
        for message in received:
            match message:
                case bytes():
                    self._on_text(message)
                case Closed(code=code, reason=reason):
                    self._say_goodbye(code, reason)
                case Binary() | Pong():
                    pass

    def _say_goodbye(self, code: int, reason: str) -> None:
        answers, self._corked = self._corked or [], None
        self.write(b"".join(answers))
        self._corked = []
        self.end("" if code in (1000, 1001, 1005) else f"closed with {code} {reason}".rstrip())

    def _keep(self, rest: bytes) -> None:
        if not self._backlog:
            self._loop.want_write(self._sock, self._on_ready, True)
        self._backlog += rest
        if len(self._backlog) > MAX_BACKLOG_BYTES:
            self.end("it does not read what it is sent")

    def _flush(self) -> None:
        try:
            del self._backlog[: self._sock.send(self._backlog)]
        except _WOULD_BLOCK:
            return
        except OSError as error:
            self.end(f"connection lost: {error}")
            return
        if not self._backlog:
            self._loop.want_write(self._sock, self._on_ready, False)


def _unmasked(data: bytes, start: int, stop: int) -> bytes:
    """The payload between these places; its key stands before it. Of this size one XOR of big integers is quickest."""
    length = stop - start
    key = data[start - _KEY_BYTES : start] * (length // _KEY_BYTES + 1)
    payload = int.from_bytes(data[start:stop], "little") ^ int.from_bytes(key[:length], "little")
    return payload.to_bytes(length, "little")

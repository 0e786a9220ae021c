"""The opening handshakes of a WebSocket, both sides, sans-IO: HTTP/1.1 heads in, HTTP/1.1 heads out (RFC 6455, 4).

Knows nothing of sockets, paths, signatures or secrets: who may come in is decided elsewhere. h11 reads and writes HTTP,
wsproto decides what a valid upgrade is. It runs once per socket, before the first frame; proto.websocket takes over
with the bytes that followed the head.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus

import h11
import msgspec
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from proto.errors import HandshakeError

MAX_HEAD_BYTES = 64 * 1024

# A proxy's default may be HTTP/1.0, and an upgrade needs 1.1 (RFC 6455, 4.1). Anything else is another protocol.
_READABLE_VERSIONS = frozenset({b"1.0", b"1.1"})
_KEY_BYTES = 16
# What decides an upgrade. The client's offers of extensions and subprotocols stay out: we accept none.
_UPGRADE_HEADERS = ("host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version")

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_QUOTATION = re.compile(r":? ?(bytearray\()?b['\"].*", re.DOTALL)  # h11 quotes what it minds; it may be a credential
_NUMBER = re.compile(rb"\d{1,9}(\.\d{1,9})?")


class RequestHead(msgspec.Struct, frozen=True):
    """An HTTP request up to its blank line.

    `target` is as sent: path and query. Header names are lower case, values are Latin-1, in the order of arrival.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    http_version: str = "1.1"

    def header(self, name: str) -> str | None:
        """The first value of this header, whatever the case of its name; None when it is not there."""
        return next((value for sent_name, value in self.headers if sent_name == name.lower()), None)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def is_websocket_upgrade(self) -> bool:
        """Whether this asks for a WebSocket. Whether it asks rightly, `accept_upgrade` says."""
        return (
            self.method == "GET"
            and self.http_version == "1.1"
            and "websocket" in self._tokens("upgrade")
            and "upgrade" in self._tokens("connection")
        )

    def _joined(self, name: str) -> str:
        """All values of this header as one, as HTTP allows for lists (RFC 9110, 5.3)."""
        return ", ".join(value for sent_name, value in self.headers if sent_name == name)

    def _tokens(self, name: str) -> list[str]:
        return [token.strip().lower() for token in self._joined(name).split(",")]


def parse_request_head(raw: bytes) -> RequestHead:
    """Read a request head: `raw` ends with, or goes on after, the blank line.

    Raises: HandshakeError, with the status to refuse it with: 400 or what h11 suggests, 505 for another HTTP.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    connection.receive_data(raw)
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        what = _QUOTATION.sub("", str(error))
        raise HandshakeError(f"not an HTTP/1.1 request: {what}", status=error.error_status_hint) from None
    if not isinstance(request, h11.Request):
        raise HandshakeError("the request head is not complete", status=400)
    if request.http_version not in _READABLE_VERSIONS:
        raise HandshakeError("only HTTP/1.1 is spoken here", status=505)
    return RequestHead(
        method=request.method.decode("ascii"),
        target=request.target.decode("ascii"),
        headers=tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers),
        http_version=request.http_version.decode("ascii"),
    )


def accept_upgrade(head: RequestHead) -> bytes:
    """The 101 response, without extensions or subprotocol.

    Raises: HandshakeError, status 400, or 426 when the client speaks another version of the WebSocket protocol.
    """
    if not head.is_websocket_upgrade:
        raise HandshakeError("the request asks for no WebSocket upgrade", status=400)
    handshake = H11Handshake(ConnectionType.SERVER)
    sent = {name: head._joined(name) for name in _UPGRADE_HEADERS if head.header(name) is not None}
    try:
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in sent.items()]
        handshake.initiate_upgrade_connection(headers, head.target)
    except RemoteProtocolError as error:
        raise HandshakeError(str(error), status=_refusal_status(error)) from error
    except (h11.ProtocolError, UnicodeError) as error:
        raise HandshakeError(f"a bad header in the upgrade: {error}", status=400) from error
    if not _is_key(sent["sec-websocket-key"]):
        raise HandshakeError("Sec-WebSocket-Key is not 16 bytes in base64", status=400)
    return handshake.send(AcceptConnection())


def refuse(status: int, body: str = "", headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """A complete HTTP/1.1 response that turns a request away; the socket is to be closed after it.

    Raises: ValueError for a status that HTTP does not define or that ends nothing (1xx), or for a header that HTTP
    does not allow, line breaks above all.
    """
    raw_body = body.encode()
    own = [
        ("Connection", "close"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(raw_body))),
    ]
    if status == HTTPStatus.UPGRADE_REQUIRED:
        own += [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]  # what the client should come back with
    connection = h11.Connection(h11.SERVER)
    try:
        response = h11.Response(
            status_code=status, headers=_encoded([*own, *headers]), reason=HTTPStatus(status).phrase.encode()
        )
        sent = (connection.send(response), connection.send(h11.Data(raw_body)), connection.send(h11.EndOfMessage()))
    except h11.LocalProtocolError:
        raise ValueError(f"HTTP allows no such {status} response") from None  # h11 would quote header values
    return b"".join(part or b"" for part in sent)


class ClientHandshake:
    """Our side when we open the WebSocket. Write `request()`, then feed `receive` until it returns bytes or raises.

    Args: host, with the port when it is not the default; target, path and query; headers, in addition to those of the
    handshake itself.
    Raises: ValueError for anything that HTTP does not allow in a head, line breaks above all.
    """

    def __init__(self, host: str, target: str, headers: Sequence[tuple[str, str]]) -> None:
        self._handshake = H11Handshake(ConnectionType.CLIENT)
        self._head = bytearray()  # of the answer, while it is not complete; bounded by MAX_HEAD_BYTES
        try:
            self._request = self._handshake.send(Request(host, target, extra_headers=_encoded(headers)))
        except h11.LocalProtocolError:
            raise ValueError("HTTP allows no such host, target or headers") from None  # h11 would quote header values

    def request(self) -> bytes:
        """The request to write."""
        return self._request

    def receive(self, data: bytes) -> bytes | None:
        """What followed the answer's head, perhaps b"", once the peer has accepted; None while the head is incomplete.

        Raises: HandshakeError when the peer refused (status, and retry_after_s when it said so in seconds) or when
        its answer is no valid one: another protocol, the wrong accept key, a head beyond 64 KiB.
        """
        searched_bytes = max(0, len(self._head) - 2)  # the blank line may straddle two reads
        self._head += data
        if not self._head.startswith(b"HTTP/"[: len(self._head)]):
            raise HandshakeError("the peer does not speak HTTP")
        end = _END_OF_HEAD.search(self._head, searched_bytes)
        head_bytes = end.end() if end else len(self._head)
        if head_bytes > MAX_HEAD_BYTES:
            raise HandshakeError(f"the head of the answer is longer than {MAX_HEAD_BYTES} bytes")
        if not end:
            return None
        self._read_answer(bytes(self._head[:head_bytes]))
        return bytes(self._head[head_bytes:])

    def _read_answer(self, head: bytes) -> None:
        try:
            self._handshake.receive_data(head)
        except (RemoteProtocolError, UnicodeError) as error:
            raise HandshakeError(f"the answer is not valid: {error}") from error
        event = next(self._handshake.events(), None)
        if isinstance(event, RejectConnection):
            raise _refusal(event)
        if not isinstance(event, AcceptConnection):
            raise HandshakeError("the answer neither accepts nor refuses")


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers as bytes. h11 checks them too, but says what it found; a value may be a secret, so ours are named only.

    Raises: ValueError for a value with anything but visible ASCII and inner spaces.
    """
    for name, value in headers:
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise ValueError(f"the value of header {name!r} has characters that HTTP does not allow")
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]


def _is_key(value: str) -> bool:
    """Whether this is what section 4.2.1 wants as the client's key."""
    try:
        return len(base64.b64decode(value, validate=True)) == _KEY_BYTES
    except ValueError:
        return False


def _refusal_status(error: RemoteProtocolError) -> int:
    """What wsproto would answer: 426 for another version, else 400."""
    return error.event_hint.status_code if isinstance(error.event_hint, RejectConnection) else 400


def _refusal(event: RejectConnection) -> HandshakeError:
    """What the peer's answer says; its body is left unread, it may quote our key."""
    after = next((value for name, value in event.headers if name == b"retry-after"), b"")
    return HandshakeError(
        "the peer refused the WebSocket",
        status=event.status_code,
        retry_after_s=float(after) if _NUMBER.fullmatch(after) else None,
    )

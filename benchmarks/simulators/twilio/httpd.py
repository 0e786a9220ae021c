"""HTTP for the simulated REST API: one request per connection, over any trio stream, bounded in size and time.

The simplest server that is sound: h11 knows the protocol, this file only carries its bytes. What the requests mean is
`rest.py`.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import h11
import msgspec
import trio

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_BODY_BYTES: Final = 256 * 1024
READ_TIMEOUT_S: Final = 10.0
RECEIVE_BYTES: Final = 16 * 1024


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `headers` are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def form(self) -> dict[str, list[str]]:
        """The body's fields; one that is repeated has several values."""
        fields: dict[str, list[str]] = {}
        for name, value in parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True):
            fields.setdefault(name, []).append(value)
        return fields


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One answer."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


class _TooLargeError(Exception):
    """More than a request may have."""


async def serve_stream(stream: trio.abc.Stream, handler: Handler) -> None:
    """Answer one request and close. A peer that is slow, gone or speaks no HTTP costs nothing but its connection."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    async with stream:
        try:
            with trio.fail_after(READ_TIMEOUT_S):
                request = await _read(stream, connection)
            if request is not None:
                await _write(stream, connection, await handler(request))
        except _TooLargeError:
            await _refuse(stream, connection, 413)
        except h11.RemoteProtocolError as error:
            await _refuse(stream, connection, error.error_status_hint)
        except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # nobody is there to be answered


async def _read(stream: trio.abc.Stream, connection: h11.Connection) -> HttpRequest | None:
    """The whole request, None if the peer closed instead."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    await stream.send_all(_bytes(connection, h11.InformationalResponse(status_code=100, headers=[])))
                connection.receive_data(bytes(await stream.receive_some(RECEIVE_BYTES)))
            case h11.Request() as head:
                pass
            case h11.Data(data=data):
                body += data
                if len(body) > MAX_BODY_BYTES:
                    raise _TooLargeError
            case h11.EndOfMessage() if head is not None:
                return _request(head, bytes(body))
            case _:
                return None


def _request(head: h11.Request, body: bytes) -> HttpRequest:
    target = urlsplit(head.target.decode("latin-1"))
    return HttpRequest(
        method=head.method.decode(),
        path=target.path,
        query=target.query,
        headers={name.decode(): value.decode("latin-1") for name, value in head.headers},
        body=body,
    )


async def _refuse(stream: trio.abc.Stream, connection: h11.Connection, status: int) -> None:
    if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # gone already
            await _write(stream, connection, HttpResponse(status=status))


async def _write(stream: trio.abc.Stream, connection: h11.Connection, response: HttpResponse) -> None:
    headers = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "Connection": "close",
        **response.headers,
    }
    head = h11.Response(status_code=response.status, headers=list(headers.items()))
    out = [_bytes(connection, head)]
    if response.body:
        out.append(_bytes(connection, h11.Data(data=response.body)))
    with trio.move_on_after(READ_TIMEOUT_S):
        await stream.send_all(b"".join([*out, _bytes(connection, h11.EndOfMessage())]))


def _bytes(connection: h11.Connection, event: h11.Event) -> bytes:
    return connection.send(event) or b""

"""A raw WebSocket end for checks: it keeps all that comes, and waits a bounded time for what should come.

Built on trio-websocket and `json` alone, so it shares neither frames nor messages with what it judges.
"""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from benchmarks.conformance.check import UnmetError

Json = dict[str, Any]
Headers = Sequence[tuple[str, str]]
T = TypeVar("T")

MAX_MESSAGE_BYTES = 32 << 20
_MAX_MESSAGES = 20_000  # of one connection; no check needs a tenth of it
_GOODBYE_S = 0.5
_KINDS_SHOWN = 8


class UnreachableError(Exception):
    """There is no server to judge; the message says what was tried and what to do."""


class Peer:
    """One open WebSocket, seen from a check's end.

    Args: tag, the field that names a message's kind; patience_s, how long to wait for anything that should come.

    Attributes: messages, all that came, in order; faults, what came and was no JSON object in a text frame; close_code,
    None while open, 1006 when it broke.
    """

    def __init__(self, socket: WebSocketConnection, transport: trio.abc.Stream, *, tag: str, patience_s: float) -> None:
        self.messages: list[Json] = []
        self.faults: list[str] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self.patience_s = patience_s
        self.socket = socket
        self._transport = transport
        self._tag = tag
        self._looked_at = 0  # messages before this one were asked for, or passed over
        self._changed = trio.Event()

    async def read(self) -> None:
        """Keep what comes until the socket ends; runs beside the check."""
        try:
            while len(self.messages) < _MAX_MESSAGES:
                self._take(await self.socket.get_message())
                self._notify()
        except ConnectionClosed as error:
            reason = error.reason
            self.close_code, self.close_reason = (reason.code, reason.reason or "") if reason else (1006, "")
        self._notify()

    async def send(self, *messages: Json | str | bytes) -> None:
        """Send these; a dict as JSON, anything else as it stands. To a closed socket nothing is sent."""
        with suppress(ConnectionClosed):
            for message in messages:
                await self.socket.send_message(json.dumps(message) if isinstance(message, dict) else message)

    async def cut(self) -> None:
        """End the connection below the WebSocket, without a close frame."""
        await trio.aclose_forcefully(self._transport)

    async def next(self, *kinds: str) -> Json:
        """The next message of one of these kinds; others before it are passed over."""
        return (await self.collect(*kinds))[-1]

    async def collect(self, *kinds: str) -> list[Json]:
        """All messages from the last one asked for up to the next of one of these kinds."""

        def look() -> list[Json] | None:
            for at in range(self._looked_at, len(self.messages)):
                if self.messages[at].get(self._tag) in kinds:
                    found, self._looked_at = self.messages[self._looked_at : at + 1], at + 1
                    return found
            return None

        return await self.wait(look, " or ".join(kinds))

    async def until_closed(self) -> int:
        """The code with which the other side closed."""
        return await self.wait(lambda: self.close_code, "a close")

    async def wait(self, look: Callable[[], T | None], awaited: str) -> T:
        """What `look` finds, asked again after each message. Raises: UnmetError when it finds nothing in time."""
        with trio.move_on_after(self.patience_s):
            while (found := look()) is None:
                if self.close_code is not None:
                    said = f"{self.close_code} {self.close_reason}".strip()
                    raise UnmetError(f"closed with {said} before {awaited}; {self._since()}")
                await self.changed()
            return found
        raise UnmetError(f"{awaited} did not come within {self.patience_s:g} s; {self._since()}")

    async def changed(self) -> None:
        """Something came, or the socket ended."""
        await self._changed.wait()

    def kinds(self) -> list[str]:
        """What kinds of messages came, in order."""
        return [str(message.get(self._tag)) for message in self.messages]

    def describe(self, message: Json) -> str:
        """A message in a word or two."""
        return str(message.get(self._tag))

    def _take(self, raw: str | bytes) -> None:
        if isinstance(raw, bytes):
            self.faults.append(f"a binary message of {len(raw)} bytes")
            return
        try:
            message = json.loads(raw)
        except ValueError:
            message = None
        if isinstance(message, dict):
            self.messages.append(message)
            self._inspect(message)
        else:
            self.faults.append(f"a text message of {len(raw)} characters that is no JSON object")

    def _inspect(self, message: Json) -> None:
        """For ends that look at each message as it comes."""

    def _since(self) -> str:
        came = [self.describe(message) for message in self.messages[self._looked_at :]]
        if not came:
            return "nothing came"
        return f"what came: {', '.join(came[-_KINDS_SHOWN:])}"

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def dial(
    url: str, *, headers: Headers = (), subprotocols: Sequence[str] = (), within_s: float
) -> AsyncIterator[tuple[WebSocketConnection, trio.abc.Stream]]:
    """Open a WebSocket; at the end it is closed, and not waited for long.

    Raises: OSError when nobody listens; ConnectionRejected when the upgrade is refused, trio.TooSlowError when it is
    not answered, both perhaps inside an exception group.
    """
    parts = urlsplit(url)
    resource = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    extra_headers = [(name.encode(), value.encode()) for name, value in headers]
    with trio.fail_after(within_s):
        transport = await _connect(parts.scheme, parts.hostname or "", parts.port)
    async with transport, trio.open_nursery() as nursery:
        with trio.fail_after(within_s):
            socket = await wrap_client_stream(
                nursery,
                transport,
                parts.netloc.rpartition("@")[2],
                resource,
                subprotocols=list(subprotocols) or None,
                extra_headers=extra_headers,
                max_message_size=MAX_MESSAGE_BYTES,
            )
        yield socket, transport
        with trio.move_on_after(_GOODBYE_S), suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await socket.aclose()
        nursery.cancel_scope.cancel()


async def refusal(opening: Callable[[], AbstractAsyncContextManager[object]]) -> ConnectionRejected:
    """How an upgrade was refused with an HTTP status. Raises: UnmetError when it was not."""
    refused: ConnectionRejected | None = None
    try:
        async with opening():
            pass
    except* ConnectionRejected as group:
        refused = first_rejection(group)
    if refused is None:
        raise UnmetError("the upgrade was accepted")
    return refused


def first_rejection(group: BaseExceptionGroup[ConnectionRejected]) -> ConnectionRejected:
    """The one in this group, however deep the nurseries have put it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConnectionRejected)  # noqa: S101 - a group of them holds nothing else
    return error


async def _connect(scheme: str, host: str, port: int | None) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    is_tls = scheme == "wss"
    transport = await trio.open_tcp_stream(host, port or (443 if is_tls else 80))
    if not is_tls:
        return transport
    return trio.SSLStream(transport, ssl.create_default_context(), server_hostname=host, https_compatible=True)

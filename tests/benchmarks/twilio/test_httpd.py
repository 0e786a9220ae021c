"""The API's little web server is sound: one request in, one answer out, whatever comes."""

import h11
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from benchmarks.simulators.twilio.httpd import MAX_BODY_BYTES, HttpRequest, HttpResponse, serve_stream

POST = b"POST /a.json?x=1 HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n"


class Echo:
    """Keeps its requests."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return HttpResponse(status=201, body=b'{"ok":true}')


async def exchange(*parts: bytes, handler: Echo) -> tuple[int | None, bytes]:
    """What comes back for these bytes: the status and the body, None if nothing does."""
    ours, theirs = memory_stream_pair()
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    status, body = None, b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, theirs, handler)
        for part in parts:
            await ours.send_all(part)
        await ours.send_eof()
        while received := await ours.receive_some():
            client.receive_data(bytes(received))
    while not isinstance(event := client.next_event(), type(h11.NEED_DATA)):
        match event:
            case h11.Response(status_code=code):
                status = code
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                break
    return status, body


async def test_a_form_comes_in_and_json_goes_out() -> None:
    handler = Echo()
    head = POST + b"Content-Length: 29\r\n\r\n"
    assert await exchange(head, b"To=%2B1&Event=a&", b"Event=b&Empty=", handler=handler) == (201, b'{"ok":true}')
    [request] = handler.requests
    assert (request.method, request.path) == ("POST", "/a.json")
    assert request.form() == {"To": ["+1"], "Event": ["a", "b"], "Empty": [""]}


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    handler = Echo()
    head = POST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, theirs, handler)
        await ours.send_all(head)
        assert (await ours.receive_some()).startswith(b"HTTP/1.1 100 ")
        await ours.send_all(b"To=1")
        assert (await ours.receive_some()).startswith(b"HTTP/1.1 201 ")
    assert handler.requests[0].body == b"To=1"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000, 431),
        (POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1) + b"x" * (MAX_BODY_BYTES + 1), 413),
        (POST + b"Content-Length: 100\r\n\r\nTo=1", 400),
    ],
)
async def test_what_is_no_request_is_refused(raw: bytes, status: int) -> None:
    handler = Echo()
    assert (await exchange(raw, handler=handler))[0] == status
    assert handler.requests == []


async def test_a_peer_that_closes_without_a_word_is_not_answered() -> None:
    handler = Echo()
    assert await exchange(handler=handler) == (None, b"")


async def test_a_peer_that_dawdles_is_given_up(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, theirs, Echo())
        await ours.send_all(b"POST / HTTP/1.1\r\n")
        assert await ours.receive_some() == b""
    assert trio.current_time() == 10

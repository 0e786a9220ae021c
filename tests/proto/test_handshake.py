"""Who may open a WebSocket with us, what they are told if not, and how we open one ourselves."""

import pytest

from proto.errors import HandshakeError
from proto.handshake import MAX_HEAD_BYTES, ClientHandshake, RequestHead, accept_upgrade, parse_request_head, refuse

# The key and its answer are the example of RFC 6455, section 1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = {
    "Host": "relay.example:8080",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(headers: dict[str, str], first_line: str = "GET /media-stream?a=1 HTTP/1.1") -> bytes:
    return "\r\n".join([first_line, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode("latin-1")


def upgrade(**changed: str | None) -> RequestHead:
    """The good upgrade, with these headers changed, or left out when None."""
    headers = UPGRADE | {name.replace("_", "-"): value for name, value in changed.items()}
    return parse_request_head(request({name: value for name, value in headers.items() if value is not None}))


def opening() -> ClientHandshake:
    return ClientHandshake("api.example", "/v1/realtime?model=m", [("Authorization", "Bearer sk-1")])


def refusal(answer: bytes) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        opening().receive(answer)
    return caught.value


# Reading a request


def test_a_request_is_read_with_its_headers() -> None:
    head = parse_request_head(request(UPGRADE | {"X-Twilio-Signature": "abc=", "X-Name": "Zoë"}))
    assert (head.method, head.target, head.path) == ("GET", "/media-stream?a=1", "/media-stream")
    assert head.header("X-TWILIO-signature") == "abc="
    assert head.header("x-name") == "Zoë"
    assert head.header("cookie") is None
    assert ("host", "relay.example:8080") in head.headers


def test_of_a_header_sent_twice_the_first_value_counts() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: h\r\nX-A: one\r\nX-A: two\r\n\r\n"
    assert parse_request_head(raw).header("x-a") == "one"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n", 400),
        (b"", 400),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
def test_what_is_no_http_request_is_refused_with_a_status(raw: bytes, status: int) -> None:
    with pytest.raises(HandshakeError) as caught:
        parse_request_head(raw)
    assert caught.value.status == status


def test_a_broken_header_line_is_not_quoted_in_the_error() -> None:
    with pytest.raises(HandshakeError) as caught:
        parse_request_head(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization : Bearer sk-1\r\n\r\n")
    assert "sk-1" not in str(caught.value)
    assert "illegal header line" in str(caught.value)


def test_an_old_proxy_is_read_but_gets_no_websocket() -> None:
    head = parse_request_head(request(UPGRADE, "GET / HTTP/1.0"))
    assert head.header("host") == "relay.example:8080"
    assert not head.is_websocket_upgrade


# Answering an upgrade


def test_an_upgrade_is_accepted_with_the_key_of_the_rfc() -> None:
    answer = accept_upgrade(upgrade())
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert f"Sec-WebSocket-Accept: {ACCEPT}\r\n".encode() in answer
    assert answer.endswith(b"\r\n\r\n")


def test_offered_extensions_and_subprotocols_are_left_unused() -> None:
    answer = accept_upgrade(upgrade(Sec_WebSocket_Extensions="permessage-deflate", Sec_WebSocket_Protocol="audio.v1"))
    assert b"extensions" not in answer.lower()
    assert b"protocol:" not in answer.lower()


@pytest.mark.parametrize("connection", ["upgrade", "keep-alive, Upgrade", "UPGRADE,keep-alive"])
@pytest.mark.parametrize("protocol", ["websocket", "WebSocket"])
def test_browsers_and_proxies_spell_an_upgrade_differently(connection: str, protocol: str) -> None:
    head = upgrade(Connection=connection, Upgrade=protocol)
    assert head.is_websocket_upgrade
    assert accept_upgrade(head).startswith(b"HTTP/1.1 101 ")


def test_the_connection_header_may_come_in_two_lines() -> None:
    raw = request({"Host": "h", "Connection": "Upgrade", "connection": "keep-alive"} | dict(list(UPGRADE.items())[3:]))
    head = parse_request_head(raw[:-2] + b"Upgrade: websocket\r\n\r\n")
    assert accept_upgrade(head).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "head",
    [
        upgrade(Upgrade=None),
        upgrade(Connection=None),
        upgrade(Connection="keep-alive"),
        upgrade(Upgrade="h2c"),
        parse_request_head(request(UPGRADE, "POST /media-stream HTTP/1.1")),
    ],
)
def test_an_ordinary_request_is_no_upgrade(head: RequestHead) -> None:
    assert not head.is_websocket_upgrade
    with pytest.raises(HandshakeError) as caught:
        accept_upgrade(head)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (upgrade(Sec_WebSocket_Key=None), 400),
        (upgrade(Sec_WebSocket_Key=""), 400),
        (upgrade(Sec_WebSocket_Key="c2hvcnQ="), 400),
        (upgrade(Sec_WebSocket_Key="not base64 at all!!!"), 400),
        (upgrade(Sec_WebSocket_Key="é" * 24), 400),
        (upgrade(Sec_WebSocket_Version=None), 400),
        (upgrade(Sec_WebSocket_Version="8"), 426),
        (upgrade(Upgrade="h2c, websocket"), 400),
        (upgrade(Host="é.example"), 400),
        (upgrade(Connection="Upgrade, é"), 400),
    ],
)
def test_a_faulty_upgrade_is_refused_with_a_status(head: RequestHead, status: int) -> None:
    with pytest.raises(HandshakeError) as caught:
        accept_upgrade(head)
    assert caught.value.status == status


# Turning away


def test_a_refusal_is_one_complete_response() -> None:
    head, _, body = refuse(503, "try łater", [("Retry-After", "3")]).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 503 Service Unavailable"
    assert {b"Connection: close", b"Content-Length: 10", b"Retry-After: 3"} <= set(lines)
    assert body.decode() == "try łater"


def test_who_speaks_another_websocket_version_is_told_ours() -> None:
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in refuse(426)


@pytest.mark.parametrize(
    "header", [("X", "a\r\nSet-Cookie: b"), ("X", "a\nb"), ("X", "a\0"), ("X\r\nY", "a"), ("X", "é"), ("", "a")]
)
def test_no_header_can_smuggle_in_a_second_one(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="HTTP"):
        refuse(403, "", [header])
    with pytest.raises(ValueError, match="HTTP"):
        ClientHandshake("api.example", "/", [header])


@pytest.mark.parametrize("status", [0, 101, 204, 299, 1000])
def test_a_status_that_refuses_nothing_is_our_own_mistake(status: int) -> None:
    with pytest.raises(ValueError, match=str(status)):
        refuse(status, "body")


# Opening our own


def test_we_are_let_in_however_the_answer_is_cut() -> None:
    for cut in range(1, 120):
        client = opening()
        answer = accept_upgrade(parse_request_head(client.request()))
        assert client.receive(answer[:cut]) is None
        assert client.receive(answer[cut:]) == b""


def test_our_request_says_where_to_and_who_we_are() -> None:
    head = parse_request_head(opening().request())
    assert (head.target, head.header("host")) == ("/v1/realtime?model=m", "api.example")
    assert head.header("authorization") == "Bearer sk-1"
    assert opening().request() != opening().request()  # a fresh key for each


def test_frames_that_come_with_the_answer_are_handed_on() -> None:
    client = opening()
    answer = accept_upgrade(parse_request_head(client.request()))
    assert client.receive(answer + b"\x81\x02hi") == b"\x81\x02hi"


def test_a_refusal_keeps_its_status() -> None:
    error = refusal(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 30\r\n\r\n{")
    assert (error.status, error.retry_after_s) == (401, None)


@pytest.mark.parametrize(
    ("retry_after", "seconds"), [("20", 20.0), ("0.5", 0.5), ("Wed, 21 Oct 2015 07:28:00 GMT", None)]
)
def test_a_busy_server_says_when_to_come_back(retry_after: str, seconds: float | None) -> None:
    error = refusal(refuse(429, "slow down", [("Retry-After", retry_after)]))
    assert (error.status, error.retry_after_s) == (429, seconds)


@pytest.mark.parametrize("status_line", ["200 OK", "302 Found", "103 Early Hints"])
def test_any_answer_but_101_is_a_refusal(status_line: str) -> None:
    assert refusal(f"HTTP/1.1 {status_line}\r\n\r\n".encode()).status == int(status_line[:3])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"),
        (b"Sec-WebSocket-Accept", b"X-Accept"),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Connection: Upgrade", b"Connection: close"),
        (b"Upgrade: websocket", b"Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade: websocket"),
        (b"Upgrade: websocket", b"Sec-WebSocket-Protocol: audio\r\nUpgrade: websocket"),
        (b"Connection: Upgrade", b"Connection: \xe9"),
    ],
)
def test_an_answer_that_is_not_to_our_request_is_refused(old: bytes, new: bytes) -> None:
    client = opening()
    answer = accept_upgrade(parse_request_head(client.request()))
    assert old in answer
    with pytest.raises(HandshakeError):
        client.receive(answer.replace(old, new))


@pytest.mark.parametrize(
    "garbage", [b"\x15\x03\x01\x00\x02\x02\x16", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 banana\r\n\r\n"]
)
def test_another_protocol_is_noticed_at_once(garbage: bytes) -> None:
    assert refusal(garbage).status is None


def test_a_head_may_have_64_kib_and_no_byte_more() -> None:
    filler = b"HTTP/1.1 403 Forbidden\r\nX-Filler: "
    full = filler + b"x" * (MAX_HEAD_BYTES - len(filler) - 4) + b"\r\n\r\n"
    assert refusal(full).status == 403
    assert refusal(full.replace(b"xx", b"xxx", 1)).status is None
    assert "longer" in refusal(full[:-4] + b"x" * 5).detail

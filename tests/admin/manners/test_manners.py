"""What every answer owes: origins that may read it, headers that keep browsers safe, compression, a log line."""

import gzip
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from quart import Response, g, request
from quart_trio import QuartTrio
from structlog.testing import capture_logs

from admin.app import Services, create_app
from admin.manners.bounded_request import MAX_BODY_BYTES, bound_requests, takes_bytes
from admin.manners.compression import compress_answers
from admin.manners.safe_headers import NO_PAGE, OWN_PAGE, add_safe_headers
from relay import Totals
from tests.admin.conftest import MakeClient

CONSOLE = "https://console.example.com"
TEXT = "Grüezi mitenand. " * 500


@pytest.fixture
def app() -> QuartTrio:
    """An app with nothing but what a test adds."""
    return QuartTrio("bare")


# CORS


async def test_a_listed_origin_s_page_may_ask_and_read(make_client: MakeClient) -> None:
    client = make_client(cors_origins=frozenset({CONSOLE}))
    asked = {"Origin": CONSOLE, "Access-Control-Request-Method": "PUT"}
    preflight = await client.options("/api/flags/x", headers=asked)
    assert (preflight.status_code, await preflight.get_data(as_text=True)) == (204, "")
    assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    for answer in (preflight, await client.get("/health", headers={"Origin": CONSOLE})):
        assert answer.headers["Access-Control-Allow-Origin"] == CONSOLE
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        CONSOLE + ".evil.com",
        CONSOLE + ":8443",
        "http://console.example.com",
        "null",
        "*",
        "",
    ],
)
async def test_no_other_origin_may(origin: str, make_client: MakeClient) -> None:
    client = make_client(cors_origins=frozenset({CONSOLE}))
    asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    for answer in (
        await client.options("/health", headers=asked),
        await client.get("/health", headers={"Origin": origin}),
    ):
        assert not any(name.lower().startswith("access-control") for name, _ in answer.headers)
        assert "Origin" in answer.headers["Vary"]


async def test_errors_can_be_read_too(make_client: MakeClient) -> None:
    client = make_client(cors_origins=frozenset({CONSOLE}))
    answer = await client.get("/nowhere", headers={"Origin": CONSOLE})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (404, CONSOLE)


async def test_without_a_list_nothing_is_said_of_origins(make_client: MakeClient) -> None:
    answer = await make_client().get("/health", headers={"Origin": CONSOLE})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" not in answer.headers.get("Vary", "")


# Headers


async def test_every_answer_keeps_browsers_safe(make_client: MakeClient) -> None:
    client = make_client()
    for path in ("/health", "/nowhere", "/openapi.json"):
        headers = (await client.get(path)).headers
        assert headers["Content-Security-Policy"] == NO_PAGE
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Strict-Transport-Security"].startswith("max-age=")


async def test_browsers_are_held_to_https_only_where_we_have_it(make_client: MakeClient) -> None:
    for public_url in (None, "http://127.0.0.1:5050"):
        answer = await make_client(public_url=public_url).get("/health")
        assert "Strict-Transport-Security" not in answer.headers


async def test_a_route_may_say_otherwise(app: QuartTrio) -> None:
    add_safe_headers(app, is_https=False)

    @app.get("/page")
    async def page() -> Response:
        return Response("", headers={"Cache-Control": "max-age=60", "Content-Security-Policy": OWN_PAGE})

    @app.get("/answer")
    async def answer() -> str:
        return ""

    client = app.test_client()
    assert (await client.get("/page")).headers["Cache-Control"] == "max-age=60"
    assert (await client.get("/page")).headers["Content-Security-Policy"] == OWN_PAGE
    assert (await client.get("/answer")).headers["Cache-Control"] == "no-store"


# Compression


@pytest.mark.parametrize("times", [1, 20])
async def test_long_text_is_compressed_for_who_takes_it(times: int, app: QuartTrio) -> None:
    text = TEXT * times
    answer = await served(app, Response(text, content_type="application/json"), "gzip, br")
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding")
    data = await answer.get_data(as_text=False)
    assert gzip.decompress(data).decode() == text
    assert int(answer.headers["Content-Length"]) == len(data) < len(text) / 10


@pytest.mark.parametrize("accepts", ["", "br", "gzip;q=0", "identity"])
async def test_who_does_not_take_gzip_gets_the_text(accepts: str, app: QuartTrio) -> None:
    answer = await served(app, Response(TEXT, content_type="text/plain"), accepts)
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Vary"] == "Accept-Encoding"  # a cache must not take it for everybody's
    assert await answer.get_data(as_text=True) == TEXT


async def stream() -> AsyncIterator[bytes]:
    yield TEXT.encode()


@pytest.mark.parametrize(
    ("content", "content_type", "headers"),
    [
        ("short", "text/plain", {}),
        ("<Response/>" * 90, "text/xml", {}),
        (TEXT, "audio/wav", {}),
        (TEXT, "text/event-stream", {}),
        (stream, "application/json", {}),
        (TEXT, "application/json", {"ETag": '"3"'}),
        (TEXT, "text/plain", {"Content-Encoding": "br"}),
    ],
)
async def test_short_texts_audio_streams_and_what_is_tagged_are_left_alone(
    content: Any, content_type: str, headers: dict[str, str], app: QuartTrio
) -> None:
    body = content() if callable(content) else content
    answer = await served(app, Response(body, content_type=content_type, headers=headers), "gzip")
    assert answer.headers.get("Content-Encoding") == headers.get("Content-Encoding")
    assert "Vary" not in answer.headers


async def served(app: QuartTrio, response: Response, accepts: str) -> Response:
    compress_answers(app)

    @app.get("/")
    async def answer() -> Response:
        return response

    return await app.test_client().get("/", headers={"Accept-Encoding": accepts})


# Bodies


async def test_a_route_may_take_more_than_others(app: QuartTrio) -> None:
    bound_requests(app)

    @app.post("/large/<name>")
    @takes_bytes(2 * MAX_BODY_BYTES)
    async def large(name: str) -> str:
        return str(len(await request.get_data()))

    @app.post("/small")
    async def small() -> str:
        return str(len(await request.get_data()))

    client = app.test_client()
    assert (await client.post("/large/one", data=b"x" * 2 * MAX_BODY_BYTES)).status_code == 200
    assert (await client.post("/large/one", data=b"x" * (2 * MAX_BODY_BYTES + 1))).status_code == 413
    assert (await client.post("/small", data=b"x" * MAX_BODY_BYTES)).status_code == 200
    assert (await client.post("/small", data=b"x" * (MAX_BODY_BYTES + 1))).status_code == 413
    assert (await client.post("/nowhere", data=b"x" * (MAX_BODY_BYTES + 1))).status_code == 404


# The log


async def test_a_request_leaves_one_line_without_anything_secret(make_client: MakeClient) -> None:
    with capture_logs() as logs:
        answer = await make_client(signature=None, logs_requests=True).post(
            "/voice?token=secret",
            headers={"Authorization": "Bearer tl_secret", "Cookie": "tautline_session=secret"},
            form={"From": "+41790000000"},
            scope_base={"client": ("192.0.2.1", 1)},
        )
    line = next(entry for entry in logs if entry["event"] == "request.served")
    assert line.pop("ms") >= 0
    assert line == {
        "event": "request.served",
        "log_level": "info",
        "method": "POST",
        "route": "/voice",
        "status": 200,
        "bytes": int(answer.headers["Content-Length"]),
        "address": "192.0.2.1",
        "user_id": None,
    }


async def test_the_log_names_the_route_instead_of_the_path_and_the_user(app: QuartTrio) -> None:
    app = create_app(Services(totals=Totals, readiness=list))

    @app.get("/things/<name>")
    async def thing(name: str) -> str:
        g.principal = SimpleNamespace(user_id="7")
        return name

    with capture_logs() as logs:
        await app.test_client().get("/things/private")
        await app.test_client().get("/not/there/private")
    assert [(line["route"], line["status"], line["user_id"]) for line in logs] == [
        ("/things/<name>", 200, "7"),
        (None, 404, None),
    ]


@pytest.mark.parametrize(("reasons", "level"), [([], "debug"), (["It is draining."], "info")])
async def test_a_probe_is_in_the_log_only_when_it_fails(
    reasons: list[str], level: str, make_client: MakeClient
) -> None:
    with capture_logs() as logs:
        await make_client(readiness=lambda: reasons, logs_requests=True).get("/ready")
    assert [line["log_level"] for line in logs] == [level]

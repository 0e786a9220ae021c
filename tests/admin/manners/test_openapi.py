"""/openapi.json tells the truth about every route, and /docs shows it without help from elsewhere."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from quart.typing import TestClientProtocol as Client
from quart_schema import validate_response
from quart_trio import QuartTrio

from admin.api import open_api
from admin.manners.described import answers
from admin.manners.openapi import describe
from admin.store.database import Database
from tests.admin.conftest import MakeClient

METHODS = {"get", "put", "post", "patch", "delete"}


class Thing(msgspec.Struct, frozen=True):
    """A thing."""

    name: str


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    """A client of the whole API; describing it needs no database."""
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    return make_client(api=open_api(database, lambda: datetime.now(UTC)))


async def described(client: Client) -> dict[str, Any]:
    document: dict[str, Any] = await (await client.get("/openapi.json")).get_json()
    return document


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


async def test_the_document_says_what_it_is_and_how_to_get_in(client: Client) -> None:
    document = await described(client)
    assert (document["openapi"][:3], document["info"]["version"]) == ("3.1", "1.2.3")
    assert document["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "tautline_session"},
    }
    assert {"/health", "/ready", "/incoming-call", "/api/me", "/api/flags/{name}"} <= set(document["paths"])


async def test_each_operation_has_a_name_of_its_own_a_tag_and_a_good_answer(client: Client) -> None:
    found = operations(await described(client))
    assert {method for _, method in found} <= METHODS
    names = [operation["operationId"] for operation in found.values()]
    assert len(names) == len(set(names))
    for operation in found.values():
        assert operation["tags"]
        assert operation["summary"]
        assert any(status.startswith("2") for status in operation["responses"])
        assert all(answer["description"] for answer in operation["responses"].values() if "$ref" not in answer)


async def test_all_of_the_api_needs_somebody_and_has_one_shape_for_errors(client: Client) -> None:
    document = await described(client)
    for (path, _), operation in operations(document).items():
        if path.startswith("/api/"):
            assert operation["security"] in ([{"bearer": []}, {"session": []}], [])
            assert {"400", "401", "403", "404", "429", "503"} <= set(operation["responses"])
    for error in document["components"]["responses"].values():
        assert error["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
    assert document["components"]["schemas"]["ErrorBody"]["required"] == ["error"]


async def test_every_reference_leads_somewhere(client: Client) -> None:
    document = await described(client)
    for reference in set(re.findall(r'"#/([^"]+)"', msgspec.json.encode(document).decode())):
        node: Any = document
        for name in reference.split("/"):
            node = node[name]


async def test_paths_say_what_their_identifiers_look_like() -> None:
    app = QuartTrio("bare")
    describe(app, "1")

    @app.get("/api/things/<uuid:thing_id>/<int(min=1):number>")
    @validate_response(Thing)
    async def get_thing(thing_id: object, number: int) -> Thing:
        """Find a thing."""
        return Thing(str(thing_id))

    document = await described(app.test_client())
    given = document["paths"]["/api/things/{thing_id}/{number}"]["get"]
    assert {each["name"]: each["schema"] for each in given["parameters"]} == {
        "thing_id": {"type": "string", "format": "uuid"},
        "number": {"type": "integer", "minimum": 1},
    }
    assert given["operationId"] == "get_thing"


async def test_paths_say_what_a_call_may_be_called(client: Client) -> None:
    for (path, _), operation in operations(await described(client)).items():
        if path.startswith("/api/calls/{"):
            [name] = [each["schema"] for each in operation["parameters"] if each["in"] == "path"]
            taken = [each for each in ("CA1", "CA" + "f" * 32, "export", "summary") if re.search(name["pattern"], each)]
            assert taken == ["CA1", "CA" + "f" * 32]


async def test_an_idempotency_key_is_described_as_it_is_taken(client: Client) -> None:
    document = await described(client)
    for path in ("/api/calls", "/api/outbound/initiate"):
        [key] = [each for each in document["paths"][path]["post"]["parameters"] if each["in"] == "header"]
        assert (key["name"].lower(), key.get("required", False)) == ("idempotency-key", False)
        assert key["schema"] == {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}


async def test_answers_that_are_no_json_are_told_and_aliases_left_out() -> None:
    app = QuartTrio("bare")
    describe(app, "1")

    @app.get("/things/sound")
    @app.get("/api/things/sound")
    @answers(200, "How it sounds.", "audio/wav")
    @answers(204, "It is silent.")
    async def get_sound() -> str:
        """Hear a thing."""
        return ""

    document = await described(app.test_client())
    assert list(document["paths"]) == ["/api/things/sound"]
    told = document["paths"]["/api/things/sound"]["get"]["responses"]
    assert told["200"] == {"description": "How it sounds.", "content": {"audio/wav": {"schema": {}}}}
    assert told["204"] == {"description": "It is silent."}


async def test_two_shapes_of_one_name_are_not_mixed_up() -> None:
    app = QuartTrio("bare")
    describe(app, "1")
    first = msgspec.defstruct("Page", [("one", Thing)])
    second = msgspec.defstruct("Page", [("two", Thing)])
    for struct, other in ((first, "Holder1"), (second, "Holder2")):
        holder = msgspec.defstruct(other, [("page", struct)])
        app.add_url_rule(f"/api/{other}", other, _answering(holder))
    with pytest.raises(ValueError, match="two shapes are called Page"):
        app.extensions["QUART_SCHEMA"].openapi_provider.schema()


def _answering(struct: type) -> Any:
    @validate_response(struct)
    async def get() -> Any:
        return None

    return get


async def test_the_page_is_served_from_here_and_may_load_nothing_from_elsewhere(client: Client) -> None:
    page = await client.get("/docs")
    text = await page.get_data(as_text=True)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "default-src 'none'; script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    for link in re.findall(r'(?:src|href)="(/docs/[^"]*)"', text):
        assert (await client.get(link)).status_code == 200
    for path in ("/docs", "/docs/docs.js", "/docs/docs.css"):
        loaded = await (await client.get(path)).get_data(as_text=True)
        assert "http:" not in loaded
        assert "https:" not in loaded
        assert "innerHTML" not in loaded
    for path in ("/redocs", "/scalar", "/docs/../app.py", "/docs/other"):
        assert (await client.get(path)).status_code == 404

"""/openapi.json: what quart-schema reads from the routes, and, said once, what is true of all of them.

Everything under /api takes a key or a session and has one shape for errors. A path that is another one's alias is left
out, so that each operation stands there once.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from quart import Quart, Response
from quart_schema import APIKeySecurityScheme, DataSource, HttpSecurityScheme, Info, OpenAPIProvider, QuartSchema, hide
from quart_trio import QuartTrio
from werkzeug.routing import BaseConverter, IntegerConverter, Rule, UnicodeConverter, UUIDConverter

from admin.errors import ErrorBody
from admin.manners.described import answers_of

API: Final = "/api/"
REFERENCE: Final = "#/components/schemas/{name}"
TWIML: Final = ("text/xml", "TwiML: what happens next on the call.")
DESCRIPTION: Final = (
    "Personas, numbers, calls and people of a Tautline server. Send an API key as a Bearer token. Times are RFC 3339, "
    "in UTC. A list goes on where its next_cursor says. Every error has the same shape, and its code is stable."
)
_ERRORS: Final = {
    "400": "What was sent cannot be used; the message says why.",
    "401": "Nobody is known to ask: no credentials, or none that are good.",
    "403": "Whoever asks may not do that.",
    "404": "There is no such thing, or it is in another account.",
    "413": "The body is larger than this route takes.",
    "429": "Too many requests; Retry-After says when to come again.",
    "503": "The database cannot be reached, or what would be needed is not configured.",
}
_TOLD_ERROR: Final = re.compile(r"\b([45]\d\d) ([a-z]+(?:_[a-z]+)+)")  # "409 email_taken", as docstrings have it
_BODILESS: Final = ("204", "304")

Operation = dict[str, Any]


def describe(app: QuartTrio, version: str) -> None:
    """Serve /openapi.json. quart-schema's own pages stay off: they load scripts from elsewhere."""
    _Description(
        app,
        info=Info(title="Tautline", version=version, description=DESCRIPTION),
        conversion_preference="msgspec",
        security_schemes={
            "bearer": HttpSecurityScheme(scheme="bearer"),
            "session": APIKeySecurityScheme(name="tautline_session", in_="cookie"),
        },
        openapi_provider_class=TruthfulProvider,
        redoc_ui_path=None,
        scalar_ui_path=None,
        swagger_ui_path=None,
    )


class _Description(QuartSchema):
    """Makes the document once, when serving begins: later it would hold up the calls in this process."""

    _document = b""

    def init_app(self, app: Quart) -> None:
        super().init_app(app)
        app.before_serving(self._make)

    @hide
    async def openapi(self) -> Response:
        await self._make()
        return Response(self._document, content_type="application/json")

    async def _make(self) -> None:
        if not self._document:
            self._document = msgspec.json.encode(self.openapi_provider.schema())


class TruthfulProvider(OpenAPIProvider):
    """Adds what the routes do not say one by one."""

    def schema(self) -> dict[str, Any]:
        """The document. Raises: ValueError if two shapes have the same name, because one would hide the other."""
        self._shapes: dict[str, Any] = {}
        document = super().schema()
        document["components"]["schemas"].update(_schema_of(ErrorBody)[1])
        document["components"]["responses"] = {f"Error{status}": _error(text) for status, text in _ERRORS.items()}
        document["paths"] = dict(sorted(document["paths"].items()))
        seen: set[str] = set()
        for path, operations in document["paths"].items():
            for operation in operations.values():
                _make_unique(operation, path, seen)
        return document

    def generate_rules(self) -> Iterable[Rule]:
        """Those of which none is an alias, under /api, of another."""
        rules = list(super().generate_rules())
        known = {rule.rule for rule in rules}
        return [rule for rule in rules if API.rstrip("/") + rule.rule not in known]

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """See OpenAPIProvider."""
        paths, shapes = super().build_paths(rule)
        self._require_one_shape_each(shapes)
        view = self._app.view_functions[rule.endpoint]
        for path, operations in paths.items():
            for method, operation in operations.items():
                operations[method] = self._completed(operation, path, rule, view)
        return paths, shapes

    def build_querystring_parameters(self, model: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """See OpenAPIProvider."""
        reference, shapes = _schema_of(model)
        shape = shapes.pop(reference["$ref"].rpartition("/")[2])
        needed = shape.get("required", [])
        return [
            {"name": name, "in": "query", "required": name in needed, "schema": schema}
            for name, schema in shape["properties"].items()
        ], shapes

    def build_request_body(self, model: Any, source: DataSource) -> tuple[dict[str, Any], dict[str, Any]]:
        """See OpenAPIProvider, which would leave out the shapes within the shape."""
        body, _ = super().build_request_body(model, source)
        schema, shapes = _schema_of(model)
        (content,) = body["content"].values()
        content["schema"] = schema
        return {**body, "required": True}, shapes

    def build_response_object(self, model: Any, headers_model: Any | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """See OpenAPIProvider; the same."""
        schema, shapes = _schema_of(model)
        response = {
            "description": inspect.getdoc(model) or "What was asked for.",
            "content": {"application/json": {"schema": schema}},
        }
        if headers_model is not None:
            parameters, _ = self.build_headers_parameters(headers_model)
            response["headers"] = {each["name"]: {"schema": each["schema"]} for each in parameters}
        return response, shapes

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        """See OpenAPIProvider: also what the identifier looks like."""
        parameter = super().build_path_parameter(name, converter)
        schema = parameter["schema"]
        if isinstance(converter, UUIDConverter):
            schema["format"] = "uuid"
        elif isinstance(converter, IntegerConverter):
            schema["minimum"] = 0 if converter.min is None else converter.min
            if converter.max is not None:
                schema["maximum"] = converter.max
        elif schema.get("type") == "string" and not isinstance(converter, UnicodeConverter):
            schema["pattern"] = f"^{converter.regex}$"
        elif schema.get("type") == "string":
            schema["minLength"] = 1
        return parameter

    def operation_id(self, method: str, path: str, func: Callable[..., Any]) -> str | None:  # noqa: ARG002 - given to all
        """The function's name, which says already what it does."""
        return func.__name__

    def _completed(self, operation: Operation, path: str, rule: Rule, view: Callable[..., Any]) -> Operation:
        # A copy: quart-schema gives the same parts to each method of a route.
        blueprint = rule.endpoint.rpartition(".")[0]
        responses = {str(status): dict(answer) for status, answer in operation["responses"].items()}
        for answer in answers_of(view):
            known = responses.setdefault(str(answer.status), {"description": answer.description})
            if answer.content_type is not None:
                known["content"] = {**known.get("content", {}), answer.content_type: _content(answer.content_type)}
        if path.startswith(API):
            if not any(status.startswith("2") for status in responses):
                responses["204"] = {"description": "It is done."}  # what names no answer gives none
            for status in _ERRORS:
                if status != "413" or "requestBody" in operation:
                    responses.setdefault(status, {"$ref": f"#/components/responses/Error{status}"})
            for status, code in _TOLD_ERROR.findall(view.__doc__ or ""):
                responses.setdefault(status, _error(f"{code}, for one."))
            operation = {"security": [{"bearer": []}, {"session": []}], **operation}
        elif not responses:
            responses = _twilio_s()
        for status in _BODILESS:
            responses.get(status, {}).pop("content", None)
        return {**operation, "tags": operation.get("tags") or [blueprint or "others"], "responses": responses}

    def _require_one_shape_each(self, shapes: dict[str, Any]) -> None:
        for name, shape in shapes.items():
            if self._shapes.setdefault(name, shape) != shape:
                raise ValueError(f"two shapes are called {name}; rename one of the structs")


def _schema_of(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of this type, and of each shape that it refers to, by name."""
    (schema,), shapes = msgspec.json.schema_components([model], ref_template=REFERENCE)
    return schema, shapes


def _error(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
    }


def _twilio_s() -> dict[str, Any]:
    content_type, description = TWIML
    return {
        "200": {"description": description, "content": {content_type: _content(content_type)}},
        "400": _error(_ERRORS["400"]),
        "403": _error("The request is not signed by Twilio."),
        "413": _error(_ERRORS["413"]),
    }


def _content(content_type: str) -> dict[str, Any]:
    return {"schema": {"type": "string"}} if content_type.startswith("text/") else {"schema": {}}


def _make_unique(operation: Operation, path: str, seen: set[str]) -> None:
    """A function that serves several paths or methods gives them one name, and clients make functions of it."""
    name = operation["operationId"]
    if name in seen:
        name += "_" + re.sub(r"[^a-z0-9]+", "_", path.lower()).strip("_")
    while name in seen:
        name += "_again"
    seen.add(name)
    operation["operationId"] = name

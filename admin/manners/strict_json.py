"""Bodies are what their shape says, to the letter: "5" is no number, and text has no NUL.

quart-schema reads bodies as leniently as query strings, and /openapi.json would not tell the truth. PostgreSQL cannot
hold a NUL character; JSON can write one.
"""

from typing import Any, Final

import msgspec
from quart import current_app, request
from quart_schema import RequestSchemaValidationError
from quart_schema.validation import QUART_SCHEMA_REQUEST_ATTRIBUTE, DataSource, QuerystringValidationError
from quart_trio import QuartTrio

_NUL_IN_QUERY: Final = b"%00"


def be_strict(app: QuartTrio) -> None:
    """Refuse what does not fit before a route sees it. Raises in requests: RequestSchemaValidationError."""

    async def check() -> None:
        if _NUL_IN_QUERY in request.query_string:
            raise QuerystringValidationError(ValueError("text must not hold a NUL character"))
        shape = _shape()
        if shape is None or not request.is_json:
            return
        raw = await request.get_data(cache=True, as_text=False, parse_form_data=False)
        try:
            msgspec.convert(_plain(msgspec.json.decode(raw)), type=shape)
        except RecursionError:
            raise RequestSchemaValidationError(ValueError("it is nested too deeply")) from None
        except (msgspec.DecodeError, ValueError) as error:
            raise RequestSchemaValidationError(error) from None

    app.before_request(check)


def _shape() -> Any | None:
    """What the route's body must be, None if it has none or is no JSON."""
    if request.endpoint is None:
        return None
    wanted = getattr(current_app.view_functions[request.endpoint], QUART_SCHEMA_REQUEST_ATTRIBUTE, None)
    return wanted[0] if wanted is not None and wanted[1] is DataSource.JSON else None


def _plain(value: Any) -> Any:
    """The value with whole numbers as such: in JSON, 1.0 is one. Raises: ValueError for text that has a NUL."""
    match value:
        case str() if "\0" in value:
            raise ValueError("text must not hold a NUL character")
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {_plain(name): _plain(each) for name, each in value.items()}
    return value

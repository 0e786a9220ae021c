"""What a client may send, and how it is refused: checks put together from small parts, and the error each one raises.

A check takes a value and its dotted path and raises the error the service would send; the session makes one `error`
event of it, changes nothing, and goes on. The codes and sentences are the service's own, because its clients branch on
them. The strictness is the point: the service drops a whole update over one unknown key, and a client must learn that
here, not on its first call.
"""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.simulators.openai.events import Json


class RequestError(Exception):
    """One client event that cannot be carried out.

    Attributes: code, null for the few errors that have none; message; param, the dotted path of what was wrong, if one
    thing was; kind, the error's `type` on the wire.
    """

    def __init__(
        self, code: str | None, message: str, *, param: str | None = None, kind: str = "invalid_request_error"
    ) -> None:
        self.code, self.message, self.param, self.kind = code, message, param, kind
        super().__init__(message)

    def event(self, client_event_id: str | None) -> Json:
        """The `error` event; it names the client's event, when that had a name."""
        error = {"type": self.kind, "code": self.code, "message": self.message, "param": self.param}
        return {"type": "error", "error": {**error, "event_id": client_event_id}}


def unknown_parameter(path: str) -> RequestError:
    """A key that this object does not have; everything from the dead beta interface ends here."""
    return RequestError("unknown_parameter", f"Unknown parameter: '{path}'.", param=path)


def missing_parameter(path: str) -> RequestError:
    """A key that must be there."""
    return RequestError("missing_required_parameter", f"Missing required parameter: '{path}'.", param=path)


def invalid_type(path: str, expected: str, value: Any) -> RequestError:
    """A value of the wrong JSON type."""
    message = f"Invalid type for '{path}': expected {expected}, but got {_kind_of(value)} instead."
    return RequestError("invalid_type", message, param=path)


def unsupported_value(path: str, value: Any, supported: tuple[str, ...]) -> RequestError:
    """A value outside a closed set."""
    quoted = [f"'{one}'" for one in supported]
    listed = " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
    return RequestError("invalid_value", f"Invalid value: '{value}'. Supported values are: {listed}.", param=path)


def out_of_range(path: str, value: float, low: float, high: float) -> RequestError:
    """A number outside its range."""
    message = f"Invalid '{path}': expected a value between {low:g} and {high:g}, but got {value:g} instead."
    return RequestError("invalid_value", message, param=path)


def too_long(path: str, length: int, longest: int) -> RequestError:
    """A string above its limit."""
    message = (
        f"Invalid '{path}': string too long. Expected a string with maximum length {longest}, "
        f"but got a string with length {length} instead."
    )
    return RequestError("string_above_max_length", message, param=path)


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
    return "an object"


Check = Callable[[Any, str], None]


def anything(_value: Any, _path: str) -> None:
    """Passed on unread."""


def boolean(value: Any, path: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise invalid_type(path, "a boolean", value)


def text(max_length: int | None = None) -> Check:
    """A string, of at most so many characters."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise invalid_type(path, "a string", value)
        if max_length is not None and len(value) > max_length:
            raise too_long(path, len(value), max_length)

    return check


def one_of(*supported: str) -> Check:
    """One string of a closed set."""

    def check(value: Any, path: str) -> None:
        if value not in supported:
            raise unsupported_value(path, value, supported)

    return check


def integer(low: int, high: int) -> Check:
    """A whole number within these bounds, both allowed."""

    def check(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise invalid_type(path, "an integer", value)
        if not low <= value <= high:
            raise out_of_range(path, value, low, high)

    return check


def number(low: float, high: float) -> Check:
    """A number within these bounds, both allowed."""

    def check(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid_type(path, "a decimal", value)
        if not low <= value <= high:
            raise out_of_range(path, value, low, high)

    return check


def nullable(inner: Check) -> Check:
    """Null, or what `inner` wants."""

    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def list_of(inner: Check) -> Check:
    """An array, each element as `inner` wants it."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise invalid_type(path, "an array", value)
        for index, element in enumerate(value):
            inner(element, f"{path}[{index}]")

    return check


def string_or(inner: Check, *supported: str) -> Check:
    """One string of a closed set, or anything but a string as `inner` wants it."""
    among = one_of(*supported)

    def check(value: Any, path: str) -> None:
        (among if isinstance(value, str) else inner)(value, path)

    return check


def fields(known: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """An object with these keys and no others; `required` ones must be there."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise invalid_type(path, "an object", value)
        for key in required:
            if key not in value:
                raise missing_parameter(join(path, key))
        for key, one in value.items():
            if key not in known:
                raise unknown_parameter(join(path, key))
            known[key](one, join(path, key))

    return check


def tagged(variants: Mapping[str, Check], tag: str = "type") -> Check:
    """An object whose `tag` says which of these checks it must pass."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise invalid_type(path, "an object", value)
        if tag not in value:
            raise missing_parameter(join(path, tag))
        one_of(*variants)(value[tag], join(path, tag))
        variants[value[tag]](value, path)

    return check


def metadata(value: Any, path: str) -> None:
    """At most 16 pairs of strings, keys up to 64 characters, values up to 512."""
    if not isinstance(value, dict):
        raise invalid_type(path, "an object", value)
    if len(value) > 16:
        raise RequestError("invalid_value", f"Invalid '{path}': at most 16 pairs are allowed.", param=path)
    for key, one in value.items():
        text(64)(key, f"{path}.{key}")
        text(512)(one, f"{path}.{key}")


def join(path: str, key: str) -> str:
    """The path of a key inside the object at `path`; "" is the event itself."""
    return f"{path}.{key}" if path else key

"""RequestError: why a client's event is refused, in the words clients match on.

Whatever is wrong with an event is raised as one of these and becomes one `error` event; nothing else changes, and the
session goes on. The codes and sentences are the service's own, because its clients branch on them.
"""

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

"""Checks: what a JSON value must look like, put together from small parts, with the path of what is wrong.

A check takes a value and its dotted path and raises the error the service would send. The strictness is the point:
the service drops a whole update over one unknown key, and a client must learn that here, not on its first call.
"""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.simulators.openai.errors import (
    RequestError,
    invalid_type,
    missing_parameter,
    out_of_range,
    too_long,
    unknown_parameter,
    unsupported_value,
)

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

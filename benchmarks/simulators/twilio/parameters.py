"""What a REST request asks for, read and checked: the parameters of a new call and of a change to a live one. Pure.

Refusals carry Twilio's codes. Where Twilio documents none, 20001 (invalid parameter) stands in.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast
from urllib.parse import urlsplit

import msgspec

from benchmarks.simulators.twilio.call import Inline, Order
from benchmarks.simulators.twilio.options import CallOptions, MachineDetection, Method, StatusEvent
from benchmarks.simulators.twilio.progress import Subscription
from benchmarks.simulators.twilio.resources import ApiProblemError
from benchmarks.simulators.twilio.verbs import Ask

MAX_TWIML_CHARS: Final = 4000
MAX_RING_TIMEOUT_S: Final = 600
DEFAULT_RING_TIMEOUT_S: Final = 60

INVALID_PARAMETER: Final = 20001
NO_TO: Final = 21201
BAD_URL: Final = 21205
BAD_TIMEOUT: Final = 21208
BAD_METHOD: Final = 21209
NOT_MY_NUMBER: Final = 21210
BAD_TO: Final = 21211
BAD_FROM: Final = 21212
NO_FROM: Final = 21213
MALFORMED_NUMBER: Final = 21217
NO_SUCH_APPLICATION: Final = 21218
BAD_STATUS_CALLBACK: Final = 21609
BAD_STATUS_EVENTS: Final = 21626  # accepted, but no callback is ever sent

_EVENTS: Final = ("initiated", "ringing", "answered", "completed")
_E164: Final = re.compile(r"\+[1-9]\d{6,14}")
_NUMBER_LIKE: Final = re.compile(r"[+\d][\d ().-]*")

Form = Mapping[str, Sequence[str]]


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """A change to a live call."""

    ends_as: Literal["completed", "canceled"] | None
    order: Order | None
    subscription: Subscription | None


def read_create(form: Form, template: CallOptions, numbers: frozenset[str]) -> CallOptions:
    """The call that is asked for.

    Args: template, everything that a request cannot say; numbers, the account's own, empty allows any.
    Raises: ApiProblemError.
    """
    document = _document(form)
    subscription = read_subscription(form)
    fallback = _fallback(form)
    return msgspec.structs.replace(
        template,
        direction="outbound-api",
        stream_url=None,
        to_number=_to(form),
        from_number=_from(form, numbers),
        webhook_url=document.url if isinstance(document, Ask) else None,
        webhook_method=document.method if isinstance(document, Ask) else "POST",
        twiml=document.twiml if isinstance(document, Inline) else None,
        fallback_url=fallback[0] if fallback else None,
        fallback_method=fallback[1] if fallback else "POST",
        status_callback_url=subscription.url if subscription else None,
        status_callback_method=subscription.method if subscription else "POST",
        status_callback_events=subscription.events if subscription else ("completed",),
        ring_timeout_s=_ring_timeout_s(form),
        max_seconds=_whole(form, "TimeLimit", INVALID_PARAMETER) or template.max_seconds,
        machine_detection=_machine_detection(form),
    )


def read_update(form: Form) -> Update:
    """The change that is asked for. Raises: ApiProblemError."""
    status = _one(form, "Status")
    if status not in ("", "completed", "canceled"):
        raise ApiProblemError(400, INVALID_PARAMETER, f"Status may be completed or canceled, not {status!r}")
    if _one(form, "Url") and _one(form, "Twiml"):
        raise ApiProblemError(400, INVALID_PARAMETER, "Url and Twiml exclude each other")
    order = None
    if _one(form, "Url") or _one(form, "Twiml"):
        order = Order(document=_document(form), fallback=_fallback(form))
    return Update(
        ends_as=cast("Literal['completed', 'canceled']", status) if status else None,
        order=order,
        subscription=read_subscription(form) if order is not None else None,  # alone it is passed over
    )


def read_subscription(form: Form) -> Subscription | None:
    """Who is told how the call gets on. Raises: ApiProblemError."""
    url = _one(form, "StatusCallback")
    if not url:
        return None
    if not _is_url(url) or "_" in (urlsplit(url).hostname or ""):
        raise ApiProblemError(400, BAD_STATUS_CALLBACK, f"StatusCallback {url!r} is not a valid URL")
    asked = form.get("StatusCallbackEvent", ["completed"])
    # One parameter for each event: a list in a single one, or a name that Twilio does not know, silences all of them.
    events = tuple(event for event in _EVENTS if event in asked) if set(asked) <= set(_EVENTS) else ()
    return Subscription(url, _method(form, "StatusCallbackMethod"), cast("tuple[StatusEvent, ...]", events))


def has_unknown_events(form: Form) -> bool:
    """Whether the request names events that do not exist (Twilio takes it, and logs error 21626)."""
    return not set(form.get("StatusCallbackEvent", ())) <= set(_EVENTS)


def _document(form: Form) -> Ask | Inline:
    url, twiml = _one(form, "Url"), _one(form, "Twiml")
    if _one(form, "ApplicationSid"):
        raise ApiProblemError(400, NO_SUCH_APPLICATION, "this account has no applications")
    if url:
        if not _is_url(url):
            raise ApiProblemError(400, BAD_URL, f"Url is not a valid URL: {url}")
        return Ask(url=url, method=_method(form, "Method"))
    if not twiml:
        raise ApiProblemError(400, BAD_URL, "Url parameter is required")
    if len(twiml) > MAX_TWIML_CHARS:
        raise ApiProblemError(400, INVALID_PARAMETER, f"Twiml is longer than {MAX_TWIML_CHARS} characters")
    return Inline(twiml)


def _to(form: Form) -> str:
    to = _one(form, "To")
    if not to:
        raise ApiProblemError(400, NO_TO, "No 'To' number is specified")
    if to.startswith(("sip:", "sips:", "client:")) or _E164.fullmatch(to):
        return to
    if _NUMBER_LIKE.fullmatch(to):
        raise ApiProblemError(400, BAD_TO, f"The phone number you are attempting to call, {to}, is not valid.")
    raise ApiProblemError(400, MALFORMED_NUMBER, f"{to!r} does not appear to be a phone number")


def _from(form: Form, numbers: frozenset[str]) -> str:
    caller = _one(form, "From")
    if not caller:
        raise ApiProblemError(400, NO_FROM, "A 'From' phone number is required")
    if not caller.startswith("client:") and not _E164.fullmatch(caller):
        raise ApiProblemError(400, BAD_FROM, f"The 'From' number {caller} is not a valid phone number")
    if numbers and caller not in numbers:
        raise ApiProblemError(400, NOT_MY_NUMBER, f"The source phone number {caller} is not verified for this account")
    return caller


def _fallback(form: Form) -> tuple[str, Method] | None:
    url = _one(form, "FallbackUrl")
    if not url:
        return None
    if not _is_url(url):
        raise ApiProblemError(400, BAD_URL, f"FallbackUrl is not a valid URL: {url}")
    return url, _method(form, "FallbackMethod")


def _ring_timeout_s(form: Form) -> int:
    timeout_s = _whole(form, "Timeout", BAD_TIMEOUT) or DEFAULT_RING_TIMEOUT_S
    if timeout_s > MAX_RING_TIMEOUT_S:
        raise ApiProblemError(400, BAD_TIMEOUT, f"Timeout is longer than {MAX_RING_TIMEOUT_S} seconds")
    return timeout_s


def _machine_detection(form: Form) -> MachineDetection | None:
    mode = _one(form, "MachineDetection")
    if not mode:
        return None
    if mode not in ("Enable", "DetectMessageEnd"):
        raise ApiProblemError(400, INVALID_PARAMETER, f"MachineDetection cannot be {mode!r}")
    return MachineDetection(
        mode=cast("Literal['Enable', 'DetectMessageEnd']", mode),
        is_async=_one(form, "AsyncAmd").lower() == "true",
        callback_url=_one(form, "AsyncAmdStatusCallback") or None,
        callback_method=_method(form, "AsyncAmdStatusCallbackMethod"),
        timeout_s=_whole(form, "MachineDetectionTimeout", INVALID_PARAMETER) or 30,
    )


def _method(form: Form, name: str) -> Method:
    method = _one(form, name).upper() or "POST"
    if method not in ("GET", "POST"):
        raise ApiProblemError(400, BAD_METHOD, f"{name} may be GET or POST, not {method}")
    return "GET" if method == "GET" else "POST"


def _whole(form: Form, name: str, code: int) -> int | None:
    text = _one(form, name)
    if not text:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise ApiProblemError(400, code, f"{name} is not a positive number: {text}")
    return int(text)


def _one(form: Form, name: str) -> str:
    values = form.get(name)
    return values[-1] if values else ""


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in url

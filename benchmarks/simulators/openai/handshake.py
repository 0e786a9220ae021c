"""The handshake: who may open a session, decided from the request and the faults alone.

The service refuses in two ways: with an HTTP status, before there is a WebSocket, and with an `error` event and a close
code after a perfectly good upgrade. A client has to expect both.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from benchmarks.simulators.openai.capture import scrubbed
from benchmarks.simulators.openai.checks import RequestError
from benchmarks.simulators.openai.config import SimulatorConfig
from benchmarks.simulators.openai.events import Close, Json
from benchmarks.simulators.openai.session_config import is_conversation_model

PATH: Final = "/v1/realtime"
SUBPROTOCOL: Final = "realtime"
_KEY_SUBPROTOCOL: Final = "openai-insecure-api-key."
_BETA_SUBPROTOCOL: Final = "openai-beta.realtime-v1"
_KEY_HEADERS: Final = ("authorization", "proxy-authorization", "api-key", "x-api-key", "cookie")
_PLAIN_QUERY: Final = ("model", "call_id", "intent")

# What such a status says; OpenAI's wording for it is not known.
_FAULT_REASONS: Final = {
    403: ("access_denied", "This key has no access to the Realtime API.", "invalid_request_error"),
    429: ("rate_limit_exceeded", "Too many connections. Please try again later.", "rate_limit_error"),
    503: ("service_unavailable", "The service is overloaded. Please try again later.", "server_error"),
}
_OTHER_REASON: Final = (None, "The server had an error while processing your request.", "server_error")

Headers = Sequence[tuple[bytes, bytes]]


class Request(msgspec.Struct, frozen=True):
    """What an upgrade asks for."""

    target: str  # path and query
    headers: Headers  # names in lower case
    subprotocols: tuple[str, ...]


class Upgrade(msgspec.Struct, frozen=True):
    """What is remembered of an upgrade request, for whoever asserts on it later: everything but its keys."""

    number: int  # of the connection
    path: str
    query: dict[str, str]  # values of unknown names are left out: one of them may be a key
    headers: dict[str, str]  # by lower-case name, without those that carry keys
    subprotocols: tuple[str, ...]


class Reject(msgspec.Struct, frozen=True):
    """No WebSocket: an HTTP answer."""

    status: int
    body: Json
    headers: Headers = ()


class CloseAfterUpgrade(msgspec.Struct, frozen=True):
    """A WebSocket that says why not, and closes."""

    subprotocol: str | None
    event: Json  # the `error` event, still without its id
    close: Close


class Accept(msgspec.Struct, frozen=True):
    """A session with this model."""

    subprotocol: str | None
    model: str


def judge(request: Request, config: SimulatorConfig) -> Accept | CloseAfterUpgrade | Reject:
    """What becomes of this upgrade."""
    url = urlsplit(request.target)
    if url.path != PATH:
        refusal = RequestError("not_found", f"Invalid URL (GET {url.path})")
        return Reject(404, _http_body(refusal))
    if config.faults.http_status is not None:
        return _faulty(config.faults.http_status, config.faults.retry_after_s)
    key = _key(request)
    if key is None:
        message = "Missing bearer or basic authentication in header"
        return Reject(401, _http_body(RequestError("missing_api_key", message)))
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None
    if not _is_good(key, config):
        refusal = RequestError("invalid_api_key", "Incorrect API key provided.")
        if config.bad_key_answer == "http_401":
            return Reject(401, _http_body(refusal))
        return _close(subprotocol, 3000, refusal)
    if _is_beta(request):
        return _close(
            subprotocol, 4000, RequestError("beta_api_shape_disabled", "The beta API shape is no longer served.")
        )
    return _model(parse_qs(url.query), subprotocol, config)


def recorded(request: Request, number: int) -> Upgrade:
    """The request as it may be shown to anybody."""
    url = urlsplit(request.target)
    query = {name: values[0] if name in _PLAIN_QUERY else "" for name, values in parse_qs(url.query).items()}
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers}
    hidden = (*_KEY_HEADERS, "sec-websocket-protocol")
    shown = {name: scrubbed(value) for name, value in headers.items() if name not in hidden}
    offered = tuple(_KEY_SUBPROTOCOL if one.startswith(_KEY_SUBPROTOCOL) else one for one in request.subprotocols)
    return Upgrade(number, url.path, query, shown, offered)


def _faulty(status: int, retry_after_s: int | None) -> Reject:
    code, message, kind = _FAULT_REASONS.get(status, _OTHER_REASON)
    headers = () if retry_after_s is None else ((b"Retry-After", str(retry_after_s).encode()),)
    return Reject(status, _http_body(RequestError(code, message, kind=kind)), headers)


def _model(query: dict[str, list[str]], subprotocol: str | None, config: SimulatorConfig) -> Accept | CloseAfterUpgrade:
    model = query.get("model", [""])[0]
    if not model and not query.keys() & {"call_id", "intent"}:
        return _close(
            subprotocol, 4000, RequestError("missing_model", "You must provide a model parameter.", param="model")
        )
    model = model or config.default_model
    if not is_conversation_model(model):
        message = f"The model '{model}' is not available on this endpoint."
        return _close(subprotocol, 4000, RequestError("invalid_model", message, param="model"))
    return Accept(subprotocol, model)


def _key(request: Request) -> str | None:
    """The API key, from the header or, as browsers must send it, from a subprotocol."""
    for offered in request.subprotocols:
        if offered.startswith(_KEY_SUBPROTOCOL):
            return offered.removeprefix(_KEY_SUBPROTOCOL) or None
    scheme, _, key = _header(request, b"authorization").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _is_good(key: str, config: SimulatorConfig) -> bool:
    return key not in config.bad_keys and (config.api_keys is None or key in config.api_keys)


def _is_beta(request: Request) -> bool:
    return bool(_header(request, b"openai-beta")) or _BETA_SUBPROTOCOL in request.subprotocols


def _header(request: Request, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in request.headers if key.lower() == name), "")


def _http_body(refusal: RequestError) -> Json:
    error = {"message": refusal.message, "type": refusal.kind, "param": refusal.param, "code": refusal.code}
    return {"error": error}


def _close(subprotocol: str | None, code: int, refusal: RequestError) -> CloseAfterUpgrade:
    return CloseAfterUpgrade(subprotocol, refusal.event(None), Close(code, f"{refusal.kind}.{refusal.code}"))

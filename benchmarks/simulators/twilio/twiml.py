"""TwiML as this simulator understands it: the verbs a voice relay answers with, read into structs.

Pure. Verbs it does not carry out are kept by name, so that a report can say so instead of pretending. Who runs the
verbs is `call.py`.
"""

from collections.abc import Iterable
from typing import Final, Literal
from urllib.parse import urljoin
from xml.etree import ElementTree

import msgspec

from benchmarks.simulators.twilio.errors import CallProblemError

MAX_BYTES: Final = 64 * 1024  # Twilio's limit for a document
MAX_PARAMETER_CHARS: Final = 500  # name and value together must stay under it

NOT_XML: Final = 12100
NOT_TWIML: Final = 12200
BAD_URL: Final = 31923
BAD_TRACK: Final = 31941

Method = Literal["GET", "POST"]


class Say(msgspec.Struct, frozen=True):
    """Speak a text."""

    text: str


class Pause(msgspec.Struct, frozen=True):
    """Wait on the line."""

    length_s: float


class Stream(msgspec.Struct, frozen=True):
    """A bidirectional stream. The URL is absolute but otherwise unchecked."""

    url: str
    parameters: dict[str, str]


class Connect(msgspec.Struct, frozen=True):
    """Hand the call to a stream until that is closed; with an action, what comes after is decided there."""

    stream: Stream
    action: str | None
    method: Method


class Redirect(msgspec.Struct, frozen=True):
    """Go on with another document."""

    url: str
    method: Method


class Hangup(msgspec.Struct, frozen=True):
    """End the call."""


class Reject(msgspec.Struct, frozen=True):
    """Do not take the call; counts as the first verb only."""

    reason: Literal["rejected", "busy"]


class Unsupported(msgspec.Struct, frozen=True):
    """A verb that this simulator does not carry out."""

    verb: str


Verb = Say | Pause | Connect | Redirect | Hangup | Reject | Unsupported


def parse(document: bytes, base_url: str) -> list[Verb]:
    """A document's verbs in order.

    Args: base_url, where it came from: relative URLs in it are resolved against it.
    Raises: CallProblemError for what is not TwiML, with Twilio's code.
    """
    if len(document) > MAX_BYTES:
        raise CallProblemError(NOT_XML, f"the TwiML from {base_url} is larger than {MAX_BYTES} bytes")
    if b"<!DOCTYPE" in document or b"<!ENTITY" in document:
        raise CallProblemError(NOT_XML, f"the TwiML from {base_url} declares a document type")
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - no document type, and expat bounds expansion
    except ElementTree.ParseError as error:
        raise CallProblemError(NOT_XML, f"the TwiML from {base_url} is not XML: {error}") from None
    if root.tag != "Response":
        raise CallProblemError(NOT_TWIML, f"the TwiML from {base_url} begins with <{root.tag}>, not <Response>")
    return [_verb(element, base_url) for element in root]


def _verb(element: ElementTree.Element, base_url: str) -> Verb:
    match element.tag:
        case "Say":
            return Say("".join(element.itertext()).strip())
        case "Pause":
            return Pause(_seconds(element.get("length", "1")))
        case "Connect":
            return _connect(element, base_url)
        case "Redirect":
            return Redirect(urljoin(base_url, (element.text or "").strip()), _method(element))
        case "Hangup":
            return Hangup()
        case "Reject":
            return Reject("busy" if element.get("reason") == "busy" else "rejected")
        case verb:
            return Unsupported(str(verb))


def _connect(element: ElementTree.Element, base_url: str) -> Connect | Unsupported:
    nouns = list(element)
    if len(nouns) != 1 or nouns[0].tag != "Stream":
        return Unsupported("Connect with " + (" and ".join(f"<{noun.tag}>" for noun in nouns) or "nothing"))
    action = element.get("action")
    return Connect(
        stream=_stream(nouns[0], base_url),
        action=urljoin(base_url, action) if action is not None else None,
        method=_method(element),
    )


def _stream(element: ElementTree.Element, base_url: str) -> Stream:
    track = element.get("track", "inbound_track")
    if track != "inbound_track":
        raise CallProblemError(BAD_TRACK, f"<Connect><Stream> takes inbound_track only, not {track!r}")
    return Stream(_socket_url(base_url, element.get("url", "")), _parameters(element.findall("Parameter")))


def _socket_url(base_url: str, url: str) -> str:
    """urljoin knows no sockets: a relative URL is joined over HTTP, and https becomes wss, http becomes ws."""
    if not url:
        raise CallProblemError(BAD_URL, "<Stream> has no url")
    return url if "://" in url else "ws" + urljoin(base_url, url).removeprefix("http")


def _parameters(elements: Iterable[ElementTree.Element]) -> dict[str, str]:
    parameters = {element.get("name", ""): element.get("value", "") for element in elements}
    for name, value in parameters.items():
        if not name or len(name) + len(value) >= MAX_PARAMETER_CHARS:
            raise CallProblemError(
                NOT_TWIML,
                f"<Parameter> {name!r} needs a name, and under {MAX_PARAMETER_CHARS} characters with its value",
            )
    return parameters


def _method(element: ElementTree.Element) -> Method:
    return "GET" if element.get("method", "POST").upper() == "GET" else "POST"


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        raise CallProblemError(NOT_TWIML, f"<Pause> cannot last {text!r} seconds") from None

"""TwiML read into structs, as Twilio reads it, as far as a relay can tell.

Pure. Verbs, nouns and attributes that are not carried out are kept by name, so that a report can say so instead of
pretending. Who runs the verbs is `call.py`.
"""

from collections.abc import Iterable, Mapping
from math import isfinite, nan
from typing import Final, cast
from urllib.parse import urljoin
from xml.etree import ElementTree

from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.options import Method, StatusEvent
from benchmarks.simulators.twilio.verbs import (
    ANY_KEY,
    Connect,
    Dial,
    Enqueue,
    Gather,
    Hangup,
    Pause,
    Play,
    Prompt,
    Record,
    RecordingEvent,
    Redirect,
    Reject,
    Say,
    Stream,
    Target,
    Unsupported,
    Verb,
)

MAX_BYTES: Final = 64 * 1024  # Twilio's limit for a document
MAX_PARAMETER_CHARS: Final = 500  # name and value together must stay under it
MAX_QUEUE_NAME_CHARS: Final = 64

NOT_XML: Final = 12100
NOT_TWIML: Final = 12200
BAD_ACTION_URL: Final = 11100
BAD_URL: Final = 31923
BAD_TRACK: Final = 31941

_CALL_EVENTS: Final = ("initiated", "ringing", "answered", "completed")
_RECORDING_EVENTS: Final = ("in-progress", "completed", "absent")
_DIALLED_NOUNS: Final = ("Number", "Client", "Sip")
# What would change a call if it were carried out, by verb.
_IGNORED: Final[Mapping[str, tuple[str, ...]]] = {
    "Dial": ("record", "sequential", "referUrl"),
    "Number": ("url", "sendDigits", "machineDetection"),
    "Record": ("transcribe", "transcribeCallback"),
    "Enqueue": ("workflowSid",),
}


def parse(document: bytes, base_url: str) -> list[Verb]:
    """A document's verbs in order.

    Args: base_url, where it came from: relative URLs in it are resolved against it. "" for inline TwiML, whose
    action URLs have to be absolute.
    Raises: CallProblemError for what is not TwiML, with Twilio's code.
    """
    source = base_url or "the request"
    if len(document) > MAX_BYTES:
        raise CallProblemError(NOT_XML, f"the TwiML from {source} is larger than {MAX_BYTES} bytes")
    if b"<!DOCTYPE" in document or b"<!ENTITY" in document:
        raise CallProblemError(NOT_XML, f"the TwiML from {source} declares a document type")
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - no document type, and expat bounds expansion
    except ElementTree.ParseError as error:
        raise CallProblemError(NOT_XML, f"the TwiML from {source} is not XML: {error}") from None
    if root.tag != "Response":
        raise CallProblemError(NOT_TWIML, f"the TwiML from {source} begins with <{root.tag}>, not <Response>")
    return [verb for element in root for verb in _with_ignored(element, base_url)]


def _with_ignored(element: ElementTree.Element, base_url: str) -> list[Verb]:
    """The verb, behind a note for each attribute of it that is not carried out."""
    ignored: list[Verb] = [
        Unsupported(f"{part.tag} {attribute}")
        for part in element.iter()
        for attribute in _IGNORED.get(part.tag, ())
        if part.get(attribute, "false") not in ("false", "do-not-record")
    ]
    return [*ignored, _verb(element, base_url)]


def _verb(element: ElementTree.Element, base_url: str) -> Verb:
    match element.tag:
        case "Say" | "Play" | "Pause":
            return _prompt(element, base_url)
        case "Connect":
            return _connect(element, base_url)
        case "Gather":
            return _gather(element, base_url)
        case "Record":
            return _record(element, base_url)
        case "Dial":
            return _dial(element, base_url)
        case "Enqueue":
            return _enqueue(element, base_url)
        case "Redirect":
            return Redirect(_web_url(base_url, _text(element)), _method(element))
        case "Hangup":
            return Hangup()
        case "Reject":
            return Reject("busy" if element.get("reason") == "busy" else "rejected")
        case verb:
            return Unsupported(str(verb))


def _prompt(element: ElementTree.Element, base_url: str) -> Prompt:
    match element.tag:
        case "Say":
            return Say(_text(element), int(_number(element, "loop", 1)))
        case "Pause":
            return Pause(_number(element, "length", 1))
    digits = element.get("digits", "")
    if not digits and not _text(element):
        raise CallProblemError(NOT_TWIML, "<Play> has neither a URL nor digits")
    url = "" if digits else _web_url(base_url, _text(element))
    return Play(url, digits, int(_number(element, "loop", 1)))


def _gather(element: ElementTree.Element, base_url: str) -> Gather:
    count = int(_number(element, "numDigits", 0))
    return Gather(
        prompts=tuple(_prompt(child, base_url) for child in element if child.tag in ("Say", "Play", "Pause")),
        action=_web_url(base_url, element.get("action", "")),
        method=_method(element),
        num_digits=count or None,
        finish_on_key=element.get("finishOnKey", "#"),
        timeout_s=5.0 if element.get("timeout") == "auto" else _number(element, "timeout", 5),
        action_on_empty=_is_true(element, "actionOnEmptyResult"),
    )


def _record(element: ElementTree.Element, base_url: str) -> Record:
    return Record(
        action=_web_url(base_url, element.get("action", "")),
        method=_method(element),
        timeout_s=_number(element, "timeout", 5),
        finish_on_key=element.get("finishOnKey", ANY_KEY),
        max_length_s=_number(element, "maxLength", 3600),
        play_beep=_is_true(element, "playBeep", default=True),
        trim=element.get("trim", "trim-silence") != "do-not-trim",
        status_callback=_optional_url(base_url, element, "recordingStatusCallback"),
        status_callback_method=_method(element, "recordingStatusCallbackMethod"),
        status_callback_events=_recording_events(element),
    )


def _dial(element: ElementTree.Element, base_url: str) -> Dial | Unsupported:
    nouns = list(element)
    others = [noun.tag for noun in nouns if noun.tag not in _DIALLED_NOUNS]
    if others:
        return Unsupported("Dial with " + " and ".join(f"<{tag}>" for tag in others))
    number = (element.text or "").strip()
    targets = (Target(number),) if number else tuple(_target(noun, base_url) for noun in nouns)
    if not targets:
        return Unsupported("Dial with nothing")
    return Dial(
        targets=targets,
        action=_optional_url(base_url, element, "action"),
        method=_method(element),
        timeout_s=_number(element, "timeout", 30),
        time_limit_s=_number(element, "timeLimit", 14_400),
        caller_id=element.get("callerId"),
        hangup_on_star=_is_true(element, "hangupOnStar"),
        answer_on_bridge=_is_true(element, "answerOnBridge"),
    )


def _target(noun: ElementTree.Element, base_url: str) -> Target:
    address = (noun.text or "").strip()
    events = _named(noun, "statusCallbackEvent", _CALL_EVENTS)
    return Target(
        f"client:{address}" if noun.tag == "Client" else address,
        status_callback=_optional_url(base_url, noun, "statusCallback"),
        status_callback_method=_method(noun, "statusCallbackMethod"),
        status_callback_events=cast("tuple[StatusEvent, ...]", events),
    )


def _enqueue(element: ElementTree.Element, base_url: str) -> Enqueue:
    name = _text(element)
    if not name or len(name) > MAX_QUEUE_NAME_CHARS:
        raise CallProblemError(NOT_TWIML, f"<Enqueue> needs a queue name of 1 to {MAX_QUEUE_NAME_CHARS} characters")
    return Enqueue(
        name=name,
        action=_optional_url(base_url, element, "action"),
        method=_method(element),
        wait_url=_optional_url(base_url, element, "waitUrl"),
        wait_method=_method(element, "waitUrlMethod"),
    )


def _connect(element: ElementTree.Element, base_url: str) -> Connect | Unsupported:
    nouns = list(element)
    if len(nouns) != 1 or nouns[0].tag != "Stream":
        return Unsupported("Connect with " + (" and ".join(f"<{noun.tag}>" for noun in nouns) or "nothing"))
    return Connect(
        stream=_stream(nouns[0], base_url),
        action=_optional_url(base_url, element, "action"),
        method=_method(element),
    )


def _stream(element: ElementTree.Element, base_url: str) -> Stream:
    track = element.get("track", "inbound_track")
    if track != "inbound_track":
        raise CallProblemError(BAD_TRACK, f"<Connect><Stream> takes inbound_track only, not {track!r}")
    return Stream(
        _socket_url(base_url, element.get("url", "")),
        _parameters(element.findall("Parameter")),
        name=element.get("name", ""),
        status_callback=_optional_url(base_url, element, "statusCallback"),
        status_callback_method=_method(element, "statusCallbackMethod"),
    )


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


def _web_url(base_url: str, url: str) -> str:
    """Absolute, by the document's own URL; without a url it is the document's own."""
    absolute = urljoin(base_url, url)
    if not absolute.startswith(("http://", "https://")):
        raise CallProblemError(BAD_ACTION_URL, f"{url!r} is no absolute URL, which inline TwiML needs")
    return absolute


def _optional_url(base_url: str, element: ElementTree.Element, name: str) -> str | None:
    """An empty action is the document's own URL; another empty one is none."""
    url = element.get(name)
    return None if url is None or (not url and name != "action") else _web_url(base_url, url)


def _recording_events(element: ElementTree.Element) -> tuple[RecordingEvent, ...]:
    events = _named(element, "recordingStatusCallbackEvent", _RECORDING_EVENTS)
    return cast("tuple[RecordingEvent, ...]", events)


def _named(element: ElementTree.Element, attribute: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Events named in an attribute, separated by spaces; names that Twilio does not know are passed over."""
    asked = element.get(attribute, "completed").split()
    return tuple(name for name in known if name in asked)


def _text(element: ElementTree.Element) -> str:
    return "".join(element.itertext()).strip()


def _method(element: ElementTree.Element, attribute: str = "method") -> Method:
    return "GET" if element.get(attribute, "POST").upper() == "GET" else "POST"


def _is_true(element: ElementTree.Element, attribute: str, *, default: bool = False) -> bool:
    return element.get(attribute, str(default)).lower() == "true"


def _number(element: ElementTree.Element, attribute: str, default: float) -> float:
    text = element.get(attribute, str(default))
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise CallProblemError(NOT_TWIML, f"<{element.tag} {attribute}> cannot be {text!r}")
    return max(0.0, number)

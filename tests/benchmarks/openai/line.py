"""What the simulator's tests share: a client beside a session that has no socket, and the SDK's idea of every event."""

import base64
import math
from collections.abc import Iterator
from typing import Annotated, Any, Final, get_args

import msgspec
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, Discriminator, TypeAdapter

from benchmarks import speech
from benchmarks.simulators.openai import Bill, Disturbance, Script, SimulatorConfig, Step
from benchmarks.simulators.openai.session import Session
from benchmarks.simulators.openai.stage import Message
from proto import mulaw

Json = dict[str, Any]

FRAME_BYTES: Final = mulaw.FRAME_BYTES
PHONE: Final[Json] = {
    "type": "realtime",
    "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}},
}
# The service sends these, the SDK's models do not list them.
KNOWN_EXTRAS: Final = {"obfuscation", "phase", "expires_at", "object", "id", "reasoning_tokens"}

_union: Any = get_args(RealtimeServerEvent)[0]
_discriminated: Any = Annotated[_union, Discriminator("type")]
_sdk: Final[TypeAdapter[Any]] = TypeAdapter(_discriminated)


def check_event(event: Json) -> None:
    """Fails unless the official SDK's model of this event takes it, strictly and with no surprising field."""
    parsed = _sdk.validate_python(event, strict=True)
    assert parsed.type == event["type"]
    unknown = set(_extras(parsed)) - KNOWN_EXTRAS
    assert not unknown, f"{event['type']} has fields the SDK does not know: {unknown}"


def _extras(model: BaseModel) -> Iterator[str]:
    yield from model.model_extra or ()
    for name in type(model).model_fields:
        value = getattr(model, name)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, BaseModel):
                yield from _extras(inner)


class Line:
    """A client and its session, with the test's own clock. Every event heard is checked against the SDK.

    Args: is_strange, whether it is to say what the SDK cannot know; then nothing is checked.

    Attributes: now, s; events, all that was heard so far, in order; texts, what was no event at all.
    """

    def __init__(
        self, config: SimulatorConfig | None = None, *, model: str = "gpt-realtime-2.1", is_strange: bool = False
    ) -> None:
        self.now = 100.0
        self.events: list[Json] = []
        self.texts: list[str] = []
        self._is_strange = is_strange
        self.session = Session(config or SimulatorConfig(wall_clock=lambda: 1e9), model, number=0, now=self.now)
        self._heard(self.session.open())

    def send(self, kind: str, **fields: Any) -> list[Json]:
        """What this event is answered with at once."""
        return self.send_raw(msgspec.json.encode({"type": kind, **fields}).decode())

    def send_raw(self, raw: str) -> list[Json]:
        return self._heard(self.session.receive(raw, self.now))

    def wait(self, seconds: float) -> list[Json]:
        """What is heard meanwhile, each thing when it is due."""
        until, heard = self.now + seconds, list[Json]()
        while self.session.deadline <= until:
            self.now = self.session.deadline
            heard += self.advance()
        self.now = until
        return heard

    def wait_for(self, kind: str) -> Json:
        """The next event of this kind; the clock stops right there."""
        while self.session.deadline < math.inf:
            self.now = self.session.deadline
            for event in self.advance():
                if event["type"] == kind:
                    return event
        raise AssertionError(f"{kind} never came")

    def advance(self) -> list[Json]:
        """What is due by now."""
        return self._heard(self.session.advance(self.now))

    def disturb(self, disturbance: Disturbance) -> list[Json]:
        """Something goes wrong now."""
        return self._heard(self.session.disturb(disturbance, self.now))

    def append(self, audio: bytes) -> list[Json]:
        """All of this at once, in the session's input format."""
        return self.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())

    def speak(self, audio: bytes) -> list[Json]:
        """μ-law in real time, frame by frame, as a telephone sends it."""
        heard = []
        for start in range(0, len(audio), FRAME_BYTES):
            heard += self.wait(0.020)
            heard += self.append(audio[start : start + FRAME_BYTES])
        return heard

    def say(self, clip: str, *, then_silent_ms: int = 600) -> list[Json]:
        """A caller's line, and the silence that ends it."""
        return self.speak(speech.clip(clip).mulaw + mulaw.silence(then_silent_ms))

    def _heard(self, messages: list[Message]) -> list[Json]:
        events = [one for one in messages if isinstance(one, dict)]
        self.texts += [one for one in messages if isinstance(one, str)]
        for event in [] if self._is_strange else events:
            check_event(event)
        self.events += events
        return events


def phone_line(
    *steps: Step | Disturbance | Bill, model: str = "gpt-realtime-2.1", is_strange: bool = False, **settings: Any
) -> Line:
    """A session set up as a telephone relay does it, with this script.

    Args: settings, of the simulator; the session's own are changed with `session.update`.
    """
    script = settings.pop("script", Script(steps=steps, greeting=None))
    line = Line(SimulatorConfig(script=script, wall_clock=lambda: 1e9, **settings), model=model, is_strange=is_strange)
    line.send("session.update", session=PHONE)
    return line


def arrivals(line: Line) -> list[tuple[float, Json]]:
    """(seconds since the response was asked for, event) of one response."""
    began, heard = line.now, [(0.0, event) for event in line.send("response.create")]
    while line.session.deadline < began + 60:
        line.now = line.session.deadline
        heard += [(line.now - began, event) for event in line.advance()]
    return heard


def kinds(events: list[Json]) -> list[str]:
    """The types, in order."""
    return [event["type"] for event in events]


def of_kind(events: list[Json], kind: str) -> list[Json]:
    """The events of one type."""
    return [event for event in events if event["type"] == kind]


def the(events: list[Json], kind: str) -> Json:
    """The one event of this type."""
    (event,) = of_kind(events, kind)
    return event


def error(events: list[Json]) -> Json:
    """The error, when it is the whole answer."""
    assert kinds(events) == ["error"]
    inner: Json = events[0]["error"]
    return inner


def audio_of(events: list[Json]) -> bytes:
    """All audio that these events carry, in order."""
    return b"".join(base64.b64decode(event["delta"]) for event in of_kind(events, "response.output_audio.delta"))

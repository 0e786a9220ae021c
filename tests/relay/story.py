"""A `Call` without sockets, told what happens and when: what the pure conformance cases read like."""

from typing import TypeVar

from relay.call import Call
from relay.events import Command, Event, HangUp
from relay.log import LogEvent
from relay.persona import Persona
from tests.relay import wire
from tests.relay.wire import Message

Logged = TypeVar("Logged", bound=LogEvent)


class Story:
    """One call. Time stands still unless `wait` moves it; each method gives the commands of what it tells."""

    def __init__(self, persona: Persona = wire.PERSONA) -> None:
        self.now = 100.0  # a monotonic clock does not begin at 0
        self.call = Call(persona, self.now)
        self.commands: list[Command] = []  # all so far

    def twilio(self, *messages: Message | bytes) -> list[Command]:
        """Twilio says these, one after the other."""
        return self.happens(*(wire.read("twilio", message) for message in messages))

    def openai(self, *events: Message | bytes) -> list[Command]:
        """OpenAI says these, one after the other."""
        return self.happens(*(wire.read("openai", event) for event in events))

    def happens(self, *events: Event) -> list[Command]:
        given = [command for event in events for command in self.call.handle(event, self.now)]
        self.commands += given
        return given

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def logged(self, kind: type[Logged]) -> list[Logged]:
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def hang_up(self) -> HangUp | None:
        """How the call ended, None while it goes on."""
        ends = [command for command in self.commands if isinstance(command, HangUp)]
        assert len(ends) <= 1
        return ends[0] if ends else None


def started(persona: Persona = wire.PERSONA) -> Story:
    """Twilio's stream has begun; OpenAI is being connected to."""
    story = Story(persona)
    story.twilio(wire.connected(), wire.start())
    return story


def ready(persona: Persona = wire.PERSONA) -> Story:
    """The call is set up on both sides, and nobody has spoken yet."""
    story = started(persona)
    story.openai(wire.session_created(), wire.session_updated())
    return story


def answering(*deltas_ms: int, persona: Persona = wire.PERSONA) -> Story:
    """The agent speaks: a response whose item_1 has had deltas of these lengths."""
    story = ready(persona)
    story.openai(wire.response_created(), *(wire.audio_delta(ms=ms) for ms in deltas_ms))
    return story

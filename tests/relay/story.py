"""A `Call` without sockets, told what happens and when: what the pure conformance cases read like."""

from collections import deque
from math import inf
from typing import TypeVar

from proto import twilio
from relay.call import Call
from relay.events import Beside, Command, Event, FromOpenAI, HangUp, SocketClosed, Timeout, ToolFinished
from relay.log import LogEvent
from relay.opening import Opening
from relay.persona import Persona
from relay.tools import Then, ToolBox, ToolReport
from tests.relay import wire
from tests.relay.wire import Message

Logged = TypeVar("Logged", bound=LogEvent)

MAX_TIMEOUTS = 20_000  # more, without an end of the time that was to pass, is a timer that rings for ever


class Phone:
    """What Twilio does with what it is sent: plays audio in real time, and echoes marks when it has played so far."""

    def __init__(self) -> None:
        self._plays_until = 0.0
        self._marks: deque[tuple[float, str]] = deque()  # when they are due

    @property
    def next_echo_at(self) -> float:
        return self._marks[0][0] if self._marks else inf

    def take(self, command: Command, now: float) -> None:
        match command:
            case twilio.Play(media=body):
                self._plays_until = max(self._plays_until, now) + len(body.payload) / 8000
            case twilio.SendMark(mark=body):
                self._marks.append((max(self._plays_until, now), body.name))
            case twilio.Clear():
                self._plays_until = now
                self._marks = deque((now, name) for _, name in self._marks)

    def echo(self) -> Message:
        """The mark that is due first."""
        return wire.mark(self._marks.popleft()[1])


class Story:
    """One call. Time stands still unless it is moved; each method gives the commands of what it tells."""

    def __init__(self, persona: Persona = wire.PERSONA, toolbox: ToolBox | None = None) -> None:
        self.now = 100.0  # a monotonic clock does not begin at 0
        self.call: Opening | Call = Opening(self.now)
        self._persona, self._offers = persona, toolbox.offers() if toolbox else ()
        self.commands: list[Command] = []  # all so far
        self._phone = Phone()

    def twilio(self, *messages: Message | bytes) -> list[Command]:
        """Twilio says these, one after the other."""
        return self.happens(*(wire.read("twilio", message) for message in messages))

    def openai(self, *events: Message | bytes) -> list[Command]:
        """OpenAI says these, one after the other."""
        return self.happens(*(wire.read("openai", event) for event in events))

    def beside(self, *events: Message | bytes) -> list[Command]:
        """OpenAI says these in the session that is being made ready."""
        return self.happens(*(Beside(_from_openai(event)) for event in events))

    def happens(self, *events: Event) -> list[Command]:
        given: list[Command] = []
        for event in events:
            if isinstance(event, twilio.Start) and isinstance(self.call, Opening):
                self.call = Call(self._persona, self.now, self._offers, unusable=self.call.unusable)
            commands = self.call.handle(event, self.now)
            for command in commands:
                self._phone.take(command, self.now)
            given += commands
        self.commands += given
        return given

    def loses_openai(self, code: int = 1006, reason: str = "") -> list[Command]:
        """The socket of the session in use is closed, or cut."""
        return self.happens(SocketClosed("openai", code, reason))

    def tool_brings(self, output: str = "found", call: str = "call_1", *, then: Then = "speak") -> list[Command]:
        """A tool's run is over."""
        return self.happens(ToolFinished(call, ToolReport("ok", output, then)))

    # Time.

    def wait(self, seconds: float) -> None:
        """Time passes, and nobody notices: no timer rings, no mark comes back."""
        self.now += seconds

    def passes(self, seconds: float, *, echoes: bool = True) -> list[Command]:
        """Time passes: the call gets its Timeouts, and unless `echoes` is False Twilio's echoes of what it played."""
        until, given = self.now + seconds, list[Command]()
        for _ in range(MAX_TIMEOUTS):
            echo_at = self._phone.next_echo_at if echoes else inf
            next_at = min(self.call.deadline, echo_at)
            if next_at > until:
                self.now = until
                return given
            self.now = max(self.now, next_at)
            given += self.twilio(self._phone.echo()) if echo_at == next_at else self.happens(Timeout())
        raise AssertionError("it rings for ever")

    # What came of it.

    def logged(self, kind: type[Logged]) -> list[Logged]:
        return [command for command in self.commands if isinstance(command, kind)]

    @property
    def asked(self) -> list[Message]:
        """Every response.create so far."""
        return asked(self.commands)

    @property
    def hang_up(self) -> HangUp | None:
        """How the call ended, None while it goes on."""
        ends = [command for command in self.commands if isinstance(command, HangUp)]
        assert len(ends) <= 1
        return ends[0] if ends else None


def _from_openai(message: Message | bytes) -> FromOpenAI:
    event = wire.read("openai", message)
    assert isinstance(event, FromOpenAI)
    return event


def asked(commands: list[Command]) -> list[Message]:
    """The response.create among these."""
    return [event for event in wire.to_openai(commands) if event["type"] == "response.create"]


def purposes(commands: list[Command]) -> list[str]:
    """What the model is asked to speak for."""
    return [event["response"]["metadata"]["purpose"] for event in asked(commands)]


def started(persona: Persona = wire.PERSONA, toolbox: ToolBox | None = None) -> Story:
    """Twilio's stream has begun; OpenAI is being connected to."""
    story = Story(persona, toolbox)
    story.twilio(wire.connected(), wire.start())
    return story


def ready(persona: Persona = wire.PERSONA, toolbox: ToolBox | None = None) -> Story:
    """The call is set up on both sides, and nobody has spoken yet."""
    story = started(persona, toolbox)
    story.openai(wire.session_created(), wire.session_updated())
    return story


def answering(*deltas_ms: int, persona: Persona = wire.PERSONA, toolbox: ToolBox | None = None) -> Story:
    """The agent speaks: a response whose item_1 has had deltas of these lengths."""
    story = ready(persona, toolbox)
    story.openai(wire.response_created(), *(wire.audio_delta(ms=ms) for ms in deltas_ms))
    return story


def reopened(story: Story) -> list[Command]:
    """Another session takes the place of one that was lost."""
    given = story.passes(1.0, echoes=False)
    return [*given, *story.openai(wire.session_created(), wire.session_updated())]
